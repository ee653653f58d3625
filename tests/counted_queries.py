"""How often a project is asked: over the embedded store its methods, on a server the commands that reach it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import monitoring

from cathodeflow.storage.connection import Project

METHODS = ("get", "select", "count", "count_by", "any_matches", "campaign_names")
READS = frozenset({"find", "aggregate", "count", "distinct", "getMore"})


@contextmanager
def counted_methods(project: Project) -> Iterator[Counter[str]]:
    """Count what a project is asked inside by this thread, by method."""
    asked: Counter[str] = Counter()
    here = threading.get_ident()

    def counted(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*args: Any, **options: Any) -> Any:
            asked[name] += threading.get_ident() == here
            return method(*args, **options)

        return ask

    for name in METHODS:
        setattr(project, name, counted(name, getattr(project, name)))
    try:
        yield asked
    finally:
        for name in METHODS:
            delattr(project, name)


class CountedCommands(monitoring.CommandListener):
    """Counts the reads that one thread sends to servers; clients made after `monitoring.register` tell it of them."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self.sent: Counter[str] = Counter()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in READS and threading.get_ident() == self._thread:
            self.sent[event.command_name] += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass
