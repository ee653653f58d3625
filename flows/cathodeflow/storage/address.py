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
_SCHEMES = ("mongodb://", "mongodb+srv://")
_ADDRESS = re.compile(
    r"^(?P<scheme>mongodb(?:\+srv)?://)(?:(?P<user>[^@/?]*)@)?(?P<hosts>[^/?]+)(?P<rest>.*)$", re.DOTALL
)
# Options of an address whose values are secrets themselves.
_SECRET_OPTIONS = re.compile(
    r"(?i)\b(tlsCertificateKeyFilePassword|sslpemPassphrase|authMechanismProperties|password)=[^&#\s]*"
)
_INLINE = re.compile(r"(mongodb(?:\+srv)?://)([^:@/?\s]*):([^/?\s]*)@")


def redact(text: str) -> str:
    """Return a text with the passwords of all addresses in it replaced by stars."""
    return _SECRET_OPTIONS.sub(r"\1=***", _INLINE.sub(r"\1\2:***@", text))


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

        matched = _ADDRESS.match(uri.strip())
        if matched is None or not uri.startswith(_SCHEMES):
            raise StoreError(
                f"The store address {redact(uri)!r} is not of the form "
                "mongodb://[user@]host[:port][/database][?options]; correct it."
            )
        if ":" in (matched["user"] or "") or _SECRET_OPTIONS.search(matched["rest"]):
            raise StoreError(
                f"The store address {redact(uri)} holds a secret, which would end up in process lists and logs: "
                f"take it out (mongodb://user@host/…) and set {PASSWORD_VARIABLE}, "
                "or name a file with CATHODEFLOW_STORE_PASSWORD_FILE."
            )
        path = matched["rest"].partition("?")[0].lstrip("/")
        return cls(uri.strip(), unquote(path) or DATABASE, password_file)

    @property
    def user(self) -> str | None:
        """The user named in the address."""
        matched = _ADDRESS.match(self.uri)
        return unquote(matched["user"]) if matched is not None and matched["user"] else None

    def password(self) -> str | None:
        """Read the password now: from the file of this address or the setting, else from the environment.

        Returns
        -------
        str or None
            None when the address names no user.

        Raises
        ------
        StoreError
            There is none, or its file may be read by others.
        """
        if self.user is None or "MONGODB-X509" in self.uri or "MONGODB-OIDC" in self.uri:
            return None
        path = self.password_file or get_settings().store_password_file
        if path is not None:
            return read_password(path)
        found = os.environ.get(PASSWORD_VARIABLE)
        if not found:
            raise StoreError(
                f"The store address {self.uri} names the user {self.user} and there is no password: set "
                f"{PASSWORD_VARIABLE}, or name a file with CATHODEFLOW_STORE_PASSWORD_FILE."
            )
        return found


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
