"""A server that wants a user and a password: a campaign with its processes runs on it, and nothing else is let in."""

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
from cathodeflow.storage.address import PASSWORD_VARIABLE
from cathodeflow.storage.connection import create_project, open_project

pytestmark = pytest.mark.service
ROOT = Path(__file__).parents[3]
PASSWORD = "s3cr3t,w=rd/@:ü"  # what SCRAM, an address or a shell might stumble over
FILE_VARIABLE = f"{PASSWORD_VARIABLE}_FILE"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., MongoServer]]:
    missing = why_unavailable()
    if missing:
        pytest.skip(missing)
    started: list[MongoServer] = []

    def one(tls: tuple[Path, Path] | None = None) -> MongoServer:
        started.append(MongoServer(tmp_path / "mongo", tls=tls, user=("flow", PASSWORD)))
        started[-1].start()
        return started[-1]

    yield one
    for server in started:
        server.stop()


def address(server: MongoServer, user: str = "flow@", more: str = "&authSource=admin") -> str:
    return server.database_uri("lab").replace("//", f"//{user}") + f"?serverSelectionTimeoutMS=60000{more}"


@pytest.mark.slow
def test_a_campaign_with_its_processes_logs_in_by_the_password_file(
    tmp_path: Path, start: Callable[..., MongoServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS as well. The driver and its two workers get the password from the file that the folder names."""
    authority = Authority(tmp_path / "ours", "our authority")
    server = start(authority.sign("127.0.0.1"))
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD + "\n")
    monkeypatch.setenv(FILE_VARIABLE, str(secret))
    folder = tmp_path / "p"
    create_project(folder, address(server, more=f"&authSource=admin&tls=true&tlsCAFile={authority.certificate_file}"))
    launch(folder, definition())
    monkeypatch.delenv(FILE_VARIABLE)
    command = [sys.executable, "-m", "tests.killable_driver", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CATHODEFLOW_TICK_S": "0.2"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False)
    logs = "".join(path.read_text() for path in (folder / "logs").glob("*"))
    assert done.returncode == 0, done.stderr + logs
    embedded = launch(tmp_path / "embedded", definition())
    run_to_end(embedded)
    project = open_project(folder)
    assert final_documents(project) == final_documents(embedded)
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert PASSWORD not in done.stderr + done.stdout + logs
    assert all(PASSWORD.encode() not in content for content in files)
    for name in project.database.list_collection_names():
        assert PASSWORD not in str(list(project.database[name].find())), name


def said_by(folder: Path, uri: str, password: str | None, *debug: str) -> str:
    """What a command says where the setting names that address."""
    environment = {name: value for name, value in os.environ.items() if name not in {PASSWORD_VARIABLE, FILE_VARIABLE}}
    environment |= {"CATHODEFLOW_STORE_URI": uri} | ({} if password is None else {PASSWORD_VARIABLE: password})
    command = [sys.executable, "-m", "cathodeflow.cli.app", *debug, "store", "info", "-p", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == (1 if debug else StoreError.exit_code), done.stderr
    assert done.stdout == ""
    return done.stderr


def test_who_is_not_let_in_is_told_why_and_no_password_is_repeated(
    tmp_path: Path, start: Callable[..., MongoServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    wrong = said_by(tmp_path, address(server), "wrong-s3cr3t")
    assert "refuses the user or the password: correct the address, CATHODEFLOW_STORE_PASSWORD" in wrong
    assert len(wrong.strip().splitlines()) == 1
    traceback = said_by(tmp_path, address(server), "wrong-s3cr3t", "--debug")
    assert "Traceback" in traceback
    assert "wrong-s3cr3t" not in wrong + traceback
    elsewhere = said_by(tmp_path, address(server, more=""), PASSWORD)
    assert "or where it is kept (authSource=admin)" in elsewhere
    assert PASSWORD not in elsewhere
    assert "refuses the user or the password" in said_by(tmp_path, address(server, "nobody@"), PASSWORD)
    assert "there is no password: set CATHODEFLOW_STORE_PASSWORD" in said_by(tmp_path, address(server), None)
    assert "wants a user: name one in the address" in said_by(tmp_path, address(server, ""), None)
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    assert open_project(tmp_path, address(server)).campaign_names() == []
