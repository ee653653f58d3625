"""What can go wrong while a project is moved: two persons, late writes, other names of one database, kills anywhere."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, monitoring
from tests.campaign_world import definition, launch
from tests.services.mongo.killing import KillAtWrite
from tests.services.mongo.test_kills import dead
from tests.services.mongo.test_migrate import campaign_of, collections, unchanged
from tests.services.mongo_server import MongoServer
from tests.stores import Stores
from tests.unit.web.conftest import launch_second
from typer.testing import CliRunner

from cathodeflow.campaign import transitions
from cathodeflow.campaign.moving import MOVER, move_project
from cathodeflow.cli.app import build_app
from cathodeflow.dispatch.processes import moment
from cathodeflow.errors import StoreError
from cathodeflow.records.outcomes import CampaignState
from cathodeflow.storage import migrate as migration
from cathodeflow.storage.collections import INDEXES, MARKER, SUBMISSION_INDEXES
from cathodeflow.storage.connection import Project, create_project, open_project, open_target
from cathodeflow.storage.embedded.file import StoreFile
from cathodeflow.storage.project_file import read_project_file

pytestmark = pytest.mark.service
ALL = (*INDEXES, *SUBMISSION_INDEXES)
MOST_WRITES = 60


def moved(folder: Path, uri: str | None, **options: Any) -> Project:
    """Move a project as the command does; returns it as it is then."""
    source = open_project(folder, moving=True)
    move_project(source, open_target(folder, uri), ALL, **options)
    return open_project(folder)


def left(folder: Path) -> Project:
    """The embedded store of a folder, whatever the folder says."""
    return Project(folder, StoreFile(folder / "cathodeflow.sqlite", create=False))


class Held:
    """A move in a thread that stands still at its first collection until it is let go."""

    def __init__(self, folder: Path, uri: str | None) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(folder, uri))
        self._thread.start()
        self.reached.wait()

    def _run(self, folder: Path, uri: str | None) -> None:
        def stand(*_: object) -> None:
            self.reached.set()
            self.go.wait()

        try:
            moved(folder, uri, on_progress=stand)
        except StoreError as error:
            self.error = error
        finally:
            self.reached.set()

    def end(self) -> None:
        self.go.set()
        self._thread.join()


def test_of_two_persons_who_move_a_project_at_once_one_is_refused(tmp_path: Path, mongo_server: MongoServer) -> None:
    """The second would put back the stopped campaigns under a driver that works in the new store already."""
    folder, stores = tmp_path / "p", Stores(mongo_server)
    uri, other = stores.uri(), stores.uri()
    launch(folder, definition())
    first = Held(folder, uri)
    for target in (uri, other):
        with pytest.raises(StoreError, match=rf"Process {os.getpid()} on .* moves .* already"):
            moved(folder, target)
    assert campaign_of(open_project(folder)).state == CampaignState.STOPPED, "the first goes on"
    first.end()
    assert first.error is None
    assert open_project(folder).uri == uri
    assert campaign_of(open_project(folder)).state == CampaignState.RUNNING
    assert open_project(folder).count(MARKER, {"_id": MOVER}) == 0


def test_one_who_had_the_old_store_open_does_not_move_it_elsewhere(tmp_path: Path, mongo_server: MongoServer) -> None:
    stores = Stores(mongo_server)
    folder, uri, other = tmp_path / "p", stores.uri(), stores.uri()
    launch(folder, definition())
    for here, there in ((None, uri), (uri, other)):
        late = open_project(folder, moving=True)
        assert late.uri == here
        new = moved(folder, there)
        transitions.append_event(new, "trial", "work", "went on in the new store")
        with pytest.raises(StoreError, match=r"were moved to .*: nothing was written"):
            move_project(late, open_target(folder, stores.uri()), ALL)
        with pytest.raises(StoreError, match="were moved to"):
            transitions.resume(late, "trial")
        assert open_project(folder).uri == there
        assert new.count("events", {"kind": "work"}) == (1 if here is None else 2)


@pytest.mark.parametrize("alive", [True, False])
def test_a_mark_of_a_mover_that_is_gone_holds_nobody_up(tmp_path: Path, mongo_server: MongoServer, alive: bool) -> None:
    folder = tmp_path / "p"
    project = launch(folder, definition())
    process = {**dead(), "pid": os.getppid()} if alive else dead()
    if alive:
        import psutil

        process["process_started"] = psutil.Process(os.getppid()).create_time()
    project.insert_missing(MARKER, [{"_id": MOVER, **process, "token": "of another", "since": moment()}])
    uri = Stores(mongo_server).uri()
    if alive:
        with pytest.raises(StoreError, match="already: wait for it"):
            moved(folder, uri)
        assert campaign_of(project).state == CampaignState.RUNNING
    else:
        assert moved(folder, uri).uri == uri


def test_another_address_of_the_same_database_is_only_written_down(tmp_path: Path, mongo_server: MongoServer) -> None:
    folder, uri = tmp_path / "p", Stores(mongo_server).uri()
    create_project(folder, uri)
    before = collections(launch(folder, definition()))
    longer = f"{uri}?appName=x&retryWrites=false"
    source = open_project(folder, moving=True)
    assert move_project(source, open_target(folder, longer), ALL) == []
    here = open_project(folder)
    assert here.uri == longer
    assert campaign_of(here).state == CampaignState.RUNNING
    assert unchanged(collections(here)) == unchanged(before)
    assert moved(folder, uri).uri == uri


def test_what_a_project_left_on_a_server_is_not_overwritten_by_another(
    tmp_path: Path, mongo_server: MongoServer
) -> None:
    uri = Stores(mongo_server).uri()
    launch(tmp_path / "mine", definition())
    moved(tmp_path / "mine", uri)
    moved(tmp_path / "mine", None)
    launch(tmp_path / "other", definition())
    with pytest.raises(StoreError, match="holds other documents"):
        moved(tmp_path / "other", uri)
    assert moved(tmp_path / "mine", uri).uri == uri


def test_a_half_made_copy_of_another_project_is_not_gone_on_with(tmp_path: Path, mongo_server: MongoServer) -> None:
    """Nor is that of a copied folder: it may be at work there by now."""
    uri = Stores(mongo_server).uri()
    launch(tmp_path / "mine", definition())
    launch(tmp_path / "other", definition())

    def fail(*_: object) -> None:
        raise StoreError("the first chunk, and no further")

    with pytest.raises(StoreError, match="no further"):
        moved(tmp_path / "mine", uri, on_progress=fail)
    for folder in (tmp_path / "other", tmp_path / "renamed"):
        if folder.name == "renamed":
            (tmp_path / "mine").rename(folder)
        with pytest.raises(StoreError, match="holds other documents"):
            moved(folder, uri)
    (tmp_path / "renamed").rename(tmp_path / "mine")
    assert moved(tmp_path / "mine", uri).uri == uri


def test_documents_that_have_changed_a_unique_key_between_them_are_moved(
    tmp_path: Path, mongo_server: MongoServer
) -> None:
    """What is gone from one and held by another: seats of allocations, numbers of launches."""
    folder, uri = tmp_path / "p", Stores(mongo_server).uri()
    project = launch(folder, definition())
    project.database.submissions.insert_many([{"_id": "a", "site": "s"}, {"_id": "b", "seat": 1}])
    server = moved(folder, uri)
    assert "seat_1" in server.database.submissions.index_information()
    server.database.submissions.update_one({"_id": "b"}, {"$unset": {"seat": 1}})
    server.database.submissions.update_one({"_id": "a"}, {"$set": {"seat": 1}})
    back = moved(folder, None)
    assert list(back.database.submissions.find({"seat": 1})) == [{"_id": "a", "site": "s", "seat": 1}]


def test_fields_in_another_order_are_the_same_document(tmp_path: Path, mongo_server: MongoServer) -> None:
    """MongoDB orders the fields that an upsert with operators adds; the server of the tests does not."""
    folder, uri = tmp_path / "p", Stores(mongo_server).uri()
    project = launch(folder, definition())
    project.database.labels.insert_many([{"_id": n, "z": 1, "a": {"y": 1, "b": 2}} for n in range(3)])

    def reorder(name: str, _count: int) -> None:
        labels = open_target(folder, uri).database.labels
        for document in list(labels.find()) if name == "labels" else ():
            labels.replace_one({"_id": document["_id"]}, {"a": {"y": 1, "b": 2}, "z": 1})

    assert moved(folder, uri, on_progress=reorder).count("labels") == 3


def test_the_largest_document_is_moved(tmp_path: Path, mongo_server: MongoServer) -> None:
    import bson

    folder, uri = tmp_path / "p", Stores(mongo_server).uri()
    project = launch(folder, definition())
    room = 16 * 1024**2 - len(bson.encode({"_id": "largest", "text": ""}))
    project.insert_missing("labels", [{"_id": "largest", "text": "x" * room}])
    found = moved(folder, uri).get("labels", "largest")
    assert found is not None
    assert len(found["text"]) == room


def test_nothing_is_written_between_the_last_comparison_and_the_change_of_the_folder(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, uri = tmp_path / "p", Stores(mongo_server).uri()
    bystander = launch(folder, definition())
    said: list[str] = []

    def act() -> None:
        try:
            transitions.resume(bystander, "trial")
        except StoreError as error:
            said.append(str(error))

    thread = threading.Thread(target=act)
    real: Callable[..., bool] = migration.write_project_file

    def write(*arguments: Any, **options: Any) -> bool:
        if arguments[1] is not None and not said:
            thread.start()
            thread.join(timeout=0.3)  # it waits for the transaction; on a slow machine it has not begun, and waits then
        return real(*arguments, **options)

    monkeypatch.setattr(migration, "write_project_file", write)
    moved(folder, uri)
    thread.join()
    assert said
    assert "were moved to mongodb://" in said[0]
    assert campaign_of(left(folder)).state == CampaignState.STOPPED


def test_a_campaign_that_is_launched_or_resumed_meanwhile_rests_too(tmp_path: Path, mongo_server: MongoServer) -> None:
    folder, uri = tmp_path / "p", Stores(mongo_server).uri()
    project = launch(folder, definition())
    acted: list[str] = []

    def meanwhile(*_: object) -> None:
        if not acted:
            acted.append("once")
            launch_second(open_project(folder), "second")
            transitions.resume(open_project(folder), "trial")

    here = moved(folder, uri, on_progress=meanwhile)
    for name in ("trial", "second"):
        there = transitions.read_campaign(here, name)
        assert (there.state, there.before_move) == (CampaignState.RUNNING, None), name
        assert transitions.read_campaign(left(project.folder), name).state == CampaignState.STOPPED, name


def test_a_resubmission_under_way_is_waited_for_and_one_that_was_killed_completed(
    tmp_path: Path, mongo_server: MongoServer
) -> None:
    folder, stores = tmp_path / "p", Stores(mongo_server)
    create_project(folder, stores.uri())
    project = launch(folder, definition())
    import psutil

    living = {**dead(), "pid": os.getppid(), "process_started": psutil.Process(os.getppid()).create_time()}
    note = {**living, "token": "t", "since": moment(), "left": False}
    project.database.campaigns.update_one({"_id": "trial"}, {"$set": {"intent": note}})
    with pytest.raises(StoreError, match=rf"Process {living['pid']} on .* resubmits jobs of trial"):
        moved(folder, None)
    project.database.campaigns.update_one({"_id": "trial"}, {"$set": {"intent": note | dead()}})
    assert campaign_of(moved(folder, None)).intent is None


def test_the_setting_does_not_lead_back_to_the_server_that_was_left(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its database has the same name, as a rule: the setting would be taken for another name of the new server."""
    folder, uri = tmp_path / "p", Stores(mongo_server).uri()
    create_project(folder, uri)
    launch(folder, definition())
    new = MongoServer(tmp_path / "new")
    new.start()
    try:
        there = new.database_uri(open_project(folder).database_name)
        words = ["store", "migrate", "--to", there, "-p", str(folder)]
        monkeypatch.setenv("CATHODEFLOW_STORE_URI", str(uri))
        done = CliRunner().invoke(build_app(None), words)
        assert done.exit_code == 0, done.output
        assert f"CATHODEFLOW_STORE_URI still names {uri}" in done.stderr
        for act in (open_project, create_project):
            with pytest.raises(StoreError, match=r"was moved away from .*unset the variable"):
                act(folder)
        monkeypatch.setenv("CATHODEFLOW_STORE_URI", f"{there}?appName=seen-from-here")
        assert campaign_of(open_project(folder)).state == CampaignState.RUNNING
        monkeypatch.delenv("CATHODEFLOW_STORE_URI")
        assert open_project(folder).uri == there
    finally:
        new.stop()


