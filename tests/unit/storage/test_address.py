"""Addresses of servers: what is accepted, where the password comes from, and that it shows up nowhere."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import certifi
import pymongo
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.errors import StoreError
from cathodeflow.storage import server
from cathodeflow.storage.address import KEY_PASSWORD_VARIABLE, PASSWORD_VARIABLE, StoreAddress, read_password, redact
from cathodeflow.storage.connection import create_project, open_project
from cathodeflow.storage.project_file import FILE_NAME, read_project_file, store_of, write_project_file

SECRET = "s3cr3t-w0rd"
UNREACHABLE = "mongodb://me@127.0.0.1:1/db?authSource=admin&serverSelectionTimeoutMS=200"


@pytest.mark.parametrize(
    ("uri", "database", "user"),
    [
        ("mongodb://host", "cathodeflow", None),
        ("mongodb://host:27018/lab", "lab", None),
        ("mongodb://a@h1:1,h2:2/lab?replicaSet=r&tls=true", "lab", "a"),
        ("mongodb+srv://a%40b@cluster.example/x%20y", "x y", "a@b"),
        ("mongodb://host/?tls=true", "cathodeflow", None),
    ],
)
def test_an_address_names_its_database_and_user(uri: str, database: str, user: str | None) -> None:
    address = StoreAddress.parse(uri)
    assert (address.database, address.user, address.uri) == (database, user, uri)


@pytest.mark.parametrize("uri", ["", "localhost", "http://host/db", "mongodb://", "mongodb:host", "/etc/passwd"])
def test_what_is_no_address_is_refused(uri: str) -> None:
    with pytest.raises(StoreError, match="not of the form"):
        StoreAddress.parse(uri)


@pytest.mark.parametrize(
    "uri",
    ["mongodb://[::1]:27017/x", "mongodb://%2Ftmp%2Fmongodb-27017.sock/x", "mongodb://h1,[fe80::1%25eth0]:1,h2:2/x"],
)
def test_addresses_of_all_kinds_of_hosts_are_taken(uri: str) -> None:
    assert StoreAddress.parse(uri).database == "x"


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://me:pa/{SECRET}@host/db",
        f"mongodb://me:pa@{SECRET}@host/db",
        f"mongodb://me:{SECRET}?x@host/db",
        f"mongodb://me@h:{SECRET}@host/db",
        f"mongodb:// me:{SECRET}@host/db",
        f"MONGODB://me:{SECRET}@host/db",
        f"mongo://me:{SECRET}@host/db",
        f"mongodb://me:pa {SECRET}@host/db",
        f"mongodb://:{SECRET}@host",
        f"mongodb://me:{SECRET}",
        f"me:{SECRET}@host/db",
    ],
)
def test_a_password_in_whatever_is_no_address_is_not_repeated(uri: str) -> None:
    with pytest.raises(StoreError, match=r"holds a secret|not of the form") as refused:
        StoreAddress.parse(uri)
    assert SECRET not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://me:{SECRET}@host/db",
        f"mongodb+srv://me:{SECRET}@host/db?tls=true",
        f"mongodb://host/db?tls=true&tlsCertificateKeyFilePassword={SECRET}",
        f"mongodb://host/db?tls=true;tlsCertificateKeyFilePassword={SECRET}",
        f"mongodb://me@host/db?authMechanismProperties=AWS_SESSION_TOKEN:{SECRET}",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(StoreError, match="holds a secret") as refused:
        StoreAddress.parse(uri)
    assert SECRET not in "".join(traceback.format_exception(refused.value))


@given(
    st.text(st.characters(codec="ascii", exclude_characters=":@/? \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"), max_size=9),
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=6, max_size=20),
    st.text(max_size=20),
)
def test_no_password_survives_redaction(user: str, password: str, around: str) -> None:
    text = f"{around} mongodb://{user}:{password}@host/db {around}"
    assert f":{password}@" not in redact(text)


def test_a_password_is_read_from_a_file_that_is_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(SECRET + "\n")
    for mode in (0o600, 0o400):
        path.chmod(mode)
        assert read_password(path) == SECRET
    for mode in (0o640, 0o604, 0o622, 0o660, 0o700):
        path.chmod(mode)
        with pytest.raises(StoreError, match="chmod 600") as refused:
            read_password(path)
        assert SECRET not in str(refused.value)
    path.chmod(0o600)
    path.write_text("\n")
    with pytest.raises(StoreError, match="is empty"):
        read_password(path)
    with pytest.raises(StoreError, match="cannot be read"):
        read_password(tmp_path / "absent")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_another_users_password_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(SECRET)
    path.chmod(0o600)
    os.chown(path, 65534, -1)
    with pytest.raises(StoreError, match="belongs to another user"):
        read_password(path)


def test_a_user_without_a_password_is_told_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    address = StoreAddress.parse("mongodb://me@host/db")
    with pytest.raises(StoreError, match=PASSWORD_VARIABLE):
        address.password()
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    assert address.password() == SECRET
    assert StoreAddress.parse("mongodb://host/db").password() is None


@pytest.mark.parametrize("mechanism", ["MONGODB-X509", "GSSAPI", "MONGODB-OIDC"])
def test_ways_to_log_in_without_a_password_ask_for_none(mechanism: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    uri = f"mongodb://me@host/db?authMechanism={mechanism}&authMechanismProperties=SERVICE_NAME:lab"
    assert StoreAddress.parse(uri).password() is None


def encrypted_key(folder: Path, password: bytes) -> Path:
    """A client certificate with its key, encrypted, as `tlsCertificateKeyFile` wants them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "me")])
    since = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, since, since + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    path = folder / "client.pem"
    path.write_bytes(
        certificate
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password),
        )
    )
    return path


