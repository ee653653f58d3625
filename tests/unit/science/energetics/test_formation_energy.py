"""Formation and relaxation energy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from cathodeflow.errors import CalculationError
from cathodeflow.science.energetics.formation_energy import (
    formation_energy,
    formation_energy_per_atom,
    relaxation_energy,
)

energies = st.floats(-50, 50)


def test_formation_energy_is_that_of_pymatgens_phase_diagram() -> None:
    potentials = {"Na": -1.289, "V": -9.1, "O": -4.9}
    counts = {"Na": 2, "V": 3, "O": 8}
    entry = PDEntry(Composition(counts), -90.0)
    diagram = PhaseDiagram([entry, *(PDEntry(Composition({e: 1}), mu) for e, mu in potentials.items())])
    assert formation_energy(-90.0, counts, potentials) == pytest.approx(diagram.get_form_energy(entry))
    assert formation_energy_per_atom(-90.0, counts, potentials) == pytest.approx(
        diagram.get_form_energy_per_atom(entry)
    )


@given(st.lists(energies, min_size=2, max_size=2), st.integers(1, 20), st.integers(1, 20))
def test_elements_themselves_have_no_formation_energy(potentials: list[float], n_a: int, n_b: int) -> None:
    mu = dict(zip(("Na", "Cl"), potentials, strict=True))
    total = n_a * mu["Na"] + n_b * mu["Cl"]
    assert formation_energy(total, {"Na": n_a, "Cl": n_b}, mu) == pytest.approx(0, abs=1e-9)


def test_many_crystals_at_once_equal_one_by_one() -> None:
    mu = {"Cu": -4.1, "Mo": -10.8, "Na": -1.3}
    total = np.array([-30.0, -40.0, -50.0])
    cu, mo = np.array([1, 2, 3]), np.array([3, 2, 1])
    together = formation_energy_per_atom(total, {"Cu": cu, "Mo": mo, "Na": 4}, mu)
    apart = [
        formation_energy_per_atom(t, {"Cu": c, "Mo": m, "Na": 4}, mu) for t, c, m in zip(total, cu, mo, strict=True)
    ]
    assert together == pytest.approx(apart)


def test_an_element_without_reference_is_named() -> None:
    with pytest.raises(CalculationError, match="Tc") as caught:
        formation_energy(-1.0, {"Na": 1, "Tc": 1}, {"Na": -1.3})
    assert caught.value.reason == "missing_reference"


@given(energies, energies, st.floats(-10, 10))
def test_relaxation_energy_needs_no_reference(after: float, before: float, shift: float) -> None:
    assert relaxation_energy(after + shift, before + shift) == pytest.approx(abs(after - before), abs=1e-9)
    assert relaxation_energy(after, before) == relaxation_energy(before, after) >= 0
