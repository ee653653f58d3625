"""One campaign at a glance: all of it counted by an index or bounded, so that 100,000 jobs cost what 100 do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from cathodeflow.campaign.resubmit import RESUBMITTED
from cathodeflow.campaign.status import read_status
from cathodeflow.campaign.undo import TAKEN_BACK
from cathodeflow.dispatch.jobs import FIREWORKS, WORKFLOWS
from cathodeflow.records.document import in_utc
from cathodeflow.records.model import ModelRecord
from cathodeflow.records.outcomes import STAGE_ORDER, CampaignState, Purpose
from cathodeflow.report import wording
from cathodeflow.web import charts, scope
from cathodeflow.web.rendering import answer

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

PARTS = ("standing", "actions", "stages", "funnel", "jobs", "failures", "throughput", "learning", "shortlist", "log")
STATES = ("READY", "WAITING", "RESERVED", "RUNNING", "COMPLETED", "FIZZLED", "PAUSED", "DEFUSED", "ARCHIVED")
REASONS_SHOWN = 8
EXAMPLES = 3
RANKED_SHOWN = 12
LINES_SHOWN = 12
LINES_READ = 200  # among which a resubmission that can be taken back is looked for
MODELS_READ = 200
# With the purpose an index finds those given up among thousands of labels; there are few follow-ups.
GIVEN_UP_IN = (*(("labels", {"purpose": purpose.value}) for purpose in Purpose), ("follow_ups", {}))

pages = Blueprint("campaign", __name__)


@pages.get("/")
def campaign_list() -> Response:
    """Answer with the campaigns of the project."""
    project = scope.counted()
    entries = []
    for name in scope.visible_campaigns():
        document = project.get("campaigns", name)
        if document is not None:
            entries.append({"document": document, "jobs": job_counts(project, name)})
    return answer("campaigns.html", ("campaigns",), entries=entries, title="Campaigns")


@pages.get("/campaigns/<name>")
def campaign(name: str) -> Response:
    """Answer with one campaign at a glance."""
    document = scope.campaign_document(name)
    return answer("campaign.html", PARTS, title=name, name=name, **glance(scope.counted(), document))


def glance(project: Project, document: dict[str, Any]) -> dict[str, Any]:
    """Read what the page of a campaign says."""
    name = document["_id"]
    status = read_status(project, name)
    models = [
        ModelRecord.from_mongo(found) for found in project.select("models", {"campaign": name}, limit=MODELS_READ)
    ]
    ledger = scope.ledger()
    validations = [found for found in project.select("validations", {"campaign": name}) if not found["pristine"]]
    screened = _last_screened(document)
    by_category = jobs_by_category(project, name, status.jobs)
    events = project.select("events", {"campaign": name}, sort=[("_id", -1)], limit=LINES_READ)
    return {
        "document": document,
        "status": status,
        "stages": stage_steps(document),
        "funnel": funnel(project, document, screened, validations),
        "screened": screened,
        "by_category": by_category,
        "states": [state for state in STATES if status.jobs.get(state)],
        "failures": failures(project, name),
        "ledger": ledger,
        "account": ledger.account(name),
        "per_hour": ledger.per_hour(name),
        "throughput_chart": charts.throughput_chart(ledger.bars(name)),
        "learning_chart": charts.learning_chart(models),
        "ranked": ranked(project, name, screened),
        "validations": sorted(validations, key=lambda found: (not found["noble"], found["rank"] or 10**9)),
        "events": events[:LINES_SHOWN],
        "can_undo": can_undo(events),
        "can_resume": document["state"] in {CampaignState.PAUSED, CampaignState.STOPPED},
        "can_pause": document["state"] == CampaignState.RUNNING,
        "count_age": scope.count_age(),  # the last one: all was counted above
    }


def job_counts(project: Project, name: str) -> dict[str, int]:
    """Count a campaign's jobs by state."""
    return project.count_by(FIREWORKS, "state", {"spec._campaign": name})


