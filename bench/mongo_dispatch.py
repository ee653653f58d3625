"""No-op jobs per second of one worker against a MongoDB server, with queues of several lengths.

On a busy machine the CPU seconds of worker and server together say more than seconds.

Run as ``python bench/mongo_dispatch.py [QUEUED …]``. Uses a `mongod` on PATH, else mongo-java-server (`make services`).
The ratio of the first length to each is what tells whether the cost of a job grows with the queue.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

RUN_AT_MOST = 200
AIM_PER_S = 20.0
AIM_RATIO = 1.5


def cpu_of(process: Any) -> float:
    """CPU seconds that a process has used so far."""
    import psutil

    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def served_rate(queued: int, folder: Path, server: Any) -> tuple[float, float, float, float]:
    """Return jobs per second, per CPU second of the worker, of worker and server, and workflows added per second."""
    import jobflow
    from bench.store import rate, workflows
    from fireworks.core import rocket

    from cathodeflow.dispatch.launchpad import project_launchpad
    from cathodeflow.dispatch.worker import Worker, WorkerOptions
    from cathodeflow.storage.connection import create_project

    project = create_project(folder / f"server-{queued}", server.database_uri(f"q{queued}"))
    made = workflows(queued)
    began = time.perf_counter()
    project_launchpad(project).bulk_add_wfs(made)
    added = queued / (time.perf_counter() - began)
    jobflow.SETTINGS.JOB_STORE = project.job_store()
    rocket.PRINT_FW_JSON = False  # as in the worker's process
    worker = Worker(project, WorkerOptions(project.folder, campaign="c"))
    worker.run_one()
    count, before = min(queued - 1, RUN_AT_MOST), cpu_of(server.process)
    per_s, per_cpu_s = rate(worker.run_one, count)
    both = count / (count / per_cpu_s + cpu_of(server.process) - before)
    project.client.drop_database(project.database_name)
    return per_s, per_cpu_s, both, added


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
    with tempfile.TemporaryDirectory() as folder:
        server = MongoServer(Path(folder) / "mongo")
        server.start()
        try:
            rates = {queued: served_rate(queued, Path(folder), server) for queued in lengths}
        finally:
            server.stop()
    first = rates[lengths[0]]
    for queued, (per_s, per_cpu_s, both, added) in rates.items():
        print(
            f"{queued:>6} queued: {per_s:5.1f} jobs/s (aim {AIM_PER_S:.0f}), {per_cpu_s:5.1f} per worker CPU second, "
            f"{both:5.1f} of worker and server; slower than the first {first[0] / per_s:4.2f} times by the clock, "
            f"{first[2] / both:4.2f} times by CPU (aim {AIM_RATIO}); added {added:.0f} workflows/s"
        )


if __name__ == "__main__":
    main()
