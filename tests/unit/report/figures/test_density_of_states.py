"""Projected densities of states: no state is lost by coarsening, spins are mirrored, the right shells are drawn."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.report import followup_factories

from cathodeflow.records.followup import PdosCurve, PdosResult
from cathodeflow.report.figures.density_of_states import (
    STEP,
    WINDOW,
    coarsened,
    density_of_states,
    highest_density,
)

RESULT = followup_factories.pdos(["Cu", "Mo"], 0.4, random.Random(3))


@given(
    spacing=st.floats(0.003, 0.4),
    start=st.floats(-20, -8.5),
    heights=st.lists(st.floats(0, 50), min_size=3, max_size=12),
)
def test_the_states_in_the_window_are_kept(spacing: float, start: float, heights: list[float]) -> None:
    energies = np.arange(start, 7, spacing)
    values = np.interp(energies, np.linspace(start, 7, len(heights)), heights)
    first, means = coarsened(energies.tolist(), values.tolist())
    low, high = first - STEP / 2, first - STEP / 2 + STEP * len(means)
    assert low == pytest.approx(WINDOW[0])
    assert high <= WINDOW[1] + 1e-9
    fine = np.union1d(np.linspace(low, high, 4001), energies[(energies > low) & (energies < high)])
    whole = np.trapezoid(np.interp(fine, energies, values), fine)
    assert STEP * means.sum() == pytest.approx(whole, rel=1e-9, abs=1e-9)


def test_a_record_that_ends_within_the_window_is_drawn_to_its_end_only() -> None:
    first, means = coarsened([-3.0, 0.0, 2.0], [1.0, 1.0, 1.0])
    assert first - STEP / 2 == pytest.approx(-3.0)
    assert len(means) == 100
    assert means == pytest.approx(np.ones(100))


def test_metals_d_and_ligands_p_are_drawn_and_spin_down_is_mirrored() -> None:
    figure = density_of_states(RESULT, ["Cu", "Mo"], 40.0)
    names = [trace.name for trace in figure.data]
    assert names == ["Cu d", "Cu d", "Mo d", "Mo d", "O p", "O p", "F p", "F p"]
    assert [trace.showlegend for trace in figure.data] == [True, False] * 4
    up, down = np.array(figure.data[4].y), np.array(figure.data[5].y)  # O p is the same in both channels
    assert up.max() > 10
    assert down == pytest.approx(-up)
    low, high = figure.layout.yaxis.range
    assert low == -high == pytest.approx(-42.4)
    assert any(shape.x0 == shape.x1 == 0 for shape in figure.layout.shapes)  # the Fermi energy


def test_shells_that_s0_does_not_show_are_left_out() -> None:
    curves = [
        PdosCurve(element="Na", shell="s", up=[1.0, 1.0]),
        PdosCurve(element="Mo", shell="p", up=[1.0, 1.0]),
        PdosCurve(element="Mo", shell="d", up=[1.0, 2.0]),
    ]
    result = PdosResult(energies=[-8.0, 6.0], curves=curves, centres=[], fermi_energy=1.0)
    figure = density_of_states(result, ["Mo"], highest_density([(result, ["Mo"])]))
    assert [trace.name for trace in figure.data] == ["Mo d"]
    assert figure.layout.yaxis.range[0] == 0  # not spin-polarised: nothing below


def test_the_highest_point_is_that_of_what_is_drawn() -> None:
    assert highest_density([(RESULT, ["Cu", "Mo"])]) == pytest.approx(34, abs=2)
    assert highest_density([]) == 1.0
