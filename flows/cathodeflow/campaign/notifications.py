"""Telling people that a campaign moved on, that much of it fails, or that it ended: a command or a web hook.

What is worth telling is a pure function of what was seen before and what is seen now. What was told is written into the
campaign's log, so that a driver that is started again does not repeat it.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from cathodeflow.campaign import transitions
from cathodeflow.errors import DefinitionError
from cathodeflow.records.document import now
from cathodeflow.records.outcomes import CampaignState
from cathodeflow.settings import get_settings

if TYPE_CHECKING:
    from cathodeflow.records.campaign import CampaignRecord
    from cathodeflow.storage.connection import Project

NOTIFIED = "notified"
NOT_NOTIFIED = "notification_failed"
"""Kinds of event: a notice was sent, or could not be."""

STAGE, BURST, END = "stage", "failure_burst", "end"
TIMEOUT_S = 5.0
MOST_TRIES = 3


@dataclass(frozen=True)
class Sighting:
    """What is looked at of a campaign at one moment.

    Attributes
    ----------
    at : datetime
        When, UTC.
    stage, state, message : str
        As in its document.
    round : int
        From 0.
    stages_entered : int
        How often a stage was entered so far: names each entry for good.
    version : int
        Of the document: names an end for good, since a campaign that goes on may end again.
    failures : mapping of str to int
        Failed attempts so far by reason.
    """

    at: datetime
    stage: str
    state: str
    message: str
    round: int
    stages_entered: int
    version: int
    failures: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """All failed attempts so far."""
        return sum(self.failures.values())


@dataclass(frozen=True)
class Notice:
    """Something worth telling; `key` is the same whoever finds it out, and when."""

    campaign: str
    kind: str
    key: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BurstRule:
    """When failures are told of: so many within a window, and then not again within another one."""

    failures: int = 10
    window: timedelta = timedelta(minutes=10)


def notices(campaign: str, history: Sequence[Sighting], told: frozenset[str], rule: BurstRule) -> list[Notice]:
    """Decide what is worth telling.

    Parameters
    ----------
    campaign : str
        Its name.
    history : sequence of Sighting
        Oldest first, the present one last; at least one.
    told : frozenset of str
        Keys of what was told already, by any driver.
    rule : BurstRule
        What counts as a burst of failures.

    Returns
    -------
    list of Notice
        In the order in which they are to be sent.
    """
    present = history[-1]
    found = []
    if present.stages_entered and present.state == CampaignState.RUNNING:
        message = f"{campaign} entered {present.stage.replace('_', ' ')} (round {present.round + 1})"
        found.append(Notice(campaign, STAGE, f"{STAGE}/{present.stages_entered}", message, {"stage": present.stage}))
    burst = _burst(campaign, history, told, rule)
    found += [burst] if burst is not None else []
    if present.state in {CampaignState.DONE, CampaignState.STOPPED}:
        why = f": {present.message}" if present.message else ""
        message = f"{campaign} is {present.state}{why}"
        found.append(Notice(campaign, END, f"{END}/{present.version}", message, {"state": str(present.state)}))
    return [notice for notice in found if notice.key not in told]


def _burst(campaign: str, history: Sequence[Sighting], told: frozenset[str], rule: BurstRule) -> Notice | None:
    present = history[-1]
    within = [seen for seen in history if present.at - seen.at <= rule.window]
    first = min(within, key=lambda seen: seen.failed)
    new = present.failed - first.failed
    if new < rule.failures:
        return None
    # Failures told of before count no more: the next burst takes as many new ones.
    last_told = max((int(key.rpartition("/")[2]) for key in told if key.startswith(f"{BURST}/")), default=0)
    if present.failed - last_told < rule.failures:
        return None
    by_reason = {
        reason: count - first.failures.get(reason, 0)
        for reason, count in sorted(present.failures.items())
        if count > first.failures.get(reason, 0)
    }
    words = ", ".join(f"{count} {reason}" for reason, count in sorted(by_reason.items(), key=lambda item: -item[1]))
    minutes = rule.window.total_seconds() / 60
    message = f"{new} attempts of {campaign} failed within {minutes:g} min: {words}"
    return Notice(campaign, BURST, f"{BURST}/{present.failed}", message, {"failures": by_reason})


class Channel(Protocol):
    """Where notices go."""

    def send(self, notice: Notice) -> None:
        """Send one.

        Raises
        ------
        OSError, subprocess.SubprocessError, http.client.HTTPException
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


