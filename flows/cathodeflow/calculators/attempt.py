"""Which attempt at a job runs in a folder: the worker writes it there before the job starts, the job reads it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from cathodeflow.errors import CalculationError
from cathodeflow.records.outcomes import Reason

FILE_NAME = "attempt.json"


@dataclass(frozen=True)
class Attempt:
    """An attempt at a job.

    Attributes
    ----------
    campaign, kind, key : str
        Whose job it is, and of what; empty outside a campaign.
    number : int
        From 1.
    continue_from : Path or None
        Folder of the attempt that it goes on from (a run stopped at the walltime), None to start anew.
    seconds_left : float or None
        Until the allocation ends, when the job started; None where nothing ends it.
    """

    campaign: str = ""
    kind: str = ""
    key: str = ""
    number: int = 1
    continue_from: Path | None = None
    seconds_left: float | None = None


def write_attempt(folder: Path, attempt: Attempt) -> None:
    """Leave word in a launch folder which attempt runs there."""
    content = {
        "campaign": attempt.campaign,
        "kind": attempt.kind,
        "key": attempt.key,
        "number": attempt.number,
        "continue_from": None if attempt.continue_from is None else str(attempt.continue_from),
        "seconds_left": attempt.seconds_left,
    }
    (folder / FILE_NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_attempt(folder: Path | None = None) -> Attempt:
    """Return the attempt that runs in a folder; a first one where nothing is written.

    Parameters
    ----------
    folder : Path, optional
        Launch folder; the present one by default.

    Raises
    ------
    CalculationError
        The file is there and cannot be read.
    """
    path = (folder or Path.cwd()) / FILE_NAME
    if not path.is_file():
        return Attempt()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        previous = content.pop("continue_from")
        return Attempt(**content, continue_from=None if previous is None else Path(previous))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CalculationError(f"{path} is not what a worker writes ({error}): resubmit the job") from error


def seconds_for_a_run(attempt: Attempt, folder: Path, wall_time_s: int | None) -> int | None:
    """Return how long a run that starts now may take, s; None where nothing ends it.

    Whichever ends first: an allocation has less left at its second job than the definition allows each.

    Parameters
    ----------
    attempt : Attempt
        As `read_attempt` of the launch folder.
    folder : Path
        The launch folder.
    wall_time_s : int or None
        Limit of the definition, s.

    Raises
    ------
    CalculationError
        The allocation has ended (reason ``walltime``).
    """
    if attempt.seconds_left is None:
        return wall_time_s
    left = int(attempt.seconds_left - (time.time() - (folder / FILE_NAME).stat().st_mtime))
    if left < 1:
        raise CalculationError(
            f"the allocation ends before another run can start in {folder.resolve()}: resubmit it", Reason.WALLTIME
        )
    return left if wall_time_s is None else min(left, wall_time_s)
