"""Every way in which Slurm ends a job comes back as its own reason, and a site that would not work is found out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.services.gate import Gate
from tests.services.held_jobs import held, until_asked_to_end
from tests.services.slurm_cluster import SlurmCluster
from tests.services.waiting import wait_for
from tests.unit.dispatch.noop_jobs import noop

from cathodeflow.campaign.resubmission import judge
from cathodeflow.dispatch.jobs import LAUNCHES, LOG_NAME, count_states, firework_details
from cathodeflow.dispatch.launchpad import TIME_FACTOR, add_workflow_once
from cathodeflow.dispatch.reconcile import reconcile
from cathodeflow.dispatch.rerun import rerun
from cathodeflow.dispatch.site_check import check_site
from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.slurm import submissions
from cathodeflow.dispatch.slurm.pool import SitePool
from cathodeflow.dispatch.slurm.truth import SlurmTruth
from cathodeflow.records.outcomes import Reason
from cathodeflow.storage.connection import Project

pytestmark = [pytest.mark.service, pytest.mark.slow]

MakeSite = Callable[..., SiteFile]


def add(project: Project, job: object, key: str) -> int:
    return add_workflow_once(project, job, campaign="c", kind="label", key=key, category="cpu").fw_ids[0]


def logs_of_jobs(project: Project) -> list[Path]:
    return list(project.folder.glob(f"launches/*/*/*/{LOG_NAME}"))


def test_ends_of_scripts_are_told_apart_by_sacct(cluster: SlurmCluster, tmp_path: Path) -> None:
    bodies = {"exit_code": "exit 3", "killed": "kill -9 $$", "cancelled": "sleep 300", None: "true"}
    bodies["out_of_memory"] = "python3 -c 'import time; x = bytearray(600 * 2**20); time.sleep(300)'"
    numbers = {}
    for reason, body in bodies.items():
        script = tmp_path / f"{reason}.sh"
        script.write_text(f"#!/bin/bash\n{body}\n")
        said = cluster.output(
            "sbatch", "--parsable", "-t", "30", "--mem=200M", "-o", str(tmp_path / "log"), str(script)
        )
        numbers[said.strip()] = reason
    (to_cancel,) = (number for number, reason in numbers.items() if reason == "cancelled")
    wait_for(lambda: SlurmTruth().look([to_cancel])[to_cancel].standing == "running")
    cluster.run("scancel", to_cancel)

    def told() -> dict[str, str | None]:
        looked = SlurmTruth().look(numbers)
        return {number: finding.job.reason if finding.job else "?" for number, finding in looked.items()}

    wait_for(lambda: told() == numbers)
    # The same from sacct alone, as after the minutes that squeue remembers.
    wait_for(lambda: {n: j.reason for n, j in SlurmTruth()._ask_accounts(list(numbers)).items()} == numbers)


def test_a_job_at_its_time_limit_goes_on_in_an_allocation_of_twice_the_time(
    cluster: SlurmCluster, project: Project, make_site: MakeSite, gate: Gate
) -> None:
    pool = SitePool(project, "c", make_site(time="00:20:00", signal_s=40, max_running=2, max_queued=2))
    fw_id = add(project, held(str(gate.path)), "long")
    pool.keep_alive()
    wait_for(lambda: count_states(project, "c").get("RUNNING") == 1)
    (job_id,) = cluster.output("squeue", "-h", "-o", "%i").split()
    # However long a worker takes to start, it is at work when the limit comes.
    assert cluster.succeeds("scontrol", "update", f"jobid={job_id}", "timelimit=1")
    wait_for(lambda: bool(reconcile(project, "c")))
    assert firework_details(project, fw_id).reason == "timeout"
    (log,) = (project.folder / "logs" / "slurm").glob("cpu-*.log")
    wait_for(lambda: "TIME LIMIT" in log.read_text())
    assert pool.keep_alive() == 0, "an allocation at its limit has done its duty"

    # As the campaign's policy does, while there is other work for allocations of the usual size.
    verdict = judge(Reason.TIMEOUT, [], 1, None)
    assert verdict.action == "more_time"
    rerun(project, [fw_id], {TIME_FACTOR: verdict.factor})
    usual = add(project, noop(1), "short")
    pool.keep_alive()
    wait_for(lambda: count_states(project, "c") == {"RUNNING": 1, "COMPLETED": 1})
    assert firework_details(project, usual).job.state == "COMPLETED"
    (launch,) = project.select(LAUNCHES, {"fw_id": fw_id, "state": "RUNNING"})
    where = launch["fworker"]["env"]["slurm_job_id"]
    assert cluster.output("squeue", "-h", "-j", where, "-o", "%l").strip() == "40:00"
    attempt = json.loads((Path(launch["launch_dir"]) / "attempt.json").read_text())
    assert 1200 < attempt["seconds_left"] <= 2400 - 40, "until the signal, 40 s before the end"
    pool.cancel()


def test_what_slurm_takes_and_never_starts_is_taken_back(
    cluster: SlurmCluster, project: Project, make_site: MakeSite
) -> None:
    """Twice the time may be more than the partition gives; its seat must not be lost to the others."""
    pool = SitePool(project, "c", make_site(time="00:40:00", max_running=1, max_queued=1))
    long = add(project, noop(1), "long")
    project.database.fireworks.update_one({"fw_id": long}, {"$set": {f"spec.{TIME_FACTOR}": 2.0}})
    add(project, noop(2), "usual")
    pool.keep_alive()
    assert cluster.output("squeue", "-h", "-o", "%l").split() == ["1:20:00"]

    def is_told() -> bool:
        pool.keep_alive()
        return any("PartitionTimeLimit" in message and "max_time" in message for message in pool.messages())

    wait_for(is_told)
    wait_for(lambda: count_states(project, "c") == {"READY": 1, "COMPLETED": 1})
    pool.cancel()


def test_the_end_of_a_campaign_ends_its_idle_allocations_and_writes_that_down(
    cluster: SlurmCluster, project: Project, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    monkeypatch.setattr("cathodeflow.dispatch.slurm.pool.LET_GO_S", 3600.0)
    pool = SitePool(project, "c", make_site(linger_s=500, max_running=2, max_queued=2))
    add(project, noop(1), "k")
    pool.keep_alive()
    wait_for(lambda: count_states(project, "c") == {"COMPLETED": 1})
    pool.keep_alive()
    pool.ask_to_finish()
    wait_for(lambda: pool.alive() == 0)
    (ended,) = project.select(submissions.SUBMISSIONS, {})
    assert (ended["open"], ended["outcome"]) == (False, "COMPLETED")

    pool = SitePool(project, "c", make_site(max_running=2, max_queued=2))
    add(project, held(str(gate.path)), "long")
    pool.keep_alive()
    wait_for(lambda: count_states(project, "c").get("RUNNING") == 1)
    pool.keep_alive()
    pool.ask_to_finish()
    assert pool.alive() == 0, "a driver that ends before its campaign leaves what runs alone"
    (left,) = submissions.open_submissions(project, "one_node")
    assert SlurmTruth().look([str(left.job_id)])[str(left.job_id)].standing == "running"
    pool.cancel()


def test_the_signal_before_the_end_lets_a_job_finish_and_starts_no_other(
    cluster: SlurmCluster, project: Project, make_site: MakeSite
) -> None:
    pool = SitePool(project, "c", make_site(max_running=1, max_queued=1, busy_s=1000))
    for number in range(3):
        add(project, until_asked_to_end(), str(number))
    pool.keep_alive()
    wait_for(lambda: any("waits to be asked" in log.read_text() for log in logs_of_jobs(project)))
    (job_id,) = cluster.output("squeue", "-h", "-o", "%i").split()
    cluster.run("scancel", "-b", "-s", "USR1", job_id)
    wait_for(lambda: SlurmTruth().look([job_id])[job_id].standing == "ended")
    assert count_states(project, "c") == {"COMPLETED": 1, "READY": 2}
    finding = SlurmTruth().look([job_id])[job_id]
    assert finding.job is not None
    assert finding.job.state == "COMPLETED"


def test_an_allocation_that_cannot_work_is_not_submitted_with_every_tick(
    cluster: SlurmCluster, project: Project, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cathodeflow.dispatch.slurm.pool.FIRST_DELAY_S", 3600.0)
    add(project, noop(1), "k")
    site = make_site(max_running=1, max_queued=1, pre_commands=["exit 4"])
    pool = SitePool(project, "c", site)
    pool.keep_alive()
    wait_for(lambda: pool.keep_alive() == 1)
    assert any("FAILED" in message and "at the earliest" in message for message in pool.messages())
    assert pool.keep_alive() == 0
    assert pool.alive() == 0


def test_a_check_goes_out_and_back_through_each_queue(
    cluster: SlurmCluster, project: Project, make_site: MakeSite
) -> None:
    results = {(r.category, r.check): r for r in check_site(make_site(memory="1G"), project.folder, live_s=580.0)}
    assert results.pop(("dft", "queue")).verdict == "absent"
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
        ({"max_memory": "900G"}, "test-only", "configuration is not available when asked for more up to max_time"),
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
        results = {(r.category, r.check): r for r in check_site(make_site(), tmp_path, live_s=2.0)}
    finally:
        cluster.run("scontrol", "update", "partitionname=gpu", "state=up")
    assert results["gpu", "live"].verdict == "broken"
    assert "still PENDING after 2 s and was cancelled" in results["gpu", "live"].message
    wait_for(lambda: cluster.output("squeue", "-h", "-p", "gpu") == "")
