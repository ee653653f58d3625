"""`cflow status` at 100,000 jobs and 100,000 candidates on both kinds of store, import included. Aim: at most 0.5 s.

The floor is an interpreter that imports nothing. The server is a `mongod` on PATH, else mongo-java-server, whose counts
are scans where MongoDB's read an index (`make services`).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

N_JOBS = 100_000
N_LABELS = 2_000
AIM_S = 0.5
RUNS = 5


def read_times(folder: Path) -> tuple[float, float]:
    """Seconds of the command as a shell starts it, and of the reading alone in a process that is warm."""
    import bench.status as small

    from cathodeflow.campaign.status import read_status
    from cathodeflow.storage.connection import open_project

    command = small.best_of([sys.executable, "-m", "cathodeflow.cli.app", "status", "-p", str(folder)])
    project = open_project(folder)
    alone = []
    for _ in range(RUNS):
        began = time.perf_counter()
        report = read_status(project, small.NAME)
        alone.append(time.perf_counter() - began)
    assert sum(report.jobs.values()) == N_JOBS
    assert report.candidates == small.N_CANDIDATES
    return command, min(alone)


def measure(what: str, folder: Path, uri: str | None) -> None:
    """Fill a store and print what reading it costs."""
    import bench.status as small

    from cathodeflow.dispatch.launchpad import project_launchpad
    from cathodeflow.storage.connection import create_project

    small.N_JOBS, small.N_LABELS = N_JOBS, N_LABELS
    project = create_project(folder, uri)
    project_launchpad(project)  # makes the indexes of its store
    began = time.perf_counter()
    small.fill(project)
    filled = time.perf_counter() - began
    command, alone = read_times(folder)
    verdict = "met" if command <= AIM_S else f"missed by {command / AIM_S:.1f}x"
    print(
        f"{what:<16} cflow status {command:6.3f} s (aim {AIM_S:g} s, {verdict}); reading alone {alone:6.3f} s; "
        f"filled in {filled:.0f} s",
        flush=True,
    )


def main() -> None:
    """Print the figures."""
    import bench.status as small
    from tests.services.mongo_server import MongoServer, why_unavailable

    print(f"python alone     {small.best_of([sys.executable, '-c', 'pass']):.3f} s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure("embedded store", folder / "embedded", None)
        if missing := why_unavailable():
            print(f"MongoDB skipped: {missing}")
            return
        server = MongoServer(folder / "mongo")
        server.start()
        try:
            measure("MongoDB server", folder / "server", server.database_uri("scale"))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
