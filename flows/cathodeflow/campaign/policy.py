"""What a campaign does next: pure functions of a snapshot, testable without a database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cathodeflow.campaign.resubmission import Action, judge
from cathodeflow.records.outcomes import Outcome, Reason, Stage

# FireWorks' words for a job that still has a future of its own.
ACTIVE_STATES = frozenset({"WAITING", "READY", "RESERVED", "RUNNING", "PAUSED", "DEFUSED", "ARCHIVED"})


@dataclass(frozen=True)
class JobView:
    """One job of a stage as FireWorks has it.

    Attributes
    ----------
    key : str
        What it makes (see `JobKind`).
    state : str
        FireWorks' state of its Firework.
    fw_id : int
        The Firework.
    failures : int
        Failed attempts already written down for it.
    history : tuple of Reason
        Why those failed that came after a person last asked for it.
    reason : Reason
        Why its present attempt failed; of FIZZLED ones only.
    failed_s_ago : float
        How long ago, s.
    """

    key: str
    state: str
    fw_id: int
    failures: int = 0
    history: tuple[Reason, ...] = ()
    reason: Reason = Reason.CALCULATION_ERROR
    failed_s_ago: float = float("inf")


@dataclass(frozen=True)
class StageSnapshot:
    """All that the policy needs to know of a stage.

    Attributes
    ----------
    wanted : tuple of str
        Keys of what the stage has to make.
    settled : mapping of str to Outcome
        Keys whose document is written.
    jobs : mapping of str to JobView
        Workflows by key.
    max_attempts : int
        Per job.
    tolerated_fraction : float or None
        Share of the members that may be quarantined; None where each member is needed.
    budget_spent : bool
        Nothing more may be submitted; what runs is finished.
    blocked : mapping of str to str
        Keys that can never be made, with the reason: what they build on was quarantined.
    """

    wanted: tuple[str, ...]
    settled: Mapping[str, Outcome]
    jobs: Mapping[str, JobView]
    max_attempts: int
    tolerated_fraction: float | None
    budget_spent: bool = False
    blocked: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A failed attempt, and what follows from it; `factor` is of time or memory where that grows."""

    job: JobView
    attempt: int
    action: Action
    considered: tuple[str, ...]
    factor: float = 1.0


@dataclass(frozen=True)
class Decision:
    """What one tick has to do in a stage, in this order; `finished` and `stop` are as it stands before doing it."""

    harvest: tuple[JobView, ...] = ()
    failures: tuple[Failure, ...] = ()
    submit: tuple[str, ...] = ()
    finished: bool = False
    stop: str | None = None
    left_out: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()


def decide(snapshot: StageSnapshot) -> Decision:
    """Decide what a stage needs next.

    Parameters
    ----------
    snapshot : StageSnapshot
        What is wanted, written and running.

    Returns
    -------
    Decision
        Deterministic: the same snapshot gives the same decision, and a decision carried out twice changes nothing
        the second time.
    """
    harvest: list[JobView] = []
    failures: list[Failure] = []
    submit: list[str] = []
    left_out: list[str] = []
    blocked: list[str] = []
    active = 0
    for key in snapshot.wanted:
        if key in snapshot.settled:
            continue
        job = snapshot.jobs.get(key)
        if key in snapshot.blocked and (job is None or job.state not in {"COMPLETED", "RUNNING", "RESERVED"}):
            blocked.append(key)
        elif job is None:
            (left_out if snapshot.budget_spent else submit).append(key)
        elif job.state == "COMPLETED":
            harvest.append(job)
        elif job.state == "FIZZLED" and (failure := _judge_failure(job, snapshot)):
            failures.append(failure)
        else:
            active += 1
    open_ends = bool(harvest or failures or submit or blocked or active)
    return Decision(
        tuple(harvest),
        tuple(failures),
        tuple(submit),
        not open_ends,
        _too_many_quarantined(snapshot),
        tuple(left_out),
        tuple(blocked),
    )


def _judge_failure(job: JobView, snapshot: StageSnapshot) -> Failure | None:
    """Return what follows a failure, None while its delay lasts."""
    verdict = judge(job.reason, job.history, snapshot.max_attempts, snapshot.tolerated_fraction)
    if job.failed_s_ago < verdict.delay_s:
        return None
    return Failure(job, job.failures + 1, verdict.action, verdict.considered, verdict.factor)


def _too_many_quarantined(snapshot: StageSnapshot) -> str | None:
    if snapshot.tolerated_fraction is None or not snapshot.wanted:
        return None
    lost = sum(snapshot.settled.get(key) == Outcome.QUARANTINED for key in snapshot.wanted)
    allowed = snapshot.tolerated_fraction * len(snapshot.wanted)
    if lost <= allowed:
        return None
    return (
        f"{lost} of {len(snapshot.wanted)} labels of this stage are quarantined; "
        f"the definition tolerates {snapshot.tolerated_fraction:.0%}"
    )


def next_stage(
    stage: Stage, current_round: int, rounds: int, labels_left: int, shortlist: int, *, follow_ups: bool = False
) -> tuple[Stage, int]:
    """Return the stage and round that follow a finished one.

    Parameters
    ----------
    stage : Stage
        The stage that is finished.
    current_round, rounds : int
        Of labelling and retraining, from 0; and how many the definition asks for.
    labels_left : int
        Of the definition's total (0 when the budget is spent).
    shortlist : int
        Compositions to validate.
    follow_ups : bool
        Whether the definition asks for any.

    Returns
    -------
    tuple of (Stage, int)
        Next stage and its round.
    """
    order = {
        Stage.ENUMERATE: Stage.REFERENCE,
        Stage.REFERENCE: Stage.LABEL,
        Stage.LABEL: Stage.TRAIN,
        Stage.TRAIN: Stage.PREDICT,
        Stage.PREDICT: Stage.SCREEN,
        Stage.VALIDATE: Stage.FOLLOW_UP if follow_ups else Stage.DONE,
        Stage.FOLLOW_UP: Stage.DONE,
        Stage.DONE: Stage.DONE,
    }
    if stage != Stage.SCREEN:
        return order[stage], current_round
    if current_round + 1 < rounds and labels_left > 0:
        return Stage.LABEL, current_round + 1
    return (Stage.VALIDATE if shortlist else Stage.DONE), current_round


def most_validated(per_list: int, substituted: int) -> int:
    """Return how many compositions are validated at most: the best of both lists, and the pristine host beside them.

    Parameters
    ----------
    per_list : int
        Of the definition: the best of the noble and of the other list, each.
    substituted : int
        Compositions of the space, the pristine host not counted.
    """
    best = min(2 * per_list, substituted)
    return best + 1 if best else 0


def labels_of_round(total: int, rounds: int, current_round: int) -> int:
    """Return how many labels round `current_round` chooses: equal shares, the first takes the remainder."""
    share = total // rounds
    return share + total % rounds if current_round == 0 else share
