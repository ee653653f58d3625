"""How many allocations the waiting jobs are worth: a pure function of counts and times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """Jobs of one queue that want the same size of allocation.

    Attributes
    ----------
    ready : mapping of str to int
        READY jobs by kind.
    running : int
        Jobs that run.
    """

    ready: Mapping[str, int]
    running: int = 0


def allocations_wanted(work: Work, slots: int, expected: Mapping[str, float], busy_s: float) -> int:
    """Return how many allocations should be open.

    Short jobs share a slot one after another: another allocation is opened only for `busy_s` seconds of work in each
    of its slots. A job of unknown duration counts as filling its slot.

    Parameters
    ----------
    work : Work
        What there is to do.
    slots : int
        Jobs at once in one allocation.
    expected : mapping of str to float
        Seconds by kind, as measured.
    busy_s : float
        Work in a slot that is worth an allocation.

    Returns
    -------
    int
        0 when nothing is READY: those that are open then end by themselves.
    """
    ready = sum(work.ready.values())
    if not ready:
        return 0
    filled = sum(count * min(expected.get(kind, busy_s), busy_s) / busy_s for kind, count in work.ready.items())
    at_once = math.ceil((ready + work.running) / slots)
    # What runs holds its slot; what waits needs room beside it.
    return max(min(math.ceil((filled + work.running) / slots - 1e-9), at_once), 1)
