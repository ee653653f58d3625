"""Real workers on one project: each job once, whatever dies."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobflow
import pytest
from tests.services.held_jobs import until_asked_to_end
from tests.services.waiting import AMPLE_S, wait_for
from tests.unit.dispatch.noop_jobs import fail, kill_oneself, noop

from cathodeflow.dispatch.jobs import LOG_NAME, count_states, firework_details, list_fireworks
from cathodeflow.dispatch.launchpad import add_workflow_once, project_launchpad
from cathodeflow.dispatch.reconcile import reconcile
from cathodeflow.dispatch.slurm.notes import STORE_AWAY
from cathodeflow.dispatch.worker import Worker, WorkerOptions
from cathodeflow.storage.connection import Project, create_project, open_project

# Forked workers have FireWorks imported already; what they open, they open themselves.
FORK = multiprocessing.get_context("fork")


def work(folder: Path, number: int) -> None:
    with (folder / f"worker-{number}.txt").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        project = open_project(folder)
        jobflow.SETTINGS.JOB_STORE = project.job_store()
        Worker(project, WorkerOptions(folder, number, campaign="c", until_empty=True)).loop()


def start(target: Callable[..., Any], *arguments: Any) -> Any:
    process = FORK.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def add_jobs(project: Project, count: int, first: int = 0) -> None:
    """Add no-op jobs as workflows of their own, in one go."""
    from fireworks import Firework, Workflow
    from jobflow.managers.fireworks import JobFiretask

    marks = {"_campaign": "c", "_kind": "label", "_category": "cpu", "_priority": 0}
    workflows = []
    for number in range(first, first + count):
        firework = Firework([JobFiretask(job=noop(number), store=None)], spec={**marks, "_key": str(number)})
        natural_key = {"campaign": "c", "kind": "label", "key": str(number), "attempt": 1}
        workflows.append(Workflow([firework], metadata=natural_key))
    project_launchpad(project).bulk_add_wfs(workflows)


def check_consistent(project: Project, count: int) -> None:
    assert count_states(project, "c") == {"COMPLETED": count}
    assert project.count("workflows", {"state": "COMPLETED"}) == count
    assert project.database.workflows.count_documents({"locked": {"$exists": True}}) == 0
    assert project.count("launches", {"state": {"$in": ["RUNNING", "RESERVED"]}}) == 0
    outputs = Counter(d["uuid"] for d in project.database.outputs.find({}, {"uuid": 1}))
    assert len(outputs) == count
    assert set(outputs.values()) == {1}
    with sqlite3.connect(project.file.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@pytest.mark.slow
def test_eight_processes_run_two_thousand_jobs_each_once(tmp_path: Path) -> None:
    project = create_project(tmp_path / "p")
    add_jobs(project, 2000)
    workers = [start(work, project.folder, number) for number in range(8)]
    for process in workers:
        process.join()
    assert [process.exitcode for process in workers] == [0] * 8
    check_consistent(project, 2000)
    launches = Counter(d["fw_id"] for d in project.database.launches.find({}, {"fw_id": 1}))
    assert len(launches) == 2000
    assert set(launches.values()) == {1}


@pytest.mark.slow
def test_killed_workers_lose_nothing_and_repeat_nothing_recorded(tmp_path: Path) -> None:
    project = create_project(tmp_path / "p")
    added = 0
    recorded: dict[str, Any] = {}
    for _ in range(20):
        if count_states(project).get("READY", 0) < 60:  # every time there is something to take from them
            add_jobs(project, 120, first=added)
            added += 120
        there = count_states(project).get("COMPLETED", 0)
        workers = [start(work, project.folder, number) for number in range(3)]
        # Some are killed while they start, some at work.
        if random.random() < 0.7:
            wait_for(lambda there=there: count_states(project).get("COMPLETED", 0) > there)  # type: ignore[misc]
        time.sleep(random.uniform(0.0, 0.1))
        for process in workers:
            os.kill(process.pid, signal.SIGKILL)
        for process in workers:
            process.join()
        reconcile(project, "c")
        now = {d["uuid"]: d["completed_at"] for d in project.database.outputs.find({}, {"uuid": 1, "completed_at": 1})}
        assert {uuid: now[uuid] for uuid in recorded} == recorded
        recorded = now
    last = start(work, project.folder, 9)
    last.join()
    check_consistent(project, added)


def run_worker(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cathodeflow.dispatch.worker", "--project", str(folder), *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )


def test_a_worker_process_logs_each_job_and_keeps_the_traceback(tmp_path: Path) -> None:
    project = create_project(tmp_path / "p")
    add_workflow_once(project, noop(1), campaign="c", kind="label", key="fine/one")
    add_workflow_once(project, fail("bad number"), campaign="c", kind="label", key="broken")
    worker = run_worker(project.folder, "--until-empty", "--campaign", "c", "--threads", "1")
    said, _ = worker.communicate(timeout=AMPLE_S)
    assert worker.returncode == 0, said
    assert "ends after 2 job(s)" in said
    assert count_states(project) == {"COMPLETED": 1, "FIZZLED": 1}
    details = firework_details(project, 2)
    assert "ValueError: bad number" in (details.error or "")
    assert details.log is not None
    assert "about to fail" in details.log.read_text()
    assert details.log.parent.relative_to(project.folder).parts[:3] == ("launches", "label", "broken")
    assert details.launches[0].pid == worker.pid
    (fine,) = list_fireworks(project, "c", ["COMPLETED"])
    assert (fine.key, fine.launches) == ("fine/one", 1)


def listens(project: Project) -> bool:
    """Whether a job is so far that its worker may be asked to end."""
    logs = project.folder.glob(f"launches/*/*/*/{LOG_NAME}")
    return any("waits to be asked" in log.read_text() for log in logs)


def test_a_worker_asked_to_end_finishes_its_job(tmp_path: Path) -> None:
    project = create_project(tmp_path / "p")
    for number in range(3):
        add_workflow_once(project, until_asked_to_end(), campaign="c", kind="label", key=str(number))
    worker = run_worker(project.folder)
    wait_for(lambda: listens(project))
    worker.send_signal(signal.SIGINT)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=AMPLE_S) == 0
    assert count_states(project) == {"COMPLETED": 1, "READY": 2}


def test_a_worker_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    project = create_project(tmp_path / "p")
    script = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'cathodeflow.dispatch.worker', "
        f"'--project', {str(project.folder)!r}], start_new_session=True); print(p.pid, flush=True); input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])},
    )  # fmt: skip
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert "works on" in parent.stdout.readline()
    parent.kill()
    parent.wait()
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_a_job_that_kills_its_worker_is_found_and_run_again(tmp_path: Path) -> None:
    project = create_project(tmp_path / "p")
    add_workflow_once(project, kill_oneself(), campaign="c", kind="label", key="k")
    for times in (1, 2):
        worker = start(work, project.folder, 0)
        worker.join()
        assert worker.exitcode == -signal.SIGKILL
        (lost,) = reconcile(project, "c")
        assert (lost.action, lost.vanished, lost.pid) == ("rerun", times, worker.pid)


def test_a_worker_without_a_project_says_so(tmp_path: Path) -> None:
    worker = run_worker(tmp_path)
    said, _ = worker.communicate(timeout=AMPLE_S)
    assert worker.returncode == STORE_AWAY
    assert "no store" in said
