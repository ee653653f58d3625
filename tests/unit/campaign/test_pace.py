from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.campaign.pace import Pace, estimate_seconds_left, label_seconds, stage_durations

START = datetime(2026, 1, 1, tzinfo=UTC)


def _pace(**changes: Any) -> Pace:
    fields: dict[str, Any] = {
        "stage": "label",
        "elapsed_s": 100.0,
        "done": 10,
        "wanted": 30,
        "later_labels": 0,
        "seconds_per_label": None,
        "stage_seconds": {},
        "later_visits": {},
    }
    return Pace(**(fields | changes))


def _times(*stages: tuple[str, int, float]) -> list[dict[str, Any]]:
    return [
        {"stage": stage, "round": number, "entered_at": START + timedelta(seconds=second)}
        for stage, number, second in stages
    ]


def test_the_present_labels_go_on_at_their_pace():
    assert estimate_seconds_left(_pace()) == pytest.approx(20 * 10.0)


def test_labels_to_come_take_what_labels_take():
    assert estimate_seconds_left(_pace(later_labels=5)) == pytest.approx(250.0)
    pace = _pace(stage="train", done=0, wanted=2, later_labels=5, seconds_per_label=4.0)
    assert estimate_seconds_left(pace) == pytest.approx(20.0)


def test_without_a_pace_there_is_no_estimate():
    assert estimate_seconds_left(_pace(done=1)) is None
    assert estimate_seconds_left(_pace(stage="reference", later_labels=7)) is None


def test_a_stage_seen_before_takes_as_long_again():
    pace = _pace(stage="train", elapsed_s=20.0, done=0, stage_seconds={"train": 60.0, "predict": 30.0})
    assert estimate_seconds_left(pace) == pytest.approx(40.0)
    later = _pace(stage_seconds={"train": 60.0, "predict": 30.0}, later_visits={"train": 2, "predict": 1})
    assert estimate_seconds_left(later) == pytest.approx(200.0 + 150.0)


@given(st.integers(3, 50), st.integers(0, 50), st.floats(1.0, 1e5))
def test_the_estimate_falls_as_labels_are_done(done: int, more: int, elapsed: float):
    left = estimate_seconds_left(_pace(done=done, wanted=done + more, elapsed_s=elapsed))
    assert left is not None
    assert left >= 0.0
    assert (left == 0.0) == (more == 0)


def test_durations_come_from_the_times_stages_were_entered():
    times = _times(("reference", 0, 0), ("label", 0, 10), ("train", 0, 110), ("predict", 0, 140), ("label", 1, 150))
    assert label_seconds(times, {0: 50}) == pytest.approx(2.0)
    assert label_seconds(times[:2], {0: 50}) is None
    assert stage_durations(times) == {"reference": 10.0, "train": 30.0, "predict": 10.0}
