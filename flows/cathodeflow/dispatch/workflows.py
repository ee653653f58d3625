"""What FireWorks has of a campaign's workflows, read straight from its collections (no FireWorks import)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cathodeflow.dispatch.jobs import FIREWORKS, JobDetails, firework_details, last_launches
from cathodeflow.records.document import in_utc

if TYPE_CHECKING:
    from cathodeflow.records.outcomes import JobKind
    from cathodeflow.storage.connection import Project


@dataclass(frozen=True)
class WorkflowState:
    """A workflow by its natural key.

    Attributes
    ----------
    key : str
        What it makes.
    state : str
        FireWorks' state of the whole workflow.
    fw_id : int
        Its last Firework, which makes the output.
    """

    key: str
    state: str
    fw_id: int


@dataclass(frozen=True)
class ReportedFailure:
    """What a failed launch said.

    Attributes
    ----------
    reason : str
        A word of `records.outcomes.Reason`, or another's.
    message : str
        The last line of the error.
    folder : Path or None
        Where it ran.
    ended : datetime or None
        When, UTC.
    launch_id : int or None
        Which launch said it; None for a job that was never launched.
    """

    reason: str
    message: str
    folder: Path | None = None
    ended: datetime | None = None
    launch_id: int | None = None


def workflow_states(project: Project, campaign: str, kind: JobKind, keys: Sequence[str]) -> list[WorkflowState]:
    """Return the state of the workflows that make `keys`.

    Parameters
    ----------
    project : Project
        The open project.
    campaign : str
        Its name.
    kind : JobKind
        Of the workflows.
    keys : sequence of str
        Asked for; those without a workflow are left out.

    Returns
    -------
    list of WorkflowState
    """
    found = project.database["workflows"].find(
        {"metadata.campaign": campaign, "metadata.kind": kind.value, "metadata.key": {"$in": list(keys)}},
        {"metadata.key": 1, "state": 1, "nodes": 1},
    )
    return [WorkflowState(entry["metadata"]["key"], entry["state"], max(entry["nodes"])) for entry in found]


def job_states(project: Project, campaign: str, kind: JobKind, keys: Sequence[str]) -> list[WorkflowState]:
    """Return the state of each job that makes one of `keys`, where one workflow makes several.

    Parameters and result as `workflow_states`, the key being that of the job.
    """
    asked = set(keys)
    found = project.database[FIREWORKS].find(
        {"spec._campaign": campaign, "spec._kind": kind.value}, {"spec._key": 1, "state": 1, "fw_id": 1}
    )
    return [
        WorkflowState(entry["spec"]["_key"], entry["state"], entry["fw_id"])
        for entry in found
        if entry["spec"]["_key"] in asked
    ]


def failure_of(project: Project, fw_id: int) -> ReportedFailure:
    """Return what the last launch of a FIZZLED Firework said, or of a COMPLETED one whose result is not there.

    A Firework that FireWorks fizzled without launching it (its module could not be imported) has no launch; that is
    said in words, for FireWorks itself says nothing.
    """
    return reported_failure(firework_details(project, fw_id))


def failures_of(project: Project, fw_ids: Sequence[int]) -> dict[int, ReportedFailure]:
    """Return the same of many Fireworks, in few queries; those that are not there are left out."""
    return {details.job.fw_id: reported_failure(details) for details in last_launches(project, fw_ids)}


def reported_failure(details: JobDetails) -> ReportedFailure:
    """Return the same of a Firework that was read with its launches."""
    if not details.launches:
        return ReportedFailure(
            "calculation_error",
            "FireWorks could not even load the job: its module cannot be imported by the worker; run `cflow doctor`",
        )
    if details.job.state == "COMPLETED":
        launch = details.launches[-1]
        message = "it is COMPLETED, but its result is not in the store: the database has lost what it had confirmed"
        return ReportedFailure("broken_output", message, launch.directory, None, launch.launch_id)
    trace = (details.error or "no error was reported").strip()
    last_line = trace.splitlines()[-1]
    name, _, message = last_line.partition(": ")
    # A traceback ends with the error's full name; what Slurm or the system said of a death has none.
    said = message if message and "." in name else last_line
    launch = details.launches[-1]
    ended = None if launch.ended is None else in_utc(_as_datetime(launch.ended))
    return ReportedFailure(details.reason or "calculation_error", said, launch.directory, ended, launch.launch_id)


def _as_datetime(moment: datetime | str) -> datetime:
    """FireWorks keeps some of its times as text."""
    return datetime.fromisoformat(moment) if isinstance(moment, str) else moment
