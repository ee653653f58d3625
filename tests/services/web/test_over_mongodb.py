"""The same pages over a MongoDB server: how often it is asked, and what they say when it is away."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import monitoring
from tests.counted_queries import CountedCommands
from tests.large_campaign import FAILED_EVERY, NAME, composition_of, fill, key_of
from tests.services.mongo_server import MongoServer, why_unavailable
from tests.services.waiting import AMPLE_S
from tests.unit.web.conftest import Site, make_site

from cathodeflow.storage.connection import create_project

pytestmark = pytest.mark.service
MOST_COMMANDS = 40
SIZES = (200, 1000)
CAMPAIGN = f"/campaigns/{NAME}"
PAGES = [
    "/",
    CAMPAIGN,
    f"{CAMPAIGN}?parts=1",
    f"{CAMPAIGN}/jobs",
    f"{CAMPAIGN}/jobs?state=COMPLETED&category=gpu&page=2",
    f"{CAMPAIGN}/jobs?key={key_of(7)}",
    f"{CAMPAIGN}/compositions",
    f"{CAMPAIGN}/compositions?outcome=passed&element=Cu",
    f"{CAMPAIGN}/candidates?level=Na3",
    f"{CAMPAIGN}/candidates?composition={composition_of(2)}",
    f"{CAMPAIGN}/candidates/{key_of(1)}",
    f"{CAMPAIGN}/log?kind=stage",
    f"/jobs/{FAILED_EVERY}",
    "/metrics",
    "/fireworks/",
    "/fireworks/fw/",
    "/fireworks/wf/",
    f"/fireworks/fw/{FAILED_EVERY}",
    f"/fireworks/wf/{FAILED_EVERY}",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    if missing := why_unavailable():
        pytest.skip(missing)
    started = MongoServer(tmp_path_factory.mktemp("mongo"))
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def commands() -> CountedCommands:
    listener = CountedCommands()
    monitoring.register(listener)  # for the clients made from here on
    return listener


@pytest.fixture(scope="module")
def sites(server: MongoServer, commands: CountedCommands, tmp_path_factory: pytest.TempPathFactory) -> list[Site]:
    """The same campaign small and five times as large."""
    made = []
    for size in SIZES:
        folder = tmp_path_factory.mktemp(f"jobs-{size}")
        project = create_project(folder, server.database_uri(f"jobs-{size}"))
        fill(project, size, size)
        made.append(make_site(project, folder))
    return made


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_a_server_no_more_of_a_larger_project(sites: list[Site], commands: CountedCommands, path: str):
    asked = []
    for site in sites:
        commands.sent.clear()
        assert site.operator.get(path).status_code == 200
        asked.append(commands.sent.total())
    assert asked[1] <= asked[0] + 12  # more reasons of failures have occurred, more states
    assert 0 < asked[1] <= MOST_COMMANDS


def test_a_command_waits_for_nothing_once_it_has_answered(sites: list[Site]):
    """pymongo by itself waits half a second at the end for threads that watch the server."""
    command = [sys.executable, "-c", LEFT_AT_THE_END, "status", "-p", str(sites[0].project.folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=AMPLE_S)
    assert "stage       label" in said.stdout
    assert said.stderr == ""
    given, left, threads = json.loads(said.stdout.splitlines()[-1])
    assert "_shutdown_resources" in given, "pymongo means to wait"
    assert "_shutdown_resources" not in left
    assert threads == []


LEFT_AT_THE_END = """
import atexit, json, threading
given, left = [], []
register, unregister = atexit.register, atexit.unregister

def noting(function, *arguments, **options):
    given.append(function)
    left.append(function)
    return register(function, *arguments, **options)

def forgetting(function):
    left[:] = [one for one in left if one != function]
    unregister(function)

atexit.register, atexit.unregister = noting, forgetting
from cathodeflow.cli.app import main
try:
    main()
finally:
    others = [one.name for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    print(json.dumps([*([getattr(one, '__name__', '') for one in those] for those in (given, left)), others]))
"""


def test_every_page_says_so_when_the_server_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if missing := why_unavailable():
        pytest.skip(missing)
    monkeypatch.setenv("CATHODEFLOW_STORE_TIMEOUT_S", "3")
    server = MongoServer(tmp_path / "mongo")
    server.start()
    try:
        project = create_project(tmp_path / "project", server.database_uri("dashboard"))
        fill(project, 100, 100)
        site = make_site(project, tmp_path)
        assert "Na3" in site.operator.get(f"{CAMPAIGN}/candidates?composition={composition_of(40)}").text
        assert site.held.get(f"/fireworks/fw/{FAILED_EVERY}/details").status_code == 404
    finally:
        server.stop()
    for path in (CAMPAIGN, "/metrics", "/fireworks/", f"/fireworks/fw/{FAILED_EVERY}"):
        answer = site.operator.get(path)
        assert answer.status_code == 503, path
        assert "cannot be reached" in answer.text
        assert "Traceback" not in answer.text
