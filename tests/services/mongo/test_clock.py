"""A real server says its time."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.services.mongo_server import MongoServer

from cathodeflow.dispatch.clocks import clock_ahead_s, clock_complaint
from cathodeflow.dispatch.probe import examine
from cathodeflow.storage.connection import create_project

pytestmark = pytest.mark.service


def test_the_clock_of_a_server_on_this_machine_is_ours(mongo_server: MongoServer, tmp_path: Path) -> None:
    project = create_project(tmp_path / "p", mongo_server.database_uri("clocks"))
    assert clock_ahead_s(project) == pytest.approx(0.0, abs=1.0)
    assert clock_complaint(project) is None
    found = examine(project.folder)
    assert (found.store, found.clock) == ("answers", "")
