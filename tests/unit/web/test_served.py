"""A dashboard that is open while its project is moved: it writes nothing to the store that was left, and follows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.web.conftest import SEEN, Site

from cathodeflow.campaign import transitions
from cathodeflow.errors import StoreError
from cathodeflow.records.outcomes import CampaignState
from cathodeflow.storage.collections import DATABASE
from cathodeflow.storage.embedded.file import StoreFile
from cathodeflow.storage.project_file import FILE_NAME
from cathodeflow.web import served

AWAY = {"store": "mongodb", "uri": "mongodb://127.0.0.1:1/moved?serverSelectionTimeoutMS=50"}
PAGES = ("/", f"/campaigns/{SEEN}", "/metrics", "/fireworks/", "/fireworks/fw/1")


def name_a_store(folder: Path, said: dict[str, str]) -> None:
    """As the last step of a move does it."""
    fresh = folder / "fresh"
    fresh.write_text(json.dumps(said))
    fresh.replace(folder / FILE_NAME)


def state_of(site: Site) -> str:
    """What the store that was left says, whatever the folder does."""
    left = StoreFile(site.project.folder / "cathodeflow.sqlite", read_only=True)
    from cathodeflow.storage.embedded.documents import Documents

    found = Documents(left, DATABASE, "campaigns").get(SEEN)
    assert found is not None
    return str(found["state"])


def test_every_page_says_that_the_project_was_moved_where_it_cannot_be_followed(failing: Site):
    for path in PAGES:
        assert failing.operator.get(path).status_code != 503
    name_a_store(failing.project.folder, AWAY)
    for path in PAGES:
        answer = failing.operator.get(path)
        assert answer.status_code == 503, path
        assert "The project was moved while the dashboard was open" in answer.text
        assert "cannot be reached" in answer.text
        assert "Traceback" not in answer.text
    assert failing.operator.get("/static/dashboard.css").status_code == 200


def test_no_button_writes_to_the_store_that_was_left(failing: Site):
    assert state_of(failing) == CampaignState.STOPPED
    csrf = failing.operator.csrf()
    name_a_store(failing.project.folder, AWAY)
    for action in ("resume", "pause", "resubmit", "undo"):
        data = {"csrf": csrf}
        answer = failing.operator.client.post(
            f"/campaigns/{SEEN}/{action}", data=data, headers=failing.operator.headers
        )
        assert answer.status_code == 503, action
    assert state_of(failing) == CampaignState.STOPPED


def test_it_goes_on_when_the_store_is_there_again(failing: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(served, "ASK_AGAIN_S", 0.0)
    name_a_store(failing.project.folder, AWAY)
    assert failing.operator.get("/").status_code == 503
    name_a_store(failing.project.folder, {"store": "embedded"})
    assert failing.operator.get("/").status_code == 200
    assert "is running" in failing.operator.post(f"/campaigns/{SEEN}/resume").text


def test_a_store_that_cannot_be_opened_is_not_asked_by_each_request(failing: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(served, "ASK_AGAIN_S", 3600.0)
    name_a_store(failing.project.folder, AWAY)
    first = failing.operator.get("/").text
    (failing.project.folder / FILE_NAME).write_text(json.dumps({"store": "mongodb", "uri": "mongodb://127.0.0.1:2/x"}))
    assert failing.operator.get("/").text == first


def test_a_project_file_that_only_says_the_same_again_changes_nothing(failing: Site):
    before = failing.project
    for _ in range(2):
        name_a_store(failing.project.folder, {"store": "embedded"})
        assert failing.operator.get("/").status_code == 200
    assert before.home is not None
    assert before.home.elsewhere() is None
    assert transitions.resume(before, SEEN).state == CampaignState.RUNNING


def test_what_was_opened_before_a_move_writes_nothing_after_it(failing: Site):
    """Not the dashboard alone: a driver that slept, a long command, a worker."""
    name_a_store(failing.project.folder, AWAY)
    for write in (
        lambda: transitions.resume(failing.project, SEEN),
        lambda: transitions.take_lease(failing.project, SEEN, "host:1:2.0", 30.0),
        lambda: failing.project.database["labels"].insert_one({"_id": "late"}),
        lambda: failing.project.insert_missing("labels", [{"_id": "late"}]),
    ):
        with pytest.raises(StoreError, match=r"moved to mongodb://127.0.0.1:1/moved.* start this again"):
            write()
    assert state_of(failing) == CampaignState.STOPPED
