"""No-op jobs per second of one worker on a MongoDB server, beside plain FireWorks on the same server in the same run.

Run as ``python bench/dispatch_server.py [QUEUED …]``. Uses a `mongod` on PATH, else mongo-java-server (`make
services`). On a busy machine the CPU seconds of worker and server together say more than seconds.
The peer is `rapidfire` of FireWorks' own LaunchPad with its own indexes and the same jobs, as `rlaunch rapidfire` runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

RUN_AT_MOST = 500  # so that some looks through the queue are among them
PEER_AT_MOST = 60
PEER_LONGEST = 5_000  # the peer's cost grows with the queue: a longer one only takes longer
AIM_PER_S = 20.0
AIM_RATIO = 1.5


class Rates(NamedTuple):
    """What one length of the queue gave.

    Attributes
    ----------
    per_s, per_cpu_s : float
        Jobs per second, and per CPU second of the worker.
    per_cpu_s_of_both : float
        Jobs per CPU second of worker and server.
    added_per_s : float
        Workflows added per second.
    """

    per_s: float
    per_cpu_s: float
    per_cpu_s_of_both: float
    added_per_s: float


def cpu_of(server: Any) -> float:
    """CPU seconds that the server has used so far."""
    import psutil

    times = psutil.Process(server.process.pid).cpu_times()
    return float(times.user + times.system)


def our_rates(queued: int, folder: Path, server: Any) -> Rates:
    """Measure one worker of ours."""
    import jobflow
    from bench.store import rate, workflows
    from fireworks.core import rocket

    from cathodeflow.dispatch.launchpad import project_launchpad
    from cathodeflow.dispatch.worker import Worker, WorkerOptions
    from cathodeflow.storage.connection import create_project

    project = create_project(folder / f"ours-{queued}", server.database_uri(f"ours{queued}"))
    made = workflows(queued)
    began = time.perf_counter()
    project_launchpad(project).bulk_add_wfs(made)
    added_per_s = queued / (time.perf_counter() - began)
    jobflow.SETTINGS.JOB_STORE = project.job_store()
    rocket.PRINT_FW_JSON = False  # as in the worker's process
    worker = Worker(project, WorkerOptions(project.folder, campaign="c"))
    rate(worker.run_one, 1)
    count, before = min(queued - 1, RUN_AT_MOST), cpu_of(server)
    per_s, per_cpu_s = rate(worker.run_one, count)
    of_both = count / (count / per_cpu_s + cpu_of(server) - before)
    project.client.drop_database(project.database_name)
    return Rates(per_s, per_cpu_s, of_both, added_per_s)


def peer_rate(queued: int, folder: Path, uri: str) -> tuple[float, float]:
    """Measure the same of plain FireWorks."""
    import jobflow
    from bench.store import rate, workflows
    from fireworks import FWorker, LaunchPad
    from fireworks.core import rocket
    from fireworks.core.rocket_launcher import rapidfire
    from maggma.stores import MongoStore

    name = f"peer{queued}"
    rocket.PRINT_FW_JSON = True  # FireWorks' own default
    launchpad = LaunchPad(host=f"{uri}/{name}", name=name, uri_mode=True, strm_lvl="CRITICAL")
    launchpad.reset("", require_password=False, max_reset_wo_password=queued)
    launchpad.bulk_add_wfs(workflows(queued))
    store = jobflow.JobStore(MongoStore.from_uri(f"{uri}/{name}", collection_name="outputs", database=name))
    store.connect()
    jobflow.SETTINGS.JOB_STORE = store
    where = folder / name
    where.mkdir()
    before = Path.cwd()
    os.chdir(where)
    count = min(queued, PEER_AT_MOST)
    try:
        per_s, per_cpu_s = rate(
            lambda: rapidfire(launchpad, FWorker(), nlaunches=count, sleep_time=0, strm_lvl="CRITICAL"), 1
        )
    finally:
        os.chdir(before)
    launchpad.connection.drop_database(name)
    return per_s * count, per_cpu_s * count


def main() -> None:
    """Print the figures."""
    from tests.services.mongo_server import MongoServer, why_unavailable

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("queued", nargs="*", type=int, default=[500, 5000, 20000])
    lengths = parser.parse_args().queued
    missing = why_unavailable()
    if missing:
        print(f"skipped: {missing}")
        return
    first = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = MongoServer(folder / "mongo")
        server.start()
        try:
            for queued in lengths:
                ours = our_rates(queued, folder, server)
                first = first or ours.per_s
                print(
                    f"{queued:>6} queued: {ours.per_s:5.1f} jobs/s (aim {AIM_PER_S:.0f}), "
                    f"{first / ours.per_s:4.2f} times slower than the first (aim {AIM_RATIO}), "
                    f"{ours.per_cpu_s:5.1f} per CPU second, {ours.per_cpu_s_of_both:5.1f} of worker and server; "
                    f"added {ours.added_per_s:.0f} workflows/s",
                    end="",
                )
                if queued <= PEER_LONGEST:
                    peer, peer_cpu = peer_rate(queued, folder, server.uri)
                    print(
                        f"; plain FireWorks {peer:5.1f} jobs/s, {peer_cpu:5.1f} per CPU second: "
                        f"{ours.per_s / peer:.1f}x",
                        end="",
                    )
                print(flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
