"""What `doctor` looks at: each check says what it found, and what its absence costs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

from cathodeflow.cli.fresh_process import FreshProcess
from cathodeflow.errors import StoreError

if TYPE_CHECKING:
    from cathodeflow.calculators.vasp.requirements import Finding
    from cathodeflow.campaign.definition import CampaignDefinition
    from cathodeflow.science.hosts.host import Host

PACKAGES_OF_NOTE = (
    "torch",
    "matgl",
    "chgnet",
    "atomate2",
    "jobflow",
    "FireWorks",
    "mongomock-ng",
    "pymatgen",
    "spglib",
)
LOW_DISK_BYTES = 2 * 1024**3
PIP_TIMEOUT_S = 60.0


class Health(StrEnum):
    """How a check came out."""

    OK = "ok"
    OFF = "off"  # optional and absent: a feature is off
    WARNING = "warning"
    BROKEN = "broken"  # needed: campaigns will not work


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes
    ----------
    room : str
        What it belongs to: environment, hardware, models, engines, workers, project, definition.
    name : str
        What was looked at.
    health : Health
        How it is.
    found : str
        What is there.
    cost : str
        What its state costs the user; empty when all is well.
    remedy : str
        What to do about it.
    """

    room: str
    name: str
    health: Health
    found: str
    cost: str = ""
    remedy: str = ""


def check_python() -> Iterator[Check]:
    """Look at the interpreter and the packages the project needs."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("environment", "Python", Health.OK, version)  # older ones cannot install this package
    wrong = list(_wrong_requirements())
    if wrong:
        yield Check(
            "environment",
            "packages",
            Health.BROKEN,
            "; ".join(wrong),
            "what needs them fails or gives other numbers",
            "install the tested versions: `make install`, or pip install -r requirements.lock",
        )
    else:
        found = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES_OF_NOTE)
        yield Check("environment", "packages", Health.OK, found)


def _wrong_requirements() -> Iterator[str]:
    from packaging.requirements import Requirement

    for line in metadata.requires("cathodeflow") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield f"{requirement.name} is not installed"
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} {version} is outside {requirement.specifier}"


def check_hardware(process: FreshProcess | None = None) -> Iterator[Check]:
    """Look at cores, threads and the accelerator; loading torch takes seconds, which a fresh process spends."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = (process or FreshProcess(torch=True)).torch()
    if "error" in found:
        yield Check(
            "hardware",
            "torch",
            Health.BROKEN,
            f"does not load: {found['error'].splitlines()[0]}",
            "no relaxation, no surrogate",
            "install the tested versions: `make install`",
        )
        return
    yield Check("hardware", "cores", Health.OK, f"{cores} for this process; torch uses {found['threads']}")
    if found["gpu"] is not None:
        yield Check("hardware", "GPU", Health.OK, found["gpu"])
    else:
        yield Check("hardware", "GPU", Health.OFF, "none that torch can use", "prediction and training run on the CPU")


def check_models(process: FreshProcess | None = None) -> Iterator[Check]:
    """Look at the pretrained network, and load the default potential in a fresh process."""
    from cathodeflow.calculators.pretrained.megnet_2019 import weights_path
    from cathodeflow.settings import get_settings

    weights = weights_path(get_settings().cache_dir)
    if weights.is_file():
        yield Check("models", "megnet-2019", Health.OK, f"installed ({weights.stat().st_size / 1024:.0f} KiB)")
    else:
        yield Check(
            "models",
            "megnet-2019",
            Health.BROKEN,
            "not installed",
            "surrogates cannot be trained: a campaign stops after its first labels",
            "cflow model install megnet-2019",
        )
    said = (process or FreshProcess(potential=True)).potential()
    if said is None:
        yield Check("models", "chgnet-0.3.0", Health.OK, "loads")
        return
    yield Check(
        "models",
        "chgnet-0.3.0",
        Health.BROKEN,
        f"does not load: {said.splitlines()[0]}",
        "the engine mlff cannot relax anything",
        "reinstall chgnet in its tested version: `make install`",
    )


