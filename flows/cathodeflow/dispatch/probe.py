"""The tiny job of a site: imports the modules of all jobs and asks the store.

FireWorks marks a job FIZZLED without a word when its module cannot be imported where it is claimed, so this is asked
beforehand: `python -m cathodeflow.dispatch.probe --note FILE`, in the very environment that a batch script makes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cathodeflow.errors import CathodeflowError

ROOMS = ("cathodeflow.jobs", "cathodeflow.recipes")
WORKERS = ("cathodeflow.dispatch.worker", "cathodeflow.dispatch.slurm.allocation", "cathodeflow.dispatch.launchpad")
SHOWN = ("PMG_VASP_PSP_DIR", "ATOMATE2_VASP_CMD", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


@dataclass
class Findings:
    """What a place where jobs run is like.

    Attributes
    ----------
    host, python, version : str
        Where, with which Python, of which cathodeflow.
    failures : dict of str to str
        Module to the error that its import raised.
    modules : int
        How many were imported.
    store : str
        `not asked`, `answers`, or why it does not.
    clock : str
        What is wrong with this machine's clock; empty where it agrees with that of the store's server.
    seconds : float
        How long it took.
    environment : dict of str to str
        Variables that programs need, where they are set.
    absent : list of str
        Programs and folders that these name and that are not there, with the variable.
    """

    host: str = field(default_factory=socket.gethostname)
    python: str = sys.executable
    version: str = ""
    failures: dict[str, str] = field(default_factory=dict)
    modules: int = 0
    store: str = "not asked"
    clock: str = ""
    seconds: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether jobs can run there."""
        return not self.failures and not self.clock and self.store in {"not asked", "answers"}


def job_modules() -> list[str]:
    """Return the modules of all jobs, and those that workers need."""
    found = list(WORKERS)
    for room in ROOMS:
        package = importlib.import_module(room)
        found += [entry.name for entry in pkgutil.walk_packages(package.__path__, f"{room}.") if not entry.ispkg]
    return found


def examine(project: Path | None = None, further: Sequence[str] = ()) -> Findings:
    """Import every job module and, where a project is given, ask its store.

    Parameters
    ----------
    project : Path, optional
        Its folder.
    further : sequence of str
        Modules of one's own jobs.

    Returns
    -------
    Findings
    """
    import cathodeflow

    began = time.monotonic()
    findings = Findings(version=cathodeflow.__version__)
    findings.environment = {name: os.environ[name] for name in SHOWN if name in os.environ}
    findings.absent = what_is_absent(findings.environment)
    for name in (*job_modules(), *further):
        try:
            importlib.import_module(name)
        except (ImportError, OSError, AttributeError, RuntimeError, ValueError, TypeError) as error:
            findings.failures[name] = f"{type(error).__name__}: {error}"
        findings.modules += 1
    if project is not None:
        findings.store, findings.clock = _ask_store(project)
    findings.seconds = round(time.monotonic() - began, 2)
    return findings


def what_is_absent(environment: Mapping[str, str]) -> list[str]:
    """Return what the variables name that is not there: the launcher and the program of VASP, and its library.

    Parameters
    ----------
    environment : mapping of str to str
        Some of `SHOWN`.
    """
    words = shlex.split(os.path.expandvars(environment.get("ATOMATE2_VASP_CMD", "")))
    programs = dict.fromkeys((*words[:1], *words[-1:]))
    found = [f"{program} (of ATOMATE2_VASP_CMD)" for program in programs if shutil.which(program) is None]
    library = environment.get("PMG_VASP_PSP_DIR")
    if library is not None and not Path(library).is_dir():
        found.append(f"{library} (PMG_VASP_PSP_DIR)")
    return found


def _ask_store(folder: Path) -> tuple[str, str]:
    from cathodeflow.dispatch.clocks import clock_complaint
    from cathodeflow.storage.connection import open_project

    try:
        project = open_project(folder)
        project.campaign_names()
        return "answers", clock_complaint(project) or ""
    except CathodeflowError as error:
        return str(error), ""


def write_note(path: Path, findings: Findings) -> None:
    """Leave the findings in a file, in one step."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(asdict(findings)), encoding="utf-8")
    draft.replace(path)


def read_note(path: Path) -> Findings | None:
    """Return what a probe has left, None when there is nothing yet."""
    try:
        return Findings(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def main() -> int:
    """Entry point of `python -m cathodeflow.dispatch.probe`."""
    parser = argparse.ArgumentParser(prog="python -m cathodeflow.dispatch.probe", description="Can jobs run here?")
    parser.add_argument("--note", type=Path, help="write the findings to this file")
    parser.add_argument("--project", type=Path, help="also ask this project's store")
    parser.add_argument("--module", action="append", default=[], help="a module of own jobs; may be repeated")
    given = parser.parse_args()
    findings = examine(given.project, given.module)
    if given.note is not None:
        write_note(given.note, findings)
    sys.stdout.write(json.dumps(asdict(findings), indent=1) + "\n")
    return 0 if findings.healthy else 1


if __name__ == "__main__":
    raise SystemExit(main())
