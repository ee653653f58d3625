"""Which project a database belongs to: two folders that name the same one by mistake are kept apart."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.services.mongo_server import MongoServer
from tests.stores import Stores
from typer.testing import CliRunner

from cathodeflow.cli.app import build_app
from cathodeflow.errors import StoreError
from cathodeflow.storage.collections import INDEXES, PROJECT
from cathodeflow.storage.connection import Project, create_project, open_project
from cathodeflow.storage.identity import identity_of
from cathodeflow.storage.project_file import FILE_NAME, read_project_file


def forget(project: Project, *, folder: bool, database: bool) -> None:
    """Make a project as an earlier version made it."""
    if folder:
        said = {key: value for key, value in (read_project_file(project.folder) or {}).items() if key != "project"}
        (project.folder / FILE_NAME).write_text(json.dumps(said))
    if database:
        project.database[PROJECT].delete_many({})


def test_an_embedded_project_has_a_name_that_stays(tmp_path: Path) -> None:
    made = create_project(tmp_path / "p")
    name = identity_of(made)
    assert name is not None
    assert identity_of(create_project(tmp_path / "p")) == name
    assert not (tmp_path / "p" / FILE_NAME).exists()
    forget(made, folder=False, database=True)
    assert identity_of(open_project(tmp_path / "p")) is None
    assert identity_of(create_project(tmp_path / "p")) not in {None, name}


service = pytest.mark.service


@service
def test_a_second_folder_is_refused_and_changes_nothing(tmp_path: Path, mongo_server: MongoServer) -> None:
    uri = Stores(mongo_server).uri()
    first = create_project(tmp_path / "first", uri)
    first.database.campaigns.insert_one({"_id": "mine"})
    for _ in range(2):
        with pytest.raises(StoreError, match=r"belongs to the project that was begun in .*first on .*cflow store join"):
            create_project(tmp_path / "second", uri)
    assert not (tmp_path / "second" / FILE_NAME).exists()
    assert create_project(tmp_path / "first").campaign_names() == ["mine"]


@service
def test_a_database_with_campaigns_of_an_earlier_version_is_refused_to_a_new_folder(
    tmp_path: Path, mongo_server: MongoServer
) -> None:
    uri = Stores(mongo_server).uri()
    first = create_project(tmp_path / "first", uri)
    first.database.campaigns.insert_one({"_id": "mine"})
    forget(first, folder=True, database=True)
    with pytest.raises(StoreError, match="belongs to another project"):
        create_project(tmp_path / "second", uri)
    assert first.count(PROJECT) == 0


@service
@pytest.mark.parametrize(("folder", "database"), [(True, True), (True, False), (False, True)])
def test_a_project_of_an_earlier_version_is_adopted(
    tmp_path: Path, mongo_server: MongoServer, folder: bool, database: bool
) -> None:
    made = create_project(tmp_path / "p", Stores(mongo_server).uri())
    made.database.campaigns.insert_one({"_id": "mine"})
    said = read_project_file(made.folder)
    forget(made, folder=folder, database=database)
    assert open_project(made.folder).campaign_names() == ["mine"]
    again = create_project(made.folder)
    assert again.campaign_names() == ["mine"]
    after = read_project_file(made.folder)
    assert after is not None
    assert after["project"] == identity_of(again)
    assert after.keys() == (said or {}).keys()
    assert open_project(made.folder).uri == made.uri


@service
def test_a_copied_folder_is_the_same_project(tmp_path: Path, mongo_server: MongoServer) -> None:
    made = create_project(tmp_path / "here", Stores(mongo_server).uri())
    made.database.campaigns.insert_one({"_id": "mine"})
    shutil.copytree(tmp_path / "here", tmp_path / "elsewhere")
    assert create_project(tmp_path / "elsewhere").campaign_names() == ["mine"]
    assert open_project(tmp_path / "elsewhere").campaign_names() == ["mine"]


@service
def test_a_setting_that_names_another_server_with_a_database_of_that_name_is_refused(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As seen from a machine where the name of the server means another one."""
    uri = Stores(mongo_server).uri()
    made = create_project(tmp_path / "p", uri)
    monkeypatch.setenv("CATHODEFLOW_STORE_URI", f"{uri}?appName=other")
    assert open_project(made.folder).uri == f"{uri}?appName=other"
    made.database[PROJECT].replace_one({}, {"id": "of another", "folder": "/theirs", "host": "there"})
    for act in (open_project, create_project):
        with pytest.raises(StoreError, match="begun in /theirs on there"):
            act(made.folder)


@service
def test_several_that_make_one_project_at_once_agree(tmp_path: Path, mongo_server: MongoServer) -> None:
    uri = Stores(mongo_server).uri()
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: create_project(tmp_path / "p", uri), range(6)))
    names = {identity_of(project) for project in made} | {(read_project_file(tmp_path / "p") or {})["project"]}
    assert len(names) == 1


@service
def test_of_several_folders_that_take_a_database_at_once_one_has_it(tmp_path: Path, mongo_server: MongoServer) -> None:
    uri = Stores(mongo_server).uri()
    refusals: list[str] = []

    def make(number: int) -> str | None:
        try:
            return identity_of(create_project(tmp_path / str(number), uri))
        except StoreError as error:
            refusals.append(str(error))
            return None

    with ThreadPoolExecutor(6) as pool:
        names = [name for name in pool.map(make, range(6)) if name is not None]
    assert len(names) == 1
    assert all("belongs to" in refusal for refusal in refusals)
    assert len(list(tmp_path.glob(f"*/{FILE_NAME}"))) == 1


@service
def test_a_folder_joins_a_project_whose_own_was_lost(tmp_path: Path, mongo_server: MongoServer) -> None:
    uri = Stores(mongo_server).uri()
    assert uri is not None
    runner = CliRunner()
    (tmp_path / "new").mkdir()
    words = ["store", "join", uri, "-p", str(tmp_path / "new")]
    assert "holds no project" in str(runner.invoke(build_app(None), words).exception)
    lost = create_project(tmp_path / "lost", uri)
    lost.database.campaigns.insert_one({"_id": "mine"})
    joined = runner.invoke(build_app(None), words)
    assert joined.exit_code == 0, joined.output
    assert "mine" in joined.stdout
    assert create_project(tmp_path / "new").campaign_names() == ["mine"]
    assert identity_of(open_project(tmp_path / "new")) == identity_of(lost)
    assert "holds a project already" in str(runner.invoke(build_app(None), words).exception)


@service
def test_an_upgrade_gives_a_project_of_an_earlier_version_its_name(tmp_path: Path, mongo_server: MongoServer) -> None:
    made = create_project(tmp_path / "p", Stores(mongo_server).uri())
    forget(made, folder=True, database=True)
    done = CliRunner().invoke(build_app(None), ["store", "upgrade", "-p", str(made.folder)])
    assert done.exit_code == 0, done.output
    assert (read_project_file(made.folder) or {})["project"] == identity_of(made)
    assert len(made.database.campaigns.index_information()) == 1 + sum(s.collection == "campaigns" for s in INDEXES)
