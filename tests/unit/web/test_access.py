from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from cathodeflow.errors import DefinitionError, StoreError
from cathodeflow.web.access import (
    AccessFile,
    Role,
    hash_password,
    new_password_account,
    new_token_account,
    password_matches,
)

PASSWORD = "a long password"


@pytest.fixture
def access(tmp_path: Path) -> AccessFile:
    return AccessFile(tmp_path / "access.json")


def test_a_password_is_kept_as_a_salted_hash(access: AccessFile):
    access.put(new_password_account("ada", Role.VIEWER, None, PASSWORD))
    written = access.path.read_text()
    assert PASSWORD not in written
    assert hash_password(PASSWORD) != hash_password(PASSWORD)
    assert password_matches(PASSWORD, hash_password(PASSWORD))
    assert not password_matches(PASSWORD + " ", hash_password(PASSWORD))


def test_a_token_is_kept_as_a_hash_and_finds_its_account(access: AccessFile):
    account, token = new_token_account("prometheus", Role.VIEWER, ("trial",))
    access.put(account)
    assert token not in access.path.read_text()
    assert access.with_token(token) == account
    assert access.with_token(token[:-1]) is None
    assert access.with_password("prometheus", token) is None


def test_only_its_owner_may_read_the_file(access: AccessFile):
    access.put(new_password_account("ada", Role.VIEWER, None, PASSWORD))
    assert stat.S_IMODE(access.path.stat().st_mode) == 0o600
    access.path.chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        _ = AccessFile(access.path).accounts


def test_another_process_sees_a_change_at_once(access: AccessFile):
    elsewhere = AccessFile(access.path)
    assert elsewhere.accounts == {}
    access.put(new_password_account("ada", Role.OPERATOR, ("trial",), PASSWORD))
    assert elsewhere.with_password("ada", PASSWORD) == access.accounts["ada"]
    access.remove("ada")
    assert elsewhere.with_password("ada", PASSWORD) is None
    assert elsewhere.secret == access.secret


def test_a_damaged_file_lets_nobody_in_and_says_so(access: AccessFile):
    for content in ("", "{", "[]", json.dumps({"accounts": {"a": {"role": "king"}}, "secret": "00"})):
        access.path.write_text(content)
        access.path.chmod(0o600)
        with pytest.raises(StoreError, match="damaged"):
            _ = AccessFile(access.path).accounts


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 65, "ä", "a\n"])
def test_a_name_that_would_confuse_is_refused(access: AccessFile, name: str):
    with pytest.raises(DefinitionError, match="name of an account"):
        access.put(new_password_account(name, Role.VIEWER, None, PASSWORD))


def test_a_short_password_is_refused():
    with pytest.raises(DefinitionError, match="too short"):
        new_password_account("ada", Role.VIEWER, None, "short")


def test_nobody_can_be_removed_who_is_not_there(access: AccessFile):
    with pytest.raises(DefinitionError, match="no account named 'bob'"):
        access.remove("bob")
