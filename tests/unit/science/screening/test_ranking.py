"""Ranking and the two lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.science.hosts.compositions import Composition
from cathodeflow.science.screening.criteria import CriteriaSettings
from cathodeflow.science.screening.properties import CompositionProperties
from cathodeflow.science.screening.ranking import NOBLE_METALS, is_noble, rank, score
from cathodeflow.science.screening.verdict import judge_all

EVERYTHING = CriteriaSettings(None, step_shape=False, voltage_windows={})


def known(key: str, first: float, last: float, distortion: float = 0.0) -> CompositionProperties:
    composition = Composition.from_key(key)
    voltages = {"V43": first, "V32": 3.0, "V21": last}
    return CompositionProperties(key, composition.elements, composition.counts, voltages, {"Na3": distortion}, {})


keys = st.sampled_from(["Cu2Mo6", "V8", "Ru4Ag4", "Fe5Au3", "Ti2Pt6", "Mn4Mo4", "V7Cu1"])


@given(st.lists(st.builds(known, keys, st.floats(0.5, 4), st.floats(0.5, 4)), unique_by=lambda p: p.composition))
def test_every_passed_composition_has_one_place_and_scores_ascend(properties: list[CompositionProperties]) -> None:
    ranking = rank(properties, judge_all(properties, EVERYTHING))
    for places in (ranking.noble, ranking.non_noble):
        assert [place.rank for place in places] == list(range(1, len(places) + 1))
        scores = [place.score for place in places]
        assert scores == sorted(scores)
    assert {place.composition for place in ranking.noble} == {p.composition for p in properties if is_noble(p.elements)}
    assert len(ranking.noble) + len(ranking.non_noble) == len(properties)


def test_rejected_compositions_have_no_place() -> None:
    properties = [known("Cu2Mo6", 2.5, 3.6), known("Mn4Mo4", 1.5, 3.6)]
    settings = CriteriaSettings(None)
    ranking = rank(properties, judge_all(properties, settings))
    assert [place.composition for place in ranking.non_noble] == ["Cu2Mo6"]


def test_the_score_is_the_spread_of_the_profile_over_its_first_voltage() -> None:
    assert score({"V21": 3.6, "V32": 3.0, "V43": 2.4}) == pytest.approx(0.5)
    assert score({"V10": 3.4}) == 0
    assert score({"V43": 0.0, "V21": 3.0}) is None
    assert score({}) is None


def test_equal_scores_go_by_distortion_and_then_by_key() -> None:
    properties = [
        known("Mn4Mo4", 2, 3, 0.1),
        known("Cu2Mo6", 2, 3, 0.1),
        known("V8", 2, 3, 0.05),
        known("V7Cu1", -1, 3),
    ]
    for order in (properties, properties[::-1]):
        ranking = rank(order, judge_all(order, EVERYTHING))
        assert [place.composition for place in ranking.non_noble] == ["V8", "Cu2Mo6", "Mn4Mo4", "V7Cu1"]
        assert ranking.non_noble[-1].score is None


def test_one_noble_metal_makes_a_composition_noble() -> None:
    assert is_noble(("Fe", "Au"))
    assert not is_noble(("Cu", "Mo"))
    assert {"Rh", "Ru", "Pd", "Ag", "Pt", "Au"} == NOBLE_METALS
