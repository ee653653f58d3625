"""The kernels divide any well separated charges as they were put in."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.calculators.bader.densities import gaussians

from cathodeflow.calculators.bader.partition import kernels, partition

pytestmark = pytest.mark.skipif(find_spec("pybader") is None, reason="pybader is not installed")

IMAGES = np.array(list(np.ndindex(3, 3, 3))) - 1


def separated(rng, lattice, count, distance):
    """Return random places that keep this distance over periodic images."""
    places: list[np.ndarray] = []
    for trial in rng.uniform(0, 1, (4000, 3)):
        away = [np.linalg.norm((trial - other + IMAGES) @ lattice, axis=1).min() for other in places]
        if min(away, default=np.inf) > distance:
            places.append(trial)
        if len(places) == count:
            break
    return np.array(places)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(2, 4), shape=st.tuples(*(st.integers(30, 36) for _ in range(3))))
def test_random_charges_in_a_slanted_cell_are_found(seed, count, shape):
    rng = np.random.default_rng(seed)
    lattice = np.diag(rng.uniform(5.8, 6.6, 3)) + np.tril(rng.uniform(-1.2, 1.2, (3, 3)), -1)
    places = separated(rng, lattice, count, 2.8)
    electrons = rng.uniform(1, 10, len(places))
    content = gaussians(lattice, places, electrons, ["V"] * len(places), shape=shape, width=0.32)
    values = np.ascontiguousarray(content.density.values)
    found = partition(values, values, lattice, places)
    assert found["electrons"] == pytest.approx(electrons, abs=1e-3)
    assert found["volumes"].sum() == pytest.approx(content.density.volume)


def test_the_kernels_load_without_the_packages_own_start_up(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    methods, refinement, numerics = kernels()
    assert callable(methods.neargrid)
    assert callable(refinement.edge_find)
    assert callable(numerics.charge_sum)
    assert list(tmp_path.iterdir()) == []
    assert find_spec("pybader") is not None