def check_engines() -> Iterator[Check]:
    """Look for programs and services that are optional on a laptop."""
    from cathodeflow.calculators.vasp import requirements
    from cathodeflow.campaign.readiness import lobster_command, vasp_command

    yield Check(
        "engines", "rehearsal", Health.OK, "its stand-ins ship with the package: no VASP, no POTCARs, no LOBSTER"
    )
    off = "the engine vasp is off; mlff and rehearsal do not need it"
    vasp, lobster = vasp_command(), lobster_command()
    yield _of_findings("VASP", requirements.check_vasp(vasp), vasp, off)
    yield _potcar_library(off)
    cost = "no follow-up branch bonding with engine vasp"
    yield _of_findings("LOBSTER", requirements.check_lobster(lobster), lobster, cost)
    bader = shutil.which("bader") or "pybader"
    yield _of_findings("Bader", requirements.check_bader(), bader, "no follow-up branch bader with engine vasp")
    yield _program("Slurm", "sbatch", "jobs run on this machine only")
    yield _program("MongoDB", "mongod", "the embedded store is used, which serves one machine")


def _potcar_library(cost: str) -> Check:
    from cathodeflow.calculators.vasp.potcar_library import functionals, library_folder

    folder = library_folder()
    if folder is None:
        remedy = "set PMG_VASP_PSP_DIR to the folder that `pmg config -p` made of the licensed library"
        return Check("engines", "POTCAR library", Health.OFF, "none", cost, remedy)
    there = functionals()
    if not there:
        return Check("engines", "POTCAR library", Health.OFF, f"{folder} holds no POTCARs", cost)
    return Check("engines", "POTCAR library", Health.OK, f"{folder} with {', '.join(there)}")


def _of_findings(name: str, findings: Iterable[Finding], found: str, cost: str) -> Check:
    """Sum up the findings about an optional program."""
    listed = list(findings)
    if not listed:
        return Check("engines", name, Health.OK, found)
    problems = "; ".join(finding.problem for finding in listed)
    return Check("engines", name, Health.OFF, problems, cost, listed[0].remedy)


def _program(name: str, executable: str, cost: str) -> Check:
    path = shutil.which(executable)
    if path:
        return Check("engines", name, Health.OK, path)
    return Check("engines", name, Health.OFF, f"no {executable} on the path", cost)


def check_definition(definition: CampaignDefinition, host: Host) -> Iterator[Check]:
    """Look for all that a campaign needs on the machines of its workers, taking this one for such."""
    from cathodeflow.campaign.readiness import lacks, missing_network

    engine = definition.engine.name
    missing = lacks(definition, host)
    if not missing:
        wanted = {"vasp": "VASP, POTCARs and follow-up programs are here", "rehearsal": "nothing but this package"}
        yield Check("definition", f"engine {engine}", Health.OK, wanted.get(engine, "needs no program"))
    for lack in missing:
        cost = f"stops {lack.stopped}; `cflow launch` refuses it here without --workers-elsewhere"
        yield Check("definition", lack.subject, Health.BROKEN, lack.problem, cost, lack.remedy)
    network = missing_network(definition)
    if network is None:
        yield Check("definition", "network", Health.OK, definition.surrogate.pretrained)
    else:
        name = definition.surrogate.pretrained
        cost = "the campaign stops at its first training"
        yield Check(
            "definition", "network", Health.BROKEN, f"{name} is not installed", cost, f"cflow model install {name}"
        )


def check_workers(process: FreshProcess | None = None) -> Iterator[Check]:
    """Import every job module in a fresh process, as a worker does.

    FireWorks marks a job FIZZLED without a word when the process that checks it out cannot import its module.
    """
    modules = worker_modules()
    failed = (process or FreshProcess(modules)).broken_modules()
    if not failed:
        yield Check("workers", "job modules", Health.OK, f"all {len(modules)} import in a fresh process")
    for name, said in failed.items():
        yield Check(
            "workers",
            name,
            Health.BROKEN,
            f"does not import: {said.splitlines()[0]}",
            "its jobs would end FIZZLED with no error and no log",
            "repair the environment that workers use",
        )


def worker_modules() -> list[str]:
    """Name what a worker imports before it runs a job."""
    return ["jobflow.managers.fireworks", *_job_modules()]


