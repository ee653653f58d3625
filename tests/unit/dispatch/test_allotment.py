"""No job is begun that cannot end in time, and none is kept for ever because it is longer than any allocation."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.dispatch.noop_jobs import noop

from cathodeflow.dispatch.allotment import Allotment, Estimates
from cathodeflow.dispatch.durations import SAFETY, measured_seconds, too_long
from cathodeflow.dispatch.jobs import LAUNCHES
from cathodeflow.dispatch.launchpad import add_workflow_once
from cathodeflow.dispatch.sites import Queue
from cathodeflow.dispatch.worker import Worker, WorkerOptions
from cathodeflow.storage.connection import Project, create_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    import jobflow

    made = create_project(tmp_path / "p")
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", made.job_store())
    return made


def worker(
    project: Project, seconds_left: float, whole: float, expected: dict[str, float] | None = None, **changes: float
) -> Worker:
    now = time.time()
    allotment = Allotment(now + seconds_left - whole, now + seconds_left, **changes)
    options = WorkerOptions(
        project.folder, campaign="c", until_empty=True, allotment=allotment, expected=expected or {}
    )
    return Worker(project, options)


def add(project: Project, kind: str, key: str, **spec: float) -> None:
    add_workflow_once(project, noop(1), campaign="c", kind=kind, key=key)
    for name, value in spec.items():
        project.database.fireworks.update_one({"spec._key": key}, {"$set": {f"spec.{name}": value}})


def measure(project: Project, kind: str, seconds: float) -> None:
    """One finished job of a kind that took so long."""
    add(project, kind, f"done-{kind}")
    assert worker(project, 1e6, 1e6).loop() == 1
    project.database[LAUNCHES].update_many({}, {"$set": {"runtime_secs": seconds}})


@given(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(0, 1))
def test_a_begun_allocation_takes_no_job_that_outlasts_it(seconds: float, whole: float, share: float) -> None:
    left = whole * (1 - share)
    refused = too_long({"label": seconds}, left, whole, whole - left)
    if share > 0.2:
        assert (refused == ["label"]) == (seconds * SAFETY > left)
    if share < 0.05:
        assert refused == [], "a fresh one takes any job"


def test_only_jobs_that_end_in_time_are_started(project: Project) -> None:
    measure(project, "label", 100.0)
    add(project, "label", "long")
    add(project, "screen", "unmeasured")
    assert measured_seconds(project, "c", ["label", "screen"]) == {"label": 100.0}
    assert worker(project, 100.0, 1000.0).loop() == 1, "the one that nobody has measured"
    assert worker(project, 900.0, 1000.0).loop() == 1
    assert project.count("fireworks", {"state": "READY"}) == 0


def test_a_job_longer_than_any_allocation_starts_in_a_fresh_one(project: Project) -> None:
    measure(project, "label", 5000.0)
    add(project, "label", "long")
    assert worker(project, 500.0, 1000.0).loop() == 0
    assert worker(project, 999.0, 1000.0).loop() == 1


def test_what_the_site_expects_holds_until_something_was_measured(project: Project) -> None:
    add(project, "label", "k")
    assert worker(project, 200.0, 1000.0, expected={"label": 300.0}).loop() == 0
    assert worker(project, 500.0, 1000.0, expected={"label": 300.0}).loop() == 1
    add(project, "label", "next")
    assert worker(project, 200.0, 1000.0, expected={"label": 300.0}).loop() == 1, "the first took a moment"


def test_each_branch_of_the_follow_ups_is_judged_by_its_own_kind(project: Project) -> None:
    for branch, seconds in (("static", 10.0), ("pdos", 10.0), ("gap", 700.0)):
        add(project, "follow_up", f"done/{branch}")
        assert worker(project, 1e6, 1e6).loop() == 1
        (last,) = project.select(LAUNCHES, {}, [("launch_id", -1)], 1)
        project.database[LAUNCHES].update_one({"launch_id": last["launch_id"]}, {"$set": {"runtime_secs": seconds}})
    measured = measured_seconds(project, "c", ["follow_up"])
    assert measured == {"follow_up": 10.0, "follow_up/static": 10.0, "follow_up/pdos": 10.0, "follow_up/gap": 700.0}
    for branch in ("gap", "pdos", "bader"):
        add(project, "follow_up", f"next/{branch}")
    add(project, "label", "gap")
    assert worker(project, 200.0, 1200.0).loop() == 3, "all but the gap, which the median of all would have let begin"
    (left,) = project.select("fireworks", {"state": "READY"})
    assert left["spec"]["_key"] == "next/gap"
    assert worker(project, 1100.0, 1200.0).loop() == 1


def test_a_site_may_expect_something_of_a_branch(project: Project) -> None:
    expected = Queue.model_validate({"expected": {"gap": "00:05:00", "label": "00:01:00"}}).expected_s
    assert expected == {"follow_up/gap": 300.0, "label": 60.0}
    add(project, "follow_up", "k/gap")
    add(project, "follow_up", "k/pdos")
    assert worker(project, 200.0, 1000.0, expected=expected).loop() == 1
    assert worker(project, 600.0, 1000.0, expected=expected).loop() == 1


def test_jobs_that_need_a_larger_allocation_wait_for_it(project: Project) -> None:
    add(project, "label", "k", _memory_factor=2.0)
    assert worker(project, 999.0, 1000.0).loop() == 0
    assert worker(project, 999.0, 1000.0, memory_factor=2.0).loop() == 1


def test_a_worker_lingers_for_more_work(project: Project) -> None:
    began = time.monotonic()
    assert worker(project, 999.0, 1000.0, linger_s=0.5).loop() == 0
    assert 0.5 <= time.monotonic() - began < 900.0, "and not until its allocation ends"


def test_estimates_are_asked_for_now_and_then(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cathodeflow.dispatch.allotment.REFRESH_S", 3600.0)
    estimates = Estimates(project, "c")
    assert estimates.seconds() == {}
    measure(project, "label", 7.0)
    add(project, "label", "next")
    assert estimates.seconds() == {}, "not again for a while"
    monkeypatch.setattr("cathodeflow.dispatch.allotment.REFRESH_S", 0.0)
    assert estimates.seconds() == {"label": 7.0}
