"""What an allocation writes of workers that died in it: other machines cannot see its processes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("logs") / "slurm" / "deaths"

STORE_AWAY = os.EX_TEMPFAIL
"""Exit code of a worker that gave up on the store. None that a job may end its process with: those programs
exit with small numbers, and such an end is the job's failure."""


@dataclass(frozen=True)
class Death:
    """A worker that ended by a signal, or by the exit of its job, before its allocation did.

    Attributes
    ----------
    host, pid : str, int
        Which process.
    signal : int
        The signal's number; 0 for an exit.
    out_of_memory : bool
        The kernel ended something in this allocation for memory meanwhile.
    exit_code : int
        Of an exit; 0 for a signal, and for a worker that ended as if all was well.
    ending : bool
        The allocation had been asked to end: a signal may then be Slurm's, which says why.
    """

    host: str
    pid: int
    signal: int
    out_of_memory: bool
    exit_code: int = 0
    ending: bool = False


def write_death(project: Path, job_id: str, death: Death) -> None:
    """Leave a note in the project folder, in one step."""
    folder = project / FOLDER / job_id
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{death.host}-{death.pid}"
    draft.write_text(json.dumps(death.__dict__), encoding="utf-8")
    draft.replace(folder / f"{death.host}-{death.pid}.json")


def read_death(project: Path, job_id: str, host: str, pid: int) -> Death | None:
    """Return the note on a process, None when there is none."""
    path = project / FOLDER / job_id / f"{host}-{pid}.json"
    try:
        return Death(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
