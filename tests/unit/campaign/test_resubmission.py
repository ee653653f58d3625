from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.campaign.resubmission import DEFAULT, LONGEST_DELAY_S, TABLE, Action, judge, rule_of
from cathodeflow.campaign.resubmission_reference import render_resubmission_reference
from cathodeflow.records.outcomes import Reason

reasons = st.sampled_from(Reason)
shares = st.none() | st.floats(0, 1)


@given(st.lists(reasons, max_size=80), st.integers(1, 5), shares)
def test_every_job_is_given_up_after_boundedly_many_failures(
    history: list[Reason], attempts: int, share: float | None
) -> None:
    most = attempts + sum(rule.cap or 0 for rule in TABLE.values())
    verdicts = [judge(reason, history[:number], attempts, share).action for number, reason in enumerate(history)]
    again = 0
    for action in verdicts:
        if action in {Action.QUARANTINE, Action.STOP}:
            break
        again += 1
    assert again <= most


@given(reasons, st.lists(reasons, max_size=10), st.integers(1, 5), shares)
def test_each_decision_says_what_was_weighed_and_waits_boundedly(
    reason: Reason, history: list[Reason], attempts: int, share: float | None
) -> None:
    verdict = judge(reason, history, attempts, share)
    assert verdict.considered[0].startswith(f"{reason}: ")
    assert len(verdict.considered) >= 2
    assert 0 <= verdict.delay_s <= LONGEST_DELAY_S


@given(st.integers(1, 6), st.integers(0, 8))
def test_failures_of_the_job_itself_count_to_the_definitions_limit(attempts: int, before: int) -> None:
    verdict = judge(Reason.EXIT_CODE, [Reason.CALCULATION_ERROR] * before, attempts, 0.2)
    assert (verdict.action == Action.RERUN) == (before + 1 < attempts)


def test_what_the_cluster_did_counts_against_no_attempt() -> None:
    verdict = judge(Reason.EXIT_CODE, [Reason.NODE_FAIL, Reason.PREEMPTED, Reason.WALLTIME], 2, 0.2)
    assert verdict.action == Action.RERUN


def test_delays_grow() -> None:
    delays = [judge(Reason.NODE_FAIL, [Reason.NODE_FAIL] * number, 3, 0.2).delay_s for number in range(9)]
    assert delays[:4] == [30.0, 60.0, 120.0, 240.0]
    assert delays[-1] == LONGEST_DELAY_S


def test_time_and_memory_grow_with_each_failure_for_want_of_them() -> None:
    assert judge(Reason.TIMEOUT, [], 3, 0.2).factor == 2.0
    assert judge(Reason.TIMEOUT, [Reason.TIMEOUT], 3, 0.2).factor == 4.0
    assert judge(Reason.OUT_OF_MEMORY, [], 3, 0.2).action == Action.MORE_MEMORY


@pytest.mark.parametrize(("share", "action"), [(None, Action.STOP), (0.2, Action.STOP), (1.0, Action.QUARANTINE)])
def test_a_missing_program_ends_the_stage_that_cannot_do_without(share: float | None, action: Action) -> None:
    assert judge(Reason.MISSING_PROGRAM, [], 3, share).action == action


def test_reasons_without_a_line_of_their_own_are_run_again() -> None:
    assert rule_of(Reason.BROKEN_OUTPUT) is DEFAULT


def test_the_page_in_the_docs_is_current() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "resubmission.md"
    assert page.read_text(encoding="utf-8") == render_resubmission_reference(), (
        "write it anew: python -m cathodeflow.campaign.resubmission_reference > docs/reference/resubmission.md"
    )
