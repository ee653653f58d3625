"""A server that speaks TLS only: a campaign runs on it, and what does not fit is refused in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.campaign_world import definition, final_documents, launch, run_to_end
from tests.services.mongo.authority import Authority
from tests.services.mongo_server import MongoServer, why_unavailable

from cathodeflow.errors import StoreError
from cathodeflow.storage.connection import create_project, open_project

pytestmark = pytest.mark.service
SMALL = {"labels": {"total": 6, "rounds": 1, "acquisition": "random"}}
Start = Callable[[str], MongoServer]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours", "our authority")


@pytest.fixture
def start(tmp_path: Path, authority: Authority) -> Iterator[Start]:
    missing = why_unavailable()
    if missing:
        pytest.skip(missing)
    started: list[MongoServer] = []

    def one_for(host: str) -> MongoServer:
        made = MongoServer(tmp_path / f"mongo{len(started)}", tls=authority.sign(host))
        made.start()
        started.append(made)
        return made

    yield one_for
    for server in started:
        server.stop()


def tls(server: MongoServer, authority: Authority, *more: str) -> str:
    options = ("tls=true", f"tlsCAFile={authority.certificate_file}", *more)
    return f"{server.database_uri('lab')}?{'&'.join(options)}"


def refusal(folder: Path, uri: str, why: str) -> str:
    """What a command says where the setting names that address, with time enough for one try to shake hands."""
    for milliseconds in (700, 5_000, 60_000):
        also = "&" if "?" in uri else "?"
        said = told(folder, f"{uri}{also}serverSelectionTimeoutMS={milliseconds}")
        if why in said:
            return said
    raise AssertionError(said)


def told(folder: Path, uri: str) -> str:
    command = [sys.executable, "-m", "cathodeflow.cli.app", "store", "info", "-p", str(folder)]
    environment = os.environ | {"CATHODEFLOW_STORE_URI": uri}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == StoreError.exit_code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def test_a_campaign_runs_over_tls(tmp_path: Path, start: Start, authority: Authority) -> None:
    uri = tls(start("127.0.0.1"), authority)
    create_project(tmp_path / "p", uri)
    project = launch(tmp_path / "p", definition(**SMALL))
    assert run_to_end(project).state == "done"
    command = [sys.executable, "-m", "cathodeflow.dispatch.worker", "--project", str(project.folder), "--until-empty"]
    worker = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (worker.returncode, "ends after 0 job(s)" in worker.stdout) == (0, True), worker.stdout + worker.stderr
    embedded = launch(tmp_path / "embedded", definition(**SMALL))
    run_to_end(embedded)
    assert final_documents(open_project(project.folder)) == final_documents(embedded)


def test_what_does_not_fit_is_refused_in_one_sentence(tmp_path: Path, start: Start, authority: Authority) -> None:
    ours, other = start("127.0.0.1"), Authority(tmp_path / "theirs", "another authority")
    refusal(tmp_path, tls(ours, other), "its certificate is not one that we trust; name its authority's with tlsCAFile")
    said = refusal(tmp_path, ours.database_uri("lab"), "cannot be reached")
    assert "whether it wants tls=true" in said
    elsewhere = start("db.example")
    refusal(tmp_path, tls(elsewhere, authority), "certificate is of another host")
    open_project(tmp_path, tls(elsewhere, authority, "tlsAllowInvalidHostnames=true"))
