"""A campaign's worth of jobs through Slurm while allocations are cancelled, workers killed and drivers replaced."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest
from tests.services.gate import Gate
from tests.services.held_jobs import held
from tests.services.slurm_cluster import SlurmCluster
from tests.services.waiting import AMPLE_S

from cathodeflow.dispatch.jobs import FIREWORKS, LAUNCHES, count_states, firework_details
from cathodeflow.dispatch.launchpad import add_workflow_once
from cathodeflow.dispatch.reconcile import reconcile
from cathodeflow.dispatch.rerun import rerun
from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.slurm import submissions
from cathodeflow.dispatch.slurm.pool import SitePool
from cathodeflow.storage.connection import Project

pytestmark = [pytest.mark.service, pytest.mark.slow]

JOBS = 40
MOST = 2
HURTS = 6


def hurt(cluster: SlurmCluster, project: Project, chance: random.Random) -> list[str]:
    """Cancel an allocation or kill a worker; returns which, or nothing where there is none."""
    if chance.random() < 1 / 3:
        running = cluster.output("squeue", "-h", "-t", "R", "-o", "%i").split()
        if running:
            cluster.run("scancel", chance.choice(running))
            return ["cancel"]
        return []
    launches = project.select(LAUNCHES, {"state": "RUNNING"})
    if not launches:
        return []
    with suppress(ProcessLookupError):
        os.kill(chance.choice(launches)["fworker"]["env"]["pid"], signal.SIGKILL)
    return ["kill"]


def test_every_job_is_done_once_whatever_is_killed(
    cluster: SlurmCluster, project: Project, make_site: Callable[..., SiteFile], gate: Gate
) -> None:
    chance = random.Random(7)
    gate.close(passes=JOBS // 2)  # the others run until all that hurts is over
    for number in range(JOBS):
        add_workflow_once(project, held(str(gate.path)), campaign="c", kind="label", key=str(number))
    site = make_site(slots=2, cpus=2, max_running=MOST, max_queued=MOST, busy_s=5, linger_s=1)
    pool, hurts, reasons = SitePool(project, "c", site), Counter(), Counter()
    deadline, next_hurt = time.monotonic() + 2 * AMPLE_S, time.monotonic()
    while count_states(project, "c") != {"COMPLETED": JOBS}:
        assert time.monotonic() < deadline, count_states(project, "c")
        if time.monotonic() > next_hurt and count_states(project, "c").get("RUNNING") and hurts.total() < HURTS:
            hurts.update(hurt(cluster, project, chance))
            next_hurt = time.monotonic() + 3
            pool = SitePool(project, "c", site)  # a driver that was killed and started again
        if hurts.total() == HURTS:
            gate.open()
        pool.keep_alive()
        open_now = [name for name in cluster.output("squeue", "-h", "-o", "%j").split() if name.startswith("cflow-")]
        seats = {record.token for record in submissions.open_submissions(project, site.name)}
        assert len(seats) <= MOST
        assert len([name for name in open_now if name.removeprefix("cflow-") in seats]) <= MOST
        for lost in reconcile(project, "c"):
            reasons[lost.reason] += 1
            if lost.action == "fizzle":
                rerun(project, [lost.fw_id])  # as the campaign's policy would
        time.sleep(0.5)
    assert hurts["cancel"]
    assert hurts["kill"]
    assert set(reasons) <= {"cancelled", "vanished"}
    assert reasons
    for document in project.select(FIREWORKS, {}):
        details = firework_details(project, document["fw_id"])
        ends = [launch.state for launch in details.launches]
        assert ends.count("COMPLETED") == 1, "none is run again after success"
        assert ends[-1] == "COMPLETED"
    assert project.count(LAUNCHES, {"state": {"$in": ["RUNNING", "RESERVED"]}}) == 0
    assert project.count("outputs", {}) == JOBS
