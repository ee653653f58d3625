"""Large files in the store: what nothing refers to goes, all else stays, past attempts included."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gridfs
import pytest
from bson.objectid import ObjectId
from fireworks.core.firework import FWAction
from tests.campaign_world import definition, launch
from tests.services.mongo.killing import claim
from tests.services.mongo_server import MongoServer
from tests.stores import Stores
from tests.unit.dispatch.noop_jobs import noop
from typer.testing import CliRunner

from cathodeflow.campaign import strays
from cathodeflow.campaign.strays import find_strays, remove_strays
from cathodeflow.cli.app import build_app
from cathodeflow.dispatch.launchpad import add_workflow_once, project_launchpad
from cathodeflow.dispatch.rerun import rerun
from cathodeflow.storage.connection import Project

PENDING, ENDS = "pending_fireworks", "fw_gridfs"


@pytest.fixture
def project(tmp_path: Path, stores: Stores) -> Project:
    made = stores.create(tmp_path / "p")
    project_launchpad(made)
    return made


def put(project: Project, bucket: str, size: int = 600_000, *, hours: float = 2.0) -> ObjectId:
    """A file that was written so long ago, of several chunks."""
    moment = datetime.now(UTC) - timedelta(hours=hours)
    id_ = ObjectId.from_datetime(moment)
    id_ = ObjectId(id_.binary[:4] + ObjectId().binary[4:])
    gridfs.GridFS(project.database, bucket).put(bytes(size), _id=id_)
    project.database[f"{bucket}.files"].update_one({"_id": id_}, {"$set": {"uploadDate": moment}})
    return id_


def held(project: Project, bucket: str) -> tuple[set[Any], set[Any]]:
    """Files, and files of which there are chunks."""
    database = project.database
    return {d["_id"] for d in database[f"{bucket}.files"].find()}, set(
        database[f"{bucket}.chunks"].distinct("files_id")
    )


def test_what_is_referred_to_stays_and_the_rest_goes(project: Project) -> None:
    pending, ended, young, gone, gone_too = (
        put(project, PENDING),
        put(project, ENDS),
        put(project, PENDING, hours=0.1),
        put(project, PENDING),
        put(project, ENDS),
    )
    project.database.workflows.insert_one({"nodes": [1], "pending": {"file": pending}})
    project.database.launches.insert_one({"launch_id": 1, "action": {"gridfs_id": str(ended)}})
    found = {one.bucket.name: one for one in find_strays(project)}
    assert {name: (one.ids, one.bytes, one.kept) for name, one in found.items()} == {
        PENDING: ((gone,), 600_000, 2),
        ENDS: ((gone_too,), 600_000, 1),
    }
    assert held(project, PENDING)[0] == {pending, young, gone}
    assert sum(remove_strays(project, one) for one in found.values()) == 2
    assert held(project, PENDING) == ({pending, young}, {pending, young})
    assert held(project, ENDS) == ({ended}, {ended})
    assert not any(one.ids for one in find_strays(project))


def test_a_file_that_is_referred_to_since_it_was_looked_at_stays(project: Project) -> None:
    late = put(project, PENDING)
    (found,) = find_strays(project)
    project.database.workflows.insert_one({"nodes": [1], "pending": {"file": late}})
    assert remove_strays(project, found) == 0
    assert held(project, PENDING) == ({late}, {late})


def test_what_a_killed_writer_or_remover_left_goes(project: Project) -> None:
    """Chunks without a file, and a file without some of its chunks."""
    torn, half = put(project, PENDING), put(project, PENDING)
    project.database[f"{PENDING}.files"].delete_one({"_id": torn})
    project.database[f"{PENDING}.chunks"].delete_one({"files_id": half, "n": 1})
    young = put(project, PENDING, hours=0.0)
    project.database[f"{PENDING}.files"].delete_one({"_id": young})
    (found,) = find_strays(project)
    assert (set(found.ids), found.bytes) == ({torn, half}, 1_200_000)
    remove_strays(project, found)
    assert held(project, PENDING) == (set(), {young})


def test_only_what_is_older_than_asked_goes(project: Project) -> None:
    old, older = put(project, PENDING, hours=3.0), put(project, PENDING, hours=30.0)
    (found,) = find_strays(project, 86_400.0)
    assert (found.ids, found.kept) == ((older,), 1)
    assert old in held(project, PENDING)[0]


def test_the_command_tells_first_and_does_as_it_told(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    project = launch(folder, definition())
    for _ in range(3):
        put(project, PENDING)
    invoke = CliRunner().invoke
    words = invoke(build_app(None), ["gc", "-p", str(folder), "--dry-run"]).stdout
    assert "pending_fireworks: 3 (1.7 MiB" in words
    assert len(held(project, PENDING)[0]) == 3
    named = invoke(build_app(None), ["gc", "-p", str(folder), "--yes", "-c", "trial"]).stdout
    assert "pending_fireworks" not in named
    told = json.loads(invoke(build_app(None), ["gc", "-p", str(folder), "--dry-run", "--json"]).stdout)[-1]
    assert (told["campaign"], told["bytes_to_free"], told["bytes_freed"]) == (None, 1_800_000, 0)
    assert "Removed 3 files (1,800,000 bytes)" in invoke(build_app(None), ["gc", "-p", str(folder), "--yes"]).stdout
    assert held(project, PENDING) == (set(), set())
    assert len(json.loads(invoke(build_app(None), ["gc", "-p", str(folder), "--dry-run", "--json"]).stdout)) == 1


@pytest.mark.service
def test_jobs_too_large_to_be_announced_leave_nothing_for_good(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the real launchpad: announced, ended twice with a large end, run again."""
    project = Stores(mongo_server).create(tmp_path / "p")
    large = noop(1)
    large.function_args = ("x" * 9_000_000,)
    add_workflow_once(project, large, campaign="c", kind="label", key="large")
    assert len(held(project, PENDING)[0]) == 1
    launchpad = project_launchpad(project)
    _, launch_id, _ = claim(project)
    for _ in range(2):
        launchpad.complete_launch(launch_id, FWAction(stored_data={"x": "y" * 13_000_000}), "FIZZLED")
    ends = held(project, ENDS)[0]
    assert len(ends) == 2
    assert not any(one.ids for one in find_strays(project)), "too young to be judged"
    monkeypatch.setattr(strays, "YOUNGEST_S", -60.0)
    found = {one.bucket.name: len(one.ids) for one in find_strays(project)}
    assert found[ENDS] == 1
    for one in find_strays(project):
        remove_strays(project, one)
    fw_id = launchpad.get_fw_ids()[0]
    assert len(launchpad.get_launch_by_id(launch_id).action.stored_data["x"]) == 13_000_000
    rerun(project, [fw_id])
    assert {one.bucket.name: len(one.ids) for one in find_strays(project)} == {PENDING: 1, ENDS: 0}
    for one in find_strays(project):
        remove_strays(project, one)
    # A past attempt is part of the job.
    assert len(launchpad.get_fw_by_id(fw_id).archived_launches[0].action.stored_data["x"]) == 13_000_000
    assert held(project, PENDING) == (set(), set())
