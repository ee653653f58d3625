"""Running failed jobs and quarantined labels again, when a person asks for it.

Documents are written once. A quarantined label that is run again is the one exception: it is taken out, and what it
said stays in the attempts and the events. A label whose round has already been trained on is not run again: the
networks of that round were trained without it, and they are written once too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cathodeflow.campaign import transitions
from cathodeflow.errors import DefinitionError
from cathodeflow.records.campaign import AttemptRecord, CampaignRecord
from cathodeflow.records.followup import follow_up_key
from cathodeflow.records.outcomes import Branch, CampaignState, JobKind, Outcome, Reason, Stage
from cathodeflow.storage.collections import FOLLOW_UPS

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

FIZZLED = "fizzled"
QUARANTINED = "quarantined"
MESSAGE_LENGTH = 2000
RESUBMITTED = "resubmitted"  # kind of the event


@dataclass(frozen=True)
class Selection:
    """Which failures are meant; None and empty mean all.

    Attributes
    ----------
    reason : Reason or None
        Why it failed.
    kind : JobKind or None
        What the job makes.
    keys : tuple of str
        Which ones.
    state : str or None
        ``fizzled`` (jobs) or ``quarantined`` (labels and branches of follow-ups).
    """

    reason: Reason | None = None
    kind: JobKind | None = None
    keys: tuple[str, ...] = ()
    state: Literal["fizzled", "quarantined"] | None = None

    def matches(self, job: FailedJob) -> bool:
        """Whether a failure is meant."""
        return (
            (self.reason is None or self.reason == job.reason)
            and (self.kind is None or job.kind == self.kind)
            and (not self.keys or job.key in self.keys)
            and (self.state is None or job.state == self.state)
        )


@dataclass(frozen=True)
class Terms:
    """What is different when jobs are run again.

    Attributes
    ----------
    memory, time : float or None
        Times what the first launch asked the scheduler for; None leaves them as they are.
    go_on : bool or None
        Whether to go on from what the last attempt wrote (CONTCAR, WAVECAR) or to start anew; None leaves it as the
        campaign decided.
    """

    memory: float | None = None
    time: float | None = None
    go_on: bool | None = None


@dataclass(frozen=True)
class FailedJob:
    """One failure.

    Attributes
    ----------
    kind : JobKind
        What the job makes.
    key : str
        Which one.
    state : str
        ``fizzled`` or ``quarantined``.
    reason : Reason
        Why.
    message : str
        In the words of what failed.
    attempts : int
        Failed attempts written down so far.
    fw_ids : tuple of int
        Fireworks to run again.
    why_not : str
        Why it cannot be run again; empty when it can.
    """

    kind: JobKind
    key: str
    state: str
    reason: Reason
    message: str
    attempts: int
    fw_ids: tuple[int, ...]
    why_not: str = ""


@dataclass(frozen=True)
class Resubmission:
    """What is run again.

    Attributes
    ----------
    campaign : str
        Of which campaign.
    jobs, refused : tuple of FailedJob
        Those that are, and those that match but cannot.
    goes_back_to : str or None
        The stage a campaign that had stopped or ended returns to.
    warning : str
        Why the campaign would stop again all the same; empty when it would not.
    """

    campaign: str
    jobs: tuple[FailedJob, ...]
    refused: tuple[FailedJob, ...]
    goes_back_to: str | None
    warning: str = ""

    def by_reason(self) -> dict[str, int]:
        """Count the jobs by reason."""
        return dict(Counter(job.reason.value for job in self.jobs))


def select(
    reason: str | None = None, kind: str | None = None, keys: Sequence[str] = (), state: str | None = None
) -> Selection:
    """Check what a person asks for.

    Raises
    ------
    DefinitionError
        A reason, kind or state that does not exist; names those there are.
    """
    if reason is not None and reason not in list(Reason):
        raise DefinitionError(f"{reason!r} is no reason of a failure: there are {', '.join(Reason)}")
    if kind is not None and kind not in list(JobKind):
        raise DefinitionError(f"{kind!r} is no kind of job: there are {', '.join(JobKind)}")
    if state not in {None, FIZZLED, QUARANTINED}:
        raise DefinitionError(f"{state!r} is no state of a failure: there are {FIZZLED} and {QUARANTINED}")
    return Selection(
        Reason(reason) if reason else None,
        JobKind(kind) if kind else None,
        tuple(keys),
        state,  # type: ignore[arg-type]
    )


def plan_resubmission(project: Project, name: str, selection: Selection) -> Resubmission:
    """Find what a resubmission would run again; changes nothing.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    selection : Selection
        Which failures are meant.

    Returns
    -------
    Resubmission
        Quarantined labels first, then jobs, each in the order they were added.
    """
    campaign = transitions.read_campaign(project, name)
    attempts = _attempts(project, name)
    labels = _quarantined_labels(project, campaign, attempts)
    branches = _quarantined_follow_ups(project, name, attempts)
    given_up = {(job.kind, job.key) for job in (*labels, *branches)}
    jobs = [job for job in _fizzled_jobs(project, name, attempts) if (job.kind, job.key) not in given_up]
    matching = [job for job in (*labels, *branches, *jobs) if selection.matches(job)]
    chosen = tuple(job for job in matching if not job.why_not)
    ended = campaign.state in {CampaignState.STOPPED, CampaignState.DONE}
    stage = Stage.VALIDATE if campaign.stage == Stage.DONE else campaign.stage
    return Resubmission(
        name,
        chosen,
        tuple(job for job in matching if job.why_not),
        stage.value if chosen and ended else None,
        _warning(campaign, labels, chosen) if chosen else "",
    )


def _warning(campaign: CampaignRecord, labels: list[FailedJob], chosen: tuple[FailedJob, ...]) -> str:
    """Return what is to be said when more labels stay quarantined than the definition tolerates."""
    if campaign.stage != Stage.LABEL:
        return ""
    wanted = set(campaign.selections.get(str(campaign.round), ()))
    again = {job.key for job in chosen}
    left = sum(job.key in wanted and job.key not in again for job in labels)
    tolerated = campaign.definition["failures"]["tolerated_fraction"]
    if left <= tolerated * len(wanted):
        return ""
    return (
        f"{left} of {len(wanted)} labels stay quarantined, and the definition tolerates {tolerated:.0%}: "
        "the campaign stops again unless they are resubmitted too"
    )


def resubmit(project: Project, name: str, selection: Selection, terms: Terms | None = None) -> Resubmission:
    """Run failures again, in one transaction. `campaign.undo` takes it back.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    selection : Selection
        Which failures are meant.
    terms : Terms, optional
        What is different this time.

    Returns
    -------
    Resubmission
        What is run again, and what is not and why.
    """
    from cathodeflow.dispatch.launchpad import rerun

    with project.transaction():
        made = plan_resubmission(project, name, selection)
        if not made.jobs:
            return made
        # On a server each write stands alone. Jobs first: a driver that ticks meanwhile finds their labels settled
        # still, and whoever is killed here asks again.
        for fw_id in (fw_id for job in made.jobs for fw_id in job.fw_ids):
            rerun(project, [fw_id], _changes(project, fw_id, terms or Terms()))
        for job in made.jobs:
            _write_down(project, name, job)
        again = [job for job in made.jobs if job.state == QUARANTINED]
        labels = [job.key for job in again if job.kind == JobKind.LABEL]
        branches = [job.key for job in again if job.kind == JobKind.FOLLOW_UP]
        number = project.count("events", {"campaign": name, "kind": RESUBMITTED}) + 1
        transitions.withdraw_labels(project, name, labels, number)
        transitions.withdraw_follow_ups(project, name, branches, number)
        details = {
            "number": number,
            "by_reason": made.by_reason(),
            "keys": [job.key for job in made.jobs],
            "ids": [f"{name}/{job.key}" for job in made.jobs],
            "fw_ids": [list(job.fw_ids) for job in made.jobs],
        }
        transitions.append_event(project, name, RESUBMITTED, f"a person resubmitted {len(made.jobs)} jobs", details)
        transitions.reopen(project, name)
    return made


def _changes(project: Project, fw_id: int, terms: Terms) -> dict[str, Any]:
    from cathodeflow.dispatch.launchpad import CONTINUE_FROM, MEMORY_FACTOR, TIME_FACTOR
    from cathodeflow.dispatch.workflows import failure_of

    changes: dict[str, Any] = {}
    if terms.memory is not None:
        changes[MEMORY_FACTOR] = terms.memory
    if terms.time is not None:
        changes[TIME_FACTOR] = terms.time
    if terms.go_on is not None:
        folder = failure_of(project, fw_id).folder if terms.go_on else None
        changes[CONTINUE_FROM] = None if folder is None else str(folder)
    return changes


def _write_down(project: Project, name: str, job: FailedJob) -> None:
    """Write the failure that is run again as an attempt, unless the driver did when it happened."""
    attempt = job.attempts + 1
    if job.attempts and not _is_new(project, name, job):
        return
    transitions.record_attempt(
        project,
        AttemptRecord(
            id=f"{name}/{job.kind}/{job.key}/{attempt}",
            campaign=name,
            kind=job.kind,
            key=job.key,
            attempt=attempt,
            fw_id=job.fw_ids[-1],
            outcome=Outcome.QUARANTINED if job.state == QUARANTINED else Outcome.FAILED,
            reason=job.reason,
            message=job.message[:MESSAGE_LENGTH],
            considered=["a person asked to run it again"],
            action="resubmit",
        ),
    )


def _is_new(project: Project, name: str, job: FailedJob) -> bool:
    """Whether the failure came after the last attempt that was written down (which led to another run)."""
    last = project.database["attempts"].find_one({"_id": f"{name}/{job.kind}/{job.key}/{job.attempts}"})
    return last is None or last["action"] in {"rerun", "resubmit"}


def _attempts(project: Project, name: str) -> Counter[tuple[str, str]]:
    found = project.database["attempts"].find({"campaign": name}, {"kind": 1, "key": 1})
    return Counter((entry["kind"], entry["key"]) for entry in found)


def _quarantined_labels(
    project: Project, campaign: CampaignRecord, attempts: Counter[tuple[str, str]]
) -> list[FailedJob]:
    found = list(
        project.database["labels"].find(
            {"campaign": campaign.id, "outcome": Outcome.QUARANTINED.value},
            {"key": 1, "reason": 1, "message": 1, "purpose": 1, "round": 1},
        )
    )
    if not found:
        return []
    fireworks = _fireworks_of(project, campaign.id, [entry["key"] for entry in found])
    open_keys = _open_keys(project, campaign)
    return [
        FailedJob(
            JobKind.LABEL,
            entry["key"],
            QUARANTINED,
            Reason(entry["reason"] or Reason.CALCULATION_ERROR),
            entry["message"],
            attempts[JobKind.LABEL.value, entry["key"]],
            fireworks.get(entry["key"], ()),
            _why_not(entry, open_keys, fireworks),
        )
        for entry in found
    ]


def _quarantined_follow_ups(project: Project, name: str, attempts: Counter[tuple[str, str]]) -> list[FailedJob]:
    found = list(
        project.database[FOLLOW_UPS].find(
            {"campaign": name, "outcome": Outcome.QUARANTINED.value},
            {"key": 1, "branch": 1, "reason": 1, "message": 1},
        )
    )
    if not found:
        return []
    from cathodeflow.dispatch.workflows import job_states

    keys = [follow_up_key(entry["key"], Branch(entry["branch"])) for entry in found]
    jobs = {state.key: state.fw_id for state in job_states(project, name, JobKind.FOLLOW_UP, keys)}
    return [
        FailedJob(
            JobKind.FOLLOW_UP,
            key,
            QUARANTINED,
            Reason(entry["reason"]),
            entry["message"],
            attempts[JobKind.FOLLOW_UP.value, key],
            (jobs[key],) if key in jobs else (),
            "it comes back with its static run: resubmit that" if entry["reason"] == Reason.PREREQUISITE_FAILED else "",
        )
        for key, entry in zip(keys, found, strict=True)
    ]


def _open_keys(project: Project, campaign: CampaignRecord) -> frozenset[str]:
    """Return the candidates whose labels the campaign still takes in: of its present stage, or of its validation."""
    if campaign.stage == Stage.LABEL:
        return frozenset(campaign.selections.get(str(campaign.round), ()))
    if campaign.stage in {Stage.VALIDATE, Stage.FOLLOW_UP, Stage.DONE} and campaign.shortlist:
        from cathodeflow.campaign.advance import default_recipes
        from cathodeflow.campaign.stages.label import ValidateStage
        from cathodeflow.campaign.stages.work import StageContext

        return frozenset(ValidateStage(StageContext(project, campaign, default_recipes())).wanted())
    return frozenset()


def _why_not(label: dict[str, Any], open_keys: frozenset[str], fireworks: dict[str, tuple[int, ...]]) -> str:
    if label["key"] not in fireworks:
        return "its job is no longer in the store"
    if label["key"] in open_keys:
        return ""
    return (
        f"the labels of round {label['round'] + 1} are in use already: its networks, which are written once, were "
        "trained without it; launch a campaign of another name to include it"
    )


def _fireworks_of(project: Project, name: str, keys: Sequence[str]) -> dict[str, tuple[int, ...]]:
    found = project.database["workflows"].find(
        {"metadata.campaign": name, "metadata.kind": JobKind.LABEL.value, "metadata.key": {"$in": list(keys)}},
        {"metadata.key": 1, "nodes": 1},
    )
    return {entry["metadata"]["key"]: (min(entry["nodes"]),) for entry in found}


def _fizzled_jobs(project: Project, name: str, attempts: Counter[tuple[str, str]]) -> list[FailedJob]:
    from cathodeflow.dispatch.jobs import list_fireworks
    from cathodeflow.dispatch.workflows import failure_of

    jobs = []
    for job in list_fireworks(project, name, ["FIZZLED"]):
        assert job.kind is not None
        assert job.key is not None
        reported = failure_of(project, job.fw_id)
        reason = Reason(reported.reason) if reported.reason in list(Reason) else Reason.CALCULATION_ERROR
        jobs.append(
            FailedJob(
                JobKind(job.kind), job.key, FIZZLED, reason, reported.message, attempts[job.kind, job.key], (job.fw_id,)
            )
        )
    return jobs
