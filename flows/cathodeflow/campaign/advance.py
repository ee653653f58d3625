"""One tick of a campaign: look, decide, act. Idempotent; safe to kill between any two of its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions
from cathodeflow.campaign.event_log import Line, deliver
from cathodeflow.campaign.intent import complete_abandoned
from cathodeflow.campaign.policy import Decision, Failure, JobView, StageSnapshot, decide, next_stage
from cathodeflow.campaign.resubmission import Action
from cathodeflow.campaign.stages.selection import (
    all_candidates,
    choose_candidates,
    choose_shortlist,
    pristine_composition,
)
from cathodeflow.campaign.stages.work import Recipes, StageContext, StageWork, job_uuid
from cathodeflow.errors import CampaignError, StaleCampaignError
from cathodeflow.records.campaign import AttemptRecord, CampaignRecord, Space
from cathodeflow.records.candidate import CandidateRecord, candidate_id
from cathodeflow.records.document import now
from cathodeflow.records.outcomes import CampaignState, Outcome, Reason, Stage

if TYPE_CHECKING:
    from cathodeflow.dispatch.workflows import WorkflowState
    from cathodeflow.science.hosts.candidates import Candidate
    from cathodeflow.storage.connection import Project

SUBMITTED_PER_TICK = 200
MESSAGE_LENGTH = 2000


def default_recipes() -> Recipes:
    """Return the workflows of `cathodeflow.recipes`."""
    from cathodeflow.recipes.followups import follow_up_flow
    from cathodeflow.recipes.label import label_flow
    from cathodeflow.recipes.prediction import prediction_flow
    from cathodeflow.recipes.reference import reference_flow
    from cathodeflow.recipes.screening import screening_flow
    from cathodeflow.recipes.training import training_flow

    return Recipes(reference_flow, label_flow, training_flow, prediction_flow, screening_flow, follow_up_flow)


def stage_work(context: StageContext) -> StageWork:
    """Return the work of the campaign's present stage.

    Raises
    ------
    CampaignError
        The stage has no jobs (enumerate, done).
    """
    from cathodeflow.campaign.stages.followups import FollowUpStage
    from cathodeflow.campaign.stages.label import LabelStage, ValidateStage
    from cathodeflow.campaign.stages.predict import PredictStage
    from cathodeflow.campaign.stages.reference import ReferenceStage
    from cathodeflow.campaign.stages.screen import ScreenStage
    from cathodeflow.campaign.stages.train import TrainStage

    stages: dict[Stage, type[StageWork]] = {
        Stage.REFERENCE: ReferenceStage,
        Stage.LABEL: LabelStage,
        Stage.TRAIN: TrainStage,
        Stage.PREDICT: PredictStage,
        Stage.SCREEN: ScreenStage,
        Stage.VALIDATE: ValidateStage,
        Stage.FOLLOW_UP: FollowUpStage,
    }
    if context.campaign.stage not in stages:
        raise CampaignError(f"stage {context.campaign.stage} has no jobs")
    return stages[context.campaign.stage](context)


def advance(
    project: Project,
    name: str,
    recipes: Recipes | None = None,
    keep_lease: Callable[[], None] | None = None,
) -> CampaignRecord:
    """Do what a campaign needs now.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    recipes : Recipes, optional
        Workflows to submit in place of the real ones.
    keep_lease : callable, optional
        Called between the steps of a long tick, so that the driver is not taken for dead.

    Returns
    -------
    CampaignRecord
        The campaign after the tick.
    """
    campaign = transitions.read_campaign(project, name)
    if campaign.undelivered_events:
        deliver(project, name)
    if campaign.intent is not None and complete_abandoned(project, campaign):
        campaign = transitions.read_campaign(project, name)
    if campaign.state != CampaignState.RUNNING or campaign.stage == Stage.DONE:
        return campaign
    context = StageContext(project, campaign, recipes or default_recipes())
    try:
        return _tick(context, keep_lease or (lambda: None))
    except StaleCampaignError:
        # A person paused it, say, while this tick was deciding. The next tick sees that.
        return transitions.read_campaign(project, name)


def _tick(context: StageContext, beat: Callable[[], None]) -> CampaignRecord:
    project, campaign = context.project, context.campaign
    if campaign.stage == Stage.ENUMERATE:
        return _enumerate(context, beat)
    work = stage_work(context)
    decision = decide(_look(context, work))
    if decision.stop is not None:
        return transitions.stop(project, campaign.id, f"{decision.stop}: {_reasons(context)}")
    _act(context, work, decision, beat)
    if decision.finished:
        return _leave_stage(context, decision)
    return transitions.read_campaign(project, campaign.id)


def _enumerate(context: StageContext, beat: Callable[[], None]) -> CampaignRecord:
    campaign = context.campaign
    levels: Counter[str] = Counter()
    compositions: set[str] = set()

    def records() -> Any:
        for number, candidate in enumerate(all_candidates(context)):
            if number % transitions.CHUNK == 0:
                beat()
            levels[candidate.level] += 1
            compositions.add(candidate.composition)
            yield _candidate_record(campaign.id, candidate)

    transitions.record_many_once(context.project, "candidates", records())
    space = Space(levels=dict(levels), substituted=len(compositions - {pristine_composition(context)}))
    stage, number = next_stage(Stage.ENUMERATE, 0, 1, 1, 0)
    return transitions.enter_stage(context.project, campaign, stage, number, {"space": space.model_dump()})


def _candidate_record(campaign: str, candidate: Candidate) -> CandidateRecord:
    return CandidateRecord(
        id=candidate_id(campaign, candidate.key),
        campaign=campaign,
        key=candidate.key,
        host=candidate.host,
        level=candidate.level,
        composition=candidate.composition,
        elements=list(candidate.elements),
        counts=list(candidate.counts),
        mask=candidate.mask,
        multiplicity=candidate.multiplicity,
    )


def _look(context: StageContext, work: StageWork) -> StageSnapshot:
    wanted, settled = work.wanted(), work.settled()
    states = work.states([key for key in wanted if key not in settled])
    past = _attempts(context, work)
    jobs = {state.key: _job_view(context, work, state, past.get(state.key, [])) for state in states}
    definition = context.definition
    budget = definition.budget.core_hours
    return StageSnapshot(
        wanted=wanted,
        settled=settled,
        jobs=jobs,
        max_attempts=definition.failures.max_attempts,
        tolerated_fraction=work.tolerated_fraction,
        budget_spent=context.campaign.stage == Stage.LABEL and budget is not None and spent(context) >= budget,
        blocked=work.blocked(settled),
    )


def _attempts(context: StageContext, work: StageWork) -> dict[str, list[Mapping[str, Any]]]:
    """Return the failed attempts that are written down, by key, in their order."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    condition = {"campaign": context.campaign.id, "kind": work.kind.value}
    fields = {"key": 1, "attempt": 1, "reason": 1, "action": 1, "launch_id": 1}
    entries = context.project.database["attempts"].find(condition, fields)
    for entry in sorted(entries, key=lambda entry: entry["attempt"]):
        found.setdefault(entry["key"], []).append(entry)
    return found


