"""Gaps put into eigenvalues are found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathodeflow.errors import CalculationError
from cathodeflow.science.electronic.band_edges import band_edges, hybrid_k_points, may_open

POINTS = np.array([[0, 0, 0], [0.25, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0.5]], dtype=float)
WEIGHTS = np.array([1, 2, 2, 1], dtype=float)


def insulator(top=0.0, gap=2.0, vbm_at=1, cbm_at=3, spins=1):
    """Return two filled and two empty bands whose edges lie where asked."""
    filled = np.full(4, top - 0.5)
    filled[vbm_at] = top
    empty = np.full(4, top + gap + 0.5)
    empty[cbm_at] = top + gap
    bands = np.stack([filled - 3, filled, empty, empty + 2], axis=1)
    occupations = np.tile([1.0, 1.0, 0.0, 0.0], (4, 1))
    return np.stack([bands] * spins), np.stack([occupations] * spins)


@settings(max_examples=80, deadline=None)
@given(
    top=st.floats(-20, 20),
    gap=st.floats(0.01, 8),
    vbm_at=st.integers(0, 3),
    cbm_at=st.integers(0, 3),
    order=st.permutations(range(4)),
)
def test_the_gap_put_in_is_the_gap_found(top, gap, vbm_at, cbm_at, order):
    energies, occupations = insulator(top, gap, vbm_at, cbm_at)
    shuffled = [list(order)]
    found = band_edges(energies[:, :, shuffled[0]], occupations[:, :, shuffled[0]], POINTS, WEIGHTS)
    assert found.gap == pytest.approx(gap, abs=1e-9)
    assert found.vbm.energy == pytest.approx(top)
    assert found.cbm.energy == pytest.approx(top + gap)
    assert found.vbm.k_indices[0] == vbm_at
    assert found.cbm.k_points[0] == tuple(POINTS[cbm_at])
    assert found.is_direct == (vbm_at == cbm_at)
    assert not found.is_metal
    assert (found.vbm.band, found.cbm.band) == (1, 2)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**31), spins=st.integers(1, 2), filled=st.integers(1, 4))
def test_pymatgen_finds_the_same_gap_and_edges(seed, spins, filled):
    from pymatgen.core import Lattice
    from pymatgen.electronic_structure.bandstructure import BandStructure
    from pymatgen.electronic_structure.core import Spin

    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.5, 0.5, (7, 3))
    energies = np.sort(rng.uniform(-5, 5, (spins, 7, 6)), axis=2)
    energies[:, :, filled:] += max(0.0, energies[:, :, filled - 1].max() - energies[:, :, filled].min() + 0.1)
    occupations = np.zeros_like(energies)
    occupations[:, :, :filled] = 1.0
    fermi = (energies[:, :, filled - 1].max() + energies[:, :, filled].min()) / 2
    channels = dict(zip((Spin.up, Spin.down), energies.transpose(0, 2, 1), strict=False))
    theirs = BandStructure(points, channels, Lattice.cubic(4), fermi)
    ours = band_edges(energies, occupations, points, np.ones(7))
    gap = theirs.get_band_gap()
    assert ours.gap == pytest.approx(gap["energy"])
    assert ours.is_direct == gap["direct"]
    assert ours.vbm.energy == pytest.approx(theirs.get_vbm()["energy"])
    assert ours.vbm.k_points[0] == pytest.approx(theirs.get_vbm()["kpoint"].frac_coords)
    assert ours.cbm.k_points[0] == pytest.approx(theirs.get_cbm()["kpoint"].frac_coords)


def test_edges_may_lie_in_different_spin_channels():
    energies, occupations = insulator(spins=2)
    energies[1, :, :2] -= 1.0  # the filled states of the down channel lie lower
    energies[1, :, 2:] -= 0.7  # and so do its empty ones
    found = band_edges(energies, occupations, POINTS, WEIGHTS)
    assert (found.vbm.spin, found.cbm.spin) == (0, 1)
    assert found.gap == pytest.approx(1.3)
    assert found.channel_gaps == pytest.approx((2.0, 2.3))


def test_channels_may_fill_different_numbers_of_bands():
    energies, occupations = insulator(spins=2)
    occupations[1, :, 1] = 0
    energies[1, :, 1] = 1.2
    found = band_edges(energies, occupations, POINTS, WEIGHTS)
    assert (found.cbm.spin, found.cbm.band) == (1, 1)
    assert found.gap == pytest.approx(1.2)


def test_points_without_weight_are_judged_by_the_mesh_and_not_by_their_occupations():
    energies, occupations = insulator()
    line_energies = np.array([[[-3.0, 0.3, 1.7, 4.0]]])
    with_points = np.concatenate([energies, line_energies], axis=1)
    # A program may leave the occupations of such points at zero.
    filling = np.concatenate([occupations, np.zeros((1, 1, 4))], axis=1)
    points, weights = np.vstack([POINTS, [[0.1, 0.2, 0.3]]]), np.append(WEIGHTS, 0.0)
    everywhere = band_edges(with_points, filling, points, weights)
    assert everywhere.gap == pytest.approx(1.4)
    assert everywhere.is_direct
    assert everywhere.vbm.k_points[0] == (0.1, 0.2, 0.3)
    assert band_edges(with_points, filling, points, weights, k_points_used="weighted").gap == pytest.approx(2.0)
    assert band_edges(with_points, filling, points, weights, k_points_used="zero_weight").gap == pytest.approx(1.4)


@pytest.mark.parametrize("other", [(0, 0, 0), (1, 0, -1), (1e-9, 0, 0)])
def test_a_point_of_the_mesh_that_is_listed_again_without_weight_makes_no_gap_indirect(other):
    points = [(0, 0, 0), other]
    energies = np.array([[[-1.0, 0.0, 2.002], [-1.0, -0.002, 2.0]]])  # not converged to the last digit alike
    occupations = np.array([[[1.0, 1.0, 0.0]] * 2])
    found = band_edges(energies, occupations, points, [1, 0])
    assert (found.vbm.k_indices, found.cbm.k_indices) == ((0,), (1,))
    assert found.is_direct
    assert hybrid_k_points([found]).tolist() == [[0, 0, 0]]


def test_a_metal_has_no_gap_but_edges_for_the_hybrid():
    energies, occupations = insulator(gap=-0.4, vbm_at=0, cbm_at=3)
    found = band_edges(energies, occupations, POINTS, WEIGHTS)
    assert found.is_metal
    assert (found.gap, found.is_direct) == (0.0, False)
    assert found.overlap == pytest.approx(0.4)
    assert hybrid_k_points([found]).tolist() == [[0, 0, 0], [-0.5, -0.5, -0.5]]


@pytest.mark.parametrize(("overlap", "opens"), [(0.4, True), (0.99, True), (1.01, False), (3.0, False)])
def test_another_functional_may_open_a_metal_whose_bands_overlap_by_little(overlap, opens):
    _, occupations = insulator()
    filled, empty = np.array([0.0, -5, -5, -5]), np.array([5.0, 5, 5, -overlap])
    found = band_edges(np.stack([filled - 9, filled, empty, empty + 9], axis=1)[None], occupations, POINTS, WEIGHTS)
    assert found.is_metal
    assert found.overlap == pytest.approx(overlap)
    assert may_open(found, 1.0) is opens
    assert not may_open(found, 0.0)


def test_bands_that_are_partly_filled_stay_so_however_little_they_overlap():
    energies, occupations = insulator(gap=-0.1, vbm_at=0, cbm_at=3, spins=2)
    occupations[0, :, 2] += 0.3  # of the up channel, from the down channel
    occupations[1, :, 1] -= 0.3
    found = band_edges(energies, occupations, POINTS, WEIGHTS)
    assert found.from_whole == pytest.approx(0.3)
    assert not may_open(found, 1.0)


def test_an_insulator_needs_no_opening():
    energies, occupations = insulator(gap=2.0)
    assert may_open(band_edges(energies, occupations, POINTS, WEIGHTS), 0.0)


def test_a_half_filled_band_is_a_metal_even_where_the_mesh_leaves_a_space():
    energies, occupations = insulator()
    occupations[0, 0, 1] = 0.0
    assert band_edges(energies, occupations, POINTS, WEIGHTS).is_metal


@pytest.mark.parametrize("whole", [1, 2, 3, 4])
@pytest.mark.parametrize("spins", [1, 2])
def test_a_level_that_is_half_filled_at_the_only_point_is_a_metals(whole, spins):
    energies = np.arange(8.0)[None, None, :].repeat(spins, axis=0)
    occupations = np.zeros((spins, 1, 8))
    occupations[:, 0, :whole] = 1
    occupations[:, 0, whole] = 0.5
    found = band_edges(energies, occupations, [[0, 0, 0]], [1])
    assert found.is_metal
    assert found.gap == 0


@pytest.mark.parametrize("smeared", [0.0, 0.05, 0.2])
def test_a_narrow_gap_that_the_smearing_reaches_across_is_a_gap(smeared):
    energies = np.array([[[-1.0, 0.0, 0.1, 2.0]]])
    occupations = np.array([[[1.0, 1 - smeared, smeared, 0.0]]])
    found = band_edges(energies, occupations, [[0, 0, 0]], [1])
    assert not found.is_metal
    assert found.gap == pytest.approx(0.1)


def test_each_hybrid_point_is_listed_once_and_equivalent_ones_on_request():
    energies, occupations = insulator(vbm_at=2, cbm_at=2)
    energies[0, 0, 1] = energies[0, 2, 1]
    found = band_edges(energies, occupations, POINTS, WEIGHTS)
    assert found.vbm.k_indices == (0, 2)
    assert hybrid_k_points([found, found]).tolist() == [[-0.5, 0, 0]]
    assert len(hybrid_k_points([found], all_equivalent=True)) == 2
    assert found.is_direct
    shifted = band_edges(energies, occupations, POINTS + np.array([1, -1, 2]), WEIGHTS)
    assert np.allclose(hybrid_k_points([found, shifted]), hybrid_k_points([found]))


def test_what_cannot_give_edges_is_refused():
    energies, occupations = insulator()
    with pytest.raises(CalculationError, match="NBANDS"):
        band_edges(energies, np.ones_like(occupations), POINTS, WEIGHTS)
    with pytest.raises(CalculationError, match="zero_weight"):
        band_edges(energies, occupations, POINTS, WEIGHTS, k_points_used="zero_weight")
    with pytest.raises(CalculationError, match="weights"):
        band_edges(energies, occupations, POINTS, WEIGHTS[:3])
    with pytest.raises(CalculationError, match="no numbers"):
        band_edges(energies * np.nan, occupations, POINTS, WEIGHTS)
    with pytest.raises(CalculationError, match="negative"):
        band_edges(energies, occupations, POINTS, -WEIGHTS)
    with pytest.raises(CalculationError, match="spin, k-point, band"):
        band_edges(energies[0], occupations[0], POINTS, WEIGHTS)
