"""The only writer of campaign state, with `event_log`, `intent` and `withdrawn`.

Every function is idempotent and one transaction of the store.
On a MongoDB server, which has no transactions here, each is one deciding write, or an order of writes that a repeat
completes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign.event_log import WAITING, Line, change_and_tell, deliver, numbered
from cathodeflow.errors import CampaignError, LeaseError, StaleCampaignError
from cathodeflow.records.campaign import (
    AttemptRecord,
    CampaignRecord,
    Lease,
    StageTime,
)
from cathodeflow.records.document import Document, now
from cathodeflow.records.outcomes import CampaignState, JobKind, Stage

if TYPE_CHECKING:
    from cathodeflow.records.label import LabelRecord
    from cathodeflow.storage.connection import Project

CHUNK = 5000
LABELLING = frozenset({Stage.ENUMERATE, Stage.REFERENCE, Stage.LABEL})
"""Stages before the networks of a round are trained: what was chosen for it is still waited for."""


def read_campaign(project: Project, name: str) -> CampaignRecord:
    """Read a campaign.

    Raises
    ------
    CampaignError
        There is none of that name; says which there are.
    """
    document = project.database["campaigns"].find_one({"_id": name})
    if document is None:
        raise unknown_campaign(project, name)
    return CampaignRecord.from_mongo(document)


def unknown_campaign(project: Project, name: str) -> CampaignError:
    """Return the refusal of a name that no campaign of the project has; it says which there are."""
    names = project.campaign_names()
    there = f"there are {', '.join(names)}" if names else "the project has none yet: `cflow launch campaign.yaml`"
    return CampaignError(f"no campaign named {name!r} in {project.folder}; {there}")


def create_campaign(project: Project, record: CampaignRecord) -> None:
    """Write a new campaign.

    Raises
    ------
    CampaignError
        The name is taken.
    """
    lines = numbered(record.id, [Line("launched", f"campaign {record.id} launched")], 0)
    document = record.to_mongo() | {"counters": {**record.counters, "events": len(lines)}, WAITING: lines}
    with project.transaction():
        if not project.insert_missing("campaigns", [document]):
            raise CampaignError(f"a campaign named {record.id!r} exists already: choose another name")
        deliver(project, record.id)


def record_once(project: Project, collection: str, document: Document) -> bool:
    """Write a document unless one with its natural key is there.

    Returns
    -------
    bool
        Whether it was written.
    """
    return project.insert_missing(collection, [document.to_mongo()]) == 1


def record_many_once(project: Project, collection: str, documents: Iterable[Document]) -> int:
    """Write many documents, those that are there already left as they are.

    Parameters
    ----------
    project : Project
        The open project.
    collection : str
        Where to.
    documents : iterable of Document
        May be a generator: it is written in chunks, each atomic.

    Returns
    -------
    int
        How many were new.
    """
    written, stream = 0, iter(documents)
    while chunk := [document.to_mongo() for document in islice(stream, CHUNK)]:
        written += project.insert_missing(collection, chunk)
    return written


def append_event(
    project: Project, campaign: str, kind: str, message: str, details: dict[str, Any] | None = None
) -> None:
    """Add a line to a campaign's log."""
    with project.transaction():
        if not change_and_tell(project, campaign, {}, {}, [Line(kind, message, details)]):
            raise unknown_campaign(project, campaign)


def mark_harvested(project: Project, name: str, kind: JobKind, key: str, documents: int) -> None:
    """Write down that the many documents a job made are all written; after them, in the same transaction if any."""
    project.database["campaigns"].update_one(
        {"_id": name}, {"$set": {f"harvested.{kind.value}:{key}": documents}, "$inc": {"version": 1}}
    )


def record_attempt(project: Project, attempt: AttemptRecord) -> bool:
    """Write down a failed attempt and what was decided, once."""
    return record_once(project, "attempts", attempt)


def _compare_and_set(
    project: Project, campaign: CampaignRecord, changes: dict[str, Any], *lines: Line
) -> CampaignRecord:
    """Apply `changes` and log `lines` if nobody else moved the campaign on since it was read.

    Raises
    ------
    StaleCampaignError
        Somebody did.
    """
    if not change_and_tell(project, campaign.id, {"version": campaign.version}, changes, lines):
        raise StaleCampaignError(f"campaign {campaign.id} was changed by somebody else meanwhile: try again")
    return read_campaign(project, campaign.id)


def enter_stage(
    project: Project,
    campaign: CampaignRecord,
    stage: Stage,
    round_number: int,
    changes: dict[str, Any] | None = None,
    before: Sequence[Line] = (),
) -> CampaignRecord:
    """Move a campaign to a stage.

    Parameters
    ----------
    project : Project
        The open project.
    campaign : CampaignRecord
        As it was read; compare-and-set on its version.
    stage : Stage
        Where to.
    round_number : int
        Round of labelling it belongs to, from 0.
    changes : dict, optional
        Further fields that change with it, e.g. the selection of the round.
    before : sequence of Line
        For the log, before the line that the stage was entered.

    Returns
    -------
    CampaignRecord
        As it is now.
    """
    with project.transaction():
        time = StageTime(stage=stage, round=round_number, entered_at=now())
        fields: dict[str, Any] = {
            "stage": stage.value,
            "round": round_number,
            "stage_times": [entry.model_dump() for entry in (*campaign.stage_times, time)],
            **(changes or {}),
        }
        if stage == Stage.DONE:
            fields |= {"state": CampaignState.DONE.value, "finished_at": now()}
        line = Line("stage", f"entered {stage} (round {round_number + 1})")
        return _compare_and_set(project, campaign, fields, *before, line)


