"""A connection to a MongoDB server, and what its errors mean in words."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cathodeflow.errors import StoreError
from cathodeflow.settings import get_settings
from cathodeflow.storage.address import KEY_PASSWORD_VARIABLE, PASSWORD_VARIABLE, StoreAddress, redact

if TYPE_CHECKING:
    import pymongo

Result = TypeVar("Result")

_AUTHENTICATION_FAILED = {18, 8000}
_NOT_AUTHORIZED = 13
_NOBODY_SIGNED_IN = ("requires authentication", "no users authenticated")  # by command and by age of the server
# What OpenSSL says, the first that fits, and what to do about it.
_TLS_REFUSALS = (
    ("ostname mismatch", "its certificate is of another host; use the name that it was made for in the address"),
    ("IP address mismatch", "its certificate is of another host; use the name that it was made for in the address"),
    ("certificate has expired", "its certificate has expired; let its keeper renew it"),
    ("certificate verify failed", "its certificate is not one that we trust; name its authority's with tlsCAFile"),
    ("alert certificate required", "it wants a certificate of ours; name it, with its key, with tlsCertificateKeyFile"),
    ("alert bad certificate", "it does not accept our certificate; correct tlsCertificateKeyFile"),
    ("alert unknown ca", "it does not accept our certificate; correct tlsCertificateKeyFile"),
    ("wrong version number", "it does not speak TLS; take tls out of the address, or let it"),
    ("SSL", "check tls, tlsCAFile and tlsCertificateKeyFile in the address"),
)
_FILES = ("tlscafile", "tlscertificatekeyfile", "tlscrlfile")


def connect(address: StoreAddress) -> pymongo.MongoClient[dict[str, Any]]:
    """Return a client of the server; nothing is sent yet.

    What the address says wins over the defaults here. The password goes in beside the address, never into it.

    Raises
    ------
    StoreError
        The address has an option that pymongo refuses, or there is no password.
    """
    _do_not_look_for_pyopenssl()
    import pymongo
    from pymongo.errors import ConfigurationError, InvalidURI

    settings = get_settings()
    milliseconds = int(settings.store_timeout_s * 1000)
    options: dict[str, Any] = {
        "serverselectiontimeoutms": milliseconds,
        "connecttimeoutms": milliseconds,
        "sockettimeoutms": int(settings.store_socket_timeout_s * 1000),
        "appname": "cathodeflow",
        "retrywrites": True,
        # A mongod by itself confirms what a kill within the next 100 ms would take back, and the first of a replica
        # set what the next one may not have.
        "w": "majority",
        "journal": True,
    }
    said = address.options
    for name in _FILES:
        if not Path(said.get(name, "/")).is_absolute():
            raise StoreError(
                f"The store address {address.uri} cannot be used: {said[name]} is no absolute path, and workers look "
                "from other folders; correct it."
            )
    options = {name: value for name, value in options.items() if name not in said}
    password, key_password = address.password(), address.key_password()
    if password is not None:
        options |= {"username": address.user, "password": password}
    if key_password is not None:  # without one, OpenSSL would ask at the terminal for that of an encrypted key
        options["tlscertificatekeyfilepassword"] = key_password
    try:
        with warnings.catch_warnings():
            # pymongo only warns of an option it does not know: a misspelt `tls` would go in the clear.
            warnings.simplefilter("error", UserWarning)
            client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(address.uri, **options)
    except (ConfigurationError, InvalidURI, ValueError, OSError, UserWarning) as error:
        key = "" if key_password is None else f", or the password of the key ({KEY_PASSWORD_VARIABLE})"
        raise StoreError(
            f"The store address {address.uri} cannot be used: {redact(str(error))}; correct it{key}."
        ) from error
    _do_not_wait_at_the_end()
    return client


def _do_not_look_for_pyopenssl() -> None:
    """Say to pymongo at once that pyOpenSSL is not there: it loads all of cryptography before it finds that out."""
    import sys
    from importlib.util import find_spec

    if find_spec("OpenSSL") is None:
        sys.modules.setdefault("pymongo.pyopenssl_context", None)  # type: ignore[arg-type]


def _do_not_wait_at_the_end() -> None:
    """Let a command end when it has answered: pymongo waits half a second for threads that only watch the server."""
    import atexit

    from pymongo.synchronous import monitor

    wait = getattr(monitor, "_shutdown_resources", None)
    if wait is not None:
        atexit.unregister(wait)


def check(client: pymongo.MongoClient[dict[str, Any]], address: StoreAddress) -> None:
    """Ask the server for a sign of life, and for the right to read the database.

    Raises
    ------
    StoreError
        It cannot be reached in time, or it refuses us; says the remedy.
    """
    with in_words(address):
        client[address.database].command("ping")
        client[address.database].list_collection_names(filter={"name": "campaigns"})


@contextmanager
def in_words(address: StoreAddress | None) -> Iterator[None]:
    """Turn what pymongo raises inside into StoreError.

    Raises
    ------
    StoreError
        In place of any PyMongoError.
    """
    from pymongo.errors import PyMongoError

    try:
        yield
    except PyMongoError as error:
        raise StoreError(explain(error, address)) from error


def explain(error: Exception, address: StoreAddress | None = None) -> str:
    """Say in one sentence what an error of pymongo means and what to do.

    Parameters
    ----------
    error : PyMongoError
        What was raised.
    address : StoreAddress, optional
        Of the server, to be named.
    """
    from pymongo import errors

    where = "" if address is None else f" at {redact(address.uri)}"
    code = getattr(error, "code", None)
    cause = " ".join(redact(str(error)).split())
    for rest in (", Timeout: ", " (configured timeouts", ", full error: "):
        cause = cause.partition(rest)[0]
    cause = cause[:300]
    if code == _NOT_AUTHORIZED and any(words in cause for words in _NOBODY_SIGNED_IN):
        return f"The MongoDB server{where} wants a user: name one in the address (mongodb://user@host/…; {cause})."
    if code == _NOT_AUTHORIZED:
        return (
            f"The MongoDB server{where} does not let this user read and write the database: grant readWrite ({cause})."
        )
    if code in _AUTHENTICATION_FAILED or (isinstance(error, errors.OperationFailure) and "auth" in cause.lower()):
        source = (
            "" if address is None or "authsource" in address.options else ", or where it is kept (authSource=admin)"
        )
        return (
            f"The MongoDB server{where} refuses the user or the password: correct the address, {PASSWORD_VARIABLE} or "
            f"the password's file{source} ({cause})."
        )
    if isinstance(error, errors.ConnectionFailure):
        refused = next((remedy for said, remedy in _TLS_REFUSALS if said in cause), None)
        if refused is not None:
            return f"No TLS with the MongoDB server{where}: {refused} ({cause})."
        tls = "" if address is None else ", that it speaks TLS" if _has_tls(address) else ", whether it wants tls=true"
        return (
            f"The MongoDB server{where} cannot be reached: see that it runs{tls}, and that the address is right; "
            f"nothing is lost, repeat the command then ({cause})."
        )
    if isinstance(error, errors.ConfigurationError):
        return f"The MongoDB server{where} cannot do what is asked: check the options of the address ({cause})."
    return f"The MongoDB server{where} refused an operation ({cause})."


def _has_tls(address: StoreAddress) -> bool:
    said = address.options.get("tls", address.options.get("ssl", str(address.uri.startswith("mongodb+srv"))))
    return said.lower() == "true"


def is_unreachable(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that the server is away for now: waiting may help."""
    from pymongo.errors import ConnectionFailure, NotPrimaryError, WTimeoutError

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ConnectionFailure | NotPrimaryError | WTimeoutError):
            return True
        seen = seen.__cause__
    return False


def with_patience(
    act: Callable[[], Result],
    patience_s: float,
    on_wait: Callable[[float, Exception], None] | None = None,
) -> Result:
    """Do something again and again, with growing delays, as long as the server is away.

    What is done must be safe to repeat: a server that goes away may have done it.

    Parameters
    ----------
    act : callable
        What to do.
    patience_s : float
        For how long; the last error is raised then.
    on_wait : callable, optional
        Told the delay in seconds and the error before each delay.

    Raises
    ------
    PyMongoError, StoreError
        What `act` raises that is not for want of the server, and its last error when patience is over.
    """
    import time

    from pymongo.errors import PyMongoError

    began, delay = time.monotonic(), get_settings().store_first_delay_s
    while True:
        try:
            return act()
        except (PyMongoError, StoreError) as error:
            left = patience_s - (time.monotonic() - began)
            if left <= 0 or not is_unreachable(error):
                raise
            pause = min(delay, left)
            if on_wait is not None:
                on_wait(pause, error)
            time.sleep(pause)
            delay = min(delay * 2.0, 30.0)
