"""The driver's loop with a pool that counts what it is asked: jobs are given a place in the tick that makes them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from pymongo.errors import AutoReconnect
from tests.campaign_world import LAWFUL, definition, launch, work_one

from cathodeflow.campaign.driver import LIVED_S, Interruption, WorkerPool, _Driver, drive
from cathodeflow.dispatch.jobs import count_states
from cathodeflow.errors import StoreError
from cathodeflow.storage.address import StoreAddress
from cathodeflow.storage.connection import Project


class Clock:
    """The driver's time: it passes only where the driver sleeps, however long its ticks take here."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("cathodeflow.campaign.driver.time", made)
    return made


class CountingPool:
    """A cluster with room for everything: what is READY when it is topped up is done before the next tick."""

    def __init__(self, project: Project, clock: Clock) -> None:
        self.project = project
        self.clock = clock
        self.ready_before: list[int] = []
        self.ready_after: list[int] = []
        self.ticks_at: list[float] = []

    def keep_alive(self) -> int:
        self.ticks_at.append(self.clock.monotonic())
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setenv("CATHODEFLOW_TICK_S", "1")
    monkeypatch.setenv("CATHODEFLOW_SITE_TICK_S", "30")
    project = launch(tmp_path, definition(labels={"total": 8, "rounds": 1}))
    pool = CountingPool(project, clock)
    assert drive(project, "trial", pool, recipes=LAWFUL).state == "done"
    assert sum(pool.ready_after) > 12
    assert not any(pool.ready_before), "nothing READY waits for another tick"
    # Of the ticks some begin a stage: these are followed at once, the others after site_tick_s.
    gaps = [round(after - before) for before, after in zip(pool.ticks_at, pool.ticks_at[1:], strict=False)]
    assert set(gaps) == {1, 30}, gaps
    assert gaps.count(1) >= 4, gaps


def test_an_allocation_that_ended_badly_is_told_once_and_not_as_a_worker_of_this_machine(
    tmp_path: Path, clock: Clock
) -> None:
    class LosingPool(CountingPool):
        def keep_alive(self) -> int:
            super().keep_alive()
            return 1

        def messages(self) -> list[str]:
            return ["allocation 7 for cpu ended: CANCELLED"] if len(self.ticks_at) == 1 else []

    project = launch(tmp_path, definition(labels={"total": 8, "rounds": 1}))
    assert drive(project, "trial", LosingPool(project, clock), recipes=LAWFUL).state == "done"
    kinds = [(event["kind"], event["message"]) for event in project.select("events", {"campaign": "trial"})]
    assert kinds.count(("site", "allocation 7 for cpu ended: CANCELLED")) == 1
    assert "worker_died" not in dict(kinds)


class BusyPool(CountingPool):
    """Workers whose present job takes some looks to end."""

    def __init__(self, project: Project, clock: Clock, looks: int) -> None:
        super().__init__(project, clock)
        self.looks = looks
        self.asked_to_finish = 0
        self.ended_with = -1

    def alive(self) -> int:
        self.looks -= 1
        return int(self.looks > 0)

    def ask_to_finish(self) -> None:
        self.asked_to_finish += 1

    def end(self) -> None:
        self.ended_with = self.looks


def test_an_interrupt_while_the_server_is_away_waits_for_the_present_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    monkeypatch.setenv("CATHODEFLOW_STORE_FIRST_DELAY_S", "0.01")
    project = launch(tmp_path, definition())
    away = Project(project.folder, None, StoreAddress.parse("mongodb://nowhere.invalid/db"))
    taken = 0

    def take_lease(*_args: object) -> None:
        nonlocal taken
        taken += 1
        if taken == 2:
            os.kill(os.getpid(), signal.SIGINT)
        if taken > 1:
            raise AutoReconnect("connection closed")

    def release_lease(*_args: object) -> None:
        raise AutoReconnect("connection closed")

    monkeypatch.setattr("cathodeflow.campaign.driver._free_lease_of_the_dead", lambda *_args: None)
    monkeypatch.setattr("cathodeflow.campaign.transitions.take_lease", take_lease)
    monkeypatch.setattr("cathodeflow.campaign.transitions.release_lease", release_lease)
    pool = BusyPool(away, clock, looks=5)
    with pytest.raises(StoreError, match="cannot be reached"):
        drive(away, "trial", pool, recipes=LAWFUL)
    assert (pool.asked_to_finish, pool.ended_with) == (1, 0), "its jobs were not waited for"
    assert "cannot be reached" in caplog.text


def test_the_lease_is_not_written_anew_at_every_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setenv("CATHODEFLOW_LEASE_S", "30")
    project = launch(tmp_path, definition())
    pool = BusyPool(project, clock, looks=250)
    driver = _Driver(project, "trial", "somebody:1:1.0", pool)
    written = []
    monkeypatch.setattr("cathodeflow.campaign.transitions.take_lease", lambda *args: written.append(args))
    driver.let_jobs_finish(Interruption())
    assert pool.looks == 0
    assert len(written) == 3, "at the beginning, and after each third of it in these 25 s"


class RefusingWorkers(WorkerPool):
    """Workers that end as soon as they are started."""

    starts = 0

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        self.starts += 1
        process = subprocess.Popen(["false"])
        process.wait()
        return process


def test_workers_that_refuse_to_work_are_started_ever_less_often(tmp_path: Path, clock: Clock) -> None:
    pool = RefusingWorkers(tmp_path, "trial", 1, 1)
    deaths, starts_at = 0, []
    for _ in range(200):
        before = pool.starts
        deaths += pool.keep_alive()
        starts_at += [clock.now - 100.0] * (pool.starts - before)
        clock.now += 1.0
    assert starts_at == [0.0, 1.0, 4.0, 9.0, 18.0, 35.0, 68.0, 129.0, 190.0]
    assert deaths == len(starts_at)
    pool._started[0] = clock.now - LIVED_S
    assert pool._delay(0) == 0.0, "one that worked for a while is started at once"