def test_another_folder_of_a_project_that_was_moved_does_not_go_on_in_the_store_that_was_left(
    tmp_path: Path, mongo_server: MongoServer
) -> None:
    folder, copied, stores = tmp_path / "p", tmp_path / "copied", Stores(mongo_server)
    uri, new = stores.uri(), stores.uri()
    create_project(folder, uri)
    launch(folder, definition())
    shutil.copytree(folder, copied)
    assert open_project(copied).campaign_names() == ["trial"]
    moved(folder, new)
    for act in (open_project, create_project):
        with pytest.raises(
            StoreError, match=rf"moved away from {uri}, to {new}, by its folder .*/p: copy project.json"
        ):
            act(copied)
    (tmp_path / "joined").mkdir()
    joined = CliRunner().invoke(build_app(None), ["store", "join", str(uri), "-p", str(tmp_path / "joined")])
    assert "was moved away from" in str(joined.exception)
    shutil.copy(folder / "project.json", copied / "project.json")
    assert open_project(copied).uri == new


class _Killer(KillAtWrite):
    """Counts the renaming of the project file as one of the writes."""

    def replace(self, path: Path, target: Path) -> Path:
        if target.name == "project.json":
            self._step("before")
        done = REPLACE(path, target)
        if target.name == "project.json":
            self._step("after")
        return done

    def _step(self, moment: str) -> None:
        if self.moment == moment:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