def test_the_password_of_a_client_key_comes_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"mongodb://host/db?tls=true&tlsCertificateKeyFile={encrypted_key(tmp_path, SECRET.encode())}"
    for wrong in ("wrong", ""):
        monkeypatch.setenv(KEY_PASSWORD_VARIABLE, wrong)
        with pytest.raises(StoreError, match=r"cannot be used.*password of the key \(CATHODEFLOW_STORE_KEY_PASSWORD\)"):
            server.connect(StoreAddress.parse(uri))
    monkeypatch.setenv(KEY_PASSWORD_VARIABLE, SECRET)
    server.connect(StoreAddress.parse(uri)).close()
    monkeypatch.setenv(KEY_PASSWORD_VARIABLE, "wrong")
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    monkeypatch.setenv(f"{KEY_PASSWORD_VARIABLE}_FILE", str(tmp_path / "secret"))
    server.connect(StoreAddress.parse(uri)).close()
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        server.connect(StoreAddress.parse(uri))


def test_a_relative_file_in_the_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="no absolute path"):
        made_client("mongodb://me@host/db?tls=true&tlsCAFile=ca.pem", monkeypatch)


def made_client(uri: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    return server.connect(StoreAddress.parse(uri))


def test_options_of_the_address_arrive_at_the_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = Path(certifi.where())
    uri = (
        f"mongodb://me@h1:1,h2:2/db?authSource=admin&authMechanism=SCRAM-SHA-256&tls=true&tlsCAFile={authority}"
        "&tlsAllowInvalidHostnames=true&replicaSet=rs&w=majority&retryWrites=false&serverSelectionTimeoutMS=1234"
    )
    client = made_client(uri, monkeypatch)
    options = client.options
    assert options.server_selection_timeout == 1.234
    assert options.replica_set_name == "rs"
    assert options.retry_writes is False
    assert options.pool_options._ssl_context is not None
    assert options.pool_options.tls_allow_invalid_hostnames is True
    assert client.write_concern.document == {"w": "majority", "j": True}
    found = options.pool_options._credentials
    assert (found.mechanism, found.source, found.username, found.password) == ("SCRAM-SHA-256", "admin", "me", SECRET)
    assert SECRET not in repr(client)
    client.close()


@pytest.mark.parametrize(
    ("said", "concern"),
    [
        ("", {"w": "majority", "j": True}),
        ("?journal=false", {"w": "majority", "j": False}),
        ("?w=1", {"w": 1, "j": True}),
    ],
)
def test_what_is_confirmed_is_kept_by_most_in_their_journals_unless_the_address_says_otherwise(
    said: str, concern: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = made_client(f"mongodb://host/db{said}", monkeypatch)
    assert client.write_concern.document == concern
    assert client["db"]["labels"].write_concern.document == concern
    client.close()


def test_defaults_give_up_in_time_and_write_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATHODEFLOW_STORE_TIMEOUT_S", "7")
    client = made_client("mongodb://host/db", monkeypatch)
    assert client.options.server_selection_timeout == 7.0
    assert client.options.retry_writes is True
    assert client.options.pool_options.socket_timeout == 120.0
    client.close()


@pytest.mark.parametrize("options", ["tlsCAFile=/absent.pem&tls=true", "w=-3", "w=0", "authMechanism=NONE", "tsl=true"])
def test_options_that_pymongo_refuses_are_named(options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="cannot be used") as refused:
        made_client(f"mongodb://me@host/db?{options}", monkeypatch)
    assert SECRET not in "".join(traceback.format_exception(refused.value))


def test_a_server_that_is_not_there_is_one_sentence_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreError, match="cannot be reached") as refused:
        create_project(tmp_path / "new", UNREACHABLE)
    assert not (tmp_path / "new").exists()
    with pytest.raises(StoreError, match="cannot be reached") as refused:
        open_project(tmp_path, UNREACHABLE)
    assert server.is_unreachable(refused.value)
    assert SECRET not in "".join(traceback.format_exception(refused.value)) + caplog.text


def test_the_project_file_says_where_and_never_how_to_get_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    secret = tmp_path / "secret"
    monkeypatch.setenv("CATHODEFLOW_STORE_PASSWORD_FILE", str(secret))
    write_project_file(tmp_path, StoreAddress.parse("mongodb://me@host/db"))
    text = (tmp_path / FILE_NAME).read_text()
    assert SECRET not in text
    assert json.loads(text)["password_file"] == str(secret)
    address = store_of(tmp_path)
    assert address is not None
    assert (address.uri, address.password_file) == ("mongodb://me@host/db", secret)
    write_project_file(tmp_path, None)
    assert store_of(tmp_path) is None


def test_a_setting_that_names_another_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project_file(tmp_path, StoreAddress.parse("mongodb://host/one"))
    monkeypatch.setenv("CATHODEFLOW_STORE_URI", "mongodb://host/two")
    with pytest.raises(StoreError, match=r"database 'two'.*in 'one' \(mongodb://host/one\): unset the variable"):
        store_of(tmp_path)
    monkeypatch.setenv("CATHODEFLOW_STORE_URI", "mongodb://seen-from-here:27018/one")
    address = store_of(tmp_path)
    assert address is not None
    assert address.uri == "mongodb://seen-from-here:27018/one"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"store": "mongodb"}', '{"store": "oracle"}', '{"store": 3', "\x00"])
def test_a_damaged_project_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(StoreError, match=r"project file|does not say"):
        read_project_file(tmp_path)


def test_a_password_put_into_the_project_file_by_hand_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps({"store": "mongodb", "uri": f"mongodb://a:{SECRET}@h/d"}))
    with pytest.raises(StoreError, match="holds a secret") as refused:
        open_project(tmp_path)
    assert SECRET not in str(refused.value)


