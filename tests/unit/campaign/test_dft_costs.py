from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import pi, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathodeflow.campaign import dft_costs
from cathodeflow.campaign.dft_costs import (
    ANCHOR_CELL,
    ANCHOR_RUN,
    HBAR2_OVER_2M,
    PAPER_CORES,
    Cell,
    Run,
    core_seconds,
    efficiency,
    operations,
    plane_waves,
    without_symmetry,
)

STATIC = Run(cutoff=550.0, k_points=36, mesh_points=64)


def test_the_papers_sum_comes_out_as_the_paper_says():
    """S0 section 3.3: two hours on 68 processors, 87,870 structures, "at least 20 years"."""
    example = dft_costs.worked_example()
    assert (example.structures, example.wall_h, example.cores) == (87_870, 2.0, 68)
    assert example.wall_years == pytest.approx(87_870 * 2 / (365.25 * 24))
    assert example.wall_years == pytest.approx(20.05, abs=0.01)
    assert example.core_hours == 11_950_320
    assert example.model_core_hours == pytest.approx(example.core_hours)


def test_the_anchor_is_the_packaged_host_with_the_presets_settings():
    from cathodeflow.calculators.vasp.parameters import read_parameters
    from cathodeflow.campaign.dft_runs import cell_of, relaxation_run
    from cathodeflow.science.hosts.host import load_packaged_host

    parameters = read_parameters({})
    cell = cell_of(load_packaged_host("nvpf").level("Na3").structure, parameters.preset)
    assert (cell.atoms, cell.species, cell.electrons) == (72, 5, 488)
    np.testing.assert_allclose(cell.lengths, ANCHOR_CELL.lengths, atol=1e-4)
    assert cell.electrons == ANCHOR_CELL.electrons
    assert relaxation_run(cell, parameters) == ANCHOR_RUN
    assert core_seconds(cell, ANCHOR_RUN) / 3600 == pytest.approx(2 * 68, rel=1e-4)


@given(st.tuples(*[st.floats(4, 9)] * 3), st.floats(100, 300))
@settings(max_examples=15, deadline=None)
def test_plane_waves_are_those_inside_the_cutoffs_sphere(lengths: tuple[float, float, float], cutoff: float):
    reach = [int(length * np.sqrt(cutoff / HBAR2_OVER_2M) / (2 * pi)) + 1 for length in lengths]
    counted = sum(
        HBAR2_OVER_2M * sum((2 * pi * n / length) ** 2 for n, length in zip(point, lengths, strict=True)) <= cutoff
        for point in product(*(range(-limit, limit + 1) for limit in reach))
    )
    assert plane_waves(prod(lengths), cutoff) == pytest.approx(counted, rel=0.2, abs=30)


@given(st.tuples(*[st.integers(1, 6)] * 3), st.booleans())
@settings(deadline=None)
def test_time_reversal_leaves_one_point_of_each_pair(mesh: tuple[int, int, int], at_gamma: bool):
    shifts = [0.0 if at_gamma or count % 2 else 0.5 for count in mesh]
    points = {
        tuple(round((n + shift) / count % 1, 9) for n, shift, count in zip(index, shifts, mesh, strict=True))
        for index in product(*(range(count) for count in mesh))
    }
    pairs = {frozenset({point, tuple(round(-value % 1, 9) % 1 for value in point)}) for point in points}
    assert without_symmetry(mesh, at_gamma=at_gamma) == len(pairs)


def test_a_slanted_cells_volume_is_its_determinant():
    cell = Cell(1, 1, 1, (3.0, 4.0, 5.0), (80.0, 95.0, 110.0))
    from pymatgen.core import Lattice

    assert cell.volume == pytest.approx(Lattice.from_parameters(3, 4, 5, 80, 95, 110).volume)


@given(
    st.sampled_from(["k_points", "work", "cutoff", "bands"]),
    st.floats(1.2, 4.0),
    st.sampled_from([STATIC, ANCHOR_RUN, replace(STATIC, hybrid=True)]),
)
def test_more_of_anything_costs_more(what: str, factor: float, run: Run):
    value = (getattr(run, what) or 1000.0) * factor
    assert operations(ANCHOR_CELL, replace(run, **{what: value})) > operations(ANCHOR_CELL, run)


def test_exact_exchange_is_the_dearest_step_and_gamma_alone_the_cheapest():
    def step(run: Run) -> float:
        return operations(ANCHOR_CELL, run) / run.electronic_steps / run.k_points

    at_gamma = replace(STATIC, k_points=1, mesh_points=1)
    assert step(replace(at_gamma, gamma_only=True)) == pytest.approx(step(at_gamma) / 2)
    hybrid = step(replace(at_gamma, hybrid=True)) / step(at_gamma)
    assert 5 < hybrid < 200  # the range that is told of hybrid runs against PBE
    meshed = step(replace(at_gamma, hybrid=True, mesh_points=8))
    assert meshed > 5 * step(replace(at_gamma, hybrid=True))  # it sums over the whole mesh


def test_a_cell_twice_as_large_costs_between_four_and_eight_times_as_much():
    double = replace(
        ANCHOR_CELL, atoms=144, electrons=976, lengths=(*ANCHOR_CELL.lengths[:2], 2 * ANCHOR_CELL.lengths[2])
    )
    assert 3.5 < operations(double, ANCHOR_RUN) / operations(ANCHOR_CELL, ANCHOR_RUN) < 8.5


@given(st.integers(1, 4000))
def test_more_processors_end_sooner_and_cost_more(cores: int):
    seconds = [core_seconds(ANCHOR_CELL, STATIC, n) / n for n in (cores, cores + 1)]
    assert seconds[1] < seconds[0]
    assert core_seconds(ANCHOR_CELL, STATIC, cores + 1) > core_seconds(ANCHOR_CELL, STATIC, cores)
    assert 0 < efficiency(cores) <= 1 == efficiency(1)


def test_the_scale_stands_on_the_papers_processors():
    assert core_seconds(ANCHOR_CELL, ANCHOR_RUN, PAPER_CORES) == pytest.approx(2 * 3600 * 68)
    assert core_seconds(ANCHOR_CELL, ANCHOR_RUN, 1) < core_seconds(ANCHOR_CELL, ANCHOR_RUN, PAPER_CORES)


@given(st.integers(1, 100))
def test_each_further_geometry_costs_more(steps: int):
    costs = [operations(ANCHOR_CELL, replace(ANCHOR_RUN, ionic_steps=n)) for n in (steps, steps + 1)]
    assert costs[1] > costs[0]
