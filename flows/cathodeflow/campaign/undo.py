"""Taking back a resubmission that was a mistake: what has not started again is as it was before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions, withdrawn
from cathodeflow.campaign.event_log import Line
from cathodeflow.campaign.intent import UNDO, Intent, alone
from cathodeflow.campaign.resubmit import RESUBMITTED
from cathodeflow.errors import CampaignError
from cathodeflow.records.outcomes import CampaignState, Stage

if TYPE_CHECKING:
    from cathodeflow.records.campaign import CampaignRecord
    from cathodeflow.storage.connection import Project

TAKEN_BACK = "resubmission taken back"


@dataclass(frozen=True)
class Undone:
    """What became of a resubmission.

    Attributes
    ----------
    number : int
        Which one, from 1.
    taken_back : tuple of str
        Keys that are as before.
    started : tuple of str
        Keys that had started meanwhile and go on.
    returns_to : str or None
        The state to which a campaign that the resubmission had brought back to work returns.
    """

    number: int
    taken_back: tuple[str, ...]
    started: tuple[str, ...]
    returns_to: str | None = None


def last_resubmission(project: Project, name: str) -> dict[str, Any]:
    """Return the event of the last resubmission that was not taken back.

    Raises
    ------
    CampaignError
        There is none.
    """
    return _standing(project, name)[-1]


def _standing(project: Project, name: str) -> list[dict[str, Any]]:
    """Return the events of the resubmissions that were not taken back, in order; raises as `last_resubmission`."""
    transitions.read_campaign(project, name)
    events = project.select("events", {"campaign": name, "kind": {"$in": [RESUBMITTED, TAKEN_BACK]}}, [("_id", 1)])
    gone = {event["details"]["number"] for event in events if event["kind"] == TAKEN_BACK}
    left = [event for event in events if event["kind"] == RESUBMITTED and event["details"]["number"] not in gone]
    if not left:
        made = f"each of its {len(gone)} was taken back already" if gone else "none was made"
        raise CampaignError(f"campaign {name} has no resubmission to take back: {made}")
    return left


def _batches(project: Project, name: str) -> list[dict[str, Any]]:
    """Return what the last command made that is not taken back, its last batch first; raises as `last_resubmission`."""
    standing = _standing(project, name)
    command = _command(standing[-1])
    return [event["details"] for event in reversed(standing) if _command(event) == command]


def _command(event: Mapping[str, Any]) -> int:
    """Return the number of the first batch of the command that a resubmission belongs to."""
    details = event["details"]
    return int(details.get("command", details["number"]))


def plan_undo(project: Project, name: str) -> Undone:
    """Say what taking back the last resubmission would do; changes nothing.

    Raises
    ------
    CampaignError
        There is none.
    """
    from cathodeflow.dispatch.rerun import not_started

    found = []
    for details in _batches(project, name):
        work = _work(project, name, details)
        before = _before(project, name, work)
        back, started = _sorted_out(work, before, not_started(project, before))
        found.append(Undone(work["command"], back, started))
    campaign = transitions.read_campaign(project, name)
    changes = (
        {} if work["others_started"] or any(one.started for one in found) else _as_it_was(campaign, work["campaign"])
    )
    return _together(found, changes.get("state"))


def _together(batches: Sequence[Undone], returns_to: str | None) -> Undone:
    """Return what became of a command; its batches are given last first."""
    back = tuple(key for batch in reversed(batches) for key in batch.taken_back)
    started = tuple(key for batch in reversed(batches) for key in batch.started)
    return Undone(batches[-1].number, back, started, returns_to)


def _work(project: Project, name: str, details: Mapping[str, Any]) -> dict[str, Any]:
    if "attempts" not in details:
        raise CampaignError(f"resubmission {details['number']} is of an earlier version and cannot be taken back")
    parts = ("number", "keys", "fw_ids", "attempts", "campaign")
    command = int(details.get("command", details["number"]))
    # What batches of the same command have set going goes on, so that the campaign is not as it was.
    events = project.select("events", {"campaign": name, "kind": TAKEN_BACK})
    others = any(event["details"]["started"] for event in events if event["details"].get("command") == command)
    return {"what": UNDO, "command": command, "others_started": others, **{part: details[part] for part in parts}}


def _before(project: Project, name: str, work: Mapping[str, Any]) -> list[Any]:
    """Return what the jobs were; those that could not be run again are none of the resubmission's."""
    wanted = {fw_id for fw_ids in work["fw_ids"] for fw_id in fw_ids}
    kept = withdrawn.jobs_set_aside(project, name, work["number"])
    return [entries for entries in kept if entries[0]["fw_id"] in wanted]


