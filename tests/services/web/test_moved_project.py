"""A dashboard that is open while its project is moved to a server and back: it goes on with the new store by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.campaign_world import definition, launch
from tests.services.mongo_server import MongoServer
from tests.stores import Stores
from tests.unit.web.conftest import Site, launch_second, make_site

from cathodeflow.campaign import transitions
from cathodeflow.campaign.moving import move_project
from cathodeflow.records.outcomes import CampaignState
from cathodeflow.storage.collections import declared
from cathodeflow.storage.connection import Project, open_project, open_target

pytestmark = pytest.mark.service
PAGES = ("/", "/campaigns/trial", "/campaigns/trial/log", "/metrics", "/fireworks/")


def move(folder: Path, uri: str | None) -> Project:
    target = open_target(folder, uri)
    move_project(open_project(folder, moving=True), target, declared(target))
    return open_project(folder)


def look(site: Site) -> None:
    for path in PAGES:
        assert site.operator.get(path).status_code == 200, path


def test_it_shows_and_changes_the_new_store(tmp_path: Path, mongo_server: MongoServer) -> None:
    folder, uri = tmp_path / "p", Stores(mongo_server).uri()
    launch(folder, definition())
    site = make_site(open_project(folder), tmp_path)
    look(site)
    for number, place in enumerate((uri, None, uri)):
        here = move(folder, place)
        new = f"new-{number}"
        launch_second(here, new)
        look(site)
        assert new in site.operator.get("/").text
        assert "is paused" in site.operator.post("/campaigns/trial/pause").text
        assert transitions.read_campaign(here, "trial").state == CampaignState.PAUSED
        assert "is running" in site.operator.post("/campaigns/trial/resume").text
        assert transitions.read_campaign(here, "trial").state == CampaignState.RUNNING
    assert here.count("events", {"campaign": "trial", "kind": "dashboard"}) == 6
    assert transitions.read_campaign(site.project, "trial").state == CampaignState.STOPPED, "as it was left"


def test_who_is_signed_in_stays_so(tmp_path: Path, mongo_server: MongoServer) -> None:
    folder = tmp_path / "p"
    launch(folder, definition())
    site = make_site(open_project(folder), tmp_path)
    csrf = site.operator.csrf()
    move(folder, Stores(mongo_server).uri())
    assert site.operator.csrf() == csrf
    assert site.viewer.get("/campaigns/trial").status_code == 200
    assert site.held.get("/campaigns/other").status_code == 404
    assert site.nobody().get("/campaigns/trial", headers={"Host": "localhost"}).status_code == 401
