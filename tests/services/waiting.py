"""Waiting for what a test needs to have happened: for a condition, never for a time that must be long enough."""

from __future__ import annotations

import time
from collections.abc import Callable

AMPLE_S = 900.0
"""For what takes seconds here, on a machine many times slower: only a wait in vain is to end by it."""


def wait_for(
    condition: Callable[[], object],
    seconds: float = AMPLE_S,
    *,
    pause_s: float = 0.05,
    why_not: Callable[[], object] = lambda: "in vain",
) -> None:
    """Wait until something holds; `why_not` is told where it never comes to that."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s: {why_not()}"
        time.sleep(pause_s)
