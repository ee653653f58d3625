"""Projections add up, and centres lie where the bands were put."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathodeflow.errors import CalculationError
from cathodeflow.science.electronic.pdos import PartialDos, band_centre, shell, shell_density, sum_by_element_and_shell

ORBITALS = ("s", "py", "pz", "px", "dxy", "dyz", "dz2", "dxz", "x2-y2")
ENERGIES = np.linspace(-12, 8, 2001)


def peak(centre, width=0.4, states=1.0):
    return states * np.exp(-((ENERGIES - centre) ** 2) / (2 * width**2)) / np.sqrt(2 * np.pi) / width


def example(spins=2, species=("V", "O", "F", "O")):
    densities = np.random.default_rng(3).uniform(0, 2, (spins, len(species), len(ORBITALS), len(ENERGIES)))
    return PartialDos(ENERGIES, densities, species, ORBITALS, 1.5)


def test_sums_hold_every_projection_once():
    dos = example()
    sums = sum_by_element_and_shell(dos)
    assert set(sums) == {(element, kind) for element in ("V", "O", "F") for kind in "spd"}
    assert sum(sums.values()) == pytest.approx(dos.densities.sum(axis=(1, 2)))
    assert sums["O", "p"] == pytest.approx(dos.densities[:, [1, 3], 1:4].sum(axis=(1, 2)))
    assert shell_density(dos, {"V", "Mo"}, "d") == pytest.approx(dos.densities[:, 0, 4:].sum(axis=1))
    with pytest.raises(CalculationError, match="No d states of Mo"):
        shell_density(dos, {"Mo"}, "d")


@settings(max_examples=60, deadline=None)
@given(centre=st.floats(-8, 4), fermi=st.floats(-3, 3), states=st.floats(0.1, 50))
def test_the_centre_is_where_the_band_was_put(centre, fermi, states):
    spins = np.stack([peak(centre - 0.3, states=states), peak(centre + 0.3, states=states)])
    found = band_centre(ENERGIES, spins, fermi)
    assert found.centre == pytest.approx(centre - fermi, abs=1e-6)
    assert found.width == pytest.approx(np.sqrt(0.4**2 + 0.3**2), rel=1e-4)
    assert found.states == pytest.approx(2 * states, rel=1e-6)


def test_a_window_cuts_off_what_lies_outside():
    density = peak(-4) + peak(5, states=3)
    assert band_centre(ENERGIES, density, 0.0).centre == pytest.approx((-4 + 15) / 4, abs=1e-6)
    assert band_centre(ENERGIES, density, 0.0, (-10, 0)).centre == pytest.approx(-4, abs=1e-6)
    with pytest.raises(CalculationError, match="No states"):
        band_centre(ENERGIES, density, 0.0, (-12, -9))
    with pytest.raises(CalculationError, match="widen"):
        band_centre(ENERGIES, density, 0.0, (20, 30))


def test_names_of_orbitals_and_arrays_that_do_not_fit_are_refused():
    assert [shell(name) for name in ORBITALS] == list("spppddddd")
    assert shell("fz3") == "f"
    with pytest.raises(CalculationError, match="none of the shells"):
        shell("t2g")
    with pytest.raises(CalculationError, match="does not hold"):
        PartialDos(ENERGIES, np.zeros((2, 3, 9, 2001)), ("V", "O"), ORBITALS, 0.0)
    with pytest.raises(CalculationError, match="ascend"):
        PartialDos(ENERGIES[::-1], np.zeros((2, 2, 9, 2001)), ("V", "O"), ORBITALS, 0.0)
