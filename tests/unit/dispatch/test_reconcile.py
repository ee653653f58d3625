"""A job whose process is gone is adopted or run again; a living one is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from fireworks.core.fworker import FWorker
from tests.stores import Stores
from tests.unit.dispatch.noop_jobs import add_another, noop

from cathodeflow.dispatch.jobs import count_states, firework_details
from cathodeflow.dispatch.launchpad import add_workflow_once, project_launchpad
from cathodeflow.dispatch.processes import process_identity
from cathodeflow.dispatch.reconcile import reconcile
from cathodeflow.dispatch.worker import HELD_STATES
from cathodeflow.storage.connection import Project


@pytest.fixture
def project(tmp_path: Path, stores: Stores) -> Project:
    return stores.create(tmp_path / "p")


@pytest.fixture(scope="module")
def dead() -> dict[str, Any]:
    """Identity of a process that is gone."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = psutil.Process(process.pid).create_time()
        process.communicate(b"\n")
    return {**process_identity(), "pid": process.pid, "process_started": started}


def launch(project: Project, identity: dict[str, Any], flow: Any = None, key: str = "k") -> Any:
    add_workflow_once(project, noop(1) if flow is None else flow, campaign="c", kind="label", key=key)
    worker = FWorker(name="w", env=identity)
    claimed = project_launchpad(project).claim(worker, None, HELD_STATES, lambda *_: project.folder / "launch")
    assert claimed is not None
    return claimed[0]


def test_a_job_of_a_dead_process_runs_again_once(project: Project, dead: dict[str, Any]) -> None:
    firework = launch(project, dead)
    (lost,) = reconcile(project, "c")
    assert (lost.fw_id, lost.action, lost.reason, lost.vanished) == (firework.fw_id, "rerun", "vanished", 1)
    assert (lost.campaign, lost.kind, lost.key, lost.pid) == ("c", "label", "k", dead["pid"])
    assert count_states(project) == {"READY": 1}
    assert reconcile(project, "c") == []
    assert "vanished" in (firework_details(project, firework.fw_id).launches[0].error or "")


def test_a_job_whose_output_stands_is_adopted(project: Project, dead: dict[str, Any]) -> None:
    job = noop(7)
    launch(project, dead, job)
    job.run(project.job_store())
    (lost,) = reconcile(project)
    assert lost.action == "adopt"
    assert count_states(project) == {"COMPLETED": 1}
    assert project.count("outputs") == 1


def test_a_living_process_and_those_of_other_hosts_are_left_alone(project: Project, dead: dict[str, Any]) -> None:
    launch(project, process_identity())
    launch(project, {**dead, "host": "elsewhere"}, key="2")
    launch(project, {}, key="3")
    assert reconcile(project) == []
    assert count_states(project) == {"RUNNING": 3}


def test_only_the_campaign_asked_for_is_set_right(project: Project, dead: dict[str, Any]) -> None:
    launch(project, dead)
    assert reconcile(project, "another") == []
    assert len(reconcile(project, "c")) == 1


def test_a_job_that_always_takes_its_process_with_it_is_given_up(project: Project, dead: dict[str, Any]) -> None:
    launch(project, dead)
    for times in (1, 2):
        (lost,) = reconcile(project, give_up_after=2)
        assert (lost.action, lost.vanished) == ("rerun", times)
        launch(project, dead)
    (lost,) = reconcile(project, give_up_after=2)
    assert (lost.action, lost.vanished) == ("fizzle", 3)
    assert count_states(project) == {"FIZZLED": 1}
    details = firework_details(project, lost.fw_id)
    assert details.reason == "vanished"
    assert details.job.launches == 3


def test_a_defused_job_stays_defused(project: Project, dead: dict[str, Any]) -> None:
    firework = launch(project, dead)
    project.database.fireworks.update_one({"fw_id": firework.fw_id}, {"$set": {"state": "DEFUSED"}})
    assert reconcile(project) == []
    assert count_states(project) == {"DEFUSED": 1}
    assert project.count("launches", {"state": "RUNNING"}) == 0


def test_reconciling_from_two_processes_reruns_once(project: Project, dead: dict[str, Any]) -> None:
    for key in range(20):
        launch(project, dead, key=str(key))
    command = (
        "import sys; from pathlib import Path; from cathodeflow.storage.connection import open_project;"
        "from cathodeflow.dispatch.reconcile import reconcile;"
        "print(len(reconcile(open_project(Path(sys.argv[1])))))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", command, str(project.folder)], stdout=subprocess.PIPE, env=os.environ)
        for _ in range(2)
    ]
    counts = [int(process.communicate()[0]) for process in both]
    assert sum(counts) == 20
    assert count_states(project) == {"READY": 20}
    assert all(len(d["archived_launches"]) == 1 for d in project.database.fireworks.find())


def test_what_a_job_adds_carries_its_marks(project: Project) -> None:
    import jobflow

    from cathodeflow.dispatch.worker import Worker, WorkerOptions

    jobflow.SETTINGS.JOB_STORE = project.job_store()
    add_workflow_once(project, add_another(1), campaign="c", kind="label", key="k", category="gpu")
    assert Worker(project, WorkerOptions(project.folder, until_empty=True, campaign="c")).loop() == 2
    assert {d["spec"]["_category"] for d in project.database.fireworks.find()} == {"gpu"}
    assert count_states(project, "c") == {"COMPLETED": 2}
