"""S0 Table 1 and section 1: the ranked compositions and the theoretical capacity, as published."""

from __future__ import annotations

import pytest

from cathodeflow.science.energetics.capacity import gravimetric_capacity, molar_mass
from cathodeflow.science.hosts.compositions import Composition
from cathodeflow.science.screening.criteria import CriteriaSettings
from cathodeflow.science.screening.properties import CompositionProperties
from cathodeflow.science.screening.ranking import is_noble, rank
from cathodeflow.science.screening.verdict import judge_all

# M1, M2, alpha (M2 per formula unit of two metal sites), (V21 - V43)/V43
NOBLE = [
    ("Fe", "Au", 0.75, 0.141),
    ("Fe", "Au", 0.50, 0.315),
    ("Ru", "Au", 0.25, 0.331),
    ("Ru", "Au", 0.50, 0.334),
    ("Ti", "Pt", 1.50, 0.352),
    ("Ru", "Rh", 1.00, 0.379),
    ("Mo", "Au", 0.75, 0.391),
    ("Ru", "Ag", 0.50, 0.398),
    ("Ru", "Pd", 0.50, 0.398),
    ("Ru", "Ag", 0.25, 0.402),
]
NON_NOBLE = [
    ("Cu", "Mo", 1.25, 0.315),
    ("Cu", "Mo", 1.50, 0.480),
    ("Ti", "Cu", 0.50, 0.658),
    ("Co", "Mo", 1.25, 0.666),
    ("Mn", "Tc", 1.00, 0.675),
    ("Co", "Mo", 1.50, 0.721),
    ("V", "Cu", 0.25, 0.740),
    ("Cu", "Ge", 1.50, 0.750),
    ("Mn", "Ge", 1.00, 0.786),
    ("Mn", "Mo", 1.00, 0.834),
]


def composition(first: str, second: str, alpha: float) -> Composition:
    """Eight sites are four formula units of two."""
    n_second = round(alpha * 4)
    return Composition((first, second), (8 - n_second, n_second))


def as_properties(first: str, second: str, alpha: float, value: float) -> CompositionProperties:
    """Any profile inside the paper's limits that has the published ranking value."""
    found = composition(first, second, alpha)
    v21 = 3.9
    v43 = v21 / (1 + value)
    voltages = {"V43": v43, "V32": (v43 + v21) / 2, "V21": v21}
    relaxation = {"Na4": 0.10, "Na3": 0.08, "Na2": 0.08, "Na1": 0.09}
    return CompositionProperties(found.key, found.elements, found.counts, voltages, relaxation, {})


def test_published_values_ascend_and_the_lists_split_by_our_noble_metals() -> None:
    for rows, noble in ((NOBLE, True), (NON_NOBLE, False)):
        values = [value for *_, value in rows]
        assert values == sorted(values)
        assert all(is_noble((first, second)) is noble for first, second, *_ in rows)


def test_elements_and_amounts_are_compositions_of_eight_sites_as_we_write_them() -> None:
    keys = [composition(*row[:3]).key for row in NOBLE + NON_NOBLE]
    assert len(set(keys)) == 20
    assert all(Composition.from_key(key).n_sites == 8 for key in keys)
    assert keys[6] == "Mo5Au3"  # Mo1.25Au0.75 and, below, Cu0.50Mo1.50: what S0 concludes with
    assert keys[11] == "Cu2Mo6"


def test_our_rules_and_ranking_give_back_the_published_order() -> None:
    rows = NON_NOBLE[::-1] + NOBLE[::-1]
    properties = [as_properties(*row) for row in rows]
    settings = CriteriaSettings()
    verdicts = judge_all(properties, settings)
    assert all(verdict.passed for verdict in verdicts)
    ranking = rank(properties, verdicts)
    for places, published in ((ranking.noble, NOBLE), (ranking.non_noble, NON_NOBLE)):
        assert [place.score for place in places] == pytest.approx([row[3] for row in published])
        ours = [place.composition for place in places]
        assert set(ours) == {composition(*row[:3]).key for row in published}
        distinct = [row[3] for row in published]
        for place, row in zip(places, published, strict=True):
            if distinct.count(row[3]) == 1:
                assert place.composition == composition(*row[:3]).key


def test_nvpf_stores_128_mah_per_gram() -> None:
    """S0 section 1, reference 1: two of three sodium of Na3V2(PO4)2F3."""
    nvpf = {"Na": 3, "V": 2, "P": 2, "O": 8, "F": 3}
    assert gravimetric_capacity(2, molar_mass(nvpf)) == pytest.approx(128, abs=0.5)
