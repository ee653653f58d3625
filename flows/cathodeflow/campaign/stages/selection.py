"""Which candidates a round labels, and which compositions are validated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cathodeflow.campaign.definition_file import substituents
from cathodeflow.campaign.policy import labels_of_round
from cathodeflow.science.hosts.candidates import Candidate, enumerate_candidates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cathodeflow.campaign.stages.work import StageContext


def all_candidates(context: StageContext) -> Iterator[Candidate]:
    """Enumerate the campaign's space, always in the same order."""
    definition = context.definition
    return enumerate_candidates(context.host, substituents(definition), ratios=definition.ratio_counts())


def choose_candidates(context: StageContext, round_number: int) -> list[str]:
    """Choose what a round labels, by the definition's acquisition.

    Parameters
    ----------
    context : StageContext
        The campaign.
    round_number : int
        From 0; the first round is random whatever the acquisition, for there is no ensemble yet.

    Returns
    -------
    list of str
        Candidate keys; the same campaign and round give the same. Labels that were ingested for this round come first
        and take places of it; those ingested on top of an earlier round leave fewer to the later ones.
    """
    from cathodeflow.science.acquisition.random import random_selection

    labels = context.definition.labels
    candidates = list(all_candidates(context))
    keys = [candidate.key for candidate in candidates]
    selections = context.campaign.selections
    ingested = list(selections.get(str(round_number), []))
    earlier = sum(len(chosen) for number, chosen in selections.items() if int(number) < round_number)
    share = min(labels_of_round(labels.total, labels.rounds, round_number), labels.total - earlier, len(keys))
    number = max(0, share - len(ingested))
    already = [key for chosen in selections.values() for key in chosen]
    if number == 0:
        return ingested
    if round_number and labels.acquisition == "uncertainty":
        return ingested + _choose_uncertain(context, candidates, number, labels.seed + round_number, already)
    levels = [candidate.level for candidate in candidates]
    elements = [candidate.elements for candidate in candidates]
    return ingested + random_selection(keys, levels, elements, number, labels.seed + round_number, already)


def _choose_uncertain(
    context: StageContext, candidates: list[Candidate], number: int, seed: int, already: list[str]
) -> list[str]:
    from cathodeflow.science.acquisition.features import candidate_features
    from cathodeflow.science.acquisition.uncertainty import uncertainty_selection

    predictions = context.project.database["predictions"].find(
        {"campaign": context.campaign.id, "round": context.round}, {"key": 1, "formation_energy_std": 1}
    )
    spread = {document["key"]: document["formation_energy_std"] for document in predictions}
    features = candidate_features(
        [candidate.level for candidate in candidates],
        [candidate.elements for candidate in candidates],
        [tuple(count / sum(candidate.counts) for count in candidate.counts) for candidate in candidates],
    )
    keys = [candidate.key for candidate in candidates]
    return uncertainty_selection(keys, np.array([spread[key] for key in keys]), features, number, seed, already)


def choose_shortlist(context: StageContext, round_number: int) -> list[str]:
    """Return the compositions to validate: the pristine host, then the best of the noble and of the other list.

    The pristine host takes no place in the lists: it is computed beside them, whatever its rank.

    Returns
    -------
    list of str
        Composition keys; empty when no substituted composition passed or none is to be validated.
    """
    per_list = context.definition.validation.per_list
    pristine = pristine_composition(context)
    passed = context.project.database["verdicts"].find(
        {
            "campaign": context.campaign.id,
            "round": round_number,
            "passed": True,
            "rank": {"$lte": per_list + 1},
            "composition": {"$ne": pristine},
        },
        {"composition": 1, "noble": 1, "rank": 1},
    )
    ranked = sorted(passed, key=lambda verdict: verdict["rank"])
    best = [verdict["composition"] for verdict in ranked if not verdict["noble"]][:per_list]
    best += [verdict["composition"] for verdict in ranked if verdict["noble"]][:per_list]
    return [pristine, *best] if best else []


def pristine_composition(context: StageContext) -> str:
    """Return the composition key of the unsubstituted host, e.g. ``V8``."""
    return f"{context.host.substituted_element}{context.host.n_sites}"
