from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.campaign.policy import JobView, StageSnapshot, decide, labels_of_round, most_validated, next_stage
from cathodeflow.campaign.resubmission import LONGEST_DELAY_S
from cathodeflow.records.outcomes import Outcome, Reason, Stage

KEYS = tuple(f"k{number}" for number in range(6))
STATES = ["READY", "RUNNING", "COMPLETED", "FIZZLED", "WAITING", "PAUSED"]

snapshots = st.builds(
    StageSnapshot,
    wanted=st.just(KEYS),
    settled=st.dictionaries(st.sampled_from(KEYS), st.sampled_from([Outcome.DONE, Outcome.QUARANTINED])),
    jobs=st.dictionaries(
        st.sampled_from(KEYS),
        st.builds(
            JobView,
            key=st.just(""),
            state=st.sampled_from(STATES),
            fw_id=st.integers(1, 99),
            failures=st.integers(0, 4),
            history=st.lists(st.sampled_from(Reason), max_size=6).map(tuple),
            reason=st.sampled_from(Reason),
            failed_s_ago=st.sampled_from([0.0, 20.0, 1e9]),
        ),
    ).map(lambda jobs: {key: replace(job, key=key) for key, job in jobs.items()}),
    max_attempts=st.integers(1, 4),
    tolerated_fraction=st.none() | st.floats(0, 1),
    budget_spent=st.booleans(),
    blocked=st.dictionaries(st.sampled_from(KEYS), st.just("its static run was quarantined")),
)


@given(snapshots)
def test_each_wanted_key_has_exactly_one_fate(snapshot: StageSnapshot) -> None:
    decision = decide(snapshot)
    fates = [job.key for job in decision.harvest] + [failure.job.key for failure in decision.failures]
    fates += [*decision.submit, *decision.left_out, *decision.blocked, *snapshot.settled]
    waiting = sorted(set(KEYS) - set(fates))
    assert len(fates) == len(set(fates))
    for key in waiting:
        job = snapshot.jobs[key]
        assert job.state not in {"COMPLETED"}
        assert job.state != "FIZZLED" or job.failed_s_ago < LONGEST_DELAY_S


@given(snapshots)
def test_what_is_written_is_never_made_again(snapshot: StageSnapshot) -> None:
    decision = decide(snapshot)
    touched = {job.key for job in decision.harvest} | {failure.job.key for failure in decision.failures}
    assert not (touched | set(decision.submit)) & set(snapshot.settled)
    assert not set(decision.submit) & set(snapshot.jobs)


@given(snapshots)
def test_a_spent_budget_submits_nothing(snapshot: StageSnapshot) -> None:
    assert decide(replace(snapshot, budget_spent=True)).submit == ()


@given(snapshots)
def test_a_stage_is_finished_when_nothing_is_open(snapshot: StageSnapshot) -> None:
    decision = decide(snapshot)
    open_jobs = any(key not in snapshot.settled for key in snapshot.jobs)
    assert decision.finished == (not decision.submit and not decision.blocked and not open_jobs)


def test_more_quarantined_than_tolerated_stops_with_the_counts() -> None:
    settled = dict.fromkeys(KEYS[:2], Outcome.QUARANTINED) | dict.fromkeys(KEYS[2:], Outcome.DONE)
    snapshot = StageSnapshot(KEYS, settled, {}, 3, 0.2)
    assert decide(snapshot).stop == "2 of 6 labels of this stage are quarantined; the definition tolerates 20%"
    assert decide(replace(snapshot, tolerated_fraction=0.5)).stop is None


def test_a_campaign_of_two_rounds_goes_through_its_stages_in_order() -> None:
    stage, number, seen = Stage.ENUMERATE, 0, []
    while stage != Stage.DONE:
        stage, number = next_stage(stage, number, rounds=2, labels_left=10 if number == 0 else 0, shortlist=4)
        seen.append((str(stage), number))
    assert seen == [
        ("reference", 0),
        ("label", 0),
        ("train", 0),
        ("predict", 0),
        ("screen", 0),
        ("label", 1),
        ("train", 1),
        ("predict", 1),
        ("screen", 1),
        ("validate", 1),
        ("done", 1),
    ]


def test_follow_ups_come_after_the_validation_where_they_are_asked_for() -> None:
    assert next_stage(Stage.VALIDATE, 0, 1, 0, 3, follow_ups=True) == (Stage.FOLLOW_UP, 0)
    assert next_stage(Stage.FOLLOW_UP, 0, 1, 0, 3, follow_ups=True) == (Stage.DONE, 0)


def test_a_failed_job_waits_for_its_delay() -> None:
    job = JobView("k0", "FIZZLED", 1, reason=Reason.NODE_FAIL, failed_s_ago=5.0)
    early = StageSnapshot(("k0",), {}, {"k0": job}, 3, 0.2)
    assert decide(early).failures == ()
    assert not decide(early).finished
    late = replace(early, jobs={"k0": replace(job, failed_s_ago=31.0)})
    assert [failure.action for failure in decide(late).failures] == ["continue"]


def test_a_spent_budget_ends_the_rounds_early() -> None:
    assert next_stage(Stage.SCREEN, 0, rounds=3, labels_left=0, shortlist=2) == (Stage.VALIDATE, 0)
    assert next_stage(Stage.SCREEN, 0, rounds=1, labels_left=0, shortlist=0) == (Stage.DONE, 0)


@given(st.integers(5, 2000), st.integers(1, 10))
def test_the_rounds_share_out_all_labels(total: int, rounds: int) -> None:
    shares = [labels_of_round(total, rounds, number) for number in range(rounds)]
    assert sum(shares) == total
    assert max(shares) == shares[0]


@pytest.mark.parametrize(("per_list", "substituted", "expected"), [(10, 3074, 21), (10, 2, 3), (0, 3074, 0), (3, 0, 0)])
def test_no_more_is_validated_than_there_is(per_list: int, substituted: int, expected: int) -> None:
    assert most_validated(per_list, substituted) == expected
