"""The address of a MongoDB server: checked, without its password, and safe to print and to store."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from cathodeflow.errors import StoreError
from cathodeflow.settings import get_settings

PASSWORD_VARIABLE = "CATHODEFLOW_STORE_PASSWORD"  # noqa: S105  the name, not a password
KEY_PASSWORD_VARIABLE = "CATHODEFLOW_STORE_KEY_PASSWORD"  # noqa: S105
_FORM = "mongodb://[user@]host[:port][/database][?options]"
_HOST = r"[^\s@/?,:]+(?::\d+)?|\[[0-9A-Za-z:.%]+\](?::\d+)?"
_ADDRESS = re.compile(
    rf"(?P<scheme>mongodb(?:\+srv)?://)(?:(?P<user>[^\s@/?:]*)@)?(?P<hosts>(?:{_HOST})(?:,(?:{_HOST}))*)"
    r"(?:/(?P<database>[^\s@/?]*))?(?:\?(?P<options>\S*))?"
)
# Options of an address whose values are secrets themselves.
_SECRET_OPTIONS = re.compile(
    r"(?i)\b(tlsCertificateKeyFilePassword|sslpemPassphrase|password|AWS_SESSION_TOKEN)([=:])[^&;,#\s]*"
)
# Up to the last @ of a word: a password that should have been escaped may hold any of @ / ? itself.
_INLINE = re.compile(r"(?i)(mongodb(?:\+srv)?://[^:@/?\s]*):\S*@")
# Ways to log in that need no password.
_WITHOUT_PASSWORD = {"MONGODB-X509", "MONGODB-OIDC", "GSSAPI"}


def redact(text: str) -> str:
    """Return a text with the passwords of all addresses in it replaced by stars."""
    return _SECRET_OPTIONS.sub(r"\1\2***", _INLINE.sub(r"\1:***@", text))


@dataclass(frozen=True)
class StoreAddress:
    """Where a MongoDB server is. Holds no password.

    Attributes
    ----------
    uri : str
        `mongodb://[user@]host[:port][/database][?options]`; options go to pymongo as they are.
    database : str
        Name of the database: the one in the address, `cathodeflow` when it names none.
    password_file : Path or None
        File to read the password from; None for the setting or the environment.
    """

    uri: str
    database: str
    password_file: Path | None = None

    @classmethod
    def parse(cls, uri: str, password_file: Path | None = None) -> StoreAddress:
        """Check an address.

        Raises
        ------
        StoreError
            It is no MongoDB address, or it holds a password.
        """
        from cathodeflow.storage.collections import DATABASE

        # A refused address is not repeated: what is wrong with it may be the password in it.
        matched = _ADDRESS.fullmatch(uri.strip())
        if _SECRET_OPTIONS.search(uri) or (matched is None and _INLINE.search(uri)):
            raise StoreError(
                "The store address holds a secret, which would end up in process lists and logs: take it out "
                f"(mongodb://user@host/…) and set {PASSWORD_VARIABLE}, or name a file with {PASSWORD_VARIABLE}_FILE "
                f"({KEY_PASSWORD_VARIABLE}, {KEY_PASSWORD_VARIABLE}_FILE for the key of a TLS certificate)."
            )
        if matched is None:
            raise StoreError(f"The store address is not of the form {_FORM}; correct it.")
        return cls(uri.strip(), unquote(matched["database"] or "") or DATABASE, password_file)

    @property
    def user(self) -> str | None:
        """The user named in the address."""
        matched = _ADDRESS.fullmatch(self.uri)
        return unquote(matched["user"]) if matched is not None and matched["user"] else None

    @property
    def options(self) -> dict[str, str]:
        """The options of the address, their names in lower case."""
        parts = re.split("[&;]", self.uri.partition("?")[2])
        pairs = (part.partition("=") for part in parts if part)
        return {name.lower(): unquote(value) for name, _, value in pairs}

    def password(self) -> str | None:
        """Read the password now: from the file of this address or the setting, else from the environment.

        Returns
        -------
        str or None
            None when the address names no user, or a way to log in that needs none.

        Raises
        ------
        StoreError
            There is none, or its file may be read by others.
        """
        if self.user is None or self.options.get("authmechanism", "").upper() in _WITHOUT_PASSWORD:
            return None
        path = self.password_file or get_settings().store_password_file
        if path is not None:
            return read_password(path)
        found = os.environ.get(PASSWORD_VARIABLE)
        if not found:
            raise StoreError(
                f"The store address {self.uri} names the user {self.user} and there is no password: set "
                f"{PASSWORD_VARIABLE}, or name a file with {PASSWORD_VARIABLE}_FILE."
            )
        return found

    def key_password(self) -> str | None:
        """Read the password of the TLS client key now; None where there is no such key, empty where none was given.

        Raises
        ------
        StoreError
            Its file may be read by others.
        """
        if "tlscertificatekeyfile" not in self.options:
            return None
        path = get_settings().store_key_password_file
        return read_password(path) if path is not None else os.environ.get(KEY_PASSWORD_VARIABLE, "")


def read_password(path: Path) -> str:
    """Read a password from a file that nobody else may read.

    Raises
    ------
    StoreError
        The file is absent or empty, belongs to another user, or others may read it.
    """
    try:
        with path.expanduser().open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            content = file.read().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise StoreError(f"The password file {path} cannot be read ({reason}); name another one.") from error
    if status.st_uid != os.getuid():
        raise StoreError(f"The password file {path} belongs to another user; use one of your own: cp, then chmod 600.")
    if stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO | stat.S_IXUSR):
        raise StoreError(f"The password file {path} may be read by others; repair it: chmod 600 {path}")
    if not content:
        raise StoreError(f"The password file {path} is empty; write the password into it.")
    return content
