from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.services.mongo.authority import Authority
from tests.unit.web.conftest import SEEN
from typer.testing import CliRunner

from cathodeflow.cli.app import build_app
from cathodeflow.errors import CampaignError, DefinitionError, StoreError
from cathodeflow.web.access import FILE_NAME, AccessFile, Role, new_password_account
from cathodeflow.web.server import ServerOptions, address_of, check_options, is_loopback, listen, own_token


@pytest.fixture
def access(tmp_path: Path) -> AccessFile:
    return AccessFile(tmp_path / FILE_NAME)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "cluster.example", "10." + "1.2.3"])
def test_others_can_reach_it_only_where_there_are_accounts(access: AccessFile, host: str):
    assert not is_loopback(host)
    with pytest.raises(CampaignError, match="add-user"):
        check_options(ServerOptions(host), access)
    access.put(new_password_account("ada", Role.VIEWER, None, "a long password"))
    check_options(ServerOptions(host), access)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_this_machine_needs_none_and_gets_a_token(access: AccessFile, host: str):
    check_options(ServerOptions(host), access)
    token = own_token(access)
    assert token is not None
    assert access.with_token(token) is not None
    assert not access.path.exists()


def test_where_there_are_accounts_no_token_is_given(access: AccessFile):
    access.put(new_password_account("ada", Role.VIEWER, None, "a long password"))
    assert own_token(access) is None


def test_tls_needs_both_files(access: AccessFile, tmp_path: Path):
    with pytest.raises(DefinitionError, match="both"):
        check_options(ServerOptions(certificate=tmp_path / "c.pem"), access)
    with pytest.raises(DefinitionError, match="there is no file"):
        check_options(ServerOptions(certificate=tmp_path / "c.pem", key=tmp_path / "k.pem"), access)


def test_a_certificate_that_cannot_be_used_is_refused_before_anything_is_served(access: AccessFile, tmp_path: Path):
    authority = Authority(tmp_path, "a")
    (key, certificate), (other, _) = authority.sign("localhost"), Authority(tmp_path, "b").sign("elsewhere")
    check_options(ServerOptions(certificate=certificate, key=key), access)
    with pytest.raises(DefinitionError, match=r"cannot be used for TLS .*own key"):
        check_options(ServerOptions(certificate=certificate, key=other), access)
    (tmp_path / "words.pem").write_text("no certificate")
    with pytest.raises(DefinitionError, match="cannot be used for TLS"):
        check_options(ServerOptions(certificate=tmp_path / "words.pem", key=key), access)


def test_a_port_that_is_taken_is_named_with_the_remedy():
    first = listen(ServerOptions(port=0))
    port = first.getsockname()[1]
    assert address_of(ServerOptions(), first) == f"http://127.0.0.1:{port}"
    with pytest.raises(CampaignError, match="choose another --port"):
        listen(ServerOptions(port=port))
    first.close()


@pytest.fixture
def cflow(stopped: Path) -> Callable[..., Any]:
    def invoke(*arguments: str, text: str | None = None) -> Any:
        result = CliRunner().invoke(build_app(None), ["dashboard", "-p", str(stopped), *arguments], input=text)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


def test_accounts_are_made_listed_and_removed(cflow: Callable[..., Any], stopped: Path, tmp_path: Path):
    path = stopped / FILE_NAME
    password = "a long password"
    assert cflow("add-user", "ada", "--role", "operator", text=f"{password}\n{password}\n").exit_code == 0
    file = tmp_path / "password"
    file.write_text(password)
    file.chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        cflow("add-user", "bob", "--password-file", str(file))
    file.chmod(0o600)
    cflow("add-user", "bob", "--password-file", str(file), "--only", SEEN)
    token = cflow("add-token", "prometheus").stdout.strip()
    listed = cflow("accounts").stdout
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [
        ["ada", "operator"],
        ["bob", "viewer"],
        ["prometheus", "viewer"],
    ]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    access = AccessFile(path)
    assert access.with_password("bob", password).campaigns == (SEEN,)  # type: ignore[union-attr]
    assert access.with_token(token).name == "prometheus"  # type: ignore[union-attr]
    assert password not in path.read_text()
    cflow("remove", "bob")
    assert access.with_password("bob", password) is None
    path.unlink()


def test_an_account_cannot_be_held_to_a_campaign_that_is_not_there(cflow: Callable[..., Any], stopped: Path):
    with pytest.raises(CampaignError, match="no campaign named 'trail'"):
        cflow("add-token", "x", "--only", "trail")
    assert not (stopped / FILE_NAME).exists()
    assert "no accounts" in cflow("accounts").stderr


def test_a_folder_without_a_project_is_refused(tmp_path: Path):
    result = CliRunner().invoke(build_app(None), ["dashboard", "-p", str(tmp_path)])
    assert isinstance(result.exception, CampaignError)
    assert "no project" in str(result.exception)
