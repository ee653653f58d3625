"""Jobs of a partition whose place others may take: told as preempted, run again, and never beside themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.services.gate import Gate
from tests.services.held_jobs import held
from tests.services.slurm.conftest import started_cluster
from tests.services.slurm_cluster import SlurmCluster
from tests.services.waiting import wait_for

from cathodeflow.campaign.resubmission import judge
from cathodeflow.dispatch.jobs import LAUNCHES, count_states, firework_details
from cathodeflow.dispatch.launchpad import add_workflow_once
from cathodeflow.dispatch.reconcile import reconcile
from cathodeflow.dispatch.rerun import rerun
from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.slurm.pool import SitePool
from cathodeflow.records.outcomes import Reason
from cathodeflow.storage.connection import Project

pytestmark = [pytest.mark.service, pytest.mark.slow]

MOST = "2600M"  # two of these do not fit on the node


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[SlurmCluster]:
    """One of its own, in place of the one that all others share: where jobs give way, they do not share cores."""
    yield from started_cluster(preemption="partition")


@pytest.mark.parametrize("mode", ["requeue", "cancel"])
def test_a_preempted_job_is_run_again_by_us_and_not_by_slurm(
    cluster: SlurmCluster, project: Project, make_site: Callable[..., SiteFile], gate: Gate, mode: str
) -> None:
    assert cluster.succeeds("scontrol", "update", "partitionname=spot", f"preemptmode={mode}")
    # A site that asks for what we must not have: the allocation would start again by itself, beside its replacement.
    site = make_site(partition="spot", memory=MOST, max_running=1, max_queued=1, directives=["--requeue"])
    pool = SitePool(project, "c", site)
    (fw_id,) = add_workflow_once(
        project, held(str(gate.path)), campaign="c", kind="label", key="k", category="cpu"
    ).fw_ids
    pool.keep_alive()
    wait_for(lambda: count_states(project, "c").get("RUNNING") == 1)
    (first,) = project.select(LAUNCHES, {})
    preempted = first["fworker"]["env"]["slurm_job_id"]

    urgent = cluster.output(
        "sbatch", "--parsable", "-p", "urgent", f"--mem={MOST}", "-t", "30", "-o", "/dev/null", "--wrap", "sleep 4"
    )
    assert urgent.strip().isdigit()
    wait_for(lambda: bool(reconcile(project, "c")))
    details = firework_details(project, fw_id)
    assert (details.job.state, details.reason) == ("FIZZLED", "preempted"), details.error

    verdict = judge(Reason.PREEMPTED, [], 1, None)
    assert verdict.action == "continue", "it counts against no attempt"
    gate.open()
    rerun(project, [fw_id])
    wait_for(lambda: pool.keep_alive() == 0 and count_states(project, "c") == {"COMPLETED": 1})

    lost, done = sorted(project.select(LAUNCHES, {}), key=lambda launch: launch["launch_id"])
    assert (lost["state"], done["state"]) == ("FIZZLED", "COMPLETED")
    assert done["fworker"]["env"]["slurm_job_id"] != preempted
    runs = cluster.output("sacct", "-D", "-n", "-X", "-P", "-j", preempted, "-o", "State").split()
    assert runs == ["PREEMPTED"], "Slurm has not started it again"
    pool.cancel()
