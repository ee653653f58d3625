"""What the folder of a launch says: the end of its log, and what custodian did. A bounded number of bytes is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cathodeflow.calculators.attempt import read_attempt
from cathodeflow.dispatch.jobs import LaunchSummary
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
    interventions : list of (folder, handler, errors, changes)
        What custodian did, run by run.
    trouble : str
        Why something of it could not be read.
    """

    attempt: int | None = None
    continues_from: str = ""
    interventions: list[dict[str, Any]] = field(default_factory=list)
    trouble: str = ""


def read_run(launch: LaunchSummary) -> RunFiles:
    """Read what a launch folder says; a folder that is gone says nothing."""
    if not launch.directory.is_dir():
        return RunFiles(trouble="its folder is not on this machine, or was freed")
    try:
        attempt = read_attempt(launch.directory)
        interventions = list(_interventions(launch.directory))
    except CathodeflowError as error:
        return RunFiles(trouble=str(error))
    except OSError as error:
        return RunFiles(trouble=f"its folder cannot be read: {error.strerror}")
    continued = "" if attempt.continue_from is None else str(attempt.continue_from)
    return RunFiles(attempt.number, continued, interventions)


def _interventions(folder: Path) -> list[dict[str, Any]]:
    from cathodeflow.calculators.vasp.results import custodian_folders, interventions_in

    found = []
    for run in custodian_folders(folder)[:MOST_RUNS]:
        for done in interventions_in(run):
            entry = {"handler": done.handler, "errors": list(done.errors), "changes": list(done.changes)}
            found.append({"folder": str(run.relative_to(folder)), **entry})
    return found


def log_tail(path: Path | None, lines: int = LOG_LINES) -> list[str]:
    """Return the last lines of a log; nothing where it is gone."""
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - LOG_BYTES, 0))
            text = file.read(LOG_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        return [f"(the log cannot be read: {error.strerror})"]
    return text.splitlines()[-lines:]
