"""Jobs of a quality of service (QOS) whose place others may take: told as preempted, and run again by us alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.services.gate import Gate
from tests.services.held_jobs import held
from tests.services.slurm.conftest import started_cluster
from tests.services.slurm_cluster import GIVING_WAY, SlurmCluster
from tests.services.waiting import wait_for

from cathodeflow.dispatch.jobs import LAUNCHES, count_states, firework_details
from cathodeflow.dispatch.launchpad import add_workflow_once
from cathodeflow.dispatch.reconcile import reconcile
from cathodeflow.dispatch.rerun import rerun
from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.slurm import submissions
from cathodeflow.dispatch.slurm.pool import SitePool
from cathodeflow.storage.connection import Project

pytestmark = [pytest.mark.service, pytest.mark.slow]

MOST = "2600M"  # two of these do not fit on the node


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[SlurmCluster]:
    yield from started_cluster(preemption="qos")


@pytest.mark.parametrize("qos", GIVING_WAY)
def test_a_job_preempted_by_another_qos_is_run_again_by_us_and_not_by_slurm(
    cluster: SlurmCluster, project: Project, make_site: Callable[..., SiteFile], gate: Gate, qos: str
) -> None:
    # A site that asks for what we must not have: the allocation would start again by itself, beside its replacement.
    site = make_site(qos=qos, memory=MOST, max_running=1, max_queued=1, directives=["--requeue"])
    pool = SitePool(project, "c", site)
    job = held(str(gate.path))
    (fw_id,) = add_workflow_once(project, job, campaign="c", kind="label", key="k", category="cpu").fw_ids
    pool.keep_alive()
    wait_for(lambda: count_states(project, "c").get("RUNNING") == 1)
    (first,) = project.select(LAUNCHES, {})
    preempted = first["fworker"]["env"]["slurm_job_id"]

    urgent = cluster.output(
        "sbatch", "--parsable", "--qos=urgent", f"--mem={MOST}", "-t", "30", "-o", "/dev/null", "--wrap", "sleep 4"
    ).strip()
    assert urgent.isdigit()
    wait_for(lambda: bool(reconcile(project, "c")))
    details = firework_details(project, fw_id)
    assert (details.job.state, details.reason) == ("FIZZLED", "preempted"), details.error

    gate.open()
    rerun(project, [fw_id])
    wait_for(lambda: pool.keep_alive() == 0 and count_states(project, "c") == {"COMPLETED": 1})
    lost, done = sorted(project.select(LAUNCHES, {}), key=lambda launch: launch["launch_id"])
    assert (lost["state"], done["state"]) == ("FIZZLED", "COMPLETED")
    assert done["fworker"]["env"]["slurm_job_id"] != preempted
    ended = {record["job_id"]: record["outcome"] for record in project.select(submissions.SUBMISSIONS, {})}
    assert ended[preempted] == "PREEMPTED"
    asked = ("sacct", "-D", "-n", "-X", "-P", "-j", f"{preempted},{urgent}", "-o", "State")
    # Slurm has not started it again. Accounts are written with a delay.
    wait_for(
        lambda: cluster.output(*asked).split() == ["PREEMPTED", "COMPLETED"], why_not=lambda: cluster.output(*asked)
    )
    pool.cancel()
