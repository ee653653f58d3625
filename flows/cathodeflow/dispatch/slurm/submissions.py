"""The submissions of a project, and the only place that writes them.

A submission is written down with a fresh token before sbatch is called, and takes a numbered seat of its queue. The
seat is a unique key, so that no number of drivers, however they were killed, can take more seats than there are.
The Slurm job's name and comment carry the token: whoever comes later can see whether sbatch was reached.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cathodeflow.dispatch.slurm.script import task_token
from cathodeflow.records.document import Document, Moment, in_utc, now
from cathodeflow.storage import collections as names

if TYPE_CHECKING:
    from cathodeflow.dispatch.sites import Category
    from cathodeflow.storage.connection import Project


SUBMISSIONS = names.SUBMISSIONS


class SubmissionState(StrEnum):
    """Where a submission stands."""

    INTENDED = "intended"  # written down; sbatch may or may not have been reached
    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    REFUSED = "refused"  # by sbatch
    NEVER_SUBMITTED = "never_submitted"  # the driver died before sbatch


class SubmissionRecord(Document):
    """One submission; `_id` is its token.

    Attributes
    ----------
    site, category, campaign : str
        For which queue, whose jobs.
    seat, waiting_seat : str or None
        Its numbered places among those of the queue and those that wait; absent once given up.
    open : bool
        Whether it still counts.
    time_factor, memory_factor : float
        Times what the site gives.
    task : int or None
        Its number in the array it was submitted with; None for a job of its own.
    job_id : str or None
        Slurm's.
    outcome : str or None
        How it ended, in Slurm's words.
    """

    site: str
    category: str
    campaign: str
    state: SubmissionState = SubmissionState.INTENDED
    open: bool = True
    seat: str | None = None
    waiting_seat: str | None = None
    time_factor: float = 1.0
    memory_factor: float = 1.0
    task: int | None = None
    job_id: str | None = None
    outcome: str | None = None
    submitted_at: Moment | None = None
    ended_at: Moment | None = None

    @property
    def token(self) -> str:
        """What names this submission for good."""
        return self.id

    @property
    def name_token(self) -> str:
        """What the Slurm job's name and comment carry: for a task of an array, the token of the array."""
        return self.id if self.task is None else self.id.removesuffix(f"-{self.task}")


@dataclass(frozen=True)
class Budget:
    """How many allocations a queue may hold.

    Attributes
    ----------
    site : str
        The site's name.
    category : Category
        The queue.
    max_running, max_queued : int
        In all, and of these waiting.
    """

    site: str
    category: Category
    max_running: int
    max_queued: int

    def seats(self, taken: Sequence[str | None], prefix: str, number: int) -> list[str]:
        """Return the names of the free seats."""
        seats = (f"{prefix}{self.site}/{self.category}/{place}" for place in range(number))
        return [seat for seat in seats if seat not in set(taken)]


def prepare(project: Project) -> None:
    """Make the indexes, without which seats would not be unique."""
    names.ensure_indexes(project, names.SUBMISSION_INDEXES)


def new_token() -> str:
    """Return a token that nothing else carries."""
    return secrets.token_hex(6)


def reserve(
    project: Project,
    budget: Budget,
    campaign: str,
    time_factor: float = 1.0,
    memory_factor: float = 1.0,
    array: str | None = None,
    task: int | None = None,
) -> SubmissionRecord | None:
    """Take a seat and write the intention to submit, in one atomic insert.

    Parameters
    ----------
    project, budget, campaign
        For whom, and how many seats there are.
    time_factor, memory_factor : float
        Times what the site gives.
    array, task : str, int, optional
        Token of the array and number in it; without them it is a job of its own.

    Returns
    -------
    SubmissionRecord or None
        None when the budget is spent.
    """
    from pymongo.errors import DuplicateKeyError

    own = new_token() if array is None or task is None else task_token(array, task)
    while True:
        held = open_submissions(project, budget.site)
        seats = budget.seats([record.seat for record in held], "", budget.max_running)
        waiting = budget.seats([record.waiting_seat for record in held], "waiting/", budget.max_queued)
        if not seats or not waiting:
            return None
        record = SubmissionRecord(
            id=own,
            site=budget.site,
            category=budget.category.value,
            campaign=campaign,
            seat=seats[0],
            waiting_seat=waiting[0],
            time_factor=time_factor,
            memory_factor=memory_factor,
            task=task,
        )
        try:
            project.database[SUBMISSIONS].insert_one(record.to_mongo())
        except DuplicateKeyError:  # another driver was a moment faster: look again
            continue
        return record


def mark_submitted(project: Project, token: str, job_id: str) -> None:
    """Write down Slurm's number for a submission."""
    _change(
        project,
        {"_id": token, "state": SubmissionState.INTENDED},
        {"state": SubmissionState.PENDING, "job_id": job_id, "submitted_at": now()},
    )


def mark_running(project: Project, token: str) -> None:
    """Write down that a submission runs: it gives up its place among those that wait."""
    where = {"_id": token, "state": {"$in": [SubmissionState.INTENDED, SubmissionState.PENDING]}}
    _change(project, where, {"state": SubmissionState.RUNNING}, ("waiting_seat",))


def close(project: Project, token: str, state: SubmissionState, outcome: str) -> None:
    """Write down that a submission is over, and give up its seats."""
    changes = {"state": state, "open": False, "outcome": outcome, "ended_at": now()}
    _change(project, {"_id": token, "open": True}, changes, ("seat", "waiting_seat"))


def open_submissions(project: Project, site: str) -> list[SubmissionRecord]:
    """Return the submissions to a site that still count, oldest first."""
    found = project.select(SUBMISSIONS, {"open": True, "site": site})
    return sorted((SubmissionRecord.from_mongo(d) for d in found), key=lambda record: record.created_at)


def age_s(record: SubmissionRecord, moment: datetime | None = None) -> float:
    """Return how long ago a submission was written down, seconds."""
    return (in_utc(moment or now()) - record.created_at).total_seconds()


def _change(project: Project, where: dict[str, Any], changes: dict[str, Any], dropped: Sequence[str] = ()) -> None:
    values = {key: value.value if isinstance(value, StrEnum) else value for key, value in changes.items()}
    update: dict[str, Any] = {"$set": values}
    if dropped:
        update["$unset"] = dict.fromkeys(dropped, "")
    project.database[SUBMISSIONS].update_one(where, update)