def _sorted_out(
    work: Mapping[str, Any], before: Sequence[Any], as_before: Sequence[bool]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the keys that are as before and those that have started."""
    done = {entries[0]["fw_id"]: is_back for entries, is_back in zip(before, as_before, strict=True)}
    back: list[str] = []
    started: list[str] = []
    for key, fw_ids in zip(work["keys"], work["fw_ids"], strict=True):
        (back if all(done.get(fw_id, False) for fw_id in fw_ids) else started).append(key)
    return tuple(back), tuple(started)


def undo_resubmission(project: Project, name: str, on_progress: Callable[[int, int], None] | None = None) -> Undone:
    """Take back the last resubmission, all batches of one command.

    Each batch is one transaction on the embedded store. On a server, what a kill interrupts is completed by the driver
    or by the next command; batches that it has left out are taken back by the next undo.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    on_progress : callable, optional
        Told after each batch how many jobs were looked at, and of how many.

    Returns
    -------
    Undone
        Quarantined labels and branches that were set aside are back, and their jobs are what they were, unless they
        have started since.

    Raises
    ------
    CampaignError
        There is none to take back, or another process has been at the campaign's jobs for a minute.
    MissingDependencyError
        A job cannot be loaded here; it and those resubmitted before it stay as they are.
    """
    from cathodeflow.dispatch.loadable import require_loadable

    made: list[Undone] = []
    total = 0
    while not made or _is_left(project, name, made[0].number):
        with alone(project, name) as intent:  # which also delivers what a kill has kept from the log
            if not made:
                total = sum(len(details["keys"]) for details in _batches(project, name))
            elif not _is_left(project, name, made[0].number):
                break  # another person was quicker
            work = _work(project, name, last_resubmission(project, name)["details"])
            require_loadable(project, [fw_id for fw_ids in work["fw_ids"] for fw_id in fw_ids])
            intent.note(work)
            made.append(carry_back(project, name, work, intent))
        if on_progress is not None:
            on_progress(sum(len(one.taken_back) + len(one.started) for one in made), total)
    return _together(made, made[-1].returns_to)


def _is_left(project: Project, name: str, command: int) -> bool:
    """Whether another batch of a command is the last resubmission."""
    try:
        return _command(last_resubmission(project, name)) == command
    except CampaignError:  # none is left at all
        return False


def carry_back(project: Project, name: str, work: Mapping[str, Any], intent: Intent) -> Undone:
    """Take back what was noted, or what is left of it."""
    from cathodeflow.dispatch.rerun import take_back

    number, command = work["number"], work.get("command", work["number"])
    before = _before(project, name, work)
    back, started = _sorted_out(work, before, take_back(project, before))
    # Validations and dependent branches are only true again when everything is as before.
    going_on = started or work.get("others_started")
    ids = [f"{name}/{key}" for key in back] if going_on else None
    withdrawn.restore_withdrawn(project, name, number, ids)
    written = [work["attempts"][key] for key in back if key in work["attempts"]]
    withdrawn.withdraw_attempts(project, name, written, number)
    message = f"a person took back resubmission {number}: {len(back)} as before"
    message += f", {len(started)} had started" if started else ""
    told = Line(
        TAKEN_BACK, message, {"number": number, "command": command, "keys": list(back), "started": list(started)}
    )
    while True:
        campaign = transitions.read_campaign(project, name)
        changes = {} if going_on else _as_it_was(campaign, work["campaign"])
        if intent.finish(campaign, changes, [told]):
            return Undone(command, back, started, changes.get("state"))


def _as_it_was(campaign: CampaignRecord, was: Mapping[str, Any]) -> dict[str, Any]:
    """Return what puts a campaign back that the resubmission had brought back to work and that has not moved since."""
    ended = was["state"] in {CampaignState.STOPPED, CampaignState.DONE}
    stage = Stage.VALIDATE if was["stage"] == Stage.DONE else Stage(was["stage"])
    there = (campaign.state, campaign.stage) == (CampaignState.RUNNING, stage)
    added = int(was["stage"] == Stage.DONE)
    if not ended or not there or len(campaign.stage_times) != was["stages_entered"] + added:
        return {}
    entered = [entry.model_dump() for entry in campaign.stage_times[: was["stages_entered"]]]
    return {part: was[part] for part in ("state", "stage", "message", "finished_at")} | {"stage_times": entered}
