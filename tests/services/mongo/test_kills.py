"""A process killed at any write of an operation on a server: repair and repeat give what an undisturbed run gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import jobflow
import psutil
import pytest
from tests.services.mongo import killing
from tests.services.mongo_server import MongoServer
from tests.stores import Stores

from cathodeflow.dispatch.launchpad import project_launchpad
from cathodeflow.dispatch.processes import process_identity
from cathodeflow.dispatch.reconcile import reconcile
from cathodeflow.dispatch.repair import repair
from cathodeflow.dispatch.workflow_lock import WorkflowLock
from cathodeflow.storage.connection import Project, create_project, open_project

pytestmark = [pytest.mark.service, pytest.mark.slow]
TIMES = {"created_on", "updated_on", "time_start", "time_end", "runtime_secs", "created_at", "entered_at", "started_at"}
PROCESSES = {"_id", "fworker", "host", "ip", "state_history", "launch_dir", "launch_id", "launches"}
ON_THE_WAY = {
    "uploadDate",
    "completed_at",
    "hosts",
    "@version",
    "uuid",
    "claimed_by",
    "_continue_from",
    "archived_launches",
}
MOST_WRITES = 40
COLLECTIONS = ("campaigns", "events", "attempts", "labels", "validations", "withdrawn", "blobs.files", "blobs.chunks")


def settled(value: Any) -> Any:
    """Documents without times, processes, and numbers that a killed attempt may use up."""
    if isinstance(value, dict):
        left_out = TIMES | PROCESSES | ON_THE_WAY
        return {key: settled(item) for key, item in sorted(value.items()) if key not in left_out}
    if isinstance(value, list):
        return [settled(item) for item in value]
    return value


def numbers_from_one(project: Project) -> Callable[[Any], Any]:
    """Fireworks by their order: a killed attempt may have used up some numbers."""
    ids = sorted(d["fw_id"] for d in project.database.fireworks.find({}, {"fw_id": 1}))
    order = {fw_id: number for number, fw_id in enumerate(ids, start=1)}

    def renumbered(workflow: dict[str, Any]) -> dict[str, Any]:
        def name(text: Any) -> Any:
            return order.get(int(text), f"unknown {text}")

        return workflow | {
            "nodes": sorted(map(name, workflow["nodes"])),
            "links": {name(k): sorted(map(name, v)) for k, v in workflow["links"].items()},
            "parent_links": {name(k): sorted(map(name, v)) for k, v in workflow["parent_links"].items()},
            "fw_states": {name(k): v for k, v in workflow["fw_states"].items()},
        }

    return renumbered


def documents(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in COLLECTIONS:
        found[name] = [settled(d) | {"_id": str(d["_id"])} for d in project.database[name].find(sort=[("_id", 1)])]
    found["blobs.chunks"] = [{k: v for k, v in d.items() if k != "_id"} for d in found["blobs.chunks"]]
    renumbered = numbers_from_one(project)
    fireworks = list(project.database.fireworks.find(sort=[("fw_id", 1)]))
    found["workflows"] = [settled(renumbered(d)) for d in project.database.workflows.find(sort=[("nodes", 1)])]
    found["fireworks"] = [{**settled(d), "fw_id": number} for number, d in enumerate(fireworks)]
    found["starts"] = [len(d["launches"]) for d in fireworks]
    kept = [number for d in fireworks for number in d["launches"]]
    launches = project.database.launches.find({"launch_id": {"$in": kept}}, sort=[("fw_id", 1)])
    found["launches"] = [(d["state"], len((d.get("action") or {}).get("additions", []))) for d in launches]
    return found


# What stands before each operation, and what a person, driver or worker does again after the kill.
BEFORE: dict[str, tuple[str, ...]] = {
    "add": (),
    "claim": ("add",),
    "complete": ("add", "claim"),
    "fizzle": ("add", "claim"),
    "run_again": ("add", "claim", "fizzle"),
    "record": (),
    "launch_campaign": (),
    "enter": ("launch_campaign",),
    "withdraw": ("launch_campaign",),
    "blob": (),
    "ingest": ("launch_campaign", "job"),
}
LABELS = [
    {"_id": "trial/k", "campaign": "trial", "key": "k", "outcome": "quarantined"},
    {"_id": "trial/other", "campaign": "trial", "key": "other", "outcome": "quarantined"},
]
VALIDATIONS = [
    {"_id": "trial/v", "campaign": "trial", "labels": {"Na1": "k"}, "pristine": False},
    {"_id": "trial/w", "campaign": "trial", "labels": {"Na1": "other"}, "pristine": False},
]


def prepare(folder: Path, uri: str | None, operation: str) -> Project:
    project = create_project(folder, uri)
    jobflow.SETTINGS.JOB_STORE = project.job_store()
    project_launchpad(project)
    project.insert_missing("labels", LABELS)
    project.insert_missing("validations", VALIDATIONS)
    for step in BEFORE[operation]:
        if step == "claim":
            killing.claim(project, dead())
        else:
            killing.OPERATIONS[step](project)
    return project


@lru_cache
def dead() -> dict[str, Any]:
    """A worker that has died: what it left is for others to complete."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = psutil.Process(process.pid).create_time()
        process.communicate(b"\n")
    return {**process_identity(), "pid": process.pid, "process_started": started}


def in_a_child(project: Project, operation: str, number: int, moment: str) -> int:
    """Fork, so that thirty kills do not cost thirty imports; the child opens the project anew."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            killing.main(str(project.folder), operation, str(number), moment)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("operation", sorted(BEFORE))
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_write_and_repeated(
    tmp_path: Path, mongo_server: MongoServer, operation: str, moment: str
) -> None:
    stores = Stores(mongo_server)
    undisturbed = prepare(tmp_path / "undisturbed", stores.uri(), operation)
    killing.OPERATIONS[operation](undisturbed)
    expected = documents(undisturbed)
    for number in range(1, MOST_WRITES):
        project = prepare(tmp_path / str(number), stores.uri(), operation)
        code = in_a_child(project, operation, number, moment)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        again = open_project(project.folder)
        repair(again)
        if operation == "claim":
            reconcile(again)
        killing.OPERATIONS[operation](again)
        assert documents(again) == expected, f"killed {moment} write {number}"
        assert again.count("workflows", {"locked": {"$exists": True}}) == 0
        assert again.count("workflows", {"pending": {"$exists": True}}) == 0
        assert not repair(again, thorough=True)
    assert 1 < number < MOST_WRITES - 1, "the operation writes"


def test_a_living_holder_keeps_its_lock(tmp_path: Path, mongo_server: MongoServer) -> None:
    project = prepare(tmp_path / "p", Stores(mongo_server).uri(), "claim")
    launchpad = project_launchpad(project)
    with WorkflowLock(launchpad, 1):
        assert not repair(project)
        assert project.count("workflows", {"locked": {"$exists": True}}) == 1
    assert project.count("workflows", {"locked": {"$exists": True}}) == 0
