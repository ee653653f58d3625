"""Oxidation states of the substituted metal, told by Bader charges against the pristine host's (V3+ and V4+ in S0)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign.stages.selection import pristine_composition
from cathodeflow.records.outcomes import Branch, Outcome
from cathodeflow.storage.collections import FOLLOW_UPS

if TYPE_CHECKING:
    from cathodeflow.campaign.stages.work import StageContext
    from cathodeflow.science.hosts.host import Host

WHOLE = 1e-6
"""A mean state this near to a whole number means that every site has it."""


def reference_levels(host: Host) -> dict[str, int]:
    """Return the levels at which all substitution sites of the pristine host have one whole oxidation state.

    Parameters
    ----------
    host : Host
        NVPF gives ``{"Na1": 4, "Na3": 3}``: charge balance with the other elements' usual states. At Na2 and Na4 the
        mean is half-way, and sites may differ.

    Returns
    -------
    dict of str to int
        Level to oxidation state.
    """
    found: dict[str, int] = {}
    for level in host.levels:
        state = _mean_state(level.structure.composition.reduced_formula, host.substituted_element)
        if state is not None and abs(state - round(state)) < WHOLE:
            found[level.label] = round(state)
    return found


@cache  # each tick asks, and a guess takes a second
def _mean_state(formula: str, element: str) -> float | None:
    from pymatgen.core import Composition

    guesses = Composition(formula).oxi_state_guesses()
    return guesses[0].get(element) if guesses else None


def oxidation_references(context: StageContext) -> dict[str, dict[str, float]]:
    """Return the mean net charge of the pristine host's metal per oxidation state, e, as far as it is recorded.

    Returns
    -------
    dict
        Element to state (as text) to charge; empty before two states are known, for one cannot be told from none, and
        where the charges do not rise with the state.
    """
    from cathodeflow.jobs.followups.bader import reference_charges

    element, states = context.host.substituted_element, reference_levels(context.host)
    charges: dict[int, list[float]] = {}
    for record in context.project.database[FOLLOW_UPS].find(
        {
            "campaign": context.campaign.id,
            "composition": pristine_composition(context),
            "branch": Branch.BADER.value,
            "outcome": Outcome.DONE.value,
        },
        {"level": 1, "key": 1, "bader.net_charges": 1},
    ):
        state = states.get(record["level"])
        if state is not None:
            sites = context.host.level(record["level"]).site_indices
            charges.setdefault(state, []).extend(record["bader"]["net_charges"][site] for site in sites)
    found = reference_charges(charges)
    rising = all(before < after for before, after in pairwise(found.values()))
    return {element: found} if len(found) > 1 and rising else {}


def as_reference(output: Mapping[str, Any], element: str, state: int) -> dict[str, Any]:
    """Say in the output of a branch that its charges are those by which the states of other cells are told.

    Parameters
    ----------
    output : mapping
        Of `jobs.followups.bader.bader`, done, on a pristine cell.
    element, state : str, int
        The metal, and the state of all its sites by charge balance (`reference_levels`).
    """
    from cathodeflow.jobs.followups.bader import SEPARATOR, without_remarks

    others = without_remarks(str(output.get("message", "")), [element])
    said = f"{element} is {element}{state}+ by charge balance: in other cells it is told by these charges"
    return {**output, "message": SEPARATOR.join(filter(None, (said, others)))}


def with_oxidation_states(
    output: Mapping[str, Any], species: list[str], references: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Fill the states of the metals that have references into a branch's output.

    Parameters
    ----------
    output : mapping
        Of `jobs.followups.bader.bader`, done.
    species : list of str
        Element per site.
    references : mapping
        As `oxidation_references`.

    Returns
    -------
    dict
        The output with `oxidation_states` and `oxidation_references`, its message no longer saying that there are
        none; as it was where there are no references.
    """
    from cathodeflow.jobs.followups.bader import without_remarks
    from cathodeflow.science.electronic.charges import assign_oxidation_states

    bader = dict(output["bader"])
    states = list(bader.get("oxidation_states") or [None] * len(species))
    used: dict[str, dict[str, float]] = {}
    for element, known in references.items():
        sites = [index for index, symbol in enumerate(species) if symbol == element]
        if not sites:
            continue
        charges = [bader["net_charges"][site] for site in sites]
        assigned = assign_oxidation_states(charges, {int(state): charge for state, charge in known.items()})
        for site, state in zip(sites, assigned.states, strict=True):
            states[site] = state
        used[element] = dict(known)
    if not used:
        return dict(output)
    message = without_remarks(str(output.get("message", "")), list(used))
    return {
        **output,
        "message": message,
        "bader": {**bader, "oxidation_states": states, "oxidation_references": used},
    }