REPLACE = Path.replace


def move_and_die(folder: Path, uri: str | None, number: int, when: str) -> int:
    """Move a project in a forked process that is killed at its n-th write."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            killer = _Killer(number, when)
            killer.armed = True
            monitoring.register(killer)
            Path.replace = lambda path, target: killer.replace(path, Path(target))  # type: ignore[method-assign,assignment,return-value]
            moved(folder, uri)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("way", ["to the server", "back"])
def test_killed_at_any_write_of_a_move_and_repeated(
    tmp_path: Path, mongo_server: MongoServer, when: str, way: str
) -> None:
    stores = Stores(mongo_server)
    for number in range(1, MOST_WRITES):
        folder, uri = tmp_path / str(number), stores.uri()
        target = uri if way == "to the server" else None
        if target is None:
            create_project(folder, uri)
        before = collections(launch(folder, definition()))
        code = move_and_die(folder, target, number, when)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        here = open_project(folder)
        if here.uri != target:
            here = moved(folder, target)
        assert here.uri == target
        assert campaign_of(here).state == CampaignState.RUNNING, f"killed {when} write {number}"
        assert campaign_of(here).before_move is None
        assert unchanged(collections(here)) == unchanged(before) | {"project": collections(here)["project"]}
        transitions.pause(here, "trial")
        again = moved(folder, None if target is not None else stores.uri())
        assert campaign_of(again).state == CampaignState.PAUSED
    assert 3 < number < MOST_WRITES - 1, "a move writes"


def test_a_folder_says_where_it_was_moved_and_whose_it_is(tmp_path: Path, mongo_server: MongoServer) -> None:
    folder, uri = tmp_path / "p", Stores(mongo_server).uri()
    assert uri is not None
    launch(folder, definition())
    moved(folder, uri)
    said = read_project_file(folder)
    assert said is not None
    client: MongoClient[dict[str, Any]] = MongoClient(uri)
    found = client.get_default_database()["project"].find_one({})
    assert found is not None
    assert said["project"] == found["id"]
    assert found["folder"] == str(folder)
