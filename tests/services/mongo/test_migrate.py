"""Moving a project between the stores, either way: all of it arrives, or the project stays where it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pymongo.errors import ConnectionFailure
from tests.campaign_world import (
    COMPUTED,
    GATE,
    LAWFUL,
    definition,
    final_documents,
    launch,
    run_to_end,
    work_one,
)
from tests.services.gate import Gate
from tests.services.mongo_server import MongoServer
from tests.services.waiting import AMPLE_S, wait_for
from tests.stores import Stores
from typer.testing import CliRunner

from cathodeflow.campaign import transitions
from cathodeflow.campaign.advance import advance
from cathodeflow.campaign.moving import move_project, rest
from cathodeflow.cli.app import build_app
from cathodeflow.dispatch.launchpad import project_launchpad
from cathodeflow.errors import CampaignError, StoreError
from cathodeflow.records.campaign import CampaignRecord
from cathodeflow.records.document import now
from cathodeflow.records.outcomes import CampaignState
from cathodeflow.storage.collections import INDEXES
from cathodeflow.storage.connection import Project, create_project, open_project, open_target
from cathodeflow.storage.migrate import content, migrate, refuse_if_busy
from cathodeflow.storage.project_file import FILE_NAME, read_project_file

pytestmark = pytest.mark.service
ROOT = Path(__file__).parents[3]


def keep_large_things(project: Project) -> None:
    project.blobs.put(os.urandom(1_000_000), "noise")
    project.job_store().update({"uuid": "large", "index": 1, "output": "x" * 16_500_000}, key=["uuid", "index"])


def half_way(folder: Path, uri: str | None = None) -> Project:
    """A campaign in the middle of its first labels, with a blob and a large output."""
    if uri is not None:
        create_project(folder, uri)
    project = launch(folder, definition())
    for _ in range(3):
        advance(project, "trial", LAWFUL)
        for _ in range(4):
            work_one(project)
    keep_large_things(project)
    return project


def collections(project: Project) -> dict[str, tuple[int, str]]:
    names = set(project.database.list_collection_names()) - {"migration"}
    return {name: content(project, name) for name in names if project.count(name)}


def unchanged(found: dict[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    """What a move only copies: it tells the campaigns, and their log, that they were moved."""
    return {name: one for name, one in found.items() if name not in {"campaigns", "events"}}


def campaign_of(project: Project) -> CampaignRecord:
    return transitions.read_campaign(project, "trial")


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python programs that a project's folder gets the logs of."""
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: Path, name: str, *command: str, said: Path | None = None) -> subprocess.Popen[bytes]:
        environment = os.environ | {"CATHODEFLOW_TICK_S": "0.2", "PYTHONPATH": str(ROOT)}
        with (folder / f"{name}.log").open("ab") as log, (said or Path(os.devnull)).open("wb") as out:
            words = [sys.executable, *command]
            started.append(subprocess.Popen(words, env=environment, cwd=ROOT, stdout=out, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def logs_of(folder: Path) -> str:
    return "\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in sorted(folder.glob("*.log")))


def until(happened: Callable[[], bool], process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait for what a process that must go on meanwhile brings about."""
    wait_for(lambda: happened() or process.poll() is not None, why_not=lambda: logs_of(folder))
    assert happened(), logs_of(folder)


@pytest.mark.slow
def test_a_campaign_at_work_is_moved_both_ways_and_computes_nothing_twice(
    tmp_path: Path,
    mongo_server: MongoServer,
    monkeypatch: pytest.MonkeyPatch,
    start: Start,
) -> None:
    gate, said = Gate(tmp_path / "gate"), tmp_path / "moved.json"
    monkeypatch.setenv(COMPUTED, str(tmp_path / "computed"))
    monkeypatch.setenv(GATE, str(gate.path))
    folder, uri = tmp_path / "p", Stores(mongo_server).uri()
    keep_large_things(launch(folder, definition()))
    for to, labels in ((uri, 2), ("embedded", 7)):
        gate.close(labels - open_project(folder).count("labels"))
        driver = start(folder, "driver", "-m", "tests.killable_driver", str(folder))
        left = open_project(folder)
        until(lambda left=left, labels=labels: left.count("labels") >= labels, driver, folder)
        until(gate.somebody_waits, driver, folder)
        refused = CliRunner().invoke(build_app(None), ["store", "migrate", "--to", to, "-p", str(folder)])
        assert "is driven by" in str(refused.exception)
        assert campaign_of(left).before_move is None
        move = ("-m", "cathodeflow.cli.app", "store", "migrate", "--to", to, "-p", str(folder), "--wait", "--json")
        mover = start(folder, f"mover-{labels}", *move, said=said)
        told = folder / f"mover-{labels}.log"
        until(lambda told=told: "waiting: " in told.read_text(), mover, folder)
        assert campaign_of(left).state == CampaignState.STOPPED
        assert left.count("fireworks", {"state": "RUNNING"}), "a job is at the gate: the move has to wait for it"
        gate.open()
        assert mover.wait(timeout=AMPLE_S) == 0, logs_of(folder)
        assert driver.wait(timeout=AMPLE_S) == 1, "a campaign that is stopped ends its driver"
        assert campaign_of(left).state == CampaignState.STOPPED
        assert to in campaign_of(left).message
        here = open_project(folder)
        assert (here.uri or "embedded") == to
        assert (campaign_of(here).state, campaign_of(here).message) == (CampaignState.RUNNING, "")
        assert here.count("labels") < 12
        copied = {one["name"]: (one["documents"], one["content"]) for one in json.loads(said.read_text())}
        there = {name: one for name, one in copied.items() if one[0]}
        assert unchanged(there) == unchanged(collections(here)) == unchanged(collections(left))
        assert here.job_store().get_output("large") == "x" * 16_500_000
        assert (to == "embedded") is not ("nodes_1_locked.token_1" in here.database.workflows.index_information())
    run_to_end(open_project(folder))
    undisturbed = launch(tmp_path / "undisturbed", definition())
    computed = [line.split()[0] for line in (tmp_path / "computed").read_text().splitlines()]
    run_to_end(undisturbed)
    assert final_documents(open_project(folder)) == final_documents(undisturbed)
    assert len(computed) == len(set(computed)) == undisturbed.count("labels")
    assert all(len(f["launches"]) == 1 for f in open_project(folder).database.fireworks.find())


def test_a_move_that_is_refused_leaves_the_campaign_at_work(tmp_path: Path, mongo_server: MongoServer) -> None:
    uri = Stores(mongo_server).uri()
    create_project(tmp_path / "other", uri).database.campaigns.insert_one({"_id": "other"})
    project = launch(tmp_path / "p", definition())
    before = campaign_of(project)
    with pytest.raises(StoreError, match="holds other documents"):
        move_project(project, open_target(project.folder, uri), INDEXES)
    after = campaign_of(project)
    assert (after.state, after.message, after.before_move) == (before.state, before.message, None)


def test_a_server_that_goes_away_meanwhile_leaves_the_campaign_at_work(
    tmp_path: Path, mongo_server: MongoServer
) -> None:
    server = MongoServer(tmp_path / "mongo")
    server.start()
    project = launch(tmp_path / "p", definition())
    uri = server.database_uri("x") + "?serverSelectionTimeoutMS=5000"
    try:
        with pytest.raises(ConnectionFailure):
            move_project(project, open_target(project.folder, uri), INDEXES, on_progress=lambda *_: server.kill())
    finally:
        server.stop()
    after = campaign_of(open_project(project.folder))
    assert (after.state, after.before_move) == (CampaignState.RUNNING, None)


def test_a_paused_campaign_stays_paused(tmp_path: Path, mongo_server: MongoServer) -> None:
    project = launch(tmp_path / "p", definition())
    before = transitions.pause(project, "trial")
    move_project(project, open_target(project.folder, Stores(mongo_server).uri()), INDEXES)
    after = campaign_of(open_project(project.folder))
    assert (after.state, after.message) == (before.state, before.message)
    assert [d["kind"] for d in open_project(project.folder).database.events.find(sort=[("_id", 1)])] == [
        *("launched", "paused", "moved", "moved")
    ]


def test_a_move_given_up_after_a_kill_is_resumed_as_any_other(tmp_path: Path, mongo_server: MongoServer) -> None:
    project = launch(tmp_path / "p", definition())
    rest(project, "stopped to be moved")
    transitions.resume(project, "trial")
    transitions.pause(project, "trial")
    move_project(project, open_target(project.folder, Stores(mongo_server).uri()), INDEXES)
    after = campaign_of(open_project(project.folder))
    assert (after.state, after.before_move) == (CampaignState.PAUSED, None)


def test_the_setting_alone_names_where_to_go(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = launch(tmp_path / "p", definition())
    uri = Stores(mongo_server).uri()
    monkeypatch.setenv("CATHODEFLOW_STORE_URI", str(uri))
    done = CliRunner().invoke(build_app(None), ["store", "migrate", "-p", str(project.folder)])
    assert done.exit_code == 0, done.output
    assert open_project(project.folder).uri == uri
    back = CliRunner().invoke(build_app(None), ["store", "migrate", "--to", "embedded", "-p", str(project.folder)])
    assert back.exit_code == 0, back.output
    assert "CATHODEFLOW_STORE_URI still names a server" in back.stderr
    monkeypatch.delenv("CATHODEFLOW_STORE_URI")
    assert open_project(project.folder).uri is None
    nowhere = CliRunner().invoke(build_app(None), ["store", "migrate", "-p", str(project.folder)])
    assert nowhere.exit_code == 2


COPY = """
import sys
from pathlib import Path
from cathodeflow.campaign.moving import move_project
from cathodeflow.storage import migrate as module
from cathodeflow.storage.collections import INDEXES
from cathodeflow.storage.connection import open_project, open_target
module.CHUNK = 20
source, target = open_project(Path(sys.argv[1])), open_target(Path(sys.argv[1]), sys.argv[2])

def progress(name, count):
    print(name, count, flush=True)
    if name == "events":
        input()  # for ever: to be killed here

move_project(source, target, INDEXES, on_progress=progress)
"""


@pytest.mark.slow
def test_a_copy_killed_half_way_is_finished_by_a_repeat(tmp_path: Path, mongo_server: MongoServer) -> None:
    folder = tmp_path / "p"
    source = half_way(folder)
    uri = Stores(mongo_server).uri()
    command = [sys.executable, "-c", COPY, str(folder), uri]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("events"):
            child.send_signal(signal.SIGKILL)
            break
    assert child.wait() == -signal.SIGKILL
    child.stdin.close()
    child.stdout.close()
    assert read_project_file(folder) is None
    partial = open_target(folder, uri)
    assert 0 < partial.count("candidates") <= source.count("candidates")
    assert campaign_of(source).state == CampaignState.STOPPED
    transitions.append_event(source, "trial", "meanwhile", "the source went on")
    copied = {one.name: one for one in move_project(source, partial, INDEXES)}
    assert copied["candidates"].written < copied["candidates"].documents
    assert unchanged(collections(partial)) == unchanged(collections(source))
    assert campaign_of(partial).state == CampaignState.RUNNING
    run_to_end(open_project(folder))
    undisturbed = launch(tmp_path / "undisturbed", definition())
    run_to_end(undisturbed)
    assert final_documents(open_project(folder)) == final_documents(undisturbed)


def test_a_project_at_work_is_refused(tmp_path: Path, mongo_server: MongoServer) -> None:
    folder = tmp_path / "p"
    project = launch(folder, definition())
    uri = Stores(mongo_server).uri()
    transitions.take_lease(project, "trial", "elsewhere:1:2.0", 3600.0)
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


def test_a_folder_that_was_renamed_goes_back_to_its_old_file(tmp_path: Path, mongo_server: MongoServer) -> None:
    project = launch(tmp_path / "p", definition())
    move_project(project, open_target(project.folder, Stores(mongo_server).uri()), INDEXES)
    (tmp_path / "p").rename(tmp_path / "renamed")
    served = open_project(tmp_path / "renamed")
    assert served.uri is not None
    move_project(served, open_target(served.folder, None), INDEXES)
    assert open_project(tmp_path / "renamed").uri is None


def test_another_file_in_the_way_is_named(tmp_path: Path, mongo_server: MongoServer) -> None:
    create_project(tmp_path / "p", Stores(mongo_server).uri())
    served = launch(tmp_path / "p", definition())
    open_target(served.folder, None).database.campaigns.insert_one({"_id": "other"})
    with pytest.raises(StoreError, match=r"cathodeflow.sqlite holds other documents: move that file away"):
        move_project(served, open_target(served.folder, None), INDEXES)


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
    assert len(said.pop("project")) == 32
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
