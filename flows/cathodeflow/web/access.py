"""Who may see and do what: accounts with hashed passwords or tokens, in a file that only its owner may read."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import tempfile
import threading
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from cathodeflow.errors import DefinitionError, StoreError

FILE_NAME = "dashboard-access.json"
SHORTEST_PASSWORD = 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_COST = {"n": 2**15, "r": 8, "p": 1}
_MEMORY = 64 * 1024 * 1024
_DUMMY_SALT = b"nobody of this name"


class Role(StrEnum):
    """What an account may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"  # also resubmits, pauses and resumes


@dataclass(frozen=True)
class Account:
    """A person or a program.

    Attributes
    ----------
    name : str
        As events name it.
    role : Role
        What it may do.
    campaigns : tuple of str or None
        The only campaigns it sees; None for all.
    password, token : str or None
        Hashes; one of them.
    """

    name: str
    role: Role
    campaigns: tuple[str, ...] | None = None
    password: str | None = None
    token: str | None = None

    @property
    def fingerprint(self) -> str:
        """What a session is bound to: a new password, role or list of campaigns ends the sessions of the old ones."""
        content = json.dumps([self.name, self.role, self.campaigns, self.password, self.token])
        return hashlib.sha256(content.encode()).hexdigest()[:24]

    def sees(self, campaign: str | None) -> bool:
        """Whether it may see a campaign; jobs of none are for those who see all."""
        return self.campaigns is None or campaign in self.campaigns


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Hash a password with scrypt and a salt of its own."""
    salt = secrets.token_bytes(16) if salt is None else salt
    digest = hashlib.scrypt(password.encode(), salt=salt, maxmem=_MEMORY, **_COST)
    return f"scrypt${_COST['n']}${_COST['r']}${_COST['p']}${salt.hex()}${digest.hex()}"


def password_matches(password: str, hashed: str) -> bool:
    """Whether a password is the one that was hashed, in a time that does not tell how near it is."""
    _, n, r, p, salt, digest = hashed.split("$")
    found = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=int(n), r=int(r), p=int(p), maxmem=_MEMORY)
    return hmac.compare_digest(found, bytes.fromhex(digest))


def hash_token(token: str) -> str:
    """Hash a token: it is 256 random bits, which need no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


class AccessFile:
    """The accounts of a project's dashboard; read again when the file changes.

    Parameters
    ----------
    path : Path
        The file, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, int] | None, dict[str, Account], bytes] | None = None
        self._own: dict[str, Account] = {}
        self._own_secret = secrets.token_bytes(32)

    def add_for_this_process(self, account: Account) -> None:
        """Let an account in without writing it down, as long as this process lives."""
        self._own[account.name] = account

    @property
    def accounts(self) -> dict[str, Account]:
        """All accounts by name.

        Raises
        ------
        StoreError
            The file cannot be read, or others may read it.
        """
        return {**self._current()[1], **self._own}

    @property
    def secret(self) -> bytes:
        """Key that signs sessions: the file's, so that a restart keeps them."""
        return self._current()[2]

    def with_password(self, name: str, password: str) -> Account | None:
        """Return the account of that name if the password is its own; as slow for a name that nobody has."""
        account = self.accounts.get(name)
        if account is None or account.password is None:
            hash_password(password, _DUMMY_SALT)
            return None
        return account if password_matches(password, account.password) else None

    def with_token(self, token: str) -> Account | None:
        """Return the account that a token belongs to."""
        hashed = hash_token(token)
        found = None
        for account in self.accounts.values():
            if account.token is not None and hmac.compare_digest(account.token, hashed):
                found = account
        return found

    def put(self, account: Account) -> None:
        """Write an account down, in place of one of the same name.

        Raises
        ------
        DefinitionError
            Its name cannot be used.
        StoreError
            The file cannot be written.
        """
        if not _NAME.fullmatch(account.name):
            raise DefinitionError(
                f"{account.name!r} cannot be the name of an account: use letters, digits and . _ @ - (64 at most)"
            )
        _, accounts, secret = self._current()
        self._write({**accounts, account.name: account}, secret)

    def remove(self, name: str) -> None:
        """Take an account out.

        Raises
        ------
        DefinitionError
            There is none of that name.
        """
        _, accounts, secret = self._current()
        if name not in accounts:
            there = ", ".join(sorted(accounts)) or "none"
            raise DefinitionError(f"no account named {name!r}: there are {there}")
        self._write({key: value for key, value in accounts.items() if key != name}, secret)

    def _current(self) -> tuple[tuple[int, int] | None, dict[str, Account], bytes]:
        with self._lock:
            try:
                status = self.path.stat()
            except FileNotFoundError:
                return None, {}, self._own_secret
            except OSError as error:
                raise StoreError(f"the accounts file {self.path} cannot be read: {error.strerror}") from error
            stamp = (status.st_mtime_ns, status.st_ino)
            if self._read is None or self._read[0] != stamp:
                self._read = (stamp, *self._load())
            return self._read

    def _load(self) -> tuple[dict[str, Account], bytes]:
        try:
            with self.path.open(encoding="utf-8") as file:
                status = os.fstat(file.fileno())
                content = json.load(file)
            if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
                raise StoreError(
                    f"the accounts file {self.path} may be read or changed by others; repair it: chmod 600 {self.path}"
                )
            accounts = {name: _account(name, entry) for name, entry in content["accounts"].items()}
            return accounts, bytes.fromhex(content["secret"])
        except OSError as error:
            raise StoreError(f"the accounts file {self.path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"the accounts file {self.path} is damaged ({error}); remove it and add the accounts again"
            ) from error

    def _write(self, accounts: dict[str, Account], secret: bytes) -> None:
        content: dict[str, Any] = {"secret": secret.hex(), "accounts": {}}
        for name, account in sorted(accounts.items()):
            content["accounts"][name] = {key: value for key, value in asdict(account).items() if key != "name"}
        try:
            # mkstemp makes it 0600; a reader sees the old file or the new one.
            descriptor, draft = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1)
            Path(draft).replace(self.path)
        except OSError as error:
            raise StoreError(f"the accounts file {self.path} cannot be written: {error.strerror}") from error
        with self._lock:
            self._read = None


def _account(name: str, entry: dict[str, Any]) -> Account:
    campaigns = entry.get("campaigns")
    return Account(
        name,
        Role(entry["role"]),
        None if campaigns is None else tuple(campaigns),
        entry.get("password"),
        entry.get("token"),
    )


def new_password_account(name: str, role: Role, campaigns: tuple[str, ...] | None, password: str) -> Account:
    """Make an account that signs in with a password.

    Raises
    ------
    DefinitionError
        The password is too short.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise DefinitionError(f"the password is too short: use at least {SHORTEST_PASSWORD} characters")
    return Account(name, role, campaigns, password=hash_password(password))


def new_token_account(name: str, role: Role, campaigns: tuple[str, ...] | None) -> tuple[Account, str]:
    """Make an account that shows a token, and the token, which is kept nowhere."""
    token = secrets.token_urlsafe(32)
    return replace(Account(name, role, campaigns), token=hash_token(token)), token