class Notifier:
    """Looks at a campaign after each tick and tells what is worth it. Without channels it does nothing.

    A notice that cannot be sent is tried again at the next ticks, `MOST_TRIES` times in all; no driver fails by it.
    A process killed between sending and writing it down sends once more.

    Parameters
    ----------
    ways : sequence of Channel, optional
        Where notices go; those of the settings by default.
    """

    def __init__(self, ways: Sequence[Channel] | None = None) -> None:
        self._ways = list(channels() if ways is None else ways)
        settings = get_settings()
        self._rule = BurstRule(settings.notify_burst, timedelta(seconds=settings.notify_burst_window_s))
        self._history: list[Sighting] = []
        self._told: set[str] | None = None
        self._tries: dict[str, int] = {}

    def after_tick(self, project: Project, campaign: CampaignRecord) -> list[Notice]:
        """Look at a campaign and send what is worth telling.

        Parameters
        ----------
        project : Project
            The open project.
        campaign : CampaignRecord
            As it stands after the tick.

        Returns
        -------
        list of Notice
            Those that were sent.
        """
        if not self._ways:
            return []
        if self._told is None:
            self._told = _told(project, campaign.id)
        self._history.append(_sighting(project, campaign))
        oldest = self._history[-1].at - self._rule.window
        self._history = [seen for seen in self._history if seen.at >= oldest]
        found = notices(campaign.id, self._history, frozenset(self._told), self._rule)
        return [notice for notice in found if self._sent(project, notice)]

    def _sent(self, project: Project, notice: Notice) -> bool:
        assert self._told is not None
        details: dict[str, Any] = {"key": notice.key, "kind": notice.kind}
        try:
            for way in self._ways:
                way.send(notice)
        except (OSError, subprocess.SubprocessError, http.client.HTTPException) as error:
            self._tries[notice.key] = self._tries.get(notice.key, 0) + 1
            if self._tries[notice.key] < MOST_TRIES:
                return False
            self._told.add(notice.key)
            message = f"nobody could be told ({_cause(error)}): {notice.message}"
            transitions.append_event(project, notice.campaign, NOT_NOTIFIED, message, details)
            return False
        self._told.add(notice.key)
        transitions.append_event(project, notice.campaign, NOTIFIED, notice.message, details)
        return True


def _told(project: Project, name: str) -> set[str]:
    condition = {"campaign": name, "kind": {"$in": [NOTIFIED, NOT_NOTIFIED]}}
    return {event["details"]["key"] for event in project.select("events", condition)}


def _sighting(project: Project, campaign: CampaignRecord) -> Sighting:
    return Sighting(
        at=now(),
        stage=campaign.stage.value,
        state=campaign.state.value,
        message=campaign.message,
        round=campaign.round,
        stages_entered=len(campaign.stage_times),
        version=campaign.version,
        failures=project.count_by("attempts", "reason", {"campaign": campaign.id}),
    )


def _cause(error: Exception) -> str:
    """Say what went wrong without the command or the address, which may hold a secret."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"the command did not end within {TIMEOUT_S:g} s"
    if isinstance(error, subprocess.CalledProcessError):
        return f"the command ended with {error.returncode}"
    if isinstance(error, urllib.error.HTTPError):
        return f"the web hook answered {error.code}"
    if isinstance(error, urllib.error.URLError):
        return "the web hook cannot be reached"
    said = error.strerror if isinstance(error, OSError) else None
    return said or type(error).__name__
