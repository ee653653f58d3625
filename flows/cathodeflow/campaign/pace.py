"""How long a campaign still takes, from the pace of what it has done: pure functions of times and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cathodeflow.campaign.policy import most_validated
from cathodeflow.records.outcomes import CampaignState, Stage

AFTER_SCREENING = frozenset({Stage.VALIDATE, Stage.FOLLOW_UP})
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


def seconds_left(
    document: Mapping[str, Any],
    times: Sequence[Mapping[str, Any]],
    in_stage_s: float,
    progress: tuple[int, int],
    levels: Mapping[str, int],
) -> float | None:
    """Estimate the time to the end of a campaign from its document.

    Parameters
    ----------
    document : mapping
        The campaign's.
    times : sequence of mapping
        Its `stage_times`, in UTC.
    in_stage_s : float
        Seconds since the present stage was entered.
    progress : tuple of int
        Its members: settled, wanted.
    levels : mapping of str to int
        Candidates of each level.

    Returns
    -------
    float or None
        Seconds; None where no pace is known, or nobody may work on it.
    """
    if document["state"] == CampaignState.DONE:
        return 0.0
    if document["state"] != CampaignState.RUNNING:
        return None
    stage, number, definition = Stage(document["stage"]), document["round"], document["definition"]
    chosen = {int(key): len(keys) for key, keys in document["selections"].items()}
    later_rounds = definition["labels"]["rounds"] - 1 - number
    order = list(Stage)
    repeated = (Stage.TRAIN, Stage.PREDICT, Stage.SCREEN)
    visits = {
        other.value: (0 if stage in AFTER_SCREENING else later_rounds + (order.index(other) > order.index(stage)))
        for other in repeated
    }
    return estimate_seconds_left(
        Pace(
            stage=stage.value,
            elapsed_s=in_stage_s,
            done=progress[0],
            wanted=progress[1],
            later_labels=_labels_to_come(document, levels),
            seconds_per_label=label_seconds(times, chosen),
            stage_seconds=stage_durations(times),
            later_visits=visits,
        )
    )


def _labels_to_come(document: Mapping[str, Any], levels: Mapping[str, int]) -> int:
    """Count the labels that nobody has chosen yet, those of the validation at their most; no more than there is."""
    if Stage(document["stage"]) in AFTER_SCREENING:
        return 0
    definition, space = document["definition"], document.get("space")
    total, per_list = definition["labels"]["total"], definition["validation"]["per_list"]
    substituted = 2 * per_list
    if space is not None:
        total, substituted = min(total, sum(levels.values())), space["substituted"]
    chosen = sum(len(keys) for keys in document["selections"].values())
    return max(total - chosen, 0) + most_validated(per_list, substituted) * len(levels)
