"""Telling people that a campaign moved on, that much of it fails, or that it ended: a command or a web hook.

What is worth telling is a pure function of what was seen before and what is seen now. What was told is written into the
campaign's log, so that a driver that is started again does not repeat it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cathodeflow.campaign import transitions
from cathodeflow.campaign.notice_post import RETRY_S, Channel, Notice, Post, channels
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
LAST_WORDS_S = 6.0
"""So long an ending driver waits for notices that are under way."""


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


class Notifier:
    """Looks at a campaign after each tick and has told what is worth it. Without channels it does nothing.

    The sending is a `Post`'s: a tick takes no longer for a channel that hangs or fails. What became of a notice is
    written into the log at a later tick, or by `finish`. A process killed between sending and writing it down sends
    once more.

    Parameters
    ----------
    ways : sequence of Channel, optional
        Where notices go; those of the settings by default.
    delays : sequence of float
        Seconds before each further try of one that cannot be sent.
    """

    def __init__(self, ways: Sequence[Channel] | None = None, delays: Sequence[float] = RETRY_S) -> None:
        ways = channels() if ways is None else ways
        self._post = Post(ways, delays) if ways else None
        settings = get_settings()
        self._rule = BurstRule(settings.notify_burst, timedelta(seconds=settings.notify_burst_window_s))
        self._history: list[Sighting] = []
        self._told: set[str] | None = None
        self._settled: list[tuple[Notice, str]] = []
        self._under_way: set[str] = set()

    def after_tick(self, project: Project, campaign: CampaignRecord) -> list[Notice]:
        """Look at a campaign and have told what is worth telling; waits for nobody.

        Parameters
        ----------
        project : Project
            The open project.
        campaign : CampaignRecord
            As it stands after the tick.

        Returns
        -------
        list of Notice
            Those that are on their way now.
        """
        if self._post is None:
            return []
        if self._told is None:
            self._told = _told(project, campaign.id)
        self._write_down(project)
        self._history.append(_sighting(project, campaign))
        oldest = self._history[-1].at - self._rule.window
        self._history = [seen for seen in self._history if seen.at >= oldest]
        found = notices(campaign.id, self._history, frozenset(self._told), self._rule)
        for notice in found:
            self._told.add(notice.key)
            self._under_way.add(notice.key)
            self._post.hand_in(notice)
        return found

    def finish(self, project: Project, seconds: float | None = None) -> None:
        """Wait a moment for what is under way, and write down what became of it; the next driver tells the rest.

        Parameters
        ----------
        project : Project
            The open project.
        seconds : float, optional
            How long at most; `LAST_WORDS_S` by default.
        """
        until = time.monotonic() + (LAST_WORDS_S if seconds is None else seconds)
        self._write_down(project)
        while self._under_way and (left := until - time.monotonic()) > 0:
            self._write_down(project, left)

    def _write_down(self, project: Project, seconds: float = 0.0) -> None:
        """Put into the log what was sent or given up; what the store does not take is kept for the next time."""
        if self._post is None:
            return
        while (found := self._post.settled(seconds)) is not None:
            self._settled.append(found)
            seconds = 0.0
        while self._settled:
            notice, cause = self._settled[0]
            kind = NOT_NOTIFIED if cause else NOTIFIED
            message = f"nobody could be told ({cause}): {notice.message}" if cause else notice.message
            transitions.append_event(project, notice.campaign, kind, message, {"key": notice.key, "kind": notice.kind})
            self._under_way.discard(notice.key)
            self._settled.pop(0)


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
