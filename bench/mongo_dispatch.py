"""No-op jobs per second of one worker against a MongoDB server, with queues of several lengths.

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

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

RUN_AT_MOST = 300
AIM_PER_S = 20.0
AIM_RATIO = 1.5


def served_rate(queued: int, folder: Path, uri: str) -> tuple[float, float, float]:
    """Return jobs per second, per CPU second of the worker, and workflows added per second."""
    import jobflow
    from bench.store import rate, workflows
    from fireworks.core import rocket

    from cathodeflow.dispatch.launchpad import project_launchpad
    from cathodeflow.dispatch.worker import Worker, WorkerOptions
    from cathodeflow.storage.connection import create_project

    project = create_project(folder / f"server-{queued}", f"{uri}/q{queued}")
    made = workflows(queued)
    began = time.perf_counter()
    project_launchpad(project).bulk_add_wfs(made)
    added = queued / (time.perf_counter() - began)
    jobflow.SETTINGS.JOB_STORE = project.job_store()
    rocket.PRINT_FW_JSON = False  # as in the worker's process
    worker = Worker(project, WorkerOptions(project.folder, campaign="c"))
    worker.run_one()
    per_s, per_cpu_s = rate(worker.run_one, min(queued - 1, RUN_AT_MOST))
    project.client.drop_database(project.database_name)
    return per_s, per_cpu_s, added


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
            rates = {queued: served_rate(queued, Path(folder), server.uri) for queued in lengths}
        finally:
            server.stop()
    first = rates[lengths[0]][0]
    for queued, (per_s, per_cpu_s, added) in rates.items():
        print(
            f"{queued:>6} queued: {per_s:6.1f} jobs/s (aim {AIM_PER_S:.0f}), {per_cpu_s:6.1f} per CPU second, "
            f"{first / per_s:4.2f} times slower than the first (aim {AIM_RATIO}); added {added:.0f} workflows/s"
        )


if __name__ == "__main__":
    main()
