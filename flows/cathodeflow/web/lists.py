"""Lists with filters in the address: jobs, compositions, candidates and the log of a campaign."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from cathodeflow.dispatch.jobs import FIREWORKS, JobSummary, count_states
from cathodeflow.records.outcomes import JobKind
from cathodeflow.web import scope
from cathodeflow.web.campaign_page import STATES, job_counts, jobs_by_category
from cathodeflow.web.rendering import answer
from cathodeflow.web.scope import MOST_PAGES, PAGE_ROWS, asked, asked_number

MOST_READ = PAGE_ROWS * MOST_PAGES
VERDICTS_READ = 5000
NO_CATEGORY = "none"

pages = Blueprint("lists", __name__)


class Sheet:
    """One page of rows, read no further than its end.

    Parameters
    ----------
    number : int
        From 1.
    rows : list
        All rows up to one beyond the end of the page.
    """

    def __init__(self, number: int, rows: list[Any]) -> None:
        self.number = number
        self.rows = rows[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]
        self.has_next = len(rows) > number * PAGE_ROWS and number < MOST_PAGES
        self.is_cut = len(rows) > number * PAGE_ROWS and number == MOST_PAGES

    @staticmethod
    def asked() -> int:
        """Return which page is asked for."""
        return asked_number("page", 1, 1, MOST_PAGES)

    @staticmethod
    def needed(number: int) -> int:
        """Return how many rows have to be read for a page."""
        return number * PAGE_ROWS + 1


@pages.get("/campaigns/<name>/jobs")
def jobs(name: str) -> Response:
    """Answer with a campaign's jobs."""
    document = scope.campaign_document(name)
    project = scope.counted()
    state, kind = asked("state", STATES), asked("kind", list(JobKind))
    category, key = asked("category"), asked("key")
    number = Sheet.asked()
    needed = Sheet.needed(number)
    found = _jobs_of_key(name, key, state, kind) if key else _jobs(name, state, kind, category, needed)
    counts = count_states(project, name, kind or None)
    return answer(
        "jobs.html",
        ("job_rows",),
        title=f"Jobs of {name}",
        name=name,
        document=document,
        sheet=Sheet(number, [JobSummary.from_document(entry) for entry in found]),
        counts=counts,
        states=STATES,
        kinds=list(JobKind),
        categories=list(jobs_by_category(project, name, job_counts(project, name))),
        asked={"state": state, "kind": kind, "category": category, "key": key},
    )


def _jobs(name: str, state: str, kind: str, category: str, needed: int) -> list[dict[str, Any]]:
    """Read jobs by what the indexes hold; kind and category together are looked through."""
    condition: dict[str, Any] = {"spec._campaign": name}
    if kind:
        condition["spec._kind"] = kind
        condition |= {"state": state} if state else {}
        found = scope.project().select(FIREWORKS, condition, limit=MOST_READ if category else needed)
        return [entry for entry in found if not category or _category(entry) == category][:needed]
    condition["state"] = state or {"$in": list(STATES)}
    if category:
        condition["spec._category"] = None if category == NO_CATEGORY else category
    return scope.project().select(FIREWORKS, condition, limit=needed)


def _category(entry: dict[str, Any]) -> str:
    return entry["spec"].get("_category") or NO_CATEGORY


def _jobs_of_key(name: str, key: str, state: str, kind: str) -> list[dict[str, Any]]:
    """Read the jobs that make something, by the natural key of their workflows; a job's number is found too."""
    project = scope.project()
    chosen = {
        "metadata.campaign": name,
        "metadata.kind": {"$in": [str(kind_of) for kind_of in ([kind] if kind else JobKind)]},
        # The key of a follow-up's workflow is the candidate's, its jobs' keys have the branch behind it.
        "metadata.key": key.split("/", maxsplit=1)[0],
    }
    nodes = [node for workflow in project.select("workflows", chosen, limit=PAGE_ROWS) for node in workflow["nodes"]]
    if key.isascii() and key.isdigit() and int(key) < 2**53:
        nodes.append(int(key))
    found = project.select(FIREWORKS, {"fw_id": {"$in": nodes[:MOST_READ]}}) if nodes else []
    mine = [entry for entry in found if entry["spec"].get("_campaign") == name]
    if "/" in key:
        mine = [entry for entry in mine if entry["spec"].get("_key") == key]
    return [entry for entry in mine if not state or entry["state"] == state]


