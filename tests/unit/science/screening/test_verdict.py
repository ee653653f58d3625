"""Verdicts, the funnel, and the definition of a profile that holds."""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.counted_work import calls_of

from cathodeflow.errors import DefinitionError
from cathodeflow.science.screening.criteria import CriteriaSettings
from cathodeflow.science.screening.properties import CompositionProperties
from cathodeflow.science.screening.verdict import funnel, judge, judge_all, profile_holds


def properties(v43: float, v32: float, v21: float, spread: float = 0.01, key: str = "Cu2Mo6") -> CompositionProperties:
    relaxation = {"Na4": 0.1, "Na3": 0.1 + spread, "Na2": 0.1, "Na1": 0.1}
    return CompositionProperties(
        key, ("Cu", "Mo"), (2, 6), {"V43": v43, "V32": v32, "V21": v21}, relaxation, dict.fromkeys(relaxation, -2.0)
    )


some = st.lists(
    st.builds(properties, st.floats(1, 4), st.floats(2, 4), st.floats(3, 4.2), st.floats(0, 0.1)),
    min_size=1,
    max_size=30,
)


def test_a_composition_inside_all_limits_passes_with_its_margins() -> None:
    verdict = judge(properties(2.5, 3.0, 3.6), CriteriaSettings())
    assert verdict.passed
    assert verdict.first_failed is None
    margins = {judgement.rule: judgement.margin for judgement in verdict.rules}
    assert margins == pytest.approx(
        {"relaxation_energy_variation": 0.04, "step_shape": 0.5, "V21_window": 0.11, "V43_window": 0.5}
    )


@pytest.mark.parametrize(
    ("known", "rule", "margin"),
    [
        (properties(2.5, 3.0, 3.6, spread=0.08), "relaxation_energy_variation", -0.03),
        (properties(2.5, 2.4, 3.6), "step_shape", -0.1),
        (properties(2.5, 3.0, 3.4), "V21_window", -0.09),
        (properties(2.5, 3.0, 4.0), "V21_window", -0.1),
        (properties(1.8, 3.0, 3.6), "V43_window", -0.2),
        (properties(1.8, 1.7, 4.0), "step_shape", -0.1),
    ],
)
def test_a_rejected_composition_says_which_rule_and_by_how_much(
    known: CompositionProperties, rule: str, margin: float
) -> None:
    verdict = judge(known, CriteriaSettings())
    assert not verdict.passed
    assert verdict.first_failed == rule
    assert verdict.rule(rule).margin == pytest.approx(margin)
    assert len(verdict.rules) == 4


@given(some)
def test_many_at_once_are_judged_as_one_by_one(known: list[CompositionProperties]) -> None:
    assert judge_all(known, CriteriaSettings()) == tuple(judge(one, CriteriaSettings()) for one in known)


@given(some)
def test_the_funnel_adds_up_in_any_order(known: list[CompositionProperties]) -> None:
    verdicts = judge_all(known, CriteriaSettings())
    names = [judgement.rule for judgement in verdicts[0].rules]
    passed = sum(verdict.passed for verdict in verdicts)
    for order in permutations(names):
        steps = funnel(verdicts, order)
        assert steps[0].remaining == len(known)
        assert sum(step.rejected for step in steps) + passed == len(known)
        assert steps[-1].remaining == passed
        assert all(a.remaining - b.rejected == b.remaining for a, b in pairwise(steps))
    for step in funnel(verdicts)[1:]:
        assert step.rejected == sum(verdict.first_failed == step.name for verdict in verdicts)


def test_a_missing_level_rejects_and_is_not_bridged() -> None:
    whole, broken = properties(2.5, 3.0, 3.6, key="Cu1Mo7"), properties(2.5, 3.0, 3.6)
    broken = CompositionProperties(
        broken.composition, broken.elements, broken.counts, {"V43": 2.5}, {"Na4": 0.1, "Na3": 0.1}, {}
    )
    verdicts = judge_all([whole, broken], CriteriaSettings())
    assert [verdict.passed for verdict in verdicts] == [True, False]
    assert verdicts[1].first_failed == "relaxation_energy_variation"


def test_a_host_with_two_levels_is_judged_by_its_single_voltage() -> None:
    known = CompositionProperties("Mn4", ("Mn",), (4,), {"V10": 3.6}, {"Li1": 0.02, "Li0": 0.05}, {})
    verdict = judge(known, CriteriaSettings(voltage_windows={"V10": (3.0, None)}))
    assert verdict.passed
    assert [judgement.rule for judgement in verdict.rules] == [
        "relaxation_energy_variation",
        "step_shape",
        "V10_window",
    ]


def test_no_compositions_have_an_empty_funnel() -> None:
    assert judge_all([], CriteriaSettings()) == ()
    assert funnel([])[0].remaining == 0


def test_a_funnel_over_other_rules_is_refused() -> None:
    verdicts = judge_all([properties(2.5, 3.0, 3.6)], CriteriaSettings())
    with pytest.raises(DefinitionError, match="every rule"):
        funnel(verdicts, ["step_shape"])
    with pytest.raises(DefinitionError, match="not judged"):
        verdicts[0].rule("V32_window")


def test_three_thousand_compositions_are_judged_with_little_work_for_each() -> None:
    known = [properties(2.5, 3.0, 3.6)] * 3075
    assert calls_of(lambda: judge_all(known, CriteriaSettings())) < 50 * len(known)  # 15 each, 35 ms in all


PRISTINE = {"V43": 1.98, "V32": 2.94, "V21": 3.49}


@pytest.mark.parametrize(
    ("voltages", "holds"),
    [
        ({"V43": 2.1, "V32": 2.9, "V21": 3.4}, True),
        ({"V21": 3.4, "V32": 2.9, "V43": 2.1}, True),
        ({"V43": 2.1, "V32": 2.0, "V21": 3.4}, False),
        ({"V43": 2.1, "V32": 3.5, "V21": 3.4}, False),
        ({"V43": 1.9, "V32": 2.9, "V21": 3.4}, False),
        ({"V43": 2.1, "V32": float("nan"), "V21": 3.4}, False),
        (PRISTINE, False),
    ],
)
def test_a_profile_holds_with_step_shape_and_a_first_step_above_the_pristine(
    voltages: dict[str, float], holds: bool
) -> None:
    assert profile_holds(voltages, PRISTINE) is holds


def test_profiles_of_different_levels_are_not_compared() -> None:
    for voltages in ({}, {"V43": 2.1, "V32": 2.9}):
        with pytest.raises(DefinitionError, match="every level"):
            profile_holds(voltages, PRISTINE)
    assert profile_holds({"V10": 3.5}, {"V10": 3.4})
