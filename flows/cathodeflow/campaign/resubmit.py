"""Running failed jobs and quarantined labels again, when a person asks for it.

Documents are written once. A quarantined label that is run again is the one exception: it is taken out, and what it
said stays in the attempts and the events. A label whose round has already been trained on is not run again: the
networks of that round were trained without it, and they are written once too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions, withdrawn
from cathodeflow.campaign.event_log import Line
from cathodeflow.campaign.failures import DAMAGED, QUARANTINED, FailedJob, Selection, failures, select
from cathodeflow.campaign.intent import RESUBMIT, Intent, alone
from cathodeflow.campaign.resubmission import Action
from cathodeflow.campaign.resubmission_warning import warning_of
from cathodeflow.errors import MissingDependencyError
from cathodeflow.records.campaign import AttemptRecord
from cathodeflow.records.outcomes import CampaignState, JobKind, Outcome, Stage

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

__all__ = ["RESUBMITTED", "FailedJob", "Resubmission", "Selection", "Terms", "plan_resubmission", "resubmit", "select"]

MESSAGE_LENGTH = 1000
RESUBMITTED = "resubmitted"  # kind of the event
BATCH = 2_000
"""Jobs of one resubmission: what it takes to do and to undo it is one document, which ends at 16 MB, and on the
embedded store it is one transaction, for which the driver and the workers wait."""


@dataclass(frozen=True)
class Terms:
    """What is different when jobs are run again.

    Attributes
    ----------
    memory, time : float or None
        Times what the last attempt asked the scheduler for; None leaves them as they are.
    go_on : bool or None
        Whether to go on from what the last attempt wrote (CONTCAR, WAVECAR) or to start anew; None leaves it as the
        campaign decided.
    """

    memory: float | None = None
    time: float | None = None
    go_on: bool | None = None


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
    others : dict of str to int
        Failures that were not asked for, by reason.
    number : int or None
        Of this resubmission, from 1, the first of as many as its jobs need; None for a plan.
    """

    campaign: str
    jobs: tuple[FailedJob, ...]
    refused: tuple[FailedJob, ...]
    goes_back_to: str | None
    warning: str = ""
    others: dict[str, int] | None = None
    number: int | None = None

    def by_reason(self) -> dict[str, int]:
        """Count the jobs by reason."""
        return dict(Counter(job.reason.value for job in self.jobs))


def plan_resubmission(project: Project, name: str, selection: Selection, terms: Terms | None = None) -> Resubmission:
    """Find what a resubmission would run again; changes nothing.

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
        Quarantined labels first, then jobs, each in the order they were added.
    """
    campaign = transitions.read_campaign(project, name)
    found = failures(project, campaign)
    matching = [job for job in found if selection.matches(job)]
    can = [job for job in matching if not job.why_not]
    chosen = tuple(_with_factors(project, can, terms or Terms()))
    ended = campaign.state in {CampaignState.STOPPED, CampaignState.DONE}
    stage = Stage.VALIDATE if campaign.stage == Stage.DONE else campaign.stage
    return Resubmission(
        name,
        chosen,
        tuple(job for job in matching if job.why_not),
        stage.value if chosen and ended else None,
        warning_of(campaign, found, chosen),
        dict(Counter(job.reason.value for job in found if not selection.matches(job))),
    )


def _with_factors(project: Project, jobs: list[FailedJob], terms: Terms) -> list[FailedJob]:
    """Say of each job how much memory and time it had, and will have, in times of what the site gives."""
    from cathodeflow.dispatch.launchpad import FACTORS, MEMORY_FACTOR, TIME_FACTOR
    from cathodeflow.dispatch.rerun import specs_of

    specs = specs_of(project, [job.fw_ids[0] for job in jobs], FACTORS)
    found = []
    for job in jobs:
        spec = specs.get(job.fw_ids[0]) or {}
        memory, time = _had_and_will(spec, MEMORY_FACTOR, terms.memory), _had_and_will(spec, TIME_FACTOR, terms.time)
        found.append(replace(job, memory=memory, time=time))
    return found


def _had_and_will(spec: Mapping[str, Any], factor: str, times: float | None) -> tuple[float, float]:
    """Return a factor of a job's last attempt, and of the one that is asked for."""
    from cathodeflow.dispatch.launchpad import factor_of

    had = factor_of(spec, factor)
    return had, max(had * (times or 1.0), 1.0)


