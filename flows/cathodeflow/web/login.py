"""Sessions in signed cookies, tokens against forged requests, and a limit on guessing passwords."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeTimedSerializer

from cathodeflow.web.access import AccessFile, Account

COOKIE = "cathodeflow_session"
SESSION_S = 12 * 3600
MOST_FAILURES = 5
FAILURE_WINDOW_S = 300.0
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True)
class Identity:
    """Who makes a request.

    Attributes
    ----------
    account : Account
        Whose.
    csrf : str
        What a form has to bring back.
    by_cookie : bool
        Whether the browser sent it by itself: only then can a request be forged by another site.
    """

    account: Account
    csrf: str
    by_cookie: bool


class Sessions:
    """Sessions without a store: a signed cookie names the account and what it was like.

    Parameters
    ----------
    access : AccessFile
        The accounts and the key.
    """

    def __init__(self, access: AccessFile) -> None:
        self._access = access

    @property
    def cookie(self) -> str:
        """Name of the cookie: a browser keeps one of a name per host, whatever the port of the dashboard."""
        return f"{COOKIE}_{hashlib.sha256(b'cookie' + self._access.secret).hexdigest()[:8]}"

    def _serializer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            self._access.secret, salt="session", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def open(self, account: Account) -> str:
        """Return the cookie's content of a new session."""
        content = {"name": account.name, "is": account.fingerprint, "nonce": secrets.token_hex(8)}
        return str(self._serializer().dumps(content))

    def identity(self, cookie: str | None) -> Identity | None:
        """Return whose session a cookie is; None when it is nobody's, too old, or of an account that was changed."""
        if not cookie:
            return None
        try:
            content = self._serializer().loads(cookie, max_age=SESSION_S)
            account = self._access.accounts.get(content["name"])
            mark, nonce = str(content["is"]), str(content["nonce"])
        except (BadSignature, KeyError, TypeError):
            return None
        if account is None or not hmac.compare_digest(account.fingerprint, mark):
            return None
        csrf = hmac.new(self._access.secret, f"csrf {nonce}".encode(), hashlib.sha256).hexdigest()
        return Identity(account, csrf, by_cookie=True)


class FailedLogins:
    """Counts failed logins per address and per name; too many are answered without looking at the password.

    Parameters
    ----------
    clock : callable
        Seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, list[float]] = {}

    def seconds_to_wait(self, *who: str) -> float:
        """Return how long any of these has to wait; 0 when it may try now."""
        with self._lock:
            return max((self._wait(key) for key in who), default=0.0)

    def note(self, *who: str) -> None:
        """Count a failure of all of these."""
        now = self._clock()
        with self._lock:
            if len(self._failures) > _MOST_REMEMBERED:
                self._failures = {key: kept for key in self._failures if (kept := self._recent(key))}
            for key in who:
                self._failures[key] = [*self._recent(key), now][-MOST_FAILURES:]

    def forget(self, *who: str) -> None:
        """Start counting anew after a success."""
        with self._lock:
            for key in who:
                self._failures.pop(key, None)

    def _recent(self, key: str) -> list[float]:
        since = self._clock() - FAILURE_WINDOW_S
        return [moment for moment in self._failures.get(key, ()) if moment > since]

    def _wait(self, key: str) -> float:
        recent = self._recent(key)
        return recent[0] + FAILURE_WINDOW_S - self._clock() if len(recent) >= MOST_FAILURES else 0.0