def _job_view(context: StageContext, work: StageWork, state: WorkflowState, past: list[Mapping[str, Any]]) -> JobView:
    from cathodeflow.dispatch.workflows import failure_of

    failed = state.state == "FIZZLED" or (state.state == "COMPLETED" and not _has_output(context, work, state.key))
    reported = failure_of(context.project, state.fw_id) if failed else None
    if reported is not None and past and past[-1].get("launch_id") == reported.launch_id is not None:
        past = past[:-1]  # written down before a kill, and not yet followed: this is the same attempt
    view = JobView(state.key, state.state, state.fw_id, len(past), _history(past))
    if reported is None:
        return view
    view = replace(view, state="FIZZLED")
    ago = float("inf") if reported.ended is None else (now() - reported.ended).total_seconds()
    return replace(view, reason=_reason(reported.reason), failed_s_ago=ago)


def _history(past: list[Mapping[str, Any]]) -> tuple[Reason, ...]:
    """Return why those attempts failed that came after a person last asked for the job."""
    history: list[Reason] = []
    for entry in past:
        ended = entry["action"] in {Action.QUARANTINE, Action.STOP, "resubmit"}
        history = [] if ended else [*history, Reason(entry["reason"])]
    return tuple(history)


def spent(context: StageContext) -> float:
    """Return the core-hours of the campaign's labels so far; those it ingested were paid for elsewhere."""
    found = context.project.database["labels"].find(
        {"campaign": context.campaign.id, "origin.job_uuid": {"$ne": None}},
        {"relaxation.wall_s": 1, "relaxation.cores": 1, "_id": 0},
    )
    relaxations = [entry.get("relaxation") or {} for entry in found]
    return sum(entry.get("wall_s", 0.0) * entry.get("cores", 1) for entry in relaxations) / 3600.0


