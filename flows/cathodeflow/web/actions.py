"""What an operator may do from a page. Every action is a POST, passed the guard, and is written into the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, flash, redirect, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

from cathodeflow.campaign import transitions
from cathodeflow.campaign.resubmit import Terms, resubmit, select
from cathodeflow.campaign.undo import undo_resubmission
from cathodeflow.dispatch.launchpad import project_launchpad
from cathodeflow.errors import CathodeflowError
from cathodeflow.web import scope

EVENT = "dashboard"
"""Kind of the event that says who did what."""

FACTORS = ("", "1.5", "2", "4")

pages = Blueprint("actions", __name__)


def _act(campaign: str, action: str, do: Callable[[], str], **details: Any) -> None:
    """Do something, tell the person how it went, and write down who did it, a refusal too."""
    account = scope.identity().account.name
    try:
        said = do()
    except CathodeflowError as error:
        flash(str(error), "bad")
        outcome, said = "refused", str(error)
    else:
        flash(said, "good")
        outcome = "done"
        scope.forget_counts()
    transitions.append_event(
        scope.project(),
        campaign,
        EVENT,
        f"{account}: {action}: {said}",
        {"account": account, "action": action, "outcome": outcome, "address": request.remote_addr, **details},
    )


@pages.post("/campaigns/<name>/pause")
def pause(name: str) -> Response:
    """Let no further job of a campaign start."""
    scope.campaign_document(name)
    _act(name, "pause", lambda: f"{name} is {transitions.pause(scope.project(), name).state}")
    return redirect(_back(url_for("campaign.campaign", name=name)))


@pages.post("/campaigns/<name>/resume")
def resume(name: str) -> Response:
    """Let a campaign go on."""
    scope.campaign_document(name)
    _act(name, "resume", lambda: f"{name} is {transitions.resume(scope.project(), name).state}")
    return redirect(_back(url_for("campaign.campaign", name=name)))


@pages.post("/campaigns/<name>/resubmit")
def resubmit_failures(name: str) -> Response:
    """Run failures again: of one reason, of one job, or all."""
    scope.campaign_document(name)
    reason, kind, key = (request.form.get(field) or None for field in ("reason", "kind", "key"))
    terms = Terms(_factor("memory"), _factor("time"))

    def do() -> str:
        made = resubmit(scope.project(), name, select(reason, kind, (key,) if key else ()), terms)
        if not made.jobs:
            why = made.refused[0].why_not if made.refused else "nothing that failed matches"
            return f"nothing was resubmitted: {why}"
        left = f", {len(made.refused)} could not be" if made.refused else ""
        return f"{len(made.jobs)} resubmitted{left}" + (f" ({made.warning})" if made.warning else "")

    _act(name, "resubmit", do, reason=reason, kind=kind, key=key, memory=terms.memory, time=terms.time)
    return redirect(_back(url_for("campaign.campaign", name=name)))


@pages.post("/campaigns/<name>/undo")
def undo(name: str) -> Response:
    """Take back the last resubmission."""
    scope.campaign_document(name)

    def do() -> str:
        undone = undo_resubmission(scope.project(), name)
        started = f", {len(undone.started)} had started and go on" if undone.started else ""
        return f"resubmission {undone.number} taken back: {len(undone.taken_back)} jobs are as before{started}"

    _act(name, "take back a resubmission", do)
    return redirect(_back(url_for("campaign.campaign", name=name)))


@pages.post("/jobs/<int:fw_id>/hold")
def hold(fw_id: int) -> Response:
    """Keep a job that has not started from starting."""
    return _hold(fw_id, "hold", "is held", "has started or ended: it cannot be held", "pause_fw")


@pages.post("/jobs/<int:fw_id>/release")
def release(fw_id: int) -> Response:
    """Let a job that was held start."""
    return _hold(fw_id, "release", "is free to start", "was not held", "resume_fw")


def _hold(fw_id: int, action: str, done: str, not_done: str, method: str) -> Response:
    campaign = scope.firework_document(fw_id)["spec"].get("_campaign")
    if campaign is None:
        raise BadRequest("This job belongs to no campaign.")

    def do() -> str:
        changed = getattr(project_launchpad(scope.project()), method)(fw_id)
        return f"job {fw_id} {done if changed else not_done}"

    _act(campaign, action, do, fw_id=fw_id)
    return redirect(_back(url_for("job.job", fw_id=fw_id)))


def _factor(field: str) -> float | None:
    text = request.form.get(field, "")
    if text not in FACTORS:
        raise BadRequest(f"{field} is none of {', '.join(FACTORS[1:])}.")
    return float(text) if text else None


def _back(default: str) -> str:
    """Return the page that the form was on, when it says and is ours."""
    from cathodeflow.web.guard import safe_target

    target = request.form.get("back", "")
    return safe_target(target) if target else default
