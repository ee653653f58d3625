"""The campaign's log: a change of the campaign and the lines that tell of it are one write.

The lines are first written into the campaign's own document, with their numbers, together with the change; from there
they are delivered to the collection of events. A process killed in between leaves them for the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cathodeflow.records.campaign import EventRecord
from cathodeflow.storage.collections import CAMPAIGNS, EVENTS

if TYPE_CHECKING:
    from cathodeflow.dispatch.reconcile import LostRun
    from cathodeflow.storage.connection import Project

WAITING = "undelivered_events"
_LOST = {
    "rerun": "it is run again",
    "adopt": "its result was there and is taken over",
    "hand_in": "its result was still on disk and is handed in",
}
_SPELLED_OUT = 3


class Line(NamedTuple):
    """One line of the log."""

    kind: str
    message: str
    details: dict[str, Any] | None = None


def lost_runs_line(lost: Sequence[LostRun]) -> Line | None:
    """Return what the log says of jobs whose process was found gone; None where there is nothing to say.

    Those that were FIZZLED are told of by the attempts that follow from it.
    """
    told = [run for run in lost if run.action in _LOST]
    if not told:
        return None
    some = [
        f"{run.kind} {run.key}: process {run.pid} on {run.host} is gone (time {run.vanished}), {_LOST[run.action]}"
        for run in told[:_SPELLED_OUT]
    ]
    more = f"; and {len(told) - len(some)} more" if len(told) > len(some) else ""
    runs = [{"key": run.key, "fw_id": run.fw_id, "launch_id": run.launch_id, "action": run.action} for run in told]
    details = {"keys": [run.key for run in told], "runs": runs}
    return Line("lost", f"{'; '.join(some)}{more}", details)


def change_and_tell(
    project: Project, name: str, condition: Mapping[str, Any], changes: Mapping[str, Any], lines: Sequence[Line]
) -> bool:
    """Change a campaign's document and tell of it, both or neither.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    condition : Mapping
        What must still hold of the campaign, such as its version.
    changes : Mapping
        Fields to set; the version grows with them. May be empty.
    lines : sequence of Line
        For the log, numbered without gap and without duplicate whoever else writes.

    Returns
    -------
    bool
        False, and nothing is written, where the condition does not hold.
    """
    campaigns = project.database[CAMPAIGNS]
    while True:
        found = campaigns.find_one({"_id": name, **condition}, {"counters": 1})
        if found is None:
            return False
        last = (found.get("counters") or {}).get("events")
        waiting = numbered(name, lines, last or 0)
        fields = dict(changes) | ({"counters.events": (last or 0) + len(waiting)} if waiting else {})
        update: dict[str, Any] = {"$set": fields}
        if changes:
            update["$inc"] = {"version": 1}
        if waiting:
            update["$push"] = {WAITING: {"$each": waiting}}
        # The count is part of the condition: who writes a line meanwhile makes this one be numbered anew.
        counted = {"$exists": False} if last is None else last
        if campaigns.update_one({"_id": name, **condition, "counters.events": counted}, update).matched_count:
            deliver(project, name)
            return True


def numbered(name: str, lines: Sequence[Line], last: int) -> list[dict[str, Any]]:
    """Return the documents of lines, the first with the number after `last`."""
    return [
        EventRecord(
            id=f"{name}/{number:08d}", campaign=name, kind=line.kind, message=line.message, details=line.details or {}
        ).to_mongo()
        for number, line in enumerate(lines, start=last + 1)
    ]


def deliver(project: Project, name: str) -> int:
    """Write the lines that wait in a campaign's document into the log; safe to repeat.

    Returns
    -------
    int
        How many there were.
    """
    found = project.database[CAMPAIGNS].find_one({"_id": name, f"{WAITING}.0": {"$exists": True}}, {WAITING: 1})
    waiting = [] if found is None else list(found[WAITING])
    if waiting:
        project.insert_missing(EVENTS, waiting)
        told = {"$pull": {WAITING: {"_id": {"$in": [line["_id"] for line in waiting]}}}}
        project.database[CAMPAIGNS].update_one({"_id": name}, told)
    return len(waiting)
