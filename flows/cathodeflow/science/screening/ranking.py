"""Ranking of what passed, in two lists: with and without noble metals (S0 section 3.4 and Table 1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cathodeflow.science.energetics.voltage import fullest_first
from cathodeflow.science.screening.properties import CompositionProperties
from cathodeflow.science.screening.verdict import Verdict

NOBLE_METALS = frozenset({"Rh", "Ru", "Pd", "Ag", "Pt", "Au"})
"""As S0 section 3.4 names them; one of them makes a composition noble."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A place in a list: `rank` from 1, `score` None where the first voltage is not positive."""

    composition: str
    rank: int
    score: float | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The two lists, each ascending in score."""

    noble: tuple[Ranked, ...]
    non_noble: tuple[Ranked, ...]


def is_noble(elements: Iterable[str]) -> bool:
    """Return whether any element is one of `NOBLE_METALS`."""
    return not NOBLE_METALS.isdisjoint(elements)


def score(voltages: Mapping[str, float]) -> float | None:
    """Return (V_last - V_first) / V_first: (V21 - V43) / V43 for NVPF (S0 section 3.4).

    Parameters
    ----------
    voltages : mapping of str to float
        V, in any order; the first is the one of the fullest step, the last that of the emptiest.

    Returns
    -------
    float or None
        Smaller is better; 0 for a single voltage; None without voltages or where the first is not positive.
    """
    names = fullest_first(voltages)
    if not names or not voltages[names[0]] > 0:
        return None
    first, last = voltages[names[0]], voltages[names[-1]]
    return (last - first) / first


def rank(properties: Sequence[CompositionProperties], verdicts: Sequence[Verdict]) -> Ranking:
    """Rank the compositions that passed.

    Parameters
    ----------
    properties : sequence of CompositionProperties
        All compositions, in any order.
    verdicts : sequence of Verdict
        Those to rank; rejected ones are left out.

    Returns
    -------
    Ranking
        By ascending score. Equal scores (a host with one voltage has no others) go by the smaller of the largest
        E_relax over the levels, then by composition key; those without a score come last.
    """
    known = {known.composition: known for known in properties}
    passed = [known[verdict.composition] for verdict in verdicts if verdict.passed]
    noble = [candidate for candidate in passed if is_noble(candidate.elements)]
    return Ranking(_ranked(noble), _ranked([candidate for candidate in passed if not is_noble(candidate.elements)]))


def _ranked(candidates: Sequence[CompositionProperties]) -> tuple[Ranked, ...]:
    scored = [(candidate, score(candidate.voltages)) for candidate in candidates]

    def place(entry: tuple[CompositionProperties, float | None]) -> tuple[bool, float, float, str]:
        candidate, value = entry
        distortion = max(candidate.relaxation_energies.values(), default=0.0)
        return value is None, value or 0.0, distortion, candidate.composition

    return tuple(
        Ranked(candidate.composition, number, value)
        for number, (candidate, value) in enumerate(sorted(scored, key=place), start=1)
    )
