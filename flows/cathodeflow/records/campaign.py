"""The campaign document, its events and the attempts at its jobs."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from cathodeflow.records.document import Document, Moment, Part, now
from cathodeflow.records.host import HostSpec
from cathodeflow.records.outcomes import CampaignState, JobKind, Outcome, Reason, Stage


class StageTime(Part):
    """When a stage of a round was entered."""

    stage: Stage
    round: int
    entered_at: Moment


class Space(Part):
    """What the enumeration found; candidates are never added afterwards, so that nobody need count them again.

    Attributes
    ----------
    levels : dict of str to int
        Distinct arrangements of each working-ion level.
    substituted : int
        Compositions, the pristine host's not counted.
    """

    levels: dict[str, int]
    substituted: int


class Lease(Part):
    """Who drives the campaign, and until when nobody else may."""

    holder: str
    expires_at: Moment


class BeforeMove(Part):
    """What a campaign was when it was stopped for its project to be moved to another store."""

    state: CampaignState
    message: str


class CampaignRecord(Document):
    """A campaign. Only `campaign/transitions.py` changes it, by compare-and-set on `version`.

    Attributes
    ----------
    definition : dict
        The whole definition as launched.
    definition_sha256 : str
        Of its canonical JSON; a changed file is noticed by it.
    space : Space or None
        None until it is enumerated, and in documents of before it was kept here.
    version : int
        Grows with each transition.
    selections : dict
        Round (as text) to the candidate keys chosen for labelling in it.
    harvested : dict
        ``<kind>:<key>`` of the jobs whose many documents are all written, to how many they were.
    shortlist : list of str
        Compositions to be validated, pristine host first.
    message : str
        Why it is where it is, for people.
    undelivered_events : list of dict
        Lines of the log written with the last change and on their way to the collection of events.
    before_move : BeforeMove or None
        Set while it is stopped because the project is on its way to another store, and for good in the store it left.
    intent : dict or None
        What a person's command is doing to many of its jobs (`campaign.intent`).
    """

    definition: dict[str, Any]
    definition_sha256: str
    host: HostSpec
    space: Space | None = None
    provenance: str
    state: CampaignState = CampaignState.RUNNING
    stage: Stage = Stage.ENUMERATE
    round: int = 0
    version: int = 0
    selections: dict[str, list[str]] = {}
    shortlist: list[str] = []
    harvested: dict[str, int] = {}
    counters: dict[str, int] = {}
    stage_times: list[StageTime] = []
    message: str = ""
    started_at: Moment = Field(default_factory=now)
    finished_at: Moment | None = None
    software: dict[str, str] = {}
    lease: Lease | None = None
    undelivered_events: list[dict[str, Any]] = []
    before_move: BeforeMove | None = None
    intent: dict[str, Any] | None = None


class EventRecord(Document):
    """One line of a campaign's log. Never changed."""

    campaign: str
    kind: str
    message: str
    details: dict[str, Any] = {}


class AttemptRecord(Document):
    """One attempt at a job that did not end well, and what was decided.

    `_id` is ``<campaign>/<kind>/<key>/<attempt>``.

    Attributes
    ----------
    considered : list of str
        What the policy weighed, in words.
    action : str
        What it decided, a word of `campaign.resubmission.Action`; ``resubmit`` is a person's.
    """

    campaign: str
    kind: JobKind
    key: str
    attempt: int
    fw_id: int | None
    launch_id: int | None = None
    outcome: Outcome
    reason: Reason
    message: str = ""
    considered: list[str] = []
    action: str


class WithdrawnRecord(Document):
    """A document that a resubmission has set aside; `_id` is ``<campaign>/<resubmission>/<collection>/<its _id>``."""

    campaign: str
    resubmission: int
    collection: str
    document: dict[str, Any]
