"""What the folder of a launch says: the end of its log, and what custodian did. A bounded number of bytes is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cathodeflow.calculators.attempt import read_attempt
from cathodeflow.errors import CathodeflowError

LOG_LINES = 60
LOG_BYTES = 64 * 1024
MOST_RUNS = 12


@dataclass(frozen=True)
class RunFiles:
    """What a launch folder says.

    Attributes
    ----------
    attempt : int or None
        Which attempt ran there; None where it does not say.
    continues_from : str
        Folder that it goes on from; empty when it began anew.
    custodian : dict of str to list of dict
        What custodian did (handler, errors, changes), by the folder of each run that it watched.
    trouble : str
        Why something of it could not be read.
    """

    attempt: int | None = None
    continues_from: str = ""
    custodian: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    trouble: str = ""

    @property
    def interventions(self) -> list[dict[str, Any]]:
        """What custodian did, each with its folder."""
        return [{"folder": folder, **done} for folder, listed in self.custodian.items() for done in listed]


def read_run(folder: Path) -> RunFiles:
    """Read what a launch folder says; a folder that is gone says nothing."""
    if not folder.is_dir():
        return RunFiles(trouble="its folder is not on this machine, or was freed")
    custodian: dict[str, list[dict[str, Any]]] = {}
    try:
        custodian = _custodian_in(folder)
        attempt = read_attempt(folder)
    except CathodeflowError as error:
        return RunFiles(custodian=custodian, trouble=str(error))
    except OSError as error:
        return RunFiles(custodian=custodian, trouble=f"its folder cannot be read: {error.strerror}")
    continued = "" if attempt.continue_from is None else str(attempt.continue_from)
    return RunFiles(attempt.number, continued, custodian)


def _custodian_in(folder: Path) -> dict[str, list[dict[str, Any]]]:
    from cathodeflow.calculators.vasp.results import custodian_folders, interventions_in

    return {
        str(run.relative_to(folder)): [done.model_dump() for done in interventions_in(run)]
        for run in custodian_folders(folder)[:MOST_RUNS]
    }


def log_tail(path: Path | None, lines: int = LOG_LINES) -> list[str]:
    """Return the last lines of a log; nothing where there is none."""
    if path is None or not lines:
        return []
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - LOG_BYTES, 0))
            text = file.read(LOG_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        return [f"(the log cannot be read: {error.strerror})"]
    return text.splitlines()[-lines:]
