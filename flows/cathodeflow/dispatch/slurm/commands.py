"""Calls of Slurm's own programs: a command, a time limit, and an error in one sentence."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cathodeflow.errors import MissingDependencyError, SchedulerError

PATIENCE_S = 30.0
"""For one answer of squeue, sacct or scancel; Slurm's own programs try again by themselves within it."""

SUBMIT_PATIENCE_S = 90.0

PASSED_ON = ("HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TERM", "SLURM_CONF", "SLURM_CLUSTERS")
"""Variables of the submitting process that a batch job gets. All others its script has to set: a job submitted from a
person's shell and one submitted by cron then run in the same environment."""

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

_NOISE = re.compile(r"^(?:sbatch|squeue|sacct|scancel|scontrol|sinfo): (?:error: )?", re.MULTILINE)


def slurm_is_here() -> bool:
    """Whether `sbatch` is on the path."""
    return shutil.which("sbatch") is not None


def clean_environment(names: Sequence[str] = ()) -> dict[str, str]:
    """Return the environment that batch jobs are submitted with.

    Parameters
    ----------
    names : sequence of str
        Further variables to pass on where they are set, such as the one with the store's password.
    """
    kept = {name: os.environ[name] for name in (*PASSED_ON, *names) if name in os.environ}
    # The directory of Slurm's programs is kept: on many clusters it is nowhere near the system's.
    sbatch = shutil.which("sbatch")
    path = SYSTEM_PATH if sbatch is None else f"{SYSTEM_PATH}:{Path(sbatch).parent}"
    settings = {name: value for name, value in os.environ.items() if name.startswith("CATHODEFLOW_")}
    return {**settings, **kept, "PATH": path}


def call(
    command: Sequence[str],
    patience_s: float = PATIENCE_S,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Run a program of Slurm and return what it printed.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    patience_s : float
        After so long it is ended.
    environment : mapping of str to str, optional
        In place of this process's.
    folder : Path, optional
        To run it in.

    Returns
    -------
    str
        Standard output.

    Raises
    ------
    MissingDependencyError
        There is no such program.
    SchedulerError
        It failed or did not answer in time.
    """
    name = command[0]
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience_s,
            check=False,
            stdin=subprocess.DEVNULL,
            env=None if environment is None else dict(environment),
            cwd=folder,
        )
    except FileNotFoundError as error:
        raise MissingDependencyError(
            f"{name} is not on the path: run this where Slurm's programs are (a login node), or choose another site"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SchedulerError(
            f"{name} gave no answer in {patience_s:g} s: is slurmctld up? `scontrol ping` says"
        ) from error
    if done.returncode:
        raise SchedulerError(f"{name} refused: {_said(done.stderr) or f'exit code {done.returncode}'}")
    return done.stdout


def _said(text: str) -> str:
    lines = [_NOISE.sub("", line).strip() for line in text.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line))