def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let time pass for this thread only where it sleeps; what it has slept."""
    slept: list[float] = []
    here, monotonic, sleep = threading.get_ident(), time.monotonic, time.sleep
    monkeypatch.setattr(time, "monotonic", lambda: sum(slept) if threading.get_ident() == here else monotonic())
    monkeypatch.setattr(time, "sleep", lambda s: slept.append(s) if threading.get_ident() == here else sleep(s))
    return slept


def test_waiting_grows_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATHODEFLOW_STORE_FIRST_DELAY_S", "1")
    slept = stopped_clock(monkeypatch)
    delays: list[float] = []

    def away() -> None:
        raise pymongo.errors.AutoReconnect("gone")

    with pytest.raises(pymongo.errors.AutoReconnect):
        server.with_patience(away, 100.0, lambda delay, _error: delays.append(delay))
    assert delays == slept == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 9.0]


def test_other_errors_are_not_waited_for() -> None:
    def refused() -> None:
        raise pymongo.errors.OperationFailure("not allowed", 13)

    with pytest.raises(pymongo.errors.OperationFailure):
        server.with_patience(refused, 60.0)
    assert "grant readWrite" in server.explain(pymongo.errors.OperationFailure("no", 13))


@pytest.mark.parametrize(
    ("said", "code", "remedy"),
    [
        ("Authentication failed.", 18, "refuses the user or the password: correct the address, CATHODEFLOW_STORE_PASS"),
        ("Authentication failed.", 18, "or where it is kept (authSource=admin)"),
        ("bad auth : Authentication failed.", 8000, "refuses the user or the password"),
        ("not authorized on lab to execute command { find: 1 }", 13, "grant readWrite"),
        ("Command listCollections requires authentication", 13, "wants a user: name one in the address"),
        ("command find requires authentication", 13, "wants a user: name one in the address"),
        ("there are no users authenticated", 13, "wants a user: name one in the address"),
    ],
)
def test_a_server_that_lets_nobody_in_is_told_with_the_remedy(said: str, code: int, remedy: str) -> None:
    """In the words of MongoDB, Atlas and FerretDB."""
    failure = pymongo.errors.OperationFailure(said, code, {"ok": 0.0, "errmsg": said, "code": code})
    told = server.explain(failure, StoreAddress.parse("mongodb://me@host/lab"))
    assert remedy in told
    assert "full error" not in told