def _act(context: StageContext, work: StageWork, decision: Decision, beat: Callable[[], None]) -> None:
    from cathodeflow.dispatch.launchpad import add_workflow_once

    campaign = context.campaign.id
    for job in decision.harvest:
        work.record(job, _output(context, work, job))
        beat()
    for failure in decision.failures:
        _follow_failure(context, work, failure)
        beat()
    # Asked again: a person may just have resubmitted what they build on.
    blocked = work.blocked(work.settled()) if decision.blocked else {}
    for key in filter(blocked.__contains__, decision.blocked):
        work.leave_out(key, blocked[key])
        beat()
    workflows = dict.fromkeys(work.workflow_key(key) for key in decision.submit)
    for key in list(workflows)[:SUBMITTED_PER_TICK]:
        flow = work.with_resources(work.workflow(key), key)
        add_workflow_once(context.project, flow, campaign=campaign, kind=work.kind.value, key=key)
        beat()


def _has_output(context: StageContext, work: StageWork, key: str) -> bool:
    from cathodeflow.storage.outputs import has_output

    return has_output(context.project, job_uuid(context.campaign.id, work.kind, key))


def _output(context: StageContext, work: StageWork, job: JobView) -> Any:
    from cathodeflow.storage.outputs import find_output

    identity = job_uuid(context.campaign.id, work.kind, job.key)
    found = find_output(context.project, identity)
    if found is None:
        raise CampaignError(
            f"job {job.fw_id} ({work.kind} {job.key}) is COMPLETED but left no output: "
            f"`cflow resubmit --kind {work.kind} --key {job.key}` runs it again"
        )
    return found["output"]


def _follow_failure(context: StageContext, work: StageWork, failure: Failure) -> None:
    from cathodeflow.dispatch.rerun import rerun
    from cathodeflow.dispatch.workflows import failure_of

    reported = failure_of(context.project, failure.job.fw_id)
    attempt = AttemptRecord(
        id=f"{context.campaign.id}/{work.kind}/{failure.job.key}/{failure.attempt}",
        campaign=context.campaign.id,
        kind=work.kind,
        key=failure.job.key,
        attempt=failure.attempt,
        fw_id=failure.job.fw_id,
        launch_id=reported.launch_id,
        outcome=Outcome.FAILED,
        reason=failure.job.reason,
        message=reported.message[:MESSAGE_LENGTH],
        considered=list(failure.considered),
        action=failure.action.value,
    )
    with context.project.transaction():
        if not transitions.record_attempt(context.project, attempt) and context.project.file is not None:
            return  # in one transaction with what follows; on a server what follows may be what a kill prevented
        if failure.action == Action.QUARANTINE:
            work.give_up(failure, reported.message[:MESSAGE_LENGTH])
        elif failure.action == Action.STOP:
            message = f"{work.kind} {failure.job.key} failed {failure.attempt} times: {reported.message}"
            transitions.stop(context.project, context.campaign.id, message[:MESSAGE_LENGTH])
        else:
            rerun(context.project, [failure.job.fw_id], _changes(context.project, failure, reported.folder))


