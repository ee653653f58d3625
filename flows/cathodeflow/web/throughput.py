"""How much was done when: a running sum over the launches, of which there may be hundreds of thousands.

Launches are read once, in the order of their numbers, and those that had not ended once more; so a page costs the same
whatever lies behind it.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cathodeflow.dispatch.jobs import FIREWORKS, LAUNCHES
from cathodeflow.records.document import in_utc
from cathodeflow.settings import get_settings

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

BATCH = 500
_ENDED = frozenset({"COMPLETED", "FIZZLED", "DEFUSED", "ARCHIVED"})
_MOST_OPEN = 20_000
BARS = 48
"""Most bars of a chart."""

_WIDTHS_S = (60, 300, 900, 3600, 3 * 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600)


@dataclass
class Account:
    """What the launches of one campaign add up to.

    Attributes
    ----------
    completed, failed : dict of int to int
        Launches by the minute they ended in (Unix time / 60).
    core_s, gpu_s : dict of str to float
        By category: wall time times processors (times GPUs).
    """

    completed: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    failed: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    core_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    gpu_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    wall_s: float = 0.0


@dataclass(frozen=True)
class Bar:
    """Launches that ended in one span of time."""

    begins: datetime
    seconds: int
    completed: int
    failed: int


class Ledger:
    """Sums of all campaigns of a project, brought up to date by `advance`.

    Parameters
    ----------
    project : Project
        The open project.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._last = -1
        self._open: list[int] = []
        self._accounts: dict[str | None, Account] = {}
        self._closed = threading.Event()
        self.complete = False

    def advance(self, seconds: float = float("inf")) -> None:
        """Read what is new, for so long at most; somebody else at it already is enough."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            until = time.monotonic() + seconds
            self._again()
            while time.monotonic() < until:
                new = self._project.select(
                    LAUNCHES, {"launch_id": {"$gt": self._last}}, sort=[("launch_id", 1)], limit=BATCH
                )
                self._enter(new)
                if len(new) < BATCH:
                    self.complete = True
                    return

            self.complete = False
        finally:
            self._lock.release()

    def close(self) -> None:
        """Have nobody bring it up to date any more."""
        self._closed.set()

    def wait_to_be_closed(self, seconds: float) -> bool:
        """Wait so long at most; returns whether it is closed."""
        return self._closed.wait(seconds)

    def account(self, campaign: str | None) -> Account:
        """Return the sums of a campaign."""
        return self._accounts.get(campaign) or Account()

    def bars(self, campaign: str, now: datetime | None = None) -> list[Bar]:
        """Return the ended launches of a campaign over time, in spans as short as `BARS` of them allow."""
        account = self.account(campaign)
        minutes = [*account.completed, *account.failed]
        if not minutes:
            return []
        end = int((now or datetime.now(UTC)).timestamp())
        # A campaign that ended long ago is shown as it was, not as a blank.
        end = min(end, (max(minutes) + 60) * 60)
        begin = min(minutes) * 60
        width = next((w for w in _WIDTHS_S if (end - begin) / w <= BARS), _WIDTHS_S[-1])
        first, last = max(begin // width, end // width - BARS + 1), end // width
        return [
            Bar(
                datetime.fromtimestamp(number * width, UTC),
                width,
                _within(account.completed, number * width, width),
                _within(account.failed, number * width, width),
            )
            for number in range(first, last + 1)
        ]

    def per_hour(self, campaign: str, now: datetime | None = None, window: timedelta = timedelta(hours=1)) -> float:
        """Return completed launches per hour in the last hour."""
        moment = int((now or datetime.now(UTC)).timestamp() // 60)
        minutes = max(int(window.total_seconds() // 60), 1)
        done = self.account(campaign).completed
        return 60.0 * sum(done.get(moment - back, 0) for back in range(minutes)) / minutes

    def _again(self) -> None:
        """Look again at launches that had not ended."""
        waiting, self._open = self._open, []
        for start in range(0, len(waiting), BATCH):
            chosen = waiting[start : start + BATCH]
            self._enter(self._project.select(LAUNCHES, {"launch_id": {"$in": chosen}}))

    def _enter(self, launches: list[dict[str, Any]]) -> None:
        if not launches:
            return
        ended = [launch for launch in launches if launch["state"] in _ENDED]
        still_open = [launch["launch_id"] for launch in launches if launch["state"] not in _ENDED]
        self._open = [*self._open, *still_open][-_MOST_OPEN:]
        self._last = max(self._last, *(launch["launch_id"] for launch in launches))
        fw_ids = sorted({launch["fw_id"] for launch in ended})
        found = self._project.select(FIREWORKS, {"fw_id": {"$in": fw_ids}}) if fw_ids else []
        specs = {document["fw_id"]: document["spec"] for document in found}
        threads = get_settings().threads_per_worker
        for launch in ended:
            spec = specs.get(launch["fw_id"], {})
            account = self._accounts.setdefault(spec.get("_campaign"), Account())
            _add(account, launch, str(spec.get("_category") or "none"), threads)


def _add(account: Account, launch: Mapping[str, Any], category: str, threads: int) -> None:
    moment = launch.get("time_end")
    if moment is not None:
        ended = in_utc(datetime.fromisoformat(moment) if isinstance(moment, str) else moment)
        minute = int(ended.timestamp() // 60)
        (account.completed if launch["state"] == "COMPLETED" else account.failed)[minute] += 1
    seconds = float(launch.get("runtime_secs") or 0.0)
    process = (launch.get("fworker") or {}).get("env") or {}
    account.wall_s += seconds
    account.core_s[category] += seconds * float(process.get("cores") or threads)
    account.gpu_s[category] += seconds * float(process.get("gpus") or 0.0)


def _within(minutes: Mapping[int, int], begin: int, width: int) -> int:
    if width <= 60 * 60:
        return sum(minutes.get(minute, 0) for minute in range(begin // 60, (begin + width) // 60))
    return sum(count for minute, count in minutes.items() if begin <= minute * 60 < begin + width)


def keep_counting(ledger: Ledger, every_s: float = 5.0) -> threading.Thread:
    """Bring a ledger up to date in the background until it is closed."""
    from pymongo.errors import PyMongoError

    from cathodeflow.errors import StoreError

    def count() -> None:
        while True:
            try:
                ledger.advance()
            except (StoreError, PyMongoError):  # the pages say so themselves; here the next round tries again
                ledger.complete = False
            if ledger.wait_to_be_closed(every_s):
                return

    thread = threading.Thread(target=count, name="ledger", daemon=True)
    thread.start()
    return thread
