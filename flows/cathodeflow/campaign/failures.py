"""What has failed for good or waits for its next attempt: labels and follow-ups given up on, and FIZZLED jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from cathodeflow.errors import DefinitionError
from cathodeflow.records.campaign import CampaignRecord
from cathodeflow.records.candidate import candidate_id
from cathodeflow.records.followup import follow_up_key
from cathodeflow.records.outcomes import Branch, JobKind, Outcome, Reason, Stage
from cathodeflow.storage.collections import FOLLOW_UPS

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

FIZZLED = "fizzled"
QUARANTINED = "quarantined"
DAMAGED = "damaged"
"""State of a static run that was done and that a branch cannot read any more."""
NO_JOB = "its job is no longer in the store"
OTHER_NAMES = {
    "oom": Reason.OUT_OF_MEMORY,
    "memory": Reason.OUT_OF_MEMORY,
    "time_limit": Reason.TIMEOUT,
    "wall_time": Reason.WALLTIME,
    "node_failure": Reason.NODE_FAIL,
    "preempt": Reason.PREEMPTED,
    "canceled": Reason.CANCELLED,
    "lost": Reason.VANISHED,
    "unconverged": Reason.NOT_CONVERGED,
}
"""What people, and Slurm, call some of the reasons."""


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
        ``fizzled``, ``quarantined`` or ``damaged``.
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
    launch_id : int or None
        The launch that failed, of a FIZZLED job.
    memory, time : tuple of float
        What its last attempt had and its next one will have, in times of what the site gives.
    by_name_only : bool
        Whether it is only meant when its key is asked for: the branch that cannot read it may be the one to run again.
    """

    kind: JobKind
    key: str
    state: str
    reason: Reason
    message: str
    attempts: int
    fw_ids: tuple[int, ...]
    why_not: str = ""
    launch_id: int | None = None
    memory: tuple[float, float] = (1.0, 1.0)
    time: tuple[float, float] = (1.0, 1.0)
    by_name_only: bool = False


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
            and (job.key in self.keys or not (self.keys or job.by_name_only))
            and (self.state is None or job.state == self.state)
        )


def select(
    reason: str | None = None, kind: str | None = None, keys: Sequence[str] = (), state: str | None = None
) -> Selection:
    """Check what a person asks for.

    Parameters
    ----------
    reason : str, optional
        A word of `Reason`, or what else people call it (`OTHER_NAMES`), in any case.
    kind, keys, state
        As in `Selection`.

    Raises
    ------
    DefinitionError
        A reason, kind or state that does not exist; names those there are.
    """
    if kind is not None and kind not in list(JobKind):
        raise DefinitionError(f"{kind!r} is no kind of job: there are {', '.join(JobKind)}")
    if state not in {None, FIZZLED, QUARANTINED}:
        raise DefinitionError(f"{state!r} is no state of a failure: there are {FIZZLED} and {QUARANTINED}")
    return Selection(
        None if reason is None else named_reason(reason),
        JobKind(kind) if kind else None,
        tuple(keys),
        state,  # type: ignore[arg-type]
    )


