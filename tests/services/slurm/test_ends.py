"""Every way in which Slurm ends a job comes back as its own reason, and a site that would not work is found out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.services.slurm.conftest import wait_for
from tests.services.slurm_cluster import SlurmCluster
from tests.unit.dispatch.noop_jobs import noop, sleep

from cathodeflow.dispatch.jobs import count_states, firework_details
from cathodeflow.dispatch.launchpad import add_workflow_once
from cathodeflow.dispatch.reconcile import reconcile
from cathodeflow.dispatch.site_check import check_site
from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.slurm.pool import SitePool
from cathodeflow.dispatch.slurm.truth import SlurmTruth
from cathodeflow.storage.connection import Project

pytestmark = [pytest.mark.service, pytest.mark.slow]

MakeSite = Callable[..., SiteFile]


def add(project: Project, job: object, key: str) -> int:
    return add_workflow_once(project, job, campaign="c", kind="label", key=key, category="cpu").fw_ids[0]


def test_ends_of_scripts_are_told_apart_by_sacct(cluster: SlurmCluster, tmp_path: Path) -> None:
    bodies = {"exit_code": "exit 3", "killed": "kill -9 $$", "cancelled": "sleep 300", None: "true"}
    bodies["out_of_memory"] = "python3 -c 'x = bytearray(600 * 2**20)'"
    numbers = {}
    for reason, body in bodies.items():
        script = tmp_path / f"{reason}.sh"
        script.write_text(f"#!/bin/bash\n{body}\n")
        said = cluster.output("sbatch", "--parsable", "-t", "1", "--mem=200M", "-o", str(tmp_path / "log"), str(script))
        numbers[said.strip()] = reason
    (to_cancel,) = (number for number, reason in numbers.items() if reason == "cancelled")
    wait_for(lambda: SlurmTruth().look([to_cancel])[to_cancel].standing == "running")
    cluster.run("scancel", to_cancel)

    def told() -> dict[str, str | None]:
        looked = SlurmTruth().look(numbers)
        return {number: finding.job.reason if finding.job else "?" for number, finding in looked.items()}

    wait_for(lambda: told() == numbers, 40)
    # The same from sacct alone, as after the minutes that squeue remembers.
    wait_for(lambda: {n: j.reason for n, j in SlurmTruth()._ask_accounts(list(numbers)).items()} == numbers, 40)


def test_the_time_limit_and_the_signal_before_it(cluster: SlurmCluster, project: Project, make_site: MakeSite) -> None:
    site = make_site(time="00:01:00", signal_s=40, max_running=1, max_queued=1)
    pool = SitePool(project, "c", site)
    fw_id = add(project, sleep(300.0), "long")
    pool.keep_alive()
    wait_for(lambda: count_states(project, "c").get("RUNNING") == 1)
    wait_for(lambda: bool(reconcile(project, "c")), 120, 1.0)
    assert firework_details(project, fw_id).reason == "timeout"
    (log,) = (project.folder / "logs" / "slurm").glob("cpu-*.log")
    assert "TIME LIMIT" in log.read_text()
    assert pool.keep_alive() == 0, "an allocation at its limit has done its duty"


def test_the_signal_before_the_end_lets_a_job_finish_and_starts_no_other(
    cluster: SlurmCluster, project: Project, make_site: MakeSite
) -> None:
    pool = SitePool(project, "c", make_site(max_running=1, max_queued=1, busy_s=1000))
    for number in range(3):
        add(project, sleep(6.0), str(number))
    pool.keep_alive()
    wait_for(lambda: count_states(project, "c").get("RUNNING") == 1)
    (job_id,) = cluster.output("squeue", "-h", "-o", "%i").split()
    cluster.run("scancel", "-b", "-s", "USR1", job_id)
    wait_for(lambda: SlurmTruth().look([job_id])[job_id].standing == "ended", 30)
    assert count_states(project, "c") == {"COMPLETED": 1, "READY": 2}
    finding = SlurmTruth().look([job_id])[job_id]
    assert finding.job is not None
    assert finding.job.state == "COMPLETED"


def test_an_allocation_that_cannot_work_is_not_submitted_with_every_tick(
    cluster: SlurmCluster, project: Project, make_site: MakeSite
) -> None:
    add(project, noop(1), "k")
    site = make_site(max_running=1, max_queued=1, pre_commands=["exit 4"])
    pool = SitePool(project, "c", site)
    pool.keep_alive()
    wait_for(lambda: pool.keep_alive() == 1, 30)
    assert any("FAILED" in message and "at the earliest" in message for message in pool.messages())
    assert pool.keep_alive() == 0
    assert pool.alive() == 0


def test_a_check_goes_out_and_back_through_each_queue(
    cluster: SlurmCluster, project: Project, make_site: MakeSite
) -> None:
    results = {(r.category, r.check): r for r in check_site(make_site(memory="1G"), project.folder, live_s=200.0)}
    assert {result.verdict for result in results.values()} == {"ok"}, results
    assert set(results) == {(c, k) for c in ("cpu", "gpu") for k in ("script", "test-only", "imports", "live")}
    assert "out and back" in results["gpu", "live"].message
    assert "the store answers" in results["cpu", "live"].message
    assert list(project.folder.glob(".site-check-*")) == []


@pytest.mark.parametrize(
    ("changes", "check", "said"),
    [
        ({"partition": "nowhere"}, "test-only", "invalid partition specified: nowhere"),
        ({"account": "nobody"}, "test-only", "invalid account"),
        ({"qos": "none"}, "test-only", "invalid qos"),
        ({"cpus": 4000}, "test-only", "node configuration is not available"),
        # Slurm takes these and never starts them: only the partition says so.
        ({"time": "02:00:00"}, "test-only", "cpu gives at most 01:00:00 and 02:00:00 are asked for"),
        ({"max_time": "03:00:00"}, "test-only", "03:00:00 are asked for: it would wait for ever when asked for more"),
        ({"max_memory": "900G"}, "test-only", "memory specification can not be satisfied"),
        ({"nodes": 2}, "test-only", "node"),
        ({"modules": ["vasp"]}, "imports", "module"),
        ({"pre_commands": ["if"]}, "script", "bash does not understand it"),
    ],
)
def test_what_would_not_run_is_said_before_anything_is_submitted(
    cluster: SlurmCluster, tmp_path: Path, make_site: MakeSite, changes, check: str, said: str
) -> None:
    looked = (r for r in check_site(make_site(**changes), tmp_path) if (r.category, r.check) == ("cpu", check))
    result = next(looked)
    assert result.verdict == "broken"
    assert said in result.message.lower()


def test_a_module_that_only_the_driver_can_import_is_found(
    cluster: SlurmCluster, tmp_path: Path, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("x = 1\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    results = {r.check: r for r in check_site(make_site(), tmp_path, ("mine",)) if r.category == "cpu"}
    assert results["imports"].verdict == "broken"
    assert "mine first: ModuleNotFoundError" in results["imports"].message


def test_a_queue_too_slow_for_a_live_check_is_said(cluster: SlurmCluster, tmp_path: Path, make_site: MakeSite) -> None:
    cluster.run("scontrol", "update", "partitionname=gpu", "state=down")
    try:
        began = time.monotonic()
        results = {(r.category, r.check): r for r in check_site(make_site(), tmp_path, live_s=2.0)}
    finally:
        cluster.run("scontrol", "update", "partitionname=gpu", "state=up")
    assert results["gpu", "live"].verdict == "broken"
    assert "still PENDING after 2 s and was cancelled" in results["gpu", "live"].message
    assert time.monotonic() - began < 200
