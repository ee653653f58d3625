from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.campaign_world import LAWFUL, UNSOUND, definition, launch, run_to_end, work_one
from werkzeug.test import Client, TestResponse

from cathodeflow.campaign import transitions
from cathodeflow.campaign.advance import advance
from cathodeflow.records.campaign import CampaignRecord
from cathodeflow.records.host import HostSpec
from cathodeflow.records.outcomes import CampaignState
from cathodeflow.storage.connection import Project, open_project
from cathodeflow.web import kept_counts
from cathodeflow.web.access import AccessFile, Account, Role, new_password_account, new_token_account
from cathodeflow.web.guard import Guard
from cathodeflow.web.site import create_site
from cathodeflow.web.throughput import Ledger

PASSWORD = "correct horse battery"
SEEN, HIDDEN = "trial", "other-one"


@pytest.fixture(autouse=True)
def nothing_is_counted_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else pages on a busy machine show counts from before, and ask for fewer than there are."""
    monkeypatch.setattr(kept_counts, "AT_ONCE_S", float("inf"))


def launch_second(project: Project, name: str, **changes: Any) -> None:
    wanted = definition(name, **changes)
    record = CampaignRecord(
        id=name,
        definition=wanted.model_dump(mode="json"),
        definition_sha256=wanted.sha256(),
        host=HostSpec(packaged="nvpf"),
        provenance="pair",
    )
    transitions.create_campaign(project, record)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a finished campaign, failures and follow-ups in it, and one of other elements that has begun."""
    folder = tmp_path_factory.mktemp("world")
    engine = {"name": "pair", "parameters": {"fail_compositions": ["V4Mo4"]}}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(UNSOUND, "Mo8")
        failures = {"tolerated_fraction": 0.9, "max_attempts": 2}
        wanted = definition(SEEN, engine=engine, failures=failures, followups={"branches": ["gap"]})
        project = launch(folder, wanted)
        assert run_to_end(project, SEEN).state == CampaignState.DONE
    other = {"elements": ["Cr", "Fe"], "engine": {"name": "pair", "parameters": {"fail_compositions": ["Cr4Fe4"]}}}
    launch_second(project, HIDDEN, **other)
    for _ in range(3):
        advance(project, HIDDEN, LAWFUL)
        for _ in range(9):
            work_one(project)
    return folder


@dataclass
class Visitor:
    """Somebody with a browser."""

    guard: Guard
    account: Account
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = Client(self.guard)
        self.headers = {"Host": "localhost", "Accept": "text/html"} | self.headers
        self.client.set_cookie(self.guard.sessions.cookie, self.guard.sessions.open(self.account), domain="localhost")

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers=self.headers | headers)

    def csrf(self, page: str = "/") -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', self.get(page).text)
        assert found
        return found[1]

    def post(self, path: str, follow: bool = True, **fields: str) -> TestResponse:
        data = {"csrf": self.csrf()} | fields
        return self.client.post(path, data=data, headers=self.headers, follow_redirects=follow)


@dataclass
class Site:
    """A dashboard with three accounts."""

    project: Project
    guard: Guard
    access: AccessFile
    ledger: Ledger
    operator: Visitor
    viewer: Visitor
    held: Visitor
    tokens: dict[str, str]

    def nobody(self) -> Client:
        return Client(self.guard)


def make_site(project: Project, folder: Path) -> Site:
    access = AccessFile(folder / "access.json")
    tokens = {}
    accounts = {
        "olga": new_password_account("olga", Role.OPERATOR, None, PASSWORD),
        "victor": new_password_account("victor", Role.VIEWER, None, PASSWORD),
        "helga": new_password_account("helga", Role.OPERATOR, (SEEN,), PASSWORD),
    }
    accounts["prometheus"], tokens["prometheus"] = new_token_account("prometheus", Role.VIEWER, (SEEN,))
    accounts["script"], tokens["script"] = new_token_account("script", Role.OPERATOR, None)
    for account in accounts.values():
        access.put(account)
    ledger = Ledger(project)
    ledger.advance()
    guard = create_site(project, access, ledger=ledger)
    visitors = [Visitor(guard, accounts[name]) for name in ("olga", "victor", "helga")]
    return Site(project, guard, access, ledger, *visitors, tokens)


@pytest.fixture(scope="session")
def site(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The dashboard of `world`, to be looked at only."""
    return make_site(open_project(world), tmp_path_factory.mktemp("access"))


@pytest.fixture(scope="session")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose only campaign stopped by its failures."""
    folder = tmp_path_factory.mktemp("stopped")
    engine = {"name": "pair", "parameters": {"fail_compositions": ["V4Mo4"]}}
    failures = {"tolerated_fraction": 0.0, "max_attempts": 1}
    project = launch(folder, definition(SEEN, engine=engine, failures=failures, labels={"total": 14}))
    assert run_to_end(project, SEEN).state == CampaignState.STOPPED
    return folder


@pytest.fixture
def failing(stopped: Path, tmp_path: Path) -> Site:
    """The dashboard of a copy of it, to act upon."""
    folder = tmp_path / "project"
    shutil.copytree(stopped, folder)
    return make_site(open_project(folder), tmp_path)
