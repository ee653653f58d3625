"""The rules and their margins."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.errors import DefinitionError
from cathodeflow.science.screening.criteria import (
    CRITERIA,
    CriteriaSettings,
    PropertyColumns,
    RelaxationEnergyVariation,
    StepShape,
    VoltageWindow,
    paper_windows,
)


def of(voltages: list[float], energies: list[float] = [0.0]) -> PropertyColumns:  # noqa: B006 read only
    names = ("V43", "V32", "V21")[: len(voltages)]
    return PropertyColumns(names, np.array([voltages]), np.array([energies]))


def test_the_papers_rules_in_the_papers_order() -> None:
    rules = CriteriaSettings().criteria()
    assert [rule.name for rule in rules] == ["relaxation_energy_variation", "step_shape", "V21_window", "V43_window"]
    assert [rule.unit for rule in rules] == ["eV/atom", "V", "V", "V"]
    assert {type(rule) for rule in rules} == set(CRITERIA.values())


def test_rules_are_switched_off_and_limited_by_name() -> None:
    settings = CriteriaSettings(None, step_shape=False, voltage_windows={"V32": (None, 3.0), "V21": (None, None)})
    assert [rule.name for rule in settings.criteria()] == ["V32_window"]
    assert CriteriaSettings(0.1, "max").criteria()[0] == RelaxationEnergyVariation(0.1, "max")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4), st.floats(0.001, 1))
def test_variation_is_the_range_over_the_levels_or_the_largest(energies: list[float], limit: float) -> None:
    for measure, variation in (("range", max(energies) - min(energies)), ("max", max(energies))):
        passed, margin = RelaxationEnergyVariation(limit, measure).judge(of([1.0], energies))
        assert margin[0] == pytest.approx(limit - variation)
        assert passed[0] == (margin[0] > 0)


def test_variation_equal_to_the_limit_is_not_below_it() -> None:
    assert not RelaxationEnergyVariation(0.5).judge(of([1.0], [0.25, 0.75]))[0][0]


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=3))
def test_step_shape_is_strictly_rising_on_extraction_with_the_smallest_rise_as_margin(voltages: list[float]) -> None:
    passed, margin = StepShape().judge(of(voltages))
    assert passed[0] == all(a < b for a, b in pairwise(voltages))
    assert margin[0] == min(b - a for a, b in pairwise(voltages))


def test_a_single_voltage_has_step_shape() -> None:
    passed, margin = StepShape().judge(of([3.4]))
    assert passed.tolist() == [True]
    assert margin.tolist() == [0.0]


@pytest.mark.parametrize(
    ("low", "high", "voltage", "passed", "margin"),
    [
        (3.5, 4.0, 3.5, True, 0.0),
        (3.5, 4.0, 4.0, True, 0.0),
        (3.5, 4.0, 3.625, True, 0.125),
        (3.5, 4.0, 4.25, False, -0.25),
        (3.5, 4.0, 3.25, False, -0.25),
        (2.0, None, 2.0, False, 0.0),
        (2.0, None, 2.5, True, 0.5),
        (None, 4.25, 4.5, False, -0.25),
        (3.5, 4.0, float("nan"), False, float("nan")),
    ],
)
def test_windows_as_in_the_paper(
    low: float | None, high: float | None, voltage: float, passed: bool, margin: float
) -> None:
    verdict, by_how_much = VoltageWindow("V43", low, high).judge(of([voltage]))
    assert verdict.tolist() == [passed]
    assert by_how_much == pytest.approx([margin], nan_ok=True)


def test_missing_values_fail_every_rule() -> None:
    columns = of([2.5, np.nan, 3.6], [0.01, np.nan])
    for rule in (RelaxationEnergyVariation(0.05), StepShape(), VoltageWindow("V32", 0.0)):
        passed, margin = rule.judge(columns)
        assert not passed[0]
        assert np.isnan(margin[0])


def test_windows_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DefinitionError, match="V10"):
        VoltageWindow("V10", 2.0).judge(of([2.0, 3.0, 4.0]))
    with pytest.raises(DefinitionError, match="lower first"):
        CriteriaSettings(voltage_windows={"V21": (3.9, 3.49)}).criteria()


def test_another_host_takes_only_the_papers_windows_that_fit() -> None:
    assert paper_windows(["V10"]) == {}
    assert paper_windows(["V32", "V21"]) == {"V21": (3.49, 3.90)}