@pages.get("/jobs")
def find_job() -> AnyResponse:
    """Go to a job by its number."""
    return redirect(url_for("job.job", fw_id=asked_number("number", 0, 0, 2**53)))


@pages.get("/campaigns/<name>/compositions")
def compositions(name: str) -> Response:
    """Answer with the verdicts of a round."""
    document = scope.campaign_document(name)
    project = scope.counted()
    rounds = sorted(number for number in project.count_by("verdicts", "round", {"campaign": name}))
    chosen = asked_number("round", (rounds[-1] if rounds else 0) + 1, 1, 10_000) - 1
    outcome, rule = asked("outcome", ("passed", "rejected")), asked("rule")
    element, metals = asked("element"), asked("metals", ("noble", "other"))
    number = Sheet.asked()
    condition: dict[str, Any] = {"campaign": name, "round": chosen}
    counted = project.count_by("verdicts", "rejected_by", condition)
    condition |= {"rejected_by": rule} if rule else {"passed": outcome == "passed"} if outcome else {}
    looked_through = bool(element or metals)
    order = [("rank", 1)] if outcome == "passed" and not rule else []
    limit = VERDICTS_READ if looked_through else Sheet.needed(number)
    found = project.select("verdicts", condition, order, limit)
    rows = [
        entry
        for entry in found
        if (not element or element in entry["elements"]) and (not metals or entry["noble"] == (metals == "noble"))
    ]
    return answer(
        "compositions.html",
        title=f"Compositions of {name}",
        name=name,
        document=document,
        sheet=Sheet(number, rows),
        counted=counted,
        rules=sorted(rule for rule in counted if rule),
        rounds=[number + 1 for number in rounds],
        voltages=sorted({key for entry in rows[:1] for key in entry["voltages"]}, reverse=True),
        is_cut=looked_through and len(found) == VERDICTS_READ,
        asked={"round": chosen + 1, "outcome": outcome, "rule": rule, "element": element, "metals": metals},
    )


@pages.get("/campaigns/<name>/candidates")
def candidates(name: str) -> Response:
    """Answer with a campaign's candidates, or the one whose key is asked for."""
    document = scope.campaign_document(name)
    project = scope.counted()
    level, composition, key = asked("level"), asked("composition"), asked("key")
    number = Sheet.asked()
    levels = project.count_by("candidates", "level", {"campaign": name})
    if key:
        one = project.get("candidates", f"{name}/{key}")
        found = [] if one is None else [one]
    elif composition:
        read = MOST_READ if level else Sheet.needed(number)
        found = project.select("candidates", {"campaign": name, "composition": composition}, limit=read)
        found = [entry for entry in found if not level or entry["level"] == level]
    else:
        condition = {"campaign": name} | ({"level": level} if level else {})
        found = project.select("candidates", condition, limit=Sheet.needed(number))
    return answer(
        "candidates.html",
        title=f"Candidates of {name}",
        name=name,
        document=document,
        sheet=Sheet(number, found),
        levels=levels,
        asked={"level": level, "composition": composition, "key": key},
    )


@pages.get("/campaigns/<name>/log")
def log(name: str) -> Response:
    """Answer with a campaign's log, newest first."""
    document = scope.campaign_document(name)
    kind = asked("kind")
    number = Sheet.asked()
    needed = MOST_READ if kind else Sheet.needed(number)
    found = scope.project().select("events", {"campaign": name}, sort=[("_id", -1)], limit=needed)
    kinds = sorted({entry["kind"] for entry in found})
    rows = [entry for entry in found if not kind or entry["kind"] == kind]
    return answer(
        "log.html",
        ("log_rows",),
        title=f"Log of {name}",
        name=name,
        document=document,
        sheet=Sheet(number, rows),
        kinds=kinds if not kind or kind in kinds else [*kinds, kind],
        asked={"kind": kind},
    )
