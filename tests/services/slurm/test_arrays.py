"""Equal allocations as the tasks of one array: one call of sbatch, and each is still counted and judged for itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.services.gate import Gate
from tests.services.held_jobs import held
from tests.services.slurm_cluster import SlurmCluster
from tests.services.waiting import wait_for

from cathodeflow.dispatch.allotment import Estimates
from cathodeflow.dispatch.jobs import LAUNCHES, count_states, firework_details
from cathodeflow.dispatch.launchpad import add_workflow_once
from cathodeflow.dispatch.reconcile import reconcile
from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.sites import Category
from cathodeflow.dispatch.slurm import submissions, submit
from cathodeflow.dispatch.slurm.allocation import end_of
from cathodeflow.dispatch.slurm.judgement import slurm_job_of
from cathodeflow.dispatch.slurm.pool import SitePool, logs_of
from cathodeflow.storage.connection import Project

pytestmark = [pytest.mark.service, pytest.mark.slow]

MakeSite = Callable[..., SiteFile]
TASKS = 3
SIGNAL_S = 5


@pytest.fixture
def site(make_site: MakeSite) -> SiteFile:
    return make_site(array=True, max_running=TASKS, max_queued=TASKS, busy_s=1, signal_s=SIGNAL_S)


def add(project: Project, gate: Gate, number: int) -> None:
    for place in range(number):
        job = held(str(gate.path))
        add_workflow_once(project, job, campaign="c", kind="label", key=f"{place}", category="cpu")


def in_queue(cluster: SlurmCluster) -> list[str]:
    """Our jobs as squeue lists them, an array whose tasks wait as one line."""
    lines = cluster.output("squeue", "-h", "-o", "%i %j").splitlines()
    return [line.split()[0] for line in lines if line.split()[1].startswith("cflow-")]


def test_jobs_spread_over_the_tasks_of_one_array(
    cluster: SlurmCluster, project: Project, site: SiteFile, gate: Gate
) -> None:
    add(project, gate, 12)
    pool = SitePool(project, "c", site)
    pool.keep_alive()
    held = submissions.open_submissions(project, site.name)
    assert len(held) == TASKS
    assert len({record.job_id.split("_")[0] for record in held if record.job_id}) == 1, "one call of sbatch"
    pool.keep_alive()
    assert len(submissions.open_submissions(project, site.name)) <= TASKS
    wait_for(lambda: count_states(project, "c").get("RUNNING") == TASKS)
    lines = cluster.output("squeue", "-h", "-o", "%i %e").splitlines()
    ends = {job_id: end_of(end) for job_id, end in (line.split() for line in lines)}
    gate.open()
    wait_for(lambda: count_states(project, "c") == {"COMPLETED": 12})
    wait_for(lambda: pool.keep_alive() == 0 and pool.alive() == 0)
    ended = {d["job_id"]: d["outcome"] for d in project.select(submissions.SUBMISSIONS, {})}
    assert set(ended.values()) == {"COMPLETED"}
    launches = project.select(LAUNCHES, {})
    ran_in = {slurm_job_of(launch["fworker"]["env"]) for launch in launches}
    assert len(ran_in) == TASKS
    assert ran_in == set(ended) == set(ends)
    assert all(len(logs_of(project, job_id)) == 1 for job_id in ran_in if job_id)
    for launch in launches:
        note = Path(launch["launch_dir"]) / "attempt.json"
        told = note.stat().st_mtime + json.loads(note.read_text())["seconds_left"]
        end = ends[str(slurm_job_of(launch["fworker"]["env"]))]
        assert end is not None
        assert told == pytest.approx(end - SIGNAL_S, abs=10.0), "each task knows its own end"


def test_one_task_is_cancelled_and_the_others_go_on(
    cluster: SlurmCluster, project: Project, site: SiteFile, gate: Gate
) -> None:
    add(project, gate, TASKS)
    pool = SitePool(project, "c", site)
    pool.keep_alive()
    wait_for(lambda: count_states(project, "c").get("RUNNING") == TASKS)
    launches = {slurm_job_of(d["fworker"]["env"]): d["fw_id"] for d in project.select(LAUNCHES, {})}
    assert len(launches) == TASKS
    victim = sorted(str(job) for job in launches)[1]
    cluster.run("scancel", victim)
    wait_for(lambda: bool(reconcile(project, "c")))
    assert firework_details(project, launches[victim]).reason == "cancelled"
    assert pool.keep_alive() == 1
    assert any(f"allocation {victim} for cpu ended: CANCELLED" in message for message in pool.messages())
    gate.open()
    wait_for(lambda: count_states(project, "c") == {"COMPLETED": TASKS - 1, "FIZZLED": 1})
    assert reconcile(project, "c") == []
    pool.cancel()


def test_an_array_submitted_by_a_driver_that_died_is_found_task_by_task(
    cluster: SlurmCluster, project: Project, site: SiteFile, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    add(project, gate, 9)
    submissions.prepare(project)
    with monkeypatch.context() as dying:
        dying.setattr(submissions, "mark_submitted", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            submit.submit_needed(project, site, "c", Category.CPU, Estimates(project, "c"))
    held = submissions.open_submissions(project, site.name)
    assert [record.job_id for record in held] == [None] * TASKS
    pool = SitePool(project, "c", site)
    pool.keep_alive()
    found = submissions.open_submissions(project, site.name)
    assert {record.token for record in found} == {record.token for record in held}
    numbers = {record.token: str(record.job_id) for record in found}
    assert all(numbers[f"{record.name_token}-{record.task}"].endswith(f"_{record.task}") for record in found)
    assert len({number.split("_")[0] for number in numbers.values()}) == 1, "nothing was submitted again"
    pool.cancel()
    wait_for(lambda: in_queue(cluster) == [])


def test_tasks_that_never_began_are_taken_back(
    cluster: SlurmCluster, project: Project, make_site: MakeSite, gate: Gate
) -> None:
    site = make_site(array=True, max_running=4, max_queued=4, busy_s=1, memory="3000M")  # one at a time fits
    add(project, gate, 9)
    pool = SitePool(project, "c", site)
    pool.keep_alive()
    wait_for(lambda: count_states(project, "c").get("RUNNING") == 1)
    pool.keep_alive()
    states = [record.state for record in submissions.open_submissions(project, site.name)]
    assert sorted(states) == ["pending", "pending", "pending", "running"]
    pool.ask_to_finish()
    (left,) = submissions.open_submissions(project, site.name)
    assert left.state == "running", "what runs goes on"
    assert in_queue(cluster) == [left.job_id]
    pool.cancel()
