"""What FireWorks has of a campaign's workflows, read straight from its collections (no FireWorks import)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cathodeflow.dispatch.jobs import firework_details

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
    """What a failed launch said: the reason's word and the message's last lines."""

    reason: str
    message: str


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


def failure_of(project: Project, fw_id: int) -> ReportedFailure:
    """Return what the last launch of a FIZZLED Firework said.

    A Firework that FireWorks fizzled without launching it (its module could not be imported) has no launch; that is
    said in words, for FireWorks itself says nothing.
    """
    details = firework_details(project, fw_id)
    if not details.launches:
        return ReportedFailure(
            "calculation_error",
            "FireWorks could not even load the job: its module cannot be imported by the worker; run `cflow doctor`",
        )
    trace = (details.error or "no error was reported").strip()
    last_line = trace.splitlines()[-1]
    name, _, message = last_line.partition(": ")
    return ReportedFailure(details.reason or "calculation_error", message if "." in name or not message else last_line)
