from __future__ import annotations

from pathlib import Path

from tests.campaign_world import definition, launch

from cathodeflow.campaign import transitions
from cathodeflow.campaign.event_log import lost_runs_line
from cathodeflow.dispatch.reconcile import LostRun


def lost(number: int, action: str) -> LostRun:
    return LostRun(number, number, "trial", "label", f"k{number}", action, 2, "here", 7)


def test_jobs_that_were_found_dead_are_one_line_of_the_log(tmp_path: Path):
    project = launch(tmp_path, definition())
    line = lost_runs_line([lost(1, "rerun"), lost(2, "fizzle"), lost(3, "adopt"), lost(4, "rerun"), lost(5, "rerun")])
    assert line is not None
    transitions.append_event(project, "trial", *line)
    (told,) = project.select("events", {"kind": "lost"})
    assert "label k1: process 7 on here is gone (time 2), it is run again; " in told["message"]
    assert "label k3: process 7 on here is gone (time 2), its result was there and is taken over; " in told["message"]
    assert told["message"].endswith("; and 1 more")
    assert told["details"]["keys"] == ["k1", "k3", "k4", "k5"]


def test_what_the_policy_follows_is_not_told_twice():
    assert lost_runs_line([]) is None
    assert lost_runs_line([lost(1, "fizzle")]) is None
