"""How long a campaign still takes, from the pace of what it has done: pure functions of times and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

FEWEST_FOR_PACE = 3  # members of a stage that must be settled before its pace means anything


@dataclass(frozen=True)
class Pace:
    """What the time left is estimated from.

    Attributes
    ----------
    stage : str
        The present stage.
    elapsed_s : float
        In it.
    done, wanted : int
        Its members.
    later_labels : int
        Labels of later rounds and of the validation, not counting the present stage.
    seconds_per_label : float or None
        Wall seconds per label of the last finished labelling; None before.
    stage_seconds : mapping of str to float
        Duration of each other stage when it was last finished.
    later_visits : mapping of str to int
        How often each other stage is still to be entered.
    """

    stage: str
    elapsed_s: float
    done: int
    wanted: int
    later_labels: int
    seconds_per_label: float | None
    stage_seconds: Mapping[str, float]
    later_visits: Mapping[str, int]


LABELLING = frozenset({"label", "validate"})


def estimate_seconds_left(pace: Pace) -> float | None:
    """Estimate the time to the end of a campaign.

    The present stage goes on at its pace so far; labels still to come take what labels take; other stages take what
    they last took, and nothing where they were never finished (they are short beside the labels).

    Parameters
    ----------
    pace : Pace
        What is known.

    Returns
    -------
    float or None
        Seconds; None where neither the present stage nor the labels have a pace yet.
    """
    left = 0.0
    per_label = pace.seconds_per_label
    if pace.stage in LABELLING and pace.done >= FEWEST_FOR_PACE:
        per_label = pace.elapsed_s / pace.done
    remaining = max(pace.wanted - pace.done, 0)
    if pace.stage in LABELLING:
        if per_label is None:
            return None
        left += remaining * per_label
    elif pace.stage in pace.stage_seconds:
        left += max(pace.stage_seconds[pace.stage] - pace.elapsed_s, 0.0)
    elif pace.done >= FEWEST_FOR_PACE:
        left += remaining * pace.elapsed_s / pace.done
    if pace.later_labels:
        if per_label is None:
            return None
        left += pace.later_labels * per_label
    return left + sum(pace.later_visits.get(stage, 0) * seconds for stage, seconds in pace.stage_seconds.items())


def label_seconds(stage_times: Sequence[Mapping[str, Any]], labels_per_round: Mapping[int, int]) -> float | None:
    """Return the wall seconds per label of the last finished labelling stage.

    Parameters
    ----------
    stage_times : sequence of mapping
        `stage`, `round` and `entered_at`, in order.
    labels_per_round : mapping of int to int
        Labels chosen in each round.
    """
    found = None
    for entry, following in pairwise(stage_times):
        chosen = labels_per_round.get(entry["round"], 0)
        if entry["stage"] == "label" and chosen:
            found = (following["entered_at"] - entry["entered_at"]).total_seconds() / chosen
    return found


def stage_durations(stage_times: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return how long each finished stage other than the labelling ones last took, seconds."""
    durations: dict[str, float] = {}
    for entry, following in pairwise(stage_times):
        if entry["stage"] not in LABELLING:
            durations[entry["stage"]] = (following["entered_at"] - entry["entered_at"]).total_seconds()
    return durations
