"""`/metrics`: counts in Prometheus' text format (version 0.0.4), a bounded number of queries per campaign."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from cathodeflow.campaign.status import read_status
from cathodeflow.records.outcomes import STAGE_ORDER, CampaignState
from cathodeflow.web import scope
from cathodeflow.web.campaign_page import STATES, jobs_by_category

if TYPE_CHECKING:
    from cathodeflow.campaign.status import StatusReport
    from cathodeflow.storage.connection import Project
    from cathodeflow.web.throughput import Ledger

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HELP = {
    "campaign_state": "1 for the state a campaign is in.",
    "campaign_stage": "1 for the stage a campaign is in.",
    "campaign_round": "Present round of labelling, from 1.",
    "campaign_driven": "Whether a driver was heard from lately.",
    "stage_done": "Members of the present stage that are settled.",
    "stage_wanted": "Members of the present stage, 0 where not known.",
    "eta_seconds": "Seconds to the end at the present pace; absent where not known.",
    "candidates": "Arrangements in the store.",
    "labels": "Labels by how they ended.",
    "jobs": "Jobs by category and FireWorks' state.",
    "failed_attempts_total": "Failed attempts by reason.",
    "launches_per_hour": "Completed launches in the last hour.",
    "core_seconds_total": "Wall time times processors of ended launches, by category.",
    "gpu_seconds_total": "Wall time times GPUs of ended launches, by category.",
}

pages = Blueprint("metrics", __name__)
Sample = tuple[str, dict[str, str], float]


@pages.get("/metrics")
def metrics() -> Response:
    """Answer with the counts of the campaigns that the asker may see."""
    project, ledger = scope.counted(), scope.ledger()
    samples = [sample for name in scope.visible_campaigns() for sample in samples_of(project, ledger, name)]
    return Response(exposition(samples), content_type=CONTENT_TYPE)


def samples_of(project: Project, ledger: Ledger, name: str) -> Iterator[Sample]:
    """Yield the samples of one campaign."""
    status = read_status(project, name)
    yield from _standing(status)
    for category, counts in jobs_by_category(project, name, status.jobs).items():
        for state in STATES:
            yield "jobs", {"campaign": name, "category": category, "state": state}, counts.get(state, 0)
    for reason, count in project.count_by("attempts", "reason", {"campaign": name}).items():
        yield "failed_attempts_total", {"campaign": name, "reason": str(reason)}, count
    yield "launches_per_hour", {"campaign": name}, ledger.per_hour(name)
    for category, seconds in ledger.account(name).core_s.items():
        yield "core_seconds_total", {"campaign": name, "category": category}, seconds
    for category, seconds in ledger.account(name).gpu_s.items():
        yield "gpu_seconds_total", {"campaign": name, "category": category}, seconds


def _standing(status: StatusReport) -> Iterator[Sample]:
    mine = {"campaign": status.campaign}
    for state in CampaignState:
        yield "campaign_state", {**mine, "state": state.value}, float(status.state == state)
    for stage in STAGE_ORDER:
        yield "campaign_stage", {**mine, "stage": stage.value}, float(status.stage == stage)
    yield "campaign_round", mine, status.round + 1
    yield "campaign_driven", mine, float(status.lease_holder is not None)
    yield "stage_done", mine, status.stage_done
    yield "stage_wanted", mine, status.stage_wanted
    if status.eta_s is not None:
        yield "eta_seconds", mine, status.eta_s
    yield "candidates", mine, status.candidates
    for outcome in ("done", "failed", "quarantined"):
        yield "labels", {**mine, "outcome": outcome}, status.labels[outcome]


def exposition(samples: list[Sample]) -> str:
    """Write samples in Prometheus' text format, those of one name together."""
    lines: list[str] = []
    for name, help_text in _HELP.items():
        mine = [(labels, value) for found, labels, value in samples if found == name]
        if mine:
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP cathodeflow_{name} {help_text}", f"# TYPE cathodeflow_{name} {kind}"]
            lines += [f"cathodeflow_{name}{_labels(labels)} {value:.12g}" for labels, value in mine]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, Any]) -> str:
    written = ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items())
    return f"{{{written}}}" if written else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
