"""How numbers and names are written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.report import wording


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1.005, 1, "1.0"),
        (-0.5, 2, "\N{MINUS SIGN}0.50"),
        (12345.6, 0, "12\N{THIN SPACE}346"),
        (None, 2, "–"),
        (math.nan, 2, "–"),
    ],
)
def test_numbers_have_fixed_decimals_and_a_true_minus_sign(value: float | None, digits: int, text: str) -> None:
    assert wording.number(value, digits) == text


@given(st.floats(-1e6, 1e6), st.integers(0, 4))
def test_a_written_number_reads_back(value: float, digits: int) -> None:
    text = wording.number(value, digits).replace("\N{MINUS SIGN}", "-").replace("\N{THIN SPACE}", "")
    assert float(text) == pytest.approx(value, abs=0.51 * 10**-digits)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59, "59 s"), (61, "1 min 1 s"), (3_660, "1 h 1 min"), (200_000, "2 d 7 h"), (59.9, "60 s")],
)
def test_durations_have_the_two_units_that_matter(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


def test_formulas_have_subscripts_and_nothing_else_is_markup() -> None:
    assert wording.formula("Cu0.5Mo1.5") == "Cu<sub>0.5</sub>Mo<sub>1.5</sub>"
    assert wording.formula("<b>2") == "&lt;b&gt;<sub>2</sub>"


def test_counts_per_formula_unit_leave_a_single_one_out() -> None:
    assert wording.per_formula_unit(["Cu", "Mo"], [2, 6], 4) == "Cu0.5Mo1.5"
    assert wording.per_formula_unit(["Cu", "Mo"], [4, 4], 4) == "CuMo"
    assert wording.per_formula_unit(["V"], [8], 4) == "V2"


def test_levels_ascend_in_content_and_not_in_spelling() -> None:
    assert wording.sort_levels(["Na10", "Na2", "Na2.5", "Na2"]) == ["Na2", "Na2.5", "Na10"]
    assert wording.working_ion(["Mg0.5"]) == "Mg"
    assert wording.working_ion([]) == "ion"


def test_plateaus_lie_between_neighbouring_levels() -> None:
    voltages = {"V43": 2.0, "V32": math.nan, "V21": 3.5}
    assert wording.voltage_steps(["Na4", "Na1", "Na3", "Na2"], voltages) == [(1, 2, 3.5), (3, 4, 2.0)]
    assert wording.voltage_steps(["Na2.5", "Na2"], {"V2.5-2": 3.1}) == [(2, 2.5, 3.1)]
    assert wording.voltage_steps(["Na3"], voltages) == []


def test_an_unknown_rule_and_reason_are_still_readable() -> None:
    assert wording.rule_title("V21_window") == "V21 window"
    assert wording.rule_title("relaxation_energy_variation") == "E_relax variation"
    assert wording.reason_title("cosmic_ray") == "cosmic ray"
    assert wording.reason_title(None) == "not stated"