def _job_modules() -> list[str]:
    """Name every module of `cathodeflow.jobs`, without importing one."""
    spec = util.find_spec("cathodeflow.jobs")
    folders = [Path(entry) for entry in (spec.submodule_search_locations or [])] if spec else []
    names = []
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            names.append(".".join(("cathodeflow.jobs", *(part for part in parts if part != "__init__"))))
    return names


def check_network() -> Iterator[Check]:
    """Ask pip for the index of the package the pretrained weights come from."""
    said = _run(
        [sys.executable, "-m", "pip", "index", "versions", "megnet", "--disable-pip-version-check"], PIP_TIMEOUT_S
    )
    if said is None:
        yield Check("environment", "package index", Health.OK, "reachable with pip")
    else:
        yield Check(
            "environment",
            "package index",
            Health.WARNING,
            f"not reachable: {said}",
            "models cannot be fetched",
            "bring the archive here: cflow model install megnet-2019 --archive FILE",
        )


def check_project(folder: Path) -> Iterator[Check]:
    """Look at the project folder: writable, room on the disk, store readable and whole."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if os.access(existing, os.W_OK):
        yield Check("project", "folder", Health.OK, f"{folder.absolute()} is writable")
    else:
        yield Check(
            "project",
            "folder",
            Health.BROKEN,
            f"{existing} is read-only",
            "nothing can be launched or run here",
            "make it writable, or name another folder with --project",
        )
    free = shutil.disk_usage(existing).free
    room = f"{free / 1024**3:.1f} GiB free"
    if free < LOW_DISK_BYTES:
        cost = "a campaign of the paper's size needs about 1 GiB"
        yield Check("project", "disk", Health.WARNING, room, cost, "free some space")
    else:
        yield Check("project", "disk", Health.OK, room)
    yield from _check_store(folder)


def _check_store(folder: Path) -> Iterator[Check]:
    from cathodeflow.storage.project_file import store_of

    remedy = "see docs/howto/use_mongodb.md; nothing that was recorded is lost while the server is away"
    try:
        address = store_of(folder)
        if address is None:
            yield from _check_embedded_store(folder)
            return
        from cathodeflow.storage.connection import open_project

        campaigns = open_project(folder).campaign_names()
    except StoreError as error:
        yield Check("project", "store", Health.BROKEN, str(error), "nothing can be read or run", remedy)
        return
    yield Check("project", "store", Health.OK, f"MongoDB server answers, {len(campaigns)} campaigns")


def _check_embedded_store(folder: Path) -> Iterator[Check]:
    import sqlite3

    from cathodeflow.settings import get_settings

    path = folder / get_settings().store_file
    if not path.exists():
        yield Check("project", "store", Health.OFF, f"no {path.name} yet", "no campaign here", "cflow launch FILE")
        return
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            verdict = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        verdict = [str(error)]
    if verdict == ["ok"]:
        size = path.stat().st_size / 1024**2
        yield Check("project", "store", Health.OK, f"{path.name}, {size:.1f} MiB, passes its integrity check")
    else:
        yield Check(
            "project",
            "store",
            Health.BROKEN,
            f"{path.name}: {'; '.join(verdict)}",
            "documents may be lost",
            "stop its drivers and restore the file from a copy",
        )


def all_checks(
    folder: Path, *, online: bool, definition: CampaignDefinition | None = None, host: Host | None = None
) -> list[tuple[str, Callable[[], Iterator[Check]]]]:
    """Name the checks to run, in order, each with a function that runs it; a definition with its host adds its own."""
    process = FreshProcess(worker_modules(), torch=True, potential=True)
    checks: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("Python and packages", check_python),
        ("project folder and store", lambda: check_project(folder)),
        ("programs", check_engines),
        ("job modules in a fresh process", lambda: check_workers(process)),
        ("torch", lambda: check_hardware(process)),
        ("models", lambda: check_models(process)),
    ]
    if definition is not None and host is not None:
        asked, built = definition, host
        checks.append(("definition", lambda: check_definition(asked, built)))
    if online:
        checks.insert(1, ("package index", check_network))
    return checks


def _run(command: list[str], timeout: float) -> str | None:
    """Run a command; returns None when it ends well, else its last line."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout:.0f} s"
    if result.returncode == 0:
        return None
    return (result.stderr.strip().splitlines() or ["no message"])[-1]
