"""Moving a project between the stores, either way: all of it arrives, or the project stays where it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from tests.campaign_world import LAWFUL, definition, final_documents, launch, run_to_end, work_one
from tests.services.mongo_server import MongoServer
from tests.stores import Stores
from typer.testing import CliRunner

from cathodeflow.campaign import transitions
from cathodeflow.campaign.advance import advance
from cathodeflow.cli.app import build_app
from cathodeflow.dispatch.launchpad import project_launchpad
from cathodeflow.errors import CampaignError, StoreError
from cathodeflow.records.document import now
from cathodeflow.storage.connection import Project, create_project, open_project, open_target
from cathodeflow.storage.migrate import content, migrate, refuse_if_busy
from cathodeflow.storage.project_file import FILE_NAME, read_project_file

pytestmark = pytest.mark.service


def half_way(folder: Path, uri: str | None = None) -> Project:
    """A campaign in the middle of its first labels, with a blob and a large output."""
    if uri is not None:
        create_project(folder, uri)
    project = launch(folder, definition())
    for _ in range(3):
        advance(project, "trial", LAWFUL)
        for _ in range(4):
            work_one(project)
    project.blobs.put(os.urandom(1_000_000), "noise")
    project.job_store().update({"uuid": "large", "index": 1, "output": "x" * 16_500_000}, key=["uuid", "index"])
    return project


def collections(project: Project) -> dict[str, tuple[int, str]]:
    names = set(project.database.list_collection_names()) - {"migration"}
    return {name: content(project, name) for name in names if project.count(name)}


@pytest.mark.slow
def test_a_campaign_goes_on_in_the_other_store_and_back(tmp_path: Path, mongo_server: MongoServer) -> None:
    folder = tmp_path / "p"
    source = half_way(folder)
    before = collections(source)
    uri = Stores(mongo_server).uri()
    done = CliRunner().invoke(build_app(None), ["store", "migrate", "--to", uri, "-p", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    copied = {one["name"]: (one["documents"], one["content"]) for one in json.loads(done.stdout) if one["documents"]}
    assert copied == before
    served = open_project(folder)
    assert served.uri == uri
    assert collections(served) == before
    assert served.job_store().get_output("large") == "x" * 16_500_000
    run_to_end(served)
    back = CliRunner().invoke(build_app(None), ["store", "migrate", "--to", "embedded", "-p", str(folder)])
    assert back.exit_code == 0, back.output
    again = open_project(folder)
    assert again.uri is None
    assert collections(again) == collections(served)
    undisturbed = launch(tmp_path / "undisturbed", definition())
    run_to_end(undisturbed)
    assert final_documents(again) == final_documents(undisturbed)
    assert advance(again, "trial", LAWFUL).state == "done"


COPY = """
import sys
from pathlib import Path
from cathodeflow.storage import migrate as module
from cathodeflow.storage.connection import open_project, open_target
module.CHUNK = 20
folder = Path(sys.argv[1])
module.migrate(open_project(folder), open_target(folder, sys.argv[2]), lambda name, n: print(name, n, flush=True))
"""


@pytest.mark.slow
def test_a_copy_killed_half_way_is_finished_by_a_repeat(tmp_path: Path, mongo_server: MongoServer) -> None:
    folder = tmp_path / "p"
    source = half_way(folder)
    uri = Stores(mongo_server).uri()
    child = subprocess.Popen([sys.executable, "-c", COPY, str(folder), uri], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("events"):
            child.send_signal(signal.SIGKILL)
            break
    child.wait()
    child.stdout.close()
    assert read_project_file(folder) is None
    partial = open_target(folder, uri)
    assert 0 < partial.count("candidates") <= source.count("candidates")
    transitions.append_event(source, "trial", "meanwhile", "the source went on")
    copied = {one.name: one for one in migrate(source, partial)}
    assert copied["candidates"].written < copied["candidates"].documents
    assert collections(partial) == collections(source)


def test_a_project_at_work_is_refused(tmp_path: Path, mongo_server: MongoServer) -> None:
    folder = tmp_path / "p"
    project = launch(folder, definition())
    uri = Stores(mongo_server).uri()
    transitions.take_lease(project, "trial", "elsewhere:1:2.0", 30.0)
    with pytest.raises(StoreError, match="is driven by elsewhere"):
        migrate(project, open_target(folder, uri))
    project.database.campaigns.update_one({}, {"$set": {"lease.expires_at": now() - timedelta(seconds=1)}})
    refuse_if_busy(project)
    project_launchpad(project)
    project.database.fireworks.insert_one({"fw_id": 1, "state": "RUNNING"})
    with pytest.raises(StoreError, match="1 job"):
        migrate(project, open_target(folder, uri))
    assert read_project_file(folder) is None


def test_a_database_with_other_documents_is_refused(tmp_path: Path, mongo_server: MongoServer) -> None:
    uri = Stores(mongo_server).uri()
    create_project(tmp_path / "other", uri).database.campaigns.insert_one({"_id": "other"})
    project = launch(tmp_path / "p", definition())
    with pytest.raises(StoreError, match="holds other documents"):
        migrate(project, open_target(project.folder, uri))
    assert open_project(tmp_path / "other").campaign_names() == ["other"]
    with pytest.raises(StoreError, match="there already"):
        migrate(project, open_target(project.folder, None))


def test_a_source_that_never_rests_is_refused(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cathodeflow.storage import migrate as module

    project = launch(tmp_path / "p", definition())
    refuse = module.refuse_if_busy

    def busy(source: Project) -> None:
        refuse(source)
        source.database.events.insert_one({"_id": f"{time.time()}"})

    monkeypatch.setattr(module, "refuse_if_busy", busy)
    with pytest.raises(StoreError, match="was changed while it was copied"):
        migrate(project, open_target(project.folder, Stores(mongo_server).uri()))
    assert read_project_file(project.folder) is None


def test_the_folder_knows_its_server_and_no_password(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, uri = tmp_path / "p", Stores(mongo_server).uri()
    create_project(folder, uri)
    said = json.loads((folder / FILE_NAME).read_text())
    assert said == {"store": "mongodb", "uri": uri, "password_variable": "CATHODEFLOW_STORE_PASSWORD"}
    assert open_project(folder).uri == uri
    listed = CliRunner().invoke(build_app(None), ["store", "info", "-p", str(folder), "--json"])
    assert json.loads(listed.stdout)["backend"] == "mongodb"
    with pytest.raises(CampaignError, match="no campaign"):
        transitions.read_campaign(open_project(folder), "x")


def test_a_setting_does_not_hide_what_is_embedded(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_project(tmp_path / "p")
    uri = Stores(mongo_server).uri()
    monkeypatch.setenv("CATHODEFLOW_STORE_URI", uri)
    with pytest.raises(StoreError, match="store migrate --to"):
        open_project(tmp_path / "p")
    assert create_project(tmp_path / "new").uri == uri
    monkeypatch.delenv("CATHODEFLOW_STORE_URI")
    assert open_project(tmp_path / "new").uri == uri


@pytest.mark.parametrize("command", [["info"], ["upgrade"], ["repair"]])
def test_looking_upgrading_and_repairing_change_nothing_of_a_sound_project(
    tmp_path: Path, stores: Stores, command: list[str]
) -> None:
    create_project(tmp_path / "p", stores.uri())
    project = launch(tmp_path / "p", definition())
    advance(project, "trial", LAWFUL)
    before = collections(project)
    done = CliRunner().invoke(build_app(None), ["store", *command, "-p", str(project.folder)])
    assert done.exit_code == 0, done.output
    assert collections(project) == before
