"""The driver's loop with a pool that counts what it is asked: jobs are given a place in the tick that makes them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.campaign_world import LAWFUL, definition, launch, work_one

from cathodeflow.campaign.driver import drive
from cathodeflow.dispatch.jobs import count_states
from cathodeflow.storage.connection import Project


class CountingPool:
    """A cluster with room for everything: what is READY when it is topped up is done before the next tick."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.ready_before: list[int] = []
        self.ready_after: list[int] = []
        self.ticks_at: list[float] = []

    def keep_alive(self) -> int:
        self.ticks_at.append(time.monotonic())
        self.ready_before.append(count_states(self.project).get("READY", 0))
        return 0

    def top_up(self) -> None:
        self.ready_after.append(count_states(self.project).get("READY", 0))
        while work_one(self.project):
            pass

    def alive(self) -> int:
        return 0

    def ask_to_finish(self) -> None:
        pass

    def end(self) -> None:
        pass

    def messages(self) -> list[str]:
        return []


def test_jobs_get_a_place_in_the_tick_that_makes_them_and_a_new_stage_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATHODEFLOW_TICK_S", "0.01")
    monkeypatch.setenv("CATHODEFLOW_SITE_TICK_S", "0.6")
    project = launch(tmp_path, definition(labels={"total": 8, "rounds": 1}))
    pool = CountingPool(project)
    assert drive(project, "trial", pool, recipes=LAWFUL).state == "done"
    assert sum(pool.ready_after) > 12
    assert not any(pool.ready_before), "nothing READY waits for another tick"
    # Of the ticks some begin a stage: these are followed at once, the others after site_tick_s.
    gaps = [after - before for before, after in zip(pool.ticks_at, pool.ticks_at[1:], strict=False)]
    assert sum(gap < 0.6 for gap in gaps) >= 4, gaps
    assert sum(gap >= 0.6 for gap in gaps) >= 1, gaps
