"""One job: its starts, what failed and what was considered, what custodian did, and the end of its log."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from cathodeflow.campaign.launch_files import log_tail, read_run
from cathodeflow.dispatch.jobs import LAUNCHES, WORKFLOWS, JobDetails, firework_details
from cathodeflow.records.outcomes import JobKind
from cathodeflow.web import scope
from cathodeflow.web.rendering import answer

PARTS = ("job_standing", "job_actions", "job_starts", "job_attempts", "job_record", "job_log")
STARTS_SHOWN = 20
LONGEST_ERROR = 20_000
RELATED_SHOWN = 30
HELD = "PAUSED"
HOLDABLE = frozenset({"READY", "WAITING"})

pages = Blueprint("job", __name__)


@pages.get("/jobs/<int:fw_id>")
def job(fw_id: int) -> Response:
    """Answer with one job."""
    document = scope.firework_document(fw_id)
    project = scope.project()
    details = firework_details(project, fw_id)
    summary = details.job
    known = {"campaign": summary.campaign, "kind": summary.kind, "key": summary.key}
    attempts = project.select("attempts", known) if summary.campaign else []
    record = settled_record(details)
    launches = project.select(LAUNCHES, {"launch_id": {"$in": [entry.launch_id for entry in details.launches]}})
    processes = {entry["launch_id"]: ((entry.get("fworker") or {}).get("env")) or {} for entry in launches}
    shown = details.launches[-STARTS_SHOWN:]
    campaign = None if summary.campaign is None else project.get("campaigns", summary.campaign)
    scope.mark_rehearsal(campaign or {})
    return answer(
        "job.html",
        PARTS,
        title=f"Job {fw_id}",
        details=details,
        job=summary,
        name=summary.campaign,
        candidate=candidate_key(summary.kind, summary.key),
        starts=[
            (launch, read_run(launch.directory), slurm_id(processes.get(launch.launch_id, {}))) for launch in shown
        ],
        hidden_starts=len(details.launches) - len(shown),
        attempts=sorted(attempts, key=lambda entry: entry["attempt"]),
        record=record,
        spec=document["spec"],
        error=(details.error or "")[-LONGEST_ERROR:],
        log=log_tail(details.log),
        log_path=details.log,
        workflow=related_jobs(fw_id),
        can_resubmit=summary.campaign is not None
        and (summary.state == "FIZZLED" or (record is not None and record.get("outcome") == "quarantined")),
        can_hold=summary.campaign is not None and summary.state in HOLDABLE,
        can_release=summary.campaign is not None and summary.state == HELD,
        campaign=campaign,
    )


def candidate_key(kind: str | None, key: str | None) -> str | None:
    """Return the candidate that a job is about."""
    if key is None or kind not in {JobKind.LABEL, JobKind.FOLLOW_UP}:
        return None
    return key.split("/")[0]


def settled_record(details: JobDetails) -> dict[str, Any] | None:
    """Return what the store keeps of how a reference, label or branch was made; None while it is not settled."""
    project, job = scope.project(), details.job
    if job.kind in {JobKind.LABEL, JobKind.FOLLOW_UP}:
        return project.get("labels" if job.kind == JobKind.LABEL else "follow_ups", f"{job.campaign}/{job.key}")
    if job.kind == JobKind.REFERENCE:
        campaign = project.get("campaigns", job.campaign) or {}
        return project.get("references", f"{campaign.get('provenance')}/{job.key}")
    return None


def slurm_id(process: dict[str, Any]) -> str:
    """Return the name under which Slurm knows a process: ``<array job>_<task>``, or the job's number."""
    if process.get("slurm_array_job_id"):
        return f"{process['slurm_array_job_id']}_{process.get('slurm_array_task_id', 0)}"
    return str(process.get("slurm_job_id") or "")


def related_jobs(fw_id: int) -> list[dict[str, Any]]:
    """Return the jobs of the same workflow, in their order."""
    project = scope.project()
    found = project.select(WORKFLOWS, {"nodes": fw_id}, limit=1)
    nodes = sorted(found[0]["nodes"])[:RELATED_SHOWN] if found else []
    if len(nodes) < 2:
        return []
    states: dict[str, Any] = found[0].get("fw_states") or {}
    return [{"fw_id": node, "state": states.get(str(node), "")} for node in nodes]
