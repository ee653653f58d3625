"""Taking back a resubmission that was a mistake: what has not started again is as it was before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions
from cathodeflow.campaign.resubmit import RESUBMITTED
from cathodeflow.errors import CampaignError

if TYPE_CHECKING:
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
    """

    number: int
    taken_back: tuple[str, ...]
    started: tuple[str, ...]


def last_resubmission(project: Project, name: str) -> dict[str, Any]:
    """Return the event of the last resubmission that was not taken back.

    Raises
    ------
    CampaignError
        There is none.
    """
    transitions.read_campaign(project, name)
    events = project.select("events", {"campaign": name, "kind": {"$in": [RESUBMITTED, TAKEN_BACK]}}, [("_id", 1)])
    gone = {event["details"]["number"] for event in events if event["kind"] == TAKEN_BACK}
    left = [event for event in events if event["kind"] == RESUBMITTED and event["details"]["number"] not in gone]
    if not left:
        raise CampaignError(f"campaign {name} has no resubmission to take back")
    return left[-1]


def undo_resubmission(project: Project, name: str) -> Undone:
    """Take back the last resubmission, in one transaction.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.

    Returns
    -------
    Undone
        Quarantined labels and branches that were set aside are back, and their jobs are what they were, unless they
        have started since.

    Raises
    ------
    CampaignError
        There is none to take back.
    """
    from cathodeflow.dispatch.launchpad import take_back_rerun

    with project.transaction():
        details = last_resubmission(project, name)["details"]
        back: list[str] = []
        started: list[str] = []
        for key, fw_ids in zip(details["keys"], details["fw_ids"], strict=True):
            (back if take_back_rerun(project, fw_ids) else started).append(key)
        ids = [identity for key, identity in zip(details["keys"], details["ids"], strict=True) if key in back]
        built_on = [
            entry["document"]["_id"]
            for entry in project.select("withdrawn", {"campaign": name, "resubmission": details["number"]})
            if entry["document"]["_id"] not in details["ids"]
        ]
        # Validations and dependent branches are only true again when everything is as before.
        transitions.restore_withdrawn(project, name, details["number"], ids if started else [*ids, *built_on])
        message = f"a person took back resubmission {details['number']}: {len(back)} as before"
        if started:
            message += f", {len(started)} had started"
        transitions.append_event(project, name, TAKEN_BACK, message, {"number": details["number"], "keys": back})
    return Undone(details["number"], tuple(back), tuple(started))
