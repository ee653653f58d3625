"""What FireWorks has of a campaign's workflows, read straight from its collections (no FireWorks import)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    launches = list(project.database["launches"].find({"fw_id": fw_id}, {"action": 1, "launch_id": 1}))
    if not launches:
        return ReportedFailure(
            "calculation_error",
            "FireWorks could not even load the job: its module cannot be imported by the worker; run `cflow doctor`",
        )
    last = max(launches, key=lambda launch: launch["launch_id"])
    return _read_failure(last.get("action") or {})


def _read_failure(action: dict[str, Any]) -> ReportedFailure:
    stored = action.get("stored_data") or {}
    exception = stored.get("_exception") or {}
    details = exception.get("_details") or {}
    text = str(exception.get("_stacktrace") or stored.get("_message") or "no error was reported")
    last_line = text.strip().splitlines()[-1]
    reason = details.get("reason", "calculation_error") if isinstance(details, dict) else "calculation_error"
    return ReportedFailure(str(reason), last_line.split(": ", 1)[-1] if ": " in last_line else last_line)
