"""Pictures of Δρ: zero is white, signs keep their colour, the scale is common."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.report import followup_factories

from cathodeflow.report.figures.density_change import STEPS, colour_range, colour_steps, density_slice, planar_average

RESULT = followup_factories.density_difference("Mo5Au3", "Na2", side=24)


@given(st.lists(st.floats(-0.5, 0.5), min_size=4, max_size=4), st.floats(1e-4, 0.3))
def test_a_point_keeps_its_sign_and_half_a_step(values: list[float], end: float) -> None:
    steps = colour_steps([values[:2], values[2:]], end).astype(float).ravel()
    shown = steps / STEPS * end
    expected = np.clip(values, -end, end)
    assert np.abs(shown - expected).max() <= 0.5 * end / STEPS + 1e-12
    assert (np.sign(steps) * np.sign(values) >= 0).all()


def test_zero_is_in_the_middle_of_the_colours_and_the_two_ends_are_named() -> None:
    figure = density_slice(RESULT, 0.01)
    picture = figure.data[0]
    assert picture.zmin == -picture.zmax
    assert dict(picture.colorscale)[0.5] == "#f7f7f7"
    assert picture.colorbar.ticktext[0] == "\N{MINUS SIGN}0.01"
    assert picture.colorbar.ticktext[-1] == "0.01"


def test_rows_follow_the_first_vector_of_the_plane() -> None:
    figure = density_slice(RESULT.model_copy(update={"slice": [[0.0, 0.1, 0.0], [0.0, 0.0, 0.0]]}), 0.1)
    assert figure.data[0].dy == pytest.approx(9.1 / 2)
    assert figure.data[0].dx == pytest.approx(10.8 / 3)
    assert figure.layout.yaxis.title.text == "along b (Å)"
    assert figure.layout.xaxis.title.text == "along c (Å), at 0.5 a"
    assert np.array(figure.data[0].z)[0][1] == STEPS


def test_single_points_beside_a_nucleus_do_not_set_the_scale() -> None:
    large = followup_factories.density_difference("Mo5Au3", "Na2")
    assert np.max(large.slice) == pytest.approx(0.4)
    assert colour_range([large]) < 0.05
    assert colour_range([]) == 1.0
    assert colour_range([large.model_copy(update={"slice": [[0.0, 0.0]]})]) == 1.0


def test_planar_averages_stand_beside_the_host() -> None:
    figure = planar_average({"Na2": RESULT}, {"Na1": RESULT, "Na2": RESULT})
    assert [(trace.name, trace.line.dash, trace.showlegend) for trace in figure.data] == [
        ("Na1, pristine", "dash", True),
        ("Na2, pristine", "dash", False),
        ("Na2", "solid", True),
    ]
    assert figure.data[2].y[10] == pytest.approx(RESULT.planar_average[10], rel=1e-3)
    assert figure.layout.xaxis.title.text.startswith("Along c")
