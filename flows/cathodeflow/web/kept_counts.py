"""Counts that several requests share where counting is slow: a page must not wait for it, nor a server do little else.

MongoDB and the embedded store count 100,000 documents from an index in hundredths of a second: that is done anew for
each page. What takes longer (a million jobs, a count that no index knows, a server that ignores indexes) is kept, and
counted again in the background.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

from cathodeflow.errors import StoreError

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

AT_ONCE_S = 0.05
"""What is counted within this is counted anew each time."""

SHARE = 0.1
"""Of the time that the background may spend on counting."""

FORGOTTEN_AFTER_S = 900.0
"""Counts that no page asked for so long are no longer kept up to date."""


MOST_KEPT = 300
"""Filters are free text: what is kept must not grow with them."""


@dataclass
class _Entry:
    """A count: how to make it, what it was, when, how long it took, and when a page last asked."""

    count: Callable[[], Any]
    value: Any
    at: float
    took: float
    asked_at: float


class KeptCounts:
    """A project for reading whose slow counts are kept; all else is the project's own.

    Parameters
    ----------
    project : Project
        The open project.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._entries: dict[Any, _Entry] = {}
        self._generation = 0
        self._refresher: threading.Thread | None = None
        self._of_request = threading.local()

    def __getattr__(self, name: str) -> Any:
        """Return what the project has."""
        return getattr(self._project, name)

    def count(self, collection: str, condition: Mapping[str, Any] | None = None) -> int:
        """As `Project.count`."""
        found: int = self._kept(
            ("count", collection, repr(condition)), lambda: self._project.count(collection, condition)
        )
        return found

    def count_by(self, collection: str, path: str, condition: Mapping[str, Any] | None = None) -> dict[Any, int]:
        """As `Project.count_by`."""
        found: dict[Any, int] = self._kept(
            (collection, path, repr(condition)), lambda: self._project.count_by(collection, path, condition)
        )
        return dict(found)

    def forget(self) -> None:
        """Count everything anew: somebody has just changed something and wants to see it."""
        with self._lock:
            self._generation += 1
            self._entries.clear()

    def begin_page(self) -> None:
        """Start looking for the oldest count of a page."""
        self._of_request.oldest_at = time.monotonic()

    @property
    def age_s(self) -> float:
        """How old the oldest count of this thread's page is, seconds."""
        return time.monotonic() - getattr(self._of_request, "oldest_at", time.monotonic())

    def _kept(self, key: Any, count: Callable[[], Any]) -> Any:
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                entry.asked_at = time.monotonic()
        if entry is None:
            entry = self._count(key, count, time.monotonic())
        self._of_request.oldest_at = min(getattr(self._of_request, "oldest_at", entry.at), entry.at)
        return entry.value

    def _count(self, key: Any, count: Callable[[], Any], asked_at: float) -> _Entry:
        generation, began = self._generation, time.monotonic()
        entry = _Entry(count, count(), began, time.monotonic() - began, asked_at)
        with self._lock:
            before = self._entries.pop(key, None)
            if entry.took > AT_ONCE_S and generation == self._generation:  # else it may say what was before a change
                entry.asked_at = max(asked_at, asked_at if before is None else before.asked_at)
                self._entries[key] = entry
                if len(self._entries) > MOST_KEPT:
                    del self._entries[min(self._entries, key=lambda other: self._entries[other].asked_at)]
                if self._refresher is None or not self._refresher.is_alive():
                    self._refresher = threading.Thread(target=self._refresh, name="counts", daemon=True)
                    self._refresher.start()
        return entry

    def _refresh(self) -> None:
        """Count the oldest again and again, as long as any is kept."""
        while True:
            with self._lock:
                now = time.monotonic()
                self._entries = {
                    key: entry for key, entry in self._entries.items() if now - entry.asked_at < FORGOTTEN_AFTER_S
                }
                if not self._entries:
                    self._refresher = None
                    return
                key, entry = min(self._entries.items(), key=lambda item: item[1].at)
            began = time.monotonic()
            try:
                self._count(key, entry.count, entry.asked_at)
            except (StoreError, PyMongoError):  # pages say so themselves, once their counts are forgotten
                with self._lock:
                    self._entries.pop(key, None)
            time.sleep(max((time.monotonic() - began) * (1 / SHARE - 1), AT_ONCE_S))