def resubmit(
    project: Project,
    name: str,
    selection: Selection,
    terms: Terms | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Resubmission:
    """Run failures again; `campaign.undo` takes it back.

    Many are run again in batches, each a resubmission of its own that names the first one. Each is one transaction on
    the embedded store; on a server, what a kill interrupts is completed by the driver or by the next command. Batches
    that a kill has left out are still failures.

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
    on_progress : callable, optional
        Told how many jobs were run again, and of how many.

    Returns
    -------
    Resubmission
        What is run again, and what is not and why.

    Raises
    ------
    CampaignError
        Another process has been resubmitting jobs of this campaign for a minute.
    """
    asked: Resubmission | None = None
    batches: list[Resubmission] = []
    left: set[tuple[JobKind, str]] = set()
    while asked is None or left:
        with alone(project, name) as intent:
            # Planned when nobody else resubmits: what another person has just run again is no failure any more.
            plan = plan_resubmission(project, name, selection, terms)
            if asked is None:
                asked, left = plan, {(job.kind, job.key) for job in plan.jobs}
            # Each once: one that has failed again meanwhile is for the next command.
            jobs = tuple(job for job in plan.jobs if (job.kind, job.key) in left)[:BATCH]
            if not jobs:
                break
            left -= {(job.kind, job.key) for job in jobs}
            first = batches[0].number if batches else None
            work = _work(project, name, jobs, terms or Terms(), first)
            intent.note(work)
            unloadable = carry_out(project, name, work, intent, _further(on_progress, batches, len(asked.jobs)))
        batches.append(_without(replace(plan, jobs=jobs, refused=(), number=work["number"]), unloadable))
    return _together(asked, batches)


def _further(
    told: Callable[[int, int], None] | None, batches: Sequence[Resubmission], total: int
) -> Callable[[int], None] | None:
    """Return who is told of the progress of the next batch."""
    before = sum(len(batch.jobs) + len(batch.refused) for batch in batches)
    return None if told is None else lambda count: told(before + count, total)


def _together(asked: Resubmission, batches: Sequence[Resubmission]) -> Resubmission:
    """Return what was asked for as it was done."""
    done = tuple(job for batch in batches for job in batch.jobs)
    refused = (*asked.refused, *(job for batch in batches for job in batch.refused))
    number = batches[0].number if batches else None
    return replace(asked, jobs=done, refused=refused, goes_back_to=asked.goes_back_to if done else None, number=number)


def _without(made: Resubmission, unloadable: Mapping[int, str]) -> Resubmission:
    """Move the jobs that could not be loaded to those that are refused."""
    if not unloadable:
        return made
    why = {job: next((unloadable[one] for one in job.fw_ids if one in unloadable), "") for job in made.jobs}
    done = tuple(job for job in made.jobs if not why[job])
    refused = tuple(replace(job, why_not=why[job]) for job in made.jobs if why[job])
    return replace(made, jobs=done, refused=(*made.refused, *refused))


def _work(project: Project, name: str, jobs: Sequence[FailedJob], terms: Terms, first: int | None) -> dict[str, Any]:
    from cathodeflow.dispatch.rerun import SPEC_KEYS, as_they_are

    campaign = transitions.read_campaign(project, name)
    fw_ids = list(dict.fromkeys(fw_id for job in jobs for fw_id in job.fw_ids))
    before = as_they_are(project, fw_ids, SPEC_KEYS)
    number = _last_number(project, name) + 1
    return {
        "what": RESUBMIT,
        "number": number,
        "command": first or number,
        "terms": {"memory": terms.memory, "time": terms.time, "go_on": terms.go_on},
        "jobs": [
            {"kind": job.kind.value, "key": job.key, "state": job.state, "reason": job.reason.value}
            | {"fw_ids": list(job.fw_ids)}
            for job in jobs
        ],
        "before": [before[fw_id] for fw_id in fw_ids if before[fw_id]],
        "attempts": _unwritten_attempts(project, name, jobs),
        "campaign": {
            "state": campaign.state.value,
            "stage": campaign.stage.value,
            "message": campaign.message,
            "finished_at": campaign.finished_at,
            "stages_entered": len(campaign.stage_times),
        },
    }


def _last_number(project: Project, name: str) -> int:
    events = project.select("events", {"campaign": name, "kind": RESUBMITTED})
    number = max((event["details"]["number"] for event in events), default=0)
    # One none of whose jobs could be loaded is told of nowhere, and has set them aside all the same.
    while withdrawn.are_jobs_set_aside(project, name, number + 1):
        number += 1
    return number


def carry_out(
    project: Project,
    name: str,
    work: Mapping[str, Any],
    intent: Intent,
    on_progress: Callable[[int], None] | None = None,
) -> dict[int, str]:
    """Do what was noted, or what is left of it; returns which fireworks could not be loaded here, and why."""
    from cathodeflow.dispatch.rerun import run_again

    terms, number = Terms(**work["terms"]), work["number"]
    withdrawn.set_jobs_aside(project, name, number, work["before"])
    transitions.record_many_once(project, "attempts", (AttemptRecord.model_validate(one) for one in work["attempts"]))
    unloadable: dict[int, str] = {}
    # Jobs first: a driver that ticks meanwhile finds their labels settled still.
    for count, before in enumerate(work["before"], start=1):
        try:
            run_again(project, before, _changes(project, before[0], terms))
        except MissingDependencyError as error:
            unloadable[before[0]["fw_id"]] = str(error)
        intent.beat()
        if on_progress is not None:
            on_progress(min(count, len(work["jobs"])))
    jobs = [job for job in work["jobs"] if not unloadable.keys() & set(job["fw_ids"])]
    written = {attempt["key"]: attempt["_id"] for attempt in work["attempts"]}
    again = {job["key"] for job in jobs}
    withdrawn.withdraw_attempts(project, name, [one for key, one in written.items() if key not in again], number)
    quarantined = [job for job in jobs if job["state"] == QUARANTINED]
    labels = [job["key"] for job in quarantined if job["kind"] == JobKind.LABEL]
    withdrawn.withdraw_labels(project, name, labels, number)
    branches = [job["key"] for job in quarantined if job["kind"] == JobKind.FOLLOW_UP]
    withdrawn.withdraw_follow_ups(project, name, branches, number)
    damaged = {fw_id: job["key"] for job in jobs if job["state"] == DAMAGED for fw_id in job["fw_ids"]}
    if damaged:
        withdrawn.withdraw_static_runs(project, name, list(damaged.values()), number)
        withdrawn.keep_branches(project, name, [before for before in work["before"] if before[0]["fw_id"] in damaged])
    details = {
        **{part: work[part] for part in ("number", "terms", "campaign")},
        "command": work.get("command", work["number"]),
        "by_reason": dict(Counter(job["reason"] for job in jobs)),
        "attempts": {key: one for key, one in written.items() if key in again},
        "keys": [job["key"] for job in jobs],
        "fw_ids": [job["fw_ids"] for job in jobs],
    }
    n = len(jobs)
    told = Line(RESUBMITTED, f"a person resubmitted {n} {'job' if n == 1 else 'jobs'}", details)
    while True:
        campaign = transitions.read_campaign(project, name)
        changes, lines = transitions.reopening(campaign) if jobs else ({}, [])
        if intent.finish(campaign, changes, [told, *lines] if jobs else []):
            return unloadable


def _changes(project: Project, was: Mapping[str, Any], terms: Terms) -> dict[str, Any]:
    """Return what a job's spec is told: amounts are of what its last attempt had, and the policy goes on from them."""
    from cathodeflow.dispatch.launchpad import CONTINUE_FROM, MEMORY_FACTOR, TIME_FACTOR
    from cathodeflow.dispatch.rerun import ASKED
    from cathodeflow.dispatch.workflows import failure_of

    changes: dict[str, Any] = {}
    for times, factor in ((terms.memory, MEMORY_FACTOR), (terms.time, TIME_FACTOR)):
        had, will = _had_and_will(was["spec"], factor, times)
        if times is not None or had > 1.0:
            changes[factor] = changes[ASKED[factor]] = will
    if terms.go_on is not None:
        folder = failure_of(project, was["fw_id"]).folder if terms.go_on else None
        changes[CONTINUE_FROM] = None if folder is None else str(folder)
    return changes


def _unwritten_attempts(project: Project, name: str, jobs: Sequence[FailedJob]) -> list[dict[str, Any]]:
    """Return the failures that are run again as attempts, except those that the driver has written down."""
    ids = [f"{name}/{job.kind}/{job.key}/{job.attempts}" for job in jobs if job.attempts]
    last = {entry["_id"]: entry for entry in project.select("attempts", {"_id": {"$in": ids}})} if ids else {}
    return [
        {
            "_id": f"{name}/{job.kind}/{job.key}/{job.attempts + 1}",
            "campaign": name,
            "kind": job.kind.value,
            "key": job.key,
            "attempt": job.attempts + 1,
            "fw_id": job.fw_ids[-1],
            "launch_id": job.launch_id,
            "outcome": (Outcome.QUARANTINED if job.state == QUARANTINED else Outcome.FAILED).value,
            "reason": job.reason.value,
            "message": job.message[:MESSAGE_LENGTH],
            "considered": ["a person asked to run it again"],
            "action": RESUBMIT,
        }
        for job in jobs
        if _is_new(job, last.get(f"{name}/{job.kind}/{job.key}/{job.attempts}"))
    ]


def _is_new(job: FailedJob, last: Mapping[str, Any] | None) -> bool:
    """Whether a failure came after the last attempt that was written down (which led to another run)."""
    if last is None:
        return True
    same = job.launch_id is not None and last.get("launch_id") == job.launch_id
    return not same and last["action"] not in {Action.QUARANTINE, Action.STOP}