def change_state(
    project: Project, name: str, allowed: frozenset[CampaignState], state: CampaignState, message: str
) -> CampaignRecord:
    """Pause, resume or stop a campaign.

    Raises
    ------
    CampaignError
        Its present state does not allow it.
    """
    with project.transaction():
        campaign = read_campaign(project, name)
        if campaign.state == state:
            return campaign
        if campaign.state not in allowed:
            raise CampaignError(f"campaign {name} is {campaign.state}: it cannot become {state}")
        return _compare_and_set(
            project, campaign, {"state": state.value, "message": message}, Line(state.value, message)
        )


def pause(project: Project, name: str) -> CampaignRecord:
    """Let no further job of a campaign start; those that run are finished."""
    return change_state(project, name, frozenset({CampaignState.RUNNING}), CampaignState.PAUSED, "paused by a person")


def resume(project: Project, name: str) -> CampaignRecord:
    """Let a paused or stopped campaign go on."""
    allowed = frozenset({CampaignState.PAUSED, CampaignState.STOPPED})
    return change_state(project, name, allowed, CampaignState.RUNNING, "resumed by a person")


def stop(project: Project, name: str, reason: str) -> CampaignRecord:
    """End a campaign that cannot go on, with the reason."""
    allowed = frozenset({CampaignState.RUNNING, CampaignState.PAUSED})
    return change_state(project, name, allowed, CampaignState.STOPPED, reason)


def reopening(campaign: CampaignRecord) -> tuple[dict[str, Any], list[Line]]:
    """Return what changes of a campaign that has stopped or ended when its failed jobs are resubmitted.

    One that is done returns to its validation, one that stopped to the stage it stopped in.
    """
    if campaign.state not in {CampaignState.STOPPED, CampaignState.DONE}:
        return {}, []
    message = "failed jobs were resubmitted by a person"
    fields: dict[str, Any] = {"state": CampaignState.RUNNING.value, "message": message, "finished_at": None}
    if campaign.stage != Stage.DONE:
        return fields, [Line(CampaignState.RUNNING.value, message)]
    entered = StageTime(stage=Stage.VALIDATE, round=campaign.round, entered_at=now())
    fields |= {
        "stage": Stage.VALIDATE.value,
        "stage_times": [entry.model_dump() for entry in (*campaign.stage_times, entered)],
    }
    return fields, [Line("stage", f"entered {Stage.VALIDATE} (round {campaign.round + 1})")]


def round_of_ingested(campaign: CampaignRecord) -> int:
    """Return the round of labelling that ingested labels belong to: the present one, or the next once it trains.

    Raises
    ------
    CampaignError
        The campaign has chosen and trained on its last labels.
    """
    if campaign.stage in LABELLING:
        return campaign.round
    further = campaign.round + 1 < int(campaign.definition["labels"]["rounds"])
    if further and campaign.stage in {Stage.TRAIN, Stage.PREDICT, Stage.SCREEN}:
        return campaign.round + 1
    raise CampaignError(
        f"campaign {campaign.id} is in stage {campaign.stage} of its last round, and what it trained on stays: "
        "launch one of another name and ingest before it trains"
    )


def ingest_label(project: Project, label: LabelRecord) -> bool:
    """Write a label that no job of the campaign made, and count it among those of its round.

    Parameters
    ----------
    project : Project
        The open project.
    label : LabelRecord
        Its `round` is set here.

    Returns
    -------
    bool
        Whether it was written; False where the candidate has a label.

    Raises
    ------
    CampaignError
        As `round_of_ingested`; or the candidate was chosen in a round that has trained without it.
    """
    with project.transaction():
        campaign = read_campaign(project, label.campaign)
        number = round_of_ingested(campaign)
        if project.database["labels"].find_one({"_id": label.id}, {"_id": 1}) is not None:
            return False
        chosen_in = [int(at) for at, keys in campaign.selections.items() if label.key in keys]
        if not chosen_in:
            keys = [*campaign.selections.get(str(number), []), label.key]
            _compare_and_set(project, campaign, {f"selections.{number}": keys})
        elif campaign.stage not in LABELLING and chosen_in[0] <= campaign.round:
            raise CampaignError(f"round {chosen_in[0] + 1} chose {label.key}, left it out and trained without it")
        number = chosen_in[0] if chosen_in else number
        return record_once(project, "labels", label.model_copy(update={"round": number}))


def take_lease(project: Project, name: str, holder: str, seconds: float) -> None:
    """Become, or stay, the campaign's only driver.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    holder : str
        Names this driver: host, process and its start.
    seconds : float
        For how long without a word from it.

    Raises
    ------
    LeaseError
        Another driver holds it and was heard from lately.
    """
    lease = Lease(holder=holder, expires_at=now() + timedelta(seconds=seconds))
    mine = [{"lease": None}, {"lease.holder": holder}, {"lease.expires_at": {"$lte": now()}}]
    taken = project.database["campaigns"].update_one(
        {"_id": name, "$or": mine}, {"$set": {"lease": lease.model_dump()}}
    )
    if taken.matched_count:
        return
    held = read_campaign(project, name).lease
    if held is None:
        raise LeaseError(f"campaign {name} was just let go of by another driver: try again")
    remaining = (held.expires_at - now()).total_seconds()
    raise LeaseError(
        f"campaign {name} is driven by {held.holder}; stop that one, or wait {remaining:.0f} s after it has died"
    )


def release_lease(project: Project, name: str, holder: str) -> None:
    """Let go of a campaign; nothing happens if somebody else holds it by now."""
    project.database["campaigns"].update_one({"_id": name, "lease.holder": holder}, {"$set": {"lease": None}})
