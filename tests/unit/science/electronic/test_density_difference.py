"""What leaves one place arrives at another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.science.electronic.density import GridDensity
from cathodeflow.science.electronic.density_difference import (
    density_difference,
    displaced_charge,
    planar_average,
    plane_slice,
)

CELL = np.array([[6.2, 0.0, 0.0], [1.4, 5.9, 0.0], [-0.9, 1.1, 6.4]])
SHAPES = st.tuples(*(st.integers(2, 9) for _ in range(3)))
GRIDS = SHAPES.flatmap(
    lambda shape: st.tuples(*(arrays(np.float64, shape, elements=st.floats(0, 50)) for _ in range(3)))
)


@settings(max_examples=60, deadline=None)
@given(grids=GRIDS)
def test_a_difference_of_parts_that_hold_all_electrons_integrates_to_zero(grids):
    first, second, pushed = grids
    # The whole: the parts with charge pushed about, its total kept.
    flow = pushed - np.roll(pushed, 1, axis=0) + np.roll(pushed, 1, axis=2) - np.roll(pushed, (1, 2), axis=(0, 1))
    whole = GridDensity(first + second + flow, CELL)
    difference = density_difference(whole, GridDensity(first, CELL), GridDensity(second, CELL))
    assert abs(difference.electrons) < 1e-6
    assert difference.values == pytest.approx(flow, abs=1e-9)
    for axis in range(3):
        heights, means = planar_average(difference, axis)
        assert len(heights) == difference.values.shape[axis]
        assert abs(means.mean() * difference.volume) < 1e-6


def test_displaced_charge_is_what_was_moved():
    before = np.full((6, 4, 4), 0.2)
    after = before.copy()
    after[1] -= 0.1
    after[4] += 0.1
    moved = density_difference(GridDensity(after, CELL), GridDensity(before, CELL), GridDensity(0 * before, CELL))
    assert displaced_charge(moved) == pytest.approx(0.1 * moved.volume / 6)
    heights, means = planar_average(moved, 0)
    assert means == pytest.approx([0, -0.1, 0, 0, 0.1, 0])
    # Planes are spaced by the height of the cell over its base, not by the length of the slanted vector.
    assert heights[1] == pytest.approx(moved.volume / np.linalg.norm(np.cross(CELL[1], CELL[2])) / 6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_is_a_plane_of_the_grid_and_periodic(axis):
    density = GridDensity(np.random.default_rng(0).uniform(size=(5, 6, 7)), CELL)
    count = density.values.shape[axis]
    assert plane_slice(density, axis, 2 / count) == pytest.approx(density.values.take(2, axis=axis))
    assert plane_slice(density, axis, -1 / count) == pytest.approx(density.values.take(count - 1, axis=axis))
    between = (density.values.take(count - 1, axis=axis) + density.values.take(0, axis=axis)) / 2
    assert plane_slice(density, axis, 1 - 0.5 / count) == pytest.approx(between)


def test_densities_that_cannot_be_subtracted_are_refused():
    density = GridDensity(np.ones((4, 4, 4)), CELL)
    with pytest.raises(CalculationError, match="NGXF"):
        density_difference(density, GridDensity(np.ones((4, 4, 5)), CELL), density)
    with pytest.raises(CalculationError, match="different cells"):
        density_difference(density, density, GridDensity(np.ones((4, 4, 4)), CELL * 1.001))
    with pytest.raises(CalculationError, match="instead of zero"):
        density_difference(density, density, density)
    assert density_difference(density, density, density, charge_tolerance=None).electrons < -1
    with pytest.raises(CalculationError, match="no numbers"):
        GridDensity(np.full((2, 2, 2), np.nan), CELL)
    with pytest.raises(CalculationError, match="no volume"):
        GridDensity(np.ones((2, 2, 2)), np.zeros((3, 3)))
    with pytest.raises(DefinitionError):
        planar_average(density, 3)
