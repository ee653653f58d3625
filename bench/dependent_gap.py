"""Seconds between the end of a job and the start of the one that waits for it, in one allocation of a real Slurm.

A chain of jobs, each with the result of the one before as its input, runs on a one-node Slurm and a MongoDB server as
the service tests start them (`make services`). Times are those that the launches say. Aim: at most 2 s.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

LENGTH = 30
AIM_S = 2.0
PATIENCE_S = 300.0


def chain(length: int) -> Any:
    """Jobs that each need the one before."""
    from jobflow import Flow
    from tests.unit.dispatch.noop_jobs import noop

    jobs = [noop(0)]
    for _ in range(length - 1):
        jobs.append(noop(jobs[-1].output))
    return Flow(jobs)


def gaps(launches: list[dict[str, Any]]) -> list[float]:
    """Seconds from each end to the next start."""

    def moment(value: Any) -> datetime:
        return datetime.fromisoformat(value) if isinstance(value, str) else value

    ordered = sorted(launches, key=lambda launch: moment(launch["time_start"]))
    return [
        (moment(after["time_start"]) - moment(before["time_end"])).total_seconds()
        for before, after in pairwise(ordered)
    ]


def measure(folder: Path, uri: str) -> tuple[list[float], set[str]]:
    """Run the chain; returns the gaps and the Slurm jobs that it ran in."""
    from cathodeflow.dispatch.jobs import count_states
    from cathodeflow.dispatch.launchpad import add_workflow_once
    from cathodeflow.dispatch.site_file import SiteFile
    from cathodeflow.dispatch.sites import Site
    from cathodeflow.dispatch.slurm.pool import SitePool
    from cathodeflow.storage.connection import create_project

    project = create_project(folder / "p", uri)
    queue = {"partition": "cpu", "time": "00:10:00", "memory": "500M", "linger_s": 5, "signal_s": 5, "max_running": 1}
    described = {
        "title": "one node",
        "python": sys.executable,
        "shell": "/bin/bash",
        "environment": {"PYTHONPATH": str(ROOT)},
        "workers": {"cpu": {**queue, "max_queued": 1}},
    }
    (folder / "one_node").mkdir()
    add_workflow_once(project, chain(LENGTH), campaign="c", kind="label", key="chain")
    pool = SitePool(project, "c", SiteFile(folder / "one_node", Site.model_validate(described)))
    pool.keep_alive()
    deadline = time.monotonic() + PATIENCE_S
    while count_states(project, "c") != {"COMPLETED": LENGTH}:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the chain did not end: {count_states(project, 'c')}, {pool.messages()}")
        time.sleep(0.5)
    launches = list(project.database["launches"].find())
    pool.cancel()
    return gaps(launches), {launch["fworker"]["env"]["slurm_job_id"] for launch in launches}


def main() -> None:
    """Print the figures."""
    from tests.services.mongo_server import MongoServer, why_unavailable
    from tests.services.slurm_cluster import SlurmCluster, missing_programs

    if missing := [*missing_programs(), *filter(None, [why_unavailable()])]:
        print(f"skipped: {missing[0]} is missing")
        return
    slurm = Path(tempfile.mkdtemp(prefix="slurm-"))  # sockets need a short path
    cluster, folder = SlurmCluster(slurm), Path(tempfile.mkdtemp())
    server = MongoServer(folder / "mongo")
    try:
        cluster.start()
        os.environ.update({name: cluster.environment[name] for name in ("SLURM_CONF", "PATH")})
        server.start()
        found, allocations = measure(folder, server.database_uri("gap"))
    finally:
        cluster.stop()
        server.stop()
        shutil.rmtree(slurm, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
    print(
        f"{len(found)} gaps in {len(allocations)} allocation(s): median {statistics.median(found):.3f} s, "
        f"longest {max(found):.3f} s (aim {AIM_S:g})"
    )


if __name__ == "__main__":
    main()