def _changes(project: Project, failure: Failure, folder: Path | None) -> dict[str, Any]:
    """Return what the job's spec is told for its next attempt."""
    from cathodeflow.dispatch.launchpad import CONTINUE_FROM, MEMORY_FACTOR, TIME_FACTOR
    from cathodeflow.dispatch.rerun import asked_factor

    changes: dict[str, Any] = {}
    if failure.action in {Action.CONTINUE, Action.MORE_TIME} and folder is not None:
        changes[CONTINUE_FROM] = str(folder)
    if failure.action == Action.MORE_TIME:
        changes[TIME_FACTOR] = failure.factor * asked_factor(project, failure.job.fw_id, TIME_FACTOR)
    if failure.action == Action.MORE_MEMORY:
        changes[MEMORY_FACTOR] = failure.factor * asked_factor(project, failure.job.fw_id, MEMORY_FACTOR)
    if failure.action in {Action.MORE_TIME, Action.MORE_MEMORY}:
        # Not behind the others any more: the larger allocation is for this job, and takes the usual ones as well.
        changes["_priority"] = 0
    if failure.action == Action.RERUN:
        # Behind those that were never tried: first in the queue, a job that takes its worker down every time would
        # end each new allocation before it has done anything.
        changes["_priority"] = -failure.attempt
    return changes


def _reason(word: str) -> Reason:
    return Reason(word) if word in set(Reason) else Reason.CALCULATION_ERROR


def _reasons(context: StageContext) -> str:
    found = context.project.database["labels"].find(
        {"campaign": context.campaign.id, "outcome": Outcome.QUARANTINED.value}, {"reason": 1}
    )
    counts = Counter(entry["reason"] for entry in found)
    return ", ".join(f"{reason} {count}" for reason, count in counts.most_common())


def _leave_stage(context: StageContext, decision: Decision) -> CampaignRecord:
    from cathodeflow.campaign.stages.reference import lost_phase_lines
    from cathodeflow.campaign.stages.validation import record_validations

    project, campaign, definition = context.project, context.campaign, context.definition
    shortlist = campaign.shortlist
    if campaign.stage == Stage.SCREEN:
        shortlist = choose_shortlist(context, campaign.round)
    if campaign.stage == Stage.VALIDATE:
        record_validations(context)
    chosen = sum(len(keys) for number, keys in campaign.selections.items() if int(number) <= campaign.round)
    ingested = len(campaign.selections.get(str(campaign.round + 1), []))  # for the next round, which is then worth it
    budget_spent = definition.budget.core_hours is not None and spent(context) >= definition.budget.core_hours
    labels_left = max(ingested, 0 if budget_spent else definition.labels.total - chosen)
    stage, number = next_stage(
        campaign.stage,
        campaign.round,
        definition.labels.rounds,
        labels_left,
        len(shortlist),
        follow_ups=bool(definition.followups.branches),
    )
    changes: dict[str, Any] = {}
    if stage in {Stage.VALIDATE, Stage.DONE} and campaign.stage == Stage.SCREEN:
        changes["shortlist"] = shortlist
    if stage == Stage.LABEL:
        changes[f"selections.{number}"] = choose_candidates(context, number)
    if stage == Stage.DONE:
        changes["message"] = _closing_words(context, shortlist)
    before = lost_phase_lines(context) if campaign.stage == Stage.REFERENCE else []
    if decision.left_out:
        message = f"the budget of {definition.budget.core_hours} core-hours is spent: {len(decision.left_out)} left out"
        before.append(Line("budget", message, {"left_out": list(decision.left_out)}))
    return transitions.enter_stage(project, campaign, stage, number, changes, before)


def _closing_words(context: StageContext, shortlist: list[str]) -> str:
    quarantined = context.project.database["labels"].count_documents(
        {"campaign": context.campaign.id, "outcome": Outcome.QUARANTINED.value}
    )
    words = "no substituted composition passed the screening"
    if shortlist:
        words = f"{len(shortlist) - 1} compositions validated"
    elif context.definition.validation.per_list == 0:
        words = "no validation asked for"
    if not quarantined:
        return words
    return f"{words}; {quarantined} {'label' if quarantined == 1 else 'labels'} quarantined ({_reasons(context)})"
