"""What follows a failed attempt: one readable table, and the pure function that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cathodeflow.records.outcomes import Reason


class Action(StrEnum):
    """What is done after a failed attempt."""

    RERUN = "rerun"  # the same again
    CONTINUE = "continue"  # from the last geometry and wave functions that were written; anew where there are none
    MORE_TIME = "more_time"  # continue, with a longer allocation
    MORE_MEMORY = "more_memory"  # the same with more memory
    QUARANTINE = "quarantine"
    STOP = "stop"  # end the campaign: every job would fail alike


@dataclass(frozen=True)
class Rule:
    """What follows one reason.

    Attributes
    ----------
    action : Action
        While attempts are left.
    cap : int or None
        Failures for this reason that are borne beside the definition's `max_attempts`; None where they count there.
    delay_s : float
        Before the first repetition; doubles with each further one for the same reason, up to `LONGEST_DELAY_S`.
    because : str
        Why, for the record.
    """

    action: Action
    cap: int | None
    delay_s: float
    because: str


LONGEST_DELAY_S = 1800.0
FACTOR = 2.0
"""By how much time or memory grows each time."""

_OWN_FAULT = "the job may end well when run again"
_OF_THE_CLUSTER = "the cluster ended it, not the job: that counts against no attempt"

TABLE: dict[Reason, Rule] = {
    Reason.WALLTIME: Rule(Action.CONTINUE, 20, 0.0, "it was told to stop in time and goes on from what it wrote"),
    Reason.TIMEOUT: Rule(Action.MORE_TIME, 4, 0.0, "its time limit ended it: it goes on with twice the time"),
    Reason.OUT_OF_MEMORY: Rule(Action.MORE_MEMORY, None, 0.0, "it needs more memory: it gets twice as much"),
    Reason.NODE_FAIL: Rule(Action.CONTINUE, 10, 30.0, _OF_THE_CLUSTER),
    Reason.PREEMPTED: Rule(Action.CONTINUE, 20, 30.0, _OF_THE_CLUSTER),
    Reason.VANISHED: Rule(Action.CONTINUE, 10, 0.0, "its process was gone without a word"),
    Reason.CANCELLED: Rule(Action.CONTINUE, 2, 10.0, "its allocation, which may hold other jobs, was cancelled"),
    Reason.MISSING_PROGRAM: Rule(Action.STOP, 0, 0.0, "the program is missing where jobs run: each would fail alike"),
    Reason.NOT_CONVERGED: Rule(Action.CONTINUE, None, 0.0, "it goes on from the geometry it came to"),
    Reason.DISK_FULL: Rule(Action.RERUN, None, 60.0, "somebody may have made room meanwhile"),
    Reason.FROZEN: Rule(Action.CONTINUE, None, 0.0, "it had stopped writing and was ended"),
    Reason.KILLED: Rule(Action.CONTINUE, None, 10.0, "a signal ended the program, mostly for want of memory or time"),
}
"""Reasons that are not here follow `DEFAULT`."""

DEFAULT = Rule(Action.RERUN, None, 0.0, _OWN_FAULT)


@dataclass(frozen=True)
class Verdict:
    """What follows a failure.

    Attributes
    ----------
    action : Action
        What is done.
    delay_s : float
        How long after the failure.
    factor : float
        Of time or memory, for `MORE_TIME` and `MORE_MEMORY`: times what the job had when a person last asked for it.
    considered : tuple of str
        What was weighed, in words.
    """

    action: Action
    delay_s: float
    factor: float
    considered: tuple[str, ...]


def rule_of(reason: Reason) -> Rule:
    """Return the line of the table for a reason."""
    return TABLE.get(reason, DEFAULT)


def judge(reason: Reason, history: Sequence[Reason], max_attempts: int, tolerated: float | None) -> Verdict:
    """Decide what follows a failure.

    Parameters
    ----------
    reason : Reason
        Why this attempt failed.
    history : sequence of Reason
        Why the earlier ones did, since a person last asked for the job.
    max_attempts : int
        Of the definition: failures that are the job's own.
    tolerated : float or None
        Share of the stage's members that may be quarantined; None where each is needed, 1 where none is.

    Returns
    -------
    Verdict
    """
    rule = rule_of(reason)
    same = sum(earlier == reason for earlier in history) + 1
    considered = [f"{reason}: {rule.because}"]
    if rule.cap is None:
        own = sum(rule_of(earlier).cap is None for earlier in history) + 1
        left = own < max_attempts
        considered.append(f"attempt {own} of {max_attempts}")
    else:
        left = same <= rule.cap
        considered.append(f"time {same} for this reason, {rule.cap} are borne")
    if left and rule.action not in {Action.QUARANTINE, Action.STOP}:
        delay = min(rule.delay_s * 2.0 ** (same - 1), LONGEST_DELAY_S)
        if delay:
            considered.append(f"after {delay:g} s")
        return Verdict(rule.action, delay, FACTOR**same, tuple(considered))
    if not left:
        considered.append("no attempts are left")
    return Verdict(_giving_up(rule, tolerated, considered), 0.0, 1.0, tuple(considered))


def _giving_up(rule: Rule, tolerated: float | None, considered: list[str]) -> Action:
    if tolerated is None:
        considered.append("every member of this stage is needed")
        return Action.STOP
    if rule.action == Action.STOP and tolerated < 1.0:
        considered.append("going on would quarantine the others for the same reason")
        return Action.STOP
    considered.append("the stage goes on without it, within the tolerated share")
    return Action.QUARANTINE
