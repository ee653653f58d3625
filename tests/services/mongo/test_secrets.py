"""The password is used and shows up in no document, log or message; a server that refuses it is told in words."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import bson
import pytest
from pymongo import monitoring
from tests.campaign_world import definition, launch, run_to_end
from tests.services.mongo_server import MongoServer
from tests.stores import Stores

from cathodeflow.dispatch.launchpad import ProjectLaunchPad, project_launchpad
from cathodeflow.errors import StoreError
from cathodeflow.storage import server
from cathodeflow.storage.address import PASSWORD_VARIABLE, StoreAddress
from cathodeflow.storage.connection import create_project, open_project

pytestmark = pytest.mark.service
SECRET = "s3cr3t-w0rd"


class Told(monitoring.CommandListener):
    """Everything a client says of what it does."""

    def __init__(self) -> None:
        self.text = ""

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.text += str(event.command)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self.text += str(event.reply)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self.text += str(event.failure)


def test_a_server_that_cannot_take_the_password_says_so_without_it(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    caplog.set_level(logging.DEBUG)
    uri = mongo_server.database_uri("x").replace("mongodb://", "mongodb://flow@") + "?authSource=admin"
    with pytest.raises(StoreError, match=r"user or the password|refused") as refused:
        open_project(tmp_path, uri)
    assert SECRET not in "".join(traceback.format_exception(refused.value)) + caplog.text


def test_tls_to_a_server_without_is_refused_in_words(tmp_path: Path, mongo_server: MongoServer) -> None:
    uri = mongo_server.database_uri("x") + "?tls=true&serverSelectionTimeoutMS=3000"
    with pytest.raises(StoreError, match=r"TLS|cannot be reached"):
        open_project(tmp_path, uri)


def test_no_document_of_a_campaign_holds_the_password(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    monkeypatch.setattr(StoreAddress, "user", property(lambda self: "flow"))
    connect, told = server.connect, Told()

    def without_login(address: StoreAddress) -> object:
        assert address.password() == SECRET
        with monkeypatch.context() as patch:  # the server of the tests knows no users
            patch.setattr(StoreAddress, "password", lambda self: None)
            return connect(address)

    monkeypatch.setattr(server, "connect", without_login)
    monkeypatch.setattr(monitoring, "_LISTENERS", monitoring._Listeners([told], [], [], [], []))
    caplog.set_level(logging.DEBUG)
    create_project(tmp_path / "p", Stores(mongo_server).uri())
    project = launch(tmp_path / "p", definition(labels={"total": 6, "rounds": 1, "acquisition": "random"}))
    run_to_end(project)
    for name in project.database.list_collection_names():
        for document in project.database[name].find():
            assert SECRET.encode() not in bson.encode(document), name
    files = [path for path in project.folder.rglob("*") if path.is_file()]
    assert files
    assert all(SECRET.encode() not in path.read_bytes() for path in files)
    described = project_launchpad(project).to_dict()
    assert SECRET not in str(described) + caplog.text + told.text
    assert len(told.text) > 1000
    again = ProjectLaunchPad.from_dict(described)
    assert again.project.uri == project.uri
