"""How far a command is with many things: a bar on a terminal, a line now and then elsewhere, on standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cathodeflow.cli.output import note

PATIENCE_S = 2.0
"""What takes less long is not told of."""
LINE_EVERY_S = 15.0


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Tell how far a command is, once it takes so long that a person wonders.

    Parameters
    ----------
    what : str
        What it is doing, such as ``resubmitting 2,000 jobs``.

    Yields
    ------
    callable
        To be told how many are done, and of how many.
    """
    shown = _bar if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else _lines
    with shown(what) as told:
        yield told


@contextmanager
def _lines(what: str) -> Iterator[Callable[[int, int], None]]:
    due = time.monotonic() + PATIENCE_S

    def told(done: int, total: int) -> None:
        nonlocal due
        if time.monotonic() >= due and done < total:
            note(f"{what}: {done:,} of {total:,}")
            due = time.monotonic() + LINE_EVERY_S

    yield told


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))
    shown_at = time.monotonic() + PATIENCE_S
    progress = Progress(*columns, console=console, transient=True)
    task = progress.add_task(what, total=None)

    def told(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)
        if time.monotonic() >= shown_at:
            progress.start()

    try:
        yield told
    finally:
        progress.stop()
