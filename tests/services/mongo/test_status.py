"""Where a campaign stands, asked of a server in parts where there is much: the same answers as from every document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.campaign_world import FINISHED, LAWFUL, definition, launch, work_one
from tests.services.mongo_server import MongoServer
from tests.standing import assert_adds_up
from tests.stores import Stores

from cathodeflow.campaign import status
from cathodeflow.campaign.advance import advance
from cathodeflow.campaign.status import read_status
from cathodeflow.errors import StoreError

pytestmark = pytest.mark.service


def test_what_is_said_adds_up_at_every_tick(mongo_server: MongoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(status, "ASKED_AT_ONCE", 3)
    failing = {"name": "pair", "parameters": {"fail_compositions": ["Mo8"]}}
    changes = {"failures": {"tolerated_fraction": 0.6, "max_attempts": 2}, "labels": {"total": 8, "rounds": 1}}
    wanted = definition(engine=failing, surrogate={"seeds": 1}, **changes)
    project = launch(tmp_path / "project", wanted, Stores(mongo_server).uri())
    quarantined = 0
    for _ in range(100):
        campaign = advance(project, "trial", LAWFUL)
        quarantined = max(quarantined, assert_adds_up(project).labels["quarantined"])
        if campaign.state.value in FINISHED:
            break
        while work_one(project):
            pass
        assert_adds_up(project)
    assert campaign.state.value == "done"
    assert quarantined > 0


def test_a_count_beside_the_others_that_fails_is_told(mongo_server: MongoServer, tmp_path: Path):
    project = launch(tmp_path / "project", definition(), Stores(mongo_server).uri())
    read_status(project, "trial", beside=True)

    def broken(*_: Any) -> Any:
        raise StoreError("the jobs cannot be counted")

    project.count_by = broken  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="the jobs cannot be counted"):
        read_status(project, "trial", beside=True)
