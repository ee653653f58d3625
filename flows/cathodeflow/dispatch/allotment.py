"""What a worker in an allocation has been given: until when, and of which size. It takes no job that needs more."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cathodeflow.dispatch.durations import measured_seconds, too_long
from cathodeflow.dispatch.jobs import FIREWORKS

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

REFRESH_S = 30.0
_KEPT_BACK_S = 5.0  # for writing down the result


@dataclass(frozen=True)
class Allotment:
    """A share of an allocation.

    Attributes
    ----------
    begins, ends : float
        Of the allocation, seconds since 1970.
    time_factor, memory_factor : float
        Times what the site gives by default.
    linger_s : float
        How long a worker without work waits before it ends.
    """

    begins: float
    ends: float
    time_factor: float = 1.0
    memory_factor: float = 1.0
    linger_s: float = 0.0

    def seconds_left(self) -> float:
        """Return the seconds until the allocation ends, never negative."""
        return max(self.ends - time.time(), 0.0)


@dataclass
class Estimates:
    """How long jobs take: as measured, which is asked for again now and then, before that as the site expects.

    Attributes
    ----------
    project : Project
        The open project.
    campaign : str or None
        Whose jobs.
    expected : mapping of str to float
        Seconds by kind that hold until one of the kind was measured.
    """

    project: Project
    campaign: str | None
    expected: Mapping[str, float] = field(default_factory=dict)
    _seconds: dict[str, float] = field(default_factory=dict)
    _asked: float = -REFRESH_S

    def seconds(self) -> dict[str, float]:
        """Return the seconds by kind: the median of what was measured, where something was."""
        if time.monotonic() - self._asked >= REFRESH_S:
            condition = {"state": "READY"} | ({} if self.campaign is None else {"spec._campaign": self.campaign})
            kinds = [kind for kind in self.project.count_by(FIREWORKS, "spec._kind", condition) if kind is not None]
            self._seconds = {**self._seconds, **measured_seconds(self.project, self.campaign, kinds)}
            self._asked = time.monotonic()
        return {**self.expected, **self._seconds}


def condition(allotment: Allotment, estimates: Estimates) -> dict[str, Any]:
    """Return what a job's document has to fulfil to be started now.

    Parameters
    ----------
    allotment : Allotment
        What the worker has.
    estimates : Estimates
        How long jobs take.

    Returns
    -------
    dict
        A MongoDB filter.
    """
    left = allotment.seconds_left() - _KEPT_BACK_S
    whole = allotment.ends - allotment.begins
    begun = whole - allotment.seconds_left()
    found: dict[str, Any] = {
        # Without the key, or not above what this allocation has.
        "spec._memory_factor": {"$not": {"$gt": allotment.memory_factor}},
        "spec._time_factor": {"$not": {"$gt": allotment.time_factor}},
    }
    seconds = estimates.seconds()
    refused = too_long(seconds, left, whole, begun)
    with_branches = {name.partition("/")[0] for name in seconds if "/" in name}
    kinds = [name for name in refused if "/" not in name and name not in with_branches]
    branches = [re.escape(name.partition("/")[2]) for name in refused if "/" in name]
    if kinds:
        found["spec._kind"] = {"$nin": kinds}
    if branches:  # no other key has a stroke in it
        found["$nor"] = [{"spec._key": {"$regex": f"/({'|'.join(branches)})$"}}]
    return found