def named_reason(word: str) -> Reason:
    """Return the reason a person means.

    Raises
    ------
    DefinitionError
        None is called so; names the nearest and all there are.
    """
    name = word.strip().lower().replace("-", "_").replace(" ", "_")
    if name in OTHER_NAMES:
        return OTHER_NAMES[name]
    if name in set(Reason):
        return Reason(name)
    near = get_close_matches(name, [*Reason, *OTHER_NAMES], n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    raise DefinitionError(f"{word!r} is no reason of a failure: {guess}there are {', '.join(Reason)}")


def failures(project: Project, campaign: CampaignRecord) -> list[FailedJob]:
    """List what failed in a campaign.

    Returns
    -------
    list of FailedJob
        Quarantined labels first, then follow-ups, then jobs, each in the order they were added.
    """
    attempts = _attempts(project, campaign.id)
    given_up = [
        *_quarantined_labels(project, campaign, attempts),
        *_quarantined_follow_ups(project, campaign.id, attempts),
    ]
    known = {(job.kind, job.key) for job in given_up}
    jobs = _fizzled_jobs(project, campaign.id, attempts)
    return [*given_up, *(job for job in jobs if (job.kind, job.key) not in known)]


def _attempts(project: Project, name: str) -> Counter[tuple[str, str]]:
    found = project.database["attempts"].find({"campaign": name}, {"kind": 1, "key": 1})
    return Counter((entry["kind"], entry["key"]) for entry in found)


def _quarantined_labels(
    project: Project, campaign: CampaignRecord, attempts: Counter[tuple[str, str]]
) -> list[FailedJob]:
    fields = {"key": 1, "reason": 1, "message": 1, "round": 1}
    condition = {"campaign": campaign.id, "outcome": Outcome.QUARANTINED.value}
    found = list(project.database["labels"].find(condition, fields))
    if not found:
        return []
    fireworks = _jobs_of_labels(project, campaign.id, [entry["key"] for entry in found])
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
    fields = {"key": 1, "branch": 1, "reason": 1, "message": 1}
    condition = {"campaign": name, "outcome": Outcome.QUARANTINED.value}
    found = list(project.database[FOLLOW_UPS].find(condition, fields))
    if not found:
        return []
    from cathodeflow.dispatch.rerun import causes
    from cathodeflow.dispatch.workflows import job_states

    keys = [follow_up_key(entry["key"], Branch(entry["branch"])) for entry in found]
    jobs = {state.key: state.fw_id for state in job_states(project, name, JobKind.FOLLOW_UP, keys)}
    first = causes(project, list(jobs.values()))
    damaged = _damaged_static_runs(project, name, found, attempts)
    lost = [
        FailedJob(
            JobKind.FOLLOW_UP,
            key,
            QUARANTINED,
            Reason(entry["reason"]),
            _with_remedy(entry, damaged),
            attempts[JobKind.FOLLOW_UP.value, key],
            first[jobs[key]] if key in jobs else (),
            _why_not_branch(entry, key in jobs),
        )
        for key, entry in zip(keys, found, strict=True)
    ]
    # First: what builds on one of them waits for it, whether it is asked for as well or not.
    return [*damaged.values(), *lost]


def _why_not_branch(entry: dict[str, Any], has_job: bool) -> str:
    if entry["reason"] == Reason.PREREQUISITE_FAILED:
        return f"it comes back with its static run: `cflow resubmit --key {_static_key(entry)}`"
    return "" if has_job else NO_JOB


def _with_remedy(entry: Mapping[str, Any], damaged: Mapping[str, FailedJob]) -> str:
    """Return a branch's message, and what is to be done when it is a file of the static run that it could not read."""
    from cathodeflow.jobs.followups.branch import RUN_IT_AGAIN

    key, message = _static_key(entry), str(entry["message"])
    if key not in damaged or entry["reason"] != Reason.BROKEN_OUTPUT:
        return message
    return message.removesuffix(RUN_IT_AGAIN) + RUN_IT_AGAIN.replace(f"CANDIDATE/{Branch.STATIC.value}", key)


def _static_key(entry: Mapping[str, Any]) -> str:
    return follow_up_key(entry["key"], Branch.STATIC)


def _damaged_static_runs(
    project: Project, name: str, lost: Sequence[Mapping[str, Any]], attempts: Counter[tuple[str, str]]
) -> dict[str, FailedJob]:
    """Return the static runs that are done and whose files may be what branches cannot read, by key."""
    from cathodeflow.dispatch.workflows import job_states

    unread: dict[str, list[str]] = {}
    for entry in lost:
        if entry["reason"] == Reason.BROKEN_OUTPUT and entry["branch"] != Branch.STATIC:
            unread.setdefault(_static_key(entry), []).append(entry["branch"])
    if not unread:
        return {}
    done = {"_id": {"$in": [candidate_id(name, key) for key in unread]}, "outcome": Outcome.DONE.value}
    written = {_static_key(entry) for entry in project.database[FOLLOW_UPS].find(done, {"key": 1})}
    states = job_states(project, name, JobKind.FOLLOW_UP, sorted(written))
    return {
        state.key: FailedJob(
            JobKind.FOLLOW_UP,
            state.key,
            DAMAGED,
            Reason.BROKEN_OUTPUT,
            f"done, but not read by {', '.join(unread[state.key])}",
            attempts[JobKind.FOLLOW_UP.value, state.key],
            (state.fw_id,),
            by_name_only=True,
        )
        for state in states
        if state.state == "COMPLETED"
    }


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
        return NO_JOB
    if label["key"] in open_keys:
        return ""
    return (
        f"the labels of round {label['round'] + 1} are in use already: its networks, which are written once, were "
        "trained without it; launch a campaign of another name to include it"
    )


def _jobs_of_labels(project: Project, name: str, keys: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return which jobs of each label's workflow run again: those that failed first, else those it begins with."""
    found = project.database["workflows"].find(
        {"metadata.campaign": name, "metadata.kind": JobKind.LABEL.value, "metadata.key": {"$in": list(keys)}},
        {"metadata.key": 1, "nodes": 1, "links": 1, "fw_states": 1},
    )
    return {entry["metadata"]["key"]: _first_jobs(entry) for entry in found}


def _first_jobs(workflow: dict[str, Any]) -> tuple[int, ...]:
    from cathodeflow.dispatch.rerun import first_failed

    if len(workflow["nodes"]) == 1:
        return tuple(workflow["nodes"])
    below = {child for children in workflow["links"].values() for child in children}
    return first_failed(workflow) or tuple(sorted(set(workflow["nodes"]) - below))


def _fizzled_jobs(project: Project, name: str, attempts: Counter[tuple[str, str]]) -> list[FailedJob]:
    from cathodeflow.dispatch.jobs import list_fireworks
    from cathodeflow.dispatch.rerun import causes
    from cathodeflow.dispatch.workflows import failures_of

    fizzled = [job for job in list_fireworks(project, name, ["FIZZLED"]) if job.kind is not None]
    first = causes(project, [job.fw_id for job in fizzled])
    said = failures_of(project, sorted({cause for causing in first.values() for cause in causing}))
    jobs: dict[tuple[JobKind, str], FailedJob] = {}
    for job in fizzled:
        # One that failed for want of another's result fails for that one's reason, and runs again with it.
        kind, key, causing = JobKind(str(job.kind)), str(job.key), first[job.fw_id]
        reported = said[causing[0]]
        reason = Reason(reported.reason) if reported.reason in list(Reason) else Reason.CALCULATION_ERROR
        there = jobs.get((kind, key))
        fw_ids = causing if there is None else tuple(dict.fromkeys((*there.fw_ids, *causing)))
        jobs[kind, key] = FailedJob(
            *(kind, key, FIZZLED, reason, reported.message, attempts[kind, key], fw_ids), launch_id=reported.launch_id
        )
    return list(jobs.values())