def jobs_by_category(project: Project, name: str, states: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Count a campaign's jobs by category and state."""
    table: dict[str, dict[str, int]] = {}
    for state in states:
        counted = project.count_by(FIREWORKS, "spec._category", {"state": state, "spec._campaign": name})
        for category, number in counted.items():
            table.setdefault(str(category or "none"), {})[state] = number
    return dict(sorted(table.items()))


def count_ahead(project: Project) -> None:
    """Count what the pages of all campaigns count, so that the first one asked for need not wait where that is slow."""
    project.count_by(WORKFLOWS, "state", {})  # FireWorks' home page
    for name in project.campaign_names():
        read_status(project, name)
        jobs_by_category(project, name, job_counts(project, name))


@dataclass(frozen=True)
class StageStep:
    """A stage, whether it was reached, and how long it took in all rounds."""

    stage: str
    state: str
    seconds: float | None


def stage_steps(document: Mapping[str, Any], now: datetime | None = None) -> list[StageStep]:
    """Return the stages in their order, with the time spent in each."""
    times = [(entry["stage"], in_utc(entry["entered_at"])) for entry in document["stage_times"]]
    started, finished = in_utc(document["started_at"]), document.get("finished_at")
    end = in_utc(finished) if finished is not None else now or datetime.now(UTC)
    entries = [("enumerate", started), *times]
    spent: dict[str, float] = {}
    for (stage, entered), (_, left) in pairwise([*entries, ("", end)]):
        spent[stage] = spent.get(stage, 0.0) + max((left - entered).total_seconds(), 0.0)
    steps = []
    for stage in STAGE_ORDER:
        current = stage == document["stage"]
        state = "now" if current else "past" if stage.value in spent else "ahead"
        steps.append(StageStep(stage.value, state, None if stage == "done" else spent.get(stage.value)))
    return steps


@dataclass(frozen=True)
class FunnelStep:
    """How many are left after a step, and where they are listed."""

    title: str
    left: int
    removed: int
    filters: dict[str, Any] | None = None


def _last_screened(document: Mapping[str, Any]) -> int | None:
    """Return the last round that was screened."""
    screened = (n for n in range(document["round"], -1, -1) if f"screen:r{n}" in document["harvested"])
    return next(screened, None)


def funnel(
    project: Project, document: Mapping[str, Any], screened: int | None, validations: list[dict[str, Any]]
) -> list[FunnelStep]:
    """Count the compositions that are left after each rule of the last screening, and after the validation."""
    if screened is None:
        return []
    chosen = {"campaign": document["_id"], "round": screened}
    removed = project.count_by("verdicts", "rejected_by", chosen)
    total = sum(removed.values())
    # A verdict that passed was judged by every rule; any other may lack some.
    first = project.select("verdicts", {**chosen, "passed": True}, limit=1) or project.select(
        "verdicts", chosen, limit=1
    )
    order = [result["rule"] for verdict in first for result in verdict["rules"]]
    order += sorted(rule for rule in removed if rule is not None and rule not in order)
    steps = [FunnelStep("Compositions judged", total, 0, {})]
    left = total
    for rule in order:
        left -= removed.get(rule, 0)
        steps.append(FunnelStep(wording.rule_title(rule), left, removed.get(rule, 0), {"rule": rule}))
    if validations:
        holding = sum(found["profile_holds"] is True for found in validations)
        steps.append(FunnelStep("Computed by the engine", len(validations), 0))
        steps.append(FunnelStep("Computed profile holds", holding, len(validations) - holding))
    return steps


def can_undo(events: list[dict[str, Any]]) -> bool:
    """Whether a resubmission among these lines of the log was not taken back."""
    made = {event["details"]["number"] for event in events if event["kind"] == RESUBMITTED}
    return bool(made - {event["details"]["number"] for event in events if event["kind"] == TAKEN_BACK})


def failures(project: Project, name: str) -> list[dict[str, Any]]:
    """Return the commonest reasons of failed attempts and of what was given up, each with examples.

    A job that ends well may leave a result that is no good: that is given up without an attempt having failed.
    """
    mine: dict[str, Any] = {"campaign": name}
    quarantined = [(collection, mine | part | {"outcome": "quarantined"}) for collection, part in GIVEN_UP_IN]
    attempts = project.count_by("attempts", "reason", mine)
    given_up: Counter[Any] = Counter()
    for collection, condition in quarantined:
        given_up.update(project.count_by(collection, "reason", condition))
    reasons = sorted(
        {*attempts, *given_up}, key=lambda reason: (-attempts.get(reason, 0) - given_up[reason], str(reason))
    )
    found = []
    for reason in reasons[:REASONS_SHOWN]:
        examples = (
            project.select("attempts", mine | {"reason": reason}, limit=EXAMPLES)
            if reason in attempts
            else [
                {"fw_id": entry["origin"].get("fw_id"), "action": "quarantine"}
                | {part: entry[part] for part in ("key", "message")}
                for collection, condition in quarantined
                for entry in project.select(collection, condition | {"reason": reason}, limit=EXAMPLES)
            ]
        )
        counts = {"count": attempts.get(reason, 0), "given_up": given_up[reason]}
        found.append({"reason": reason, "examples": examples[:EXAMPLES]} | counts)
    return found


def ranked(project: Project, name: str, screened: int | None) -> list[dict[str, Any]]:
    """Return the best ranked compositions of the last screening."""
    if screened is None:
        return []
    condition = {"campaign": name, "round": screened, "passed": True}
    return project.select("verdicts", condition, sort=[("rank", 1)], limit=RANKED_SHOWN)
