"""Jobs go through real allocations and back; what kills them is told apart, and the budget holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.services.gate import Gate
from tests.services.held_jobs import held
from tests.services.slurm_cluster import SlurmCluster
from tests.services.waiting import wait_for
from tests.unit.dispatch.noop_jobs import noop, see_gpus, use_memory

from cathodeflow.dispatch.allotment import Estimates
from cathodeflow.dispatch.jobs import LAUNCHES, count_states, firework_details
from cathodeflow.dispatch.launchpad import add_workflow_once
from cathodeflow.dispatch.reconcile import reconcile
from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.sites import Category
from cathodeflow.dispatch.slurm import submissions, submit
from cathodeflow.dispatch.slurm.pool import SitePool
from cathodeflow.dispatch.slurm.truth import SlurmTruth
from cathodeflow.storage.connection import Project

pytestmark = [pytest.mark.service, pytest.mark.slow]

MakeSite = Callable[..., SiteFile]


def add(project: Project, job: object, key: str = "k", category: str = "cpu", **spec: object) -> int:
    (fw_id,) = add_workflow_once(project, job, campaign="c", kind="label", key=key, category=category).fw_ids
    if spec:
        project.database.fireworks.update_one({"fw_id": fw_id}, {"$set": {f"spec.{k}": v for k, v in spec.items()}})
    return fw_id


def is_running(project: Project) -> bool:
    return count_states(project, "c").get("RUNNING", 0) > 0


def our_jobs(cluster: SlurmCluster, *options: str) -> list[str]:
    return [n for n in cluster.output("squeue", "-h", "-o", "%j", *options).split() if n.startswith("cflow-")]


@pytest.fixture
def pool(cluster: SlurmCluster, project: Project, make_site: MakeSite):
    made = SitePool(project, "c", make_site())
    yield made
    made.cancel()


def test_many_jobs_share_few_allocations(cluster: SlurmCluster, project: Project, make_site: MakeSite) -> None:
    for number in range(12):
        add(project, noop(number), str(number))
    for number in range(2):
        add(project, see_gpus(), f"g{number}", "gpu")
    pool = SitePool(project, "c", make_site(slots=2, cpus=2, max_running=2, busy_s=1000))
    assert pool.keep_alive() == 0
    assert pool.keep_alive() == 0, "asked again, it submits nothing more than is needed"
    assert len(our_jobs(cluster)) <= 4
    wait_for(lambda: count_states(project, "c") == {"COMPLETED": 14})
    wait_for(lambda: pool.keep_alive() == 0 and pool.alive() == 0)
    launches = project.select(LAUNCHES, {})
    identities = [launch["fworker"]["env"] for launch in launches]
    assert all(
        identity["slurm_job_id"].isdigit() and identity["slurm_nodes"] == cluster.node for identity in identities
    )
    seen = {d["output"] for d in project.select("outputs", {}) if isinstance(d["output"], str)}
    assert seen == {"0"}, "CUDA_VISIBLE_DEVICES of a slot"
    first = json.loads((Path(launches[0]["launch_dir"]) / "attempt.json").read_text())
    assert 0 < first["seconds_left"] < 600


def test_a_cancelled_allocation_is_noticed_in_one_tick(
    cluster: SlurmCluster, project: Project, pool: SitePool, gate: Gate
) -> None:
    fw_id = add(project, held(str(gate.path)))
    pool.keep_alive()
    wait_for(lambda: is_running(project))
    assert reconcile(project, "c") == [], "it runs"
    cluster.run("scancel", "-n", our_jobs(cluster)[0])
    wait_for(lambda: our_jobs(cluster) == [])
    assert len(reconcile(project, "c")) == 1, "squeue knows at once when KillWait is over"
    details = firework_details(project, fw_id)
    assert (details.job.state, details.reason) == ("FIZZLED", "cancelled")
    assert pool.keep_alive() == 1
    assert any("CANCELLED" in message for message in pool.messages())


def test_a_killed_worker_is_noticed_while_its_allocation_lives(
    cluster: SlurmCluster, project: Project, make_site: MakeSite, gate: Gate
) -> None:
    pool = SitePool(project, "c", make_site(linger_s=600))
    fw_id = add(project, held(str(gate.path)))
    pool.keep_alive()
    wait_for(lambda: is_running(project))
    (launch,) = project.select(LAUNCHES, {"state": "RUNNING"})
    os.kill(launch["fworker"]["env"]["pid"], signal.SIGKILL)
    wait_for(lambda: bool(reconcile(project, "c")))
    details = firework_details(project, fw_id)
    assert (details.job.state, details.reason) == ("FIZZLED", "vanished")
    assert "signal 9" in (details.error or "")
    assert len(our_jobs(cluster)) == 1, "the allocation goes on"
    add(project, noop(1), "next")
    wait_for(lambda: count_states(project, "c").get("COMPLETED") == 1)
    pool.cancel()


def test_out_of_memory_is_told_from_other_deaths(cluster: SlurmCluster, project: Project, make_site: MakeSite) -> None:
    pool = SitePool(project, "c", make_site(memory="600M"))
    fw_id = add(project, use_memory(900))
    pool.keep_alive()
    wait_for(lambda: bool(reconcile(project, "c")))
    assert firework_details(project, fw_id).reason == "out_of_memory"
    pool.cancel()


def test_a_job_that_had_too_little_memory_gets_an_allocation_of_its_size(
    cluster: SlurmCluster, project: Project, make_site: MakeSite
) -> None:
    add(project, noop(1), _memory_factor=2.0)
    pool = SitePool(project, "c", make_site(memory="500M", linger_s=600))
    pool.keep_alive()
    (asked,) = cluster.output("squeue", "-h", "-o", "%m").split()
    assert asked == "1000M"
    wait_for(lambda: count_states(project, "c") == {"COMPLETED": 1})
    pool.cancel()


def test_a_driver_that_dies_before_sbatch_costs_a_seat_until_that_is_known(
    cluster: SlurmCluster, project: Project, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    site = make_site(max_running=2, max_queued=2)
    for number in range(9):
        add(project, held(str(gate.path)), str(number))
    submissions.prepare(project)
    died_in = subprocess.run(
        [sys.executable, "-c", DYING_DRIVER, str(project.folder), str(site.folder), site.site.model_dump_json()],
        check=False,
        capture_output=True,
        text=True,
    )
    assert died_in.returncode == -signal.SIGKILL, died_in.stderr
    (intended,) = submissions.open_submissions(project, site.name)
    assert intended.job_id is None
    assert our_jobs(cluster) == []
    pool = SitePool(project, "c", site)
    pool.keep_alive()
    assert len(our_jobs(cluster)) == 1, "the token holds its seat: sbatch may have been reached"
    monkeypatch.setattr(submit, "SETTLED_AFTER_S", 0.0)
    pool.keep_alive()
    assert len(our_jobs(cluster)) == 2, "Slurm knows nothing of the token: its seat is free again"
    pool.keep_alive()
    assert len(our_jobs(cluster)) == 2
    pool.cancel()


DYING_DRIVER = """
import os, signal, sys
from pathlib import Path
from cathodeflow.dispatch.allotment import Estimates
from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.sites import Category, Site
from cathodeflow.dispatch.slurm import submit
from cathodeflow.storage.connection import open_project
project = open_project(Path(sys.argv[1]))
site = SiteFile(Path(sys.argv[2]), Site.model_validate_json(sys.argv[3]))
die = lambda record: os.kill(os.getpid(), signal.SIGKILL)
submit.submit_needed(project, site, "c", Category.CPU, Estimates(project, "c"), die)
"""


def test_a_driver_that_dies_after_sbatch_is_found_by_the_jobs_name(
    cluster: SlurmCluster, project: Project, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    site = make_site(max_running=1, max_queued=1)
    for number in range(9):
        add(project, held(str(gate.path)), str(number))
    submissions.prepare(project)
    with monkeypatch.context() as dying:
        dying.setattr(submissions, "mark_submitted", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            submit.submit_needed(project, site, "c", Category.CPU, Estimates(project, "c"))
    (record,) = submissions.open_submissions(project, site.name)
    assert record.job_id is None
    assert our_jobs(cluster) == [f"cflow-{record.token}"]
    (told,) = cluster.output("squeue", "-h", "-o", "%k").split()
    assert told == f"cathodeflow:{submit.project_id(project)}:c:cpu:{record.token}"
    pool = SitePool(project, "c", site)
    pool.keep_alive()
    (record,) = submissions.open_submissions(project, site.name)
    assert (record.job_id or "").isdigit()
    assert len(our_jobs(cluster)) == 1
    pool.cancel()


def test_a_refusal_is_said_and_not_tried_again_at_once(
    cluster: SlurmCluster, project: Project, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cathodeflow.dispatch.slurm.pool.FIRST_DELAY_S", 3600.0)
    add(project, noop(1))
    pool = SitePool(project, "c", make_site(partition="nowhere"))
    pool.keep_alive()
    pool.keep_alive()
    (message,) = pool.messages()
    assert "invalid partition specified: nowhere" in message
    assert submissions.open_submissions(project, "one_node") == []


def test_slurm_that_does_not_answer_kills_nobody(
    cluster: SlurmCluster, project: Project, pool: SitePool, gate: Gate
) -> None:
    add(project, held(str(gate.path)))
    pool.keep_alive()
    wait_for(lambda: is_running(project))
    cluster.kill("slurmctld")
    try:
        assert pool.keep_alive() == 0
        assert reconcile(project, "c") == []
        assert SlurmTruth().look(["1"])["1"].standing == "unknown"
        assert "squeue" in pool.messages()[0]
    finally:
        cluster.start_slurmctld()
    assert count_states(project, "c") == {"RUNNING": 1}
    gate.open()
    wait_for(lambda: count_states(project, "c") == {"COMPLETED": 1})


def test_a_node_that_goes_down_is_told_from_a_kill(
    cluster: SlurmCluster, project: Project, pool: SitePool, gate: Gate
) -> None:
    fw_id = add(project, held(str(gate.path)))
    pool.keep_alive()
    wait_for(lambda: is_running(project))
    cluster.kill("slurmd")
    try:
        cluster.run("scontrol", "update", f"nodename={cluster.node}", "state=down", "reason=test")
        wait_for(lambda: bool(reconcile(project, "c")))
        assert firework_details(project, fw_id).reason == "node_fail"
    finally:
        cluster.start_slurmd()
        cluster.run("scontrol", "update", f"nodename={cluster.node}", "state=resume")
    wait_for(lambda: cluster.output("sinfo", "-h", "-p", "cpu", "-o", "%T").strip() == "idle")
    pool.keep_alive()


def test_slurmd_restarted_loses_nothing(cluster: SlurmCluster, project: Project, pool: SitePool, gate: Gate) -> None:
    add(project, held(str(gate.path)))
    pool.keep_alive()
    wait_for(lambda: is_running(project))
    cluster.kill("slurmd")
    cluster.start_slurmd()
    assert reconcile(project, "c") == []
    gate.open()
    wait_for(lambda: count_states(project, "c") == {"COMPLETED": 1})
