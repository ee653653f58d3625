"""Both kinds of store for tests: the embedded one, and a MongoDB server of this test process."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.services.mongo_server import MongoServer, why_unavailable

from cathodeflow.storage.connection import Project, create_project

_numbers = itertools.count(1)
BACKENDS = ("embedded", pytest.param("mongodb", marks=pytest.mark.service))


class Stores:
    """Makes projects of one kind of store; each has a database of its own."""

    def __init__(self, server: MongoServer | None) -> None:
        self.server = server

    def uri(self) -> str | None:
        return None if self.server is None else self.server.database_uri(f"t{os.getpid()}_{next(_numbers)}")

    def create(self, folder: Path) -> Project:
        return create_project(folder, self.uri())


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """One server for all tests of this process."""
    missing = why_unavailable()
    if missing:
        pytest.skip(missing)
    server = MongoServer(tmp_path_factory.mktemp("mongo"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=BACKENDS)
def stores(request: pytest.FixtureRequest) -> Stores:
    """The test runs once with each kind of store."""
    return Stores(None if request.param == "embedded" else request.getfixturevalue("mongo_server"))
