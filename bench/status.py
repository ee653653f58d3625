"""`cflow status` on a campaign of 100,000 candidates and 10,000 jobs, import included. Aim: at most 1 s; help 0.5 s."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.dispatch.jobs import INDEXES
from cathodeflow.records.campaign import CampaignRecord, StageTime
from cathodeflow.records.host import HostSpec
from cathodeflow.records.outcomes import Stage
from cathodeflow.storage.collections import ensure_indexes
from cathodeflow.storage.connection import Project, create_project

N_CANDIDATES = 100_000
N_JOBS = 10_000
N_LABELS = 1_000
NAME = "bench"
LEVELS = ("Na4", "Na3", "Na2", "Na1")
RUNS = 7


def fill(project: Project) -> None:
    """Write a campaign in the middle of its labelling."""
    if project.file is not None:  # on a server the launchpad has made its own
        ensure_indexes(project, INDEXES)
    keys = [f"nvpf-{LEVELS[number % 4]}-Cu2Mo6-{number:05x}" for number in range(N_CANDIDATES)]
    definition = CampaignDefinition.model_validate({"name": NAME, "host": {"packaged": "nvpf"}})
    started = datetime.now(UTC) - timedelta(hours=3)
    times = [(Stage.REFERENCE, 0), (Stage.LABEL, 1)]
    record = CampaignRecord(
        id=NAME,
        definition=definition.model_dump(mode="json"),
        definition_sha256=definition.sha256(),
        host=HostSpec(packaged="nvpf"),
        provenance="mlff:chgnet-0.3.0",
        stage=Stage.LABEL,
        selections={"0": keys[: N_LABELS + 171]},
        stage_times=[StageTime(stage=s, round=0, entered_at=started + timedelta(minutes=m)) for s, m in times],
        started_at=started,
    )
    project.insert_missing("campaigns", [record.to_mongo()])
    project.insert_missing("candidates", (_candidate(key, number) for number, key in enumerate(keys)))
    project.insert_missing("labels", (_label(key) for key in keys[:N_LABELS]))
    project.insert_missing("workflows", (_workflow(number, keys[number]) for number in range(N_JOBS)))
    project.insert_missing("fireworks", (_firework(number, keys[number]) for number in range(N_JOBS)))


def _candidate(key: str, number: int) -> dict:
    return {
        "_id": f"{NAME}/{key}",
        "schema_version": 1,
        "created_at": datetime.now(UTC),
        "campaign": NAME,
        "key": key,
        "host": "nvpf",
        "level": LEVELS[number % 4],
        "composition": "Cu2Mo6",
        "elements": ["Cu", "Mo"],
        "counts": [2, 6],
        "mask": number,
        "multiplicity": 4,
    }


def _label(key: str) -> dict:
    crystal = {
        "lattice": [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 10.7]],
        "species": ["O"] * 72,
        "fractional_coordinates": [[0.1, 0.2, 0.3]] * 72,
    }
    return {
        "_id": f"{NAME}/{key}",
        "campaign": NAME,
        "key": key,
        "level": key.split("-")[1],
        "composition": "Cu2Mo6",
        "purpose": "training",
        "round": 0,
        "outcome": "done" if hash(key) % 50 else "quarantined",
        "relaxation": {"crystal": crystal, "forces": [[0.0, 0.0, 0.01]] * 72},
    }


def _state(number: int) -> str:
    return "COMPLETED" if number < N_LABELS else "RUNNING" if number < N_LABELS + 2 else "READY"


def _workflow(number: int, key: str) -> dict:
    metadata = {"campaign": NAME, "kind": "label", "key": key, "attempt": 1}
    return {"_id": number, "nodes": [number], "state": _state(number), "metadata": metadata, "links": {}}


def _firework(number: int, key: str) -> dict:
    spec = {"_campaign": NAME, "_kind": "label", "_key": key, "_category": "cpu", "_priority": 0}
    tasks = [{"_fw_name": "{{jobflow.managers.fireworks.JobFiretask}}", "job": {"uuid": key, "function": "x" * 900}}]
    return {
        "_id": number,
        "fw_id": number,
        "name": f"{NAME}/label/{key}",
        "state": _state(number),
        "launches": [],
        "archived_launches": [],
        "spec": spec | {"_tasks": tasks},
    }


def best_of(command: list[str]) -> float:
    """Shortest wall time of several runs, seconds; standard output goes to a pipe."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Fill a store and time the commands as a shell starts them."""
    with tempfile.TemporaryDirectory() as scratch:
        project = create_project(Path(scratch))
        start = time.perf_counter()
        fill(project)
        seconds = time.perf_counter() - start
        print(f"filled a store with {N_CANDIDATES:,} candidates and {N_JOBS:,} jobs in {seconds:.1f} s")
        cflow = [sys.executable, "-m", "cathodeflow.cli.app"]
        rows = [
            ("python, nothing imported", best_of([sys.executable, "-c", "pass"]), None),
            ("cflow --help", best_of([*cflow, "--help"]), 0.5),
            ("cflow status", best_of([*cflow, "status", "-p", scratch]), 1.0),
            ("cflow status --json", best_of([*cflow, "status", "-p", scratch, "--json"]), 1.0),
            ("cflow jobs list", best_of([*cflow, "jobs", "list", "-p", scratch]), None),
        ]
    for name, seconds, aim in rows:
        print(f"{name:<26} {seconds:6.3f} s" + (f"   aim {aim} s, ratio {seconds / aim:.2f}" if aim else ""))


if __name__ == "__main__":
    main()
