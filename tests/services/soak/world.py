"""Where a soak takes place: a MongoDB server, a one-node Slurm with a site, and a driver that is started anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML
from tests.campaign_world import definition, launch
from tests.services.mongo_server import MongoServer
from tests.services.slurm_cluster import SlurmCluster
from tests.services.soak.fates import LEDGER, SLOW_S, WORK_S

from cathodeflow.storage.connection import Project, create_project

ROOT = Path(__file__).resolve().parents[3]
CAMPAIGN = "soak"


@dataclass(frozen=True)
class Plan:
    """How long and how rough.

    Attributes
    ----------
    labels : int
        Labels; predictions, networks and follow-ups come on top.
    minutes : float
        Within which the faults are strewn.
    driver_kills, worker_kills, scancels, slurmd_restarts : int
        How many of each.
    outages : int
        Of the database.
    outage_s : float
        How long each.
    work_s : float
        What a calm job takes on average.
    allocation_min : int
        Time limit of an allocation; on a busy machine starting a worker alone takes half a minute.
    shard_size : int
        Candidates of one prediction.
    rounds : int
        Of labelling.
    seed : int
        Of all that is random.
    """

    labels: int = 420
    minutes: float = 12.0
    driver_kills: int = 20
    worker_kills: int = 12
    scancels: int = 10
    slurmd_restarts: int = 3
    outages: int = 3
    outage_s: float = 60.0
    work_s: float = 1.5
    allocation_min: int = 1
    shard_size: int = 25
    rounds: int = 2
    seed: int = 1


def site_description(ledger: Path, plan: Plan) -> dict[str, Any]:
    """Three queues on one node, with limits that the jobs can run into."""
    queue = {
        "time": f"00:{plan.allocation_min:02d}:00",
        "max_time": f"00:{2 * plan.allocation_min:02d}:00",
        "linger_s": 10,
        "signal_s": 10,
        "busy_s": 60,
        "cpus": 2,
        "slots": 2,
        "memory": "500M",
    }
    return {
        "title": "one node",
        "python": sys.executable,
        "shell": "/bin/bash",
        "environment": {
            "PYTHONPATH": str(ROOT),
            LEDGER: str(ledger),
            WORK_S: f"{plan.work_s:g}",
            SLOW_S: f"{60 * plan.allocation_min + 15}",
        },
        "workers": {
            "cpu": {**queue, "partition": "cpu", "max_running": 2, "array": True},
            "gpu": {**queue, "partition": "gpu", "gpus": 1, "max_running": 1, "max_queued": 1},
            "dft": {
                **queue,
                "partition": "cpu",
                "cpus": 1,
                "slots": 1,
                "memory": "300M",
                "max_running": 3,
                "array": True,
            },
        },
    }


@dataclass
class World:
    """All parts of a soak.

    Attributes
    ----------
    folder : Path
        Everything lies in it.
    server, cluster : MongoServer, SlurmCluster
        Running.
    project : Project
        Launched.
    driver : Popen or None
        The present driver.
    drivers_ended : list of int
        Exit codes of drivers that nobody killed.
    """

    folder: Path
    server: MongoServer
    cluster: SlurmCluster
    project: Project
    driver: subprocess.Popen[bytes] | None = None
    drivers_started: int = 0
    drivers_ended: list[int] = field(default_factory=list)

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    def lines(self) -> list[dict[str, Any]]:
        """What the jobs wrote."""
        text = self.ledger.read_text() if self.ledger.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def start_driver(self) -> None:
        settings = {
            "CATHODEFLOW_SITE_TICK_S": "2",
            "CATHODEFLOW_LEASE_S": "20",
            "CATHODEFLOW_STORE_TIMEOUT_S": "5",
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "tests.services.soak.driver", str(self.project.folder)]
        with (self.folder / "driver.log").open("ab") as log:
            log.write(f"{time.time():.1f} driver {self.drivers_started} starts\n".encode())
            self.driver = subprocess.Popen(
                [*command, str(self.folder / "one_node")],
                env=self.cluster.environment | settings,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.drivers_started += 1

    def processes(self) -> list[psutil.Process]:
        """All processes that work on the project, the driver included."""
        found = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            line = process.info["cmdline"] or []
            inside = str(process.info["cwd"] or "").startswith(str(self.project.folder))
            if (str(self.project.folder) in line or inside) and process.pid != os.getpid():
                found.append(process)
        return found

    def workers(self) -> list[psutil.Process]:
        """The workers in allocations."""
        found = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                if "cathodeflow.dispatch.worker" in process.cmdline():
                    found.append(process)
        return found

    def allocations(self) -> dict[str, str]:
        """The allocations that run: plain numbers, as jobs know them, to Slurm's names of them.

        The plain number of an array's last task is that of the whole array: only the name means the task alone.
        """
        said = self.cluster.output("squeue", "-h", "-t", "RUNNING", "-o", "%A %i %j")
        found = [line.split() for line in said.splitlines()]
        return {number: job_id for number, job_id, name in found if name.startswith("cflow-")}


@contextmanager
def world(folder: Path, cluster: SlurmCluster, plan: Plan) -> Iterator[World]:
    """Start a database server and launch the campaign; the cluster runs already."""
    site = folder / "one_node"
    site.mkdir()
    with (site / "site.yaml").open("w") as file:
        YAML().dump(site_description(folder / "ledger.jsonl", plan), file)
    wanted = definition(
        CAMPAIGN,
        elements=["V", "Mo", "Fe"],
        ratios="all",
        labels={"total": plan.labels, "rounds": plan.rounds, "acquisition": "uncertainty"},
        prediction={"shard_size": plan.shard_size},
        followups={"branches": ["gap", "pdos"]},
        failures={"tolerated_fraction": 0.5, "max_attempts": 3},
    )
    server = MongoServer(folder / "mongo")
    server.start()
    made = None
    try:
        create_project(folder / "p", server.database_uri("soak"))
        made = World(folder, server, cluster, launch(folder / "p", wanted))
        yield made
    finally:
        if made is not None:
            _end_all(made)
        server.stop()


def _end_all(made: World) -> None:
    if made.driver is not None and made.driver.poll() is None:
        made.driver.kill()
        made.driver.wait()
    made.cluster.wait_until_empty(30)
    for process in made.processes():
        with suppress(psutil.NoSuchProcess):
            process.kill()
