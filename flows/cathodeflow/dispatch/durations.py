"""How long jobs of a kind take, from those that were run: what the time left in an allocation is weighed against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from cathodeflow.dispatch.jobs import FIREWORKS, LAUNCHES

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

SAMPLE = 60
"""Jobs of a kind that are looked at: a median needs no more, and the store is asked often."""

SAFETY = 1.5
"""Times the median: half of the jobs take longer than it."""


def measured_seconds(project: Project, campaign: str | None, kinds: Sequence[str]) -> dict[str, float]:
    """Return the median run time of the finished jobs of each kind, and of each branch of those that have some.

    Branches differ: a hybrid functional takes a hundred times as long as a density of states.

    Parameters
    ----------
    project : Project
        The open project.
    campaign : str or None
        Only its jobs; None for all.
    kinds : sequence of str
        Which kinds.

    Returns
    -------
    dict of str to float
        Kind, or ``kind/branch``, to seconds; those without a finished job are left out.
    """
    found: dict[str, float] = {}
    for kind in kinds:
        condition = {"spec._kind": kind, "state": "COMPLETED"}
        condition |= {} if campaign is None else {"spec._campaign": campaign}
        done = project.select(FIREWORKS, condition, limit=SAMPLE)
        names = {entry: _branch(document) for document in done for entry in document.get("launches", [])}
        launches = project.select(LAUNCHES, {"launch_id": {"$in": list(names)}}) if names else []
        seconds: dict[str, list[float]] = {}
        for launch in launches:
            if launch.get("runtime_secs") is not None:
                for name in {kind, f"{kind}{names[launch['launch_id']]}"}:
                    seconds.setdefault(name, []).append(launch["runtime_secs"])
        found |= {name: float(median(each)) for name, each in seconds.items()}
    return found


def _branch(document: Mapping[str, Any]) -> str:
    """Return the end of a job's key that names its branch, with the stroke before it; empty for jobs without one."""
    _, stroke, branch = str(document["spec"].get("_key") or "").rpartition("/")
    return f"{stroke}{branch}" if stroke else ""


def too_long(expected: Mapping[str, float], seconds_left: float, seconds_in_all: float, begun_s: float) -> list[str]:
    """Return the kinds of job that would not end within the time left.

    A kind that takes longer than a whole allocation would never run: it may begin in a fresh one, and goes on in the
    next from what it wrote.

    Parameters
    ----------
    expected : mapping of str to float
        Median seconds by kind.
    seconds_left, seconds_in_all : float
        Of the allocation.
    begun_s : float
        How long it has run.
    """
    fresh = begun_s < FRESH_SHARE * seconds_in_all
    return sorted(
        kind
        for kind, seconds in expected.items()
        if seconds * SAFETY > seconds_left and not (fresh and seconds * SAFETY > seconds_in_all * (1 - FRESH_SHARE))
    )


FRESH_SHARE = 0.1
"""An allocation counts as fresh in this share of its time."""
