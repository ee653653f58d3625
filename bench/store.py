"""Figures of the embedded store: jobs per second through FireWorks, bulk inserts, counts from a cold start.

Run as `python bench/store.py`. The peer is mongomock-ng in memory, in the same run: the same query engine without
SQLite under it, but also without several processes, durability or indexes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

RUN_AT_MOST = 400
PEER_SCANS = 20_000  # the peer looks at every queued job at every step: fewer jobs tell its rate


def workflows(count: int) -> list[Any]:
    """No-op jobflow jobs, each a workflow of its own."""
    from fireworks import Firework, Workflow
    from jobflow.managers.fireworks import JobFiretask
    from tests.unit.dispatch.noop_jobs import noop

    made = []
    for number in range(count):
        marks = {"_campaign": "c", "_kind": "label", "_key": str(number), "_category": "cpu", "_priority": 0}
        firework = Firework([JobFiretask(job=noop(number), store=None)], spec=marks)
        natural_key = {"campaign": "c", "kind": "label", "key": str(number), "attempt": 1}
        made.append(Workflow([firework], metadata=natural_key))
    return made


def rate(run_one: Callable[[], Any], times: int) -> tuple[float, float]:
    """Return runs per second and per CPU second (for a busy machine); what is printed meanwhile is thrown away."""
    quiet, said = os.open(os.devnull, os.O_WRONLY), os.dup(1)
    sys.stdout.flush()
    os.dup2(quiet, 1)
    try:
        began, cpu_began = time.perf_counter(), time.process_time()
        for _ in range(times):
            run_one()
        return times / (time.perf_counter() - began), times / (time.process_time() - cpu_began)
    finally:
        sys.stdout.flush()
        os.dup2(said, 1)


def embedded_rate(queued: int, folder: Path) -> tuple[float, float]:
    """Jobs per second of one worker on the embedded store, with so many queued at the start."""
    import jobflow
    from fireworks.core import rocket

    from cathodeflow.dispatch.launchpad import project_launchpad
    from cathodeflow.dispatch.worker import Worker, WorkerOptions
    from cathodeflow.storage.connection import create_project

    project = create_project(folder / f"embedded-{queued}")
    project_launchpad(project).bulk_add_wfs(workflows(queued))
    jobflow.SETTINGS.JOB_STORE = project.job_store()
    rocket.PRINT_FW_JSON = False  # as in the worker's process
    worker = Worker(project, WorkerOptions(project.folder, campaign="c"))
    return rate(worker.run_one, min(queued, RUN_AT_MOST))


def memory_rate(queued: int, folder: Path) -> tuple[float, float]:
    """Measure the same over mongomock-ng in memory, through FireWorks' own launch_rocket."""
    import fireworks.core.launchpad as launchpad_module
    import jobflow
    import mongomock_ng
    from fireworks import FWorker, LaunchPad
    from fireworks.core.rocket_launcher import launch_rocket
    from jobflow import JobStore
    from maggma.stores import MemoryStore

    client = mongomock_ng.MongoClient()
    launchpad_module.MongoClient = lambda *_args, **_options: client
    launchpad = LaunchPad(name="peer", strm_lvl="CRITICAL")
    # No tuneup: mongomock checks unique indexes by a scan, which would only slow the peer down.
    launchpad._restart_ids(1, 1)  # noqa: SLF001
    launchpad.bulk_add_wfs(workflows(queued))
    store = JobStore(MemoryStore())
    store.connect()
    jobflow.SETTINGS.JOB_STORE = store
    where = folder / f"memory-{queued}"
    where.mkdir()
    os.chdir(where)
    worker = FWorker(query={"spec._campaign": "c"})
    return rate(
        lambda: launch_rocket(launchpad, worker, strm_lvl="CRITICAL"), min(queued, max(8, PEER_SCANS // queued))
    )


def candidates(count: int) -> list[dict[str, Any]]:
    """Documents like those of the candidates collection."""
    return [
        {
            "_id": f"c/NVPF/Na{i % 4}/{i}",
            "campaign": "c",
            "key": f"NVPF/Na{i % 4}/{i}",
            "host": "NVPF",
            "level": f"Na{i % 4}",
            "composition": f"V{i % 9}Fe{8 - i % 9}-{i % 465}",
            "elements": ["V", "Fe"],
            "counts": [i % 9, 8 - i % 9],
            "mask": i % 256,
            "multiplicity": 2,
            "schema_version": 1,
        }
        for i in range(count)
    ]


_COLD_COUNT = """
import sys
from pathlib import Path
from cathodeflow.storage.connection import open_project
from cathodeflow.dispatch.jobs import count_states
project = open_project(Path(sys.argv[1]))
print(project.count("candidates", {"campaign": "c"}), project.count_by("candidates", "level", {"campaign": "c"}),
      count_states(project, "c"))
assert not {"pymongo", "mongomock_ng", "fireworks", "jobflow", "torch"} & set(sys.modules)
"""


def main() -> None:
    """Print the figures."""
    from cathodeflow.dispatch.launchpad import project_launchpad
    from cathodeflow.storage.connection import create_project

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for queued in (200, 5000):
            (ours, ours_cpu), (peer, peer_cpu) = embedded_rate(queued, folder), memory_rate(queued, folder)
            print(
                f"no-op jobs through FireWorks, {queued} queued: embedded {ours:.1f}/s ({ours_cpu:.1f} per CPU s), "
                f"mongomock-ng in memory {peer:.1f}/s ({peer_cpu:.1f}), ratio {ours / peer:.2f}"
            )
        project = create_project(folder / "bulk")
        documents = candidates(130_000)
        for what in ("new", "there already"):
            began = time.perf_counter()
            project.insert_missing("candidates", documents)
            print(f"insert 130,000 candidates, {what}: {130_000 / (time.perf_counter() - began):,.0f} documents/s")
        project_launchpad(project).bulk_add_wfs(workflows(10_000))
        times = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", _COLD_COUNT, str(project.folder)], check=True, capture_output=True)
            times.append(time.perf_counter() - began)
        print(f"count 130,000 candidates and 10,000 jobs, new process: {min(times):.2f} s (best of 5)")
        os.chdir("/")


if __name__ == "__main__":
    main()
