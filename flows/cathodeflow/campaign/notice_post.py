"""Where notices go, and a post that carries them there on a thread of its own: no driver waits for a web hook."""

from __future__ import annotations

import http.client
import json
import os
import queue
import shlex
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from cathodeflow.errors import DefinitionError
from cathodeflow.settings import get_settings

TIMEOUT_S = 5.0
LONGEST_S = 10.0
"""A web hook that answers a byte now and then is given up after so many seconds."""

RETRY_S = (2.0, 10.0)
"""Delays before the second and the third try."""


@dataclass(frozen=True)
class Notice:
    """Something worth telling; `key` is the same whoever finds it out, and when."""

    campaign: str
    kind: str
    key: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)


class Channel(Protocol):
    """Where notices go."""

    def send(self, notice: Notice) -> None:
        """Send one.

        Raises
        ------
        OSError, subprocess.SubprocessError, http.client.HTTPException, ValueError
            It could not be.
        """


@dataclass(frozen=True)
class CommandChannel:
    """A command that gets the notice as JSON on its standard input, and its kind and message in its environment."""

    command: tuple[str, ...]

    def send(self, notice: Notice) -> None:
        """Run the command; no shell is involved."""
        said = {"CATHODEFLOW_NOTICE": notice.kind, "CATHODEFLOW_NOTICE_MESSAGE": notice.message}
        subprocess.run(
            self.command,
            input=json.dumps(asdict(notice)),
            text=True,
            env={**os.environ, **said},
            timeout=TIMEOUT_S,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Only the configured address is spoken to."""

    def redirect_request(self, *_args: Any, **_options: Any) -> None:
        """Follow nothing."""


@dataclass(frozen=True)
class WebhookChannel:
    """An address that gets the notice as JSON by POST."""

    address: str

    def send(self, notice: Notice) -> None:
        """Post the notice; `text` is what chat services show."""
        body = json.dumps({**asdict(notice), "text": notice.message}).encode()
        request = urllib.request.Request(  # noqa: S310 - `channels` has checked the scheme
            self.address, data=body, headers={"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S) as answer:
            answer.read(1024)


def channels() -> list[Channel]:
    """Return the channels that the settings ask for.

    Raises
    ------
    DefinitionError
        The command or the address of the web hook is none.
    """
    settings = get_settings()
    found: list[Channel] = []
    if settings.notify_command:
        try:
            words = tuple(shlex.split(settings.notify_command))
        except ValueError as error:
            raise DefinitionError(f"CATHODEFLOW_NOTIFY_COMMAND is no command ({error}): correct its quotes") from error
        found.append(CommandChannel(words))
    if settings.notify_webhook:
        parts = urlsplit(settings.notify_webhook)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise DefinitionError("CATHODEFLOW_NOTIFY_WEBHOOK is no http(s) address: correct or unset it")
        found.append(WebhookChannel(settings.notify_webhook))
    return found


class Post:
    """Carries notices, one after another, by every channel; whoever hands one in goes on at once.

    Its thread ends with the process: a notice that was not settled by then is told by the next driver.

    Parameters
    ----------
    ways : sequence of Channel
        Where notices go.
    delays : sequence of float
        Seconds before each further try.
    """

    def __init__(self, ways: Sequence[Channel], delays: Sequence[float] = RETRY_S) -> None:
        self._ways = tuple(ways)
        self._delays = tuple(delays)
        self._waiting: queue.SimpleQueue[Notice] = queue.SimpleQueue()
        self._settled: queue.SimpleQueue[tuple[Notice, str]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def hand_in(self, notice: Notice) -> None:
        """Have a notice carried."""
        self._waiting.put(notice)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._carry_all, name="notices", daemon=True)
            self._thread.start()

    def settled(self, seconds: float = 0.0) -> tuple[Notice, str] | None:
        """Return the next notice that was sent or given up, with the reason why (empty: sent); None for none so far.

        Parameters
        ----------
        seconds : float
            How long to wait for one.
        """
        try:
            return self._settled.get(timeout=seconds) if seconds > 0 else self._settled.get_nowait()
        except queue.Empty:
            return None

    def _carry_all(self) -> None:
        while True:
            notice = self._waiting.get()
            cause = "its sending ended in an error of the program"
            try:
                cause = self._carry(notice)
            finally:
                self._settled.put((notice, cause))

    def _carry(self, notice: Notice) -> str:
        """Send by every way; return why one of them failed each time, empty when all went."""
        left, cause = self._ways, ""
        for delay in (0.0, *self._delays):
            time.sleep(delay)
            tried = [(way, _try(way, notice)) for way in left]
            left = tuple(way for way, why in tried if why)
            cause = next((why for _, why in tried if why), "")
            if not left:
                break
        return cause


def _try(way: Channel, notice: Notice) -> str:
    """Send once; return why not. A time limit of urllib holds for each byte, not for the whole: hence a thread."""
    causes: list[str] = [f"no answer within {LONGEST_S:g} s"]

    def send() -> None:
        try:
            way.send(notice)
        except (OSError, subprocess.SubprocessError, http.client.HTTPException, ValueError) as error:
            causes.append(cause_of(error))
        else:
            causes.append("")

    thread = threading.Thread(target=send, name="notice", daemon=True)
    thread.start()
    thread.join(LONGEST_S)
    return causes[-1]


def cause_of(error: Exception) -> str:
    """Say what went wrong without the command or the address, which may hold a secret."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"the command did not end within {TIMEOUT_S:g} s"
    if isinstance(error, subprocess.CalledProcessError):
        return f"the command ended with {error.returncode}"
    if isinstance(error, urllib.error.HTTPError):
        return f"the web hook answered {error.code}"
    if isinstance(error, urllib.error.URLError):
        return "the web hook cannot be reached"
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    said = error.strerror if isinstance(error, OSError) else None
    return said or type(error).__name__
