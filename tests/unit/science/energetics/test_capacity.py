"""Theoretical capacity."""

from __future__ import annotations

import pytest
from pymatgen.apps.battery.insertion_battery import InsertionElectrode
from pymatgen.core import Composition, Lattice, Structure
from pymatgen.entries.computed_entries import ComputedEntry, ComputedStructureEntry
from scipy import constants

from cathodeflow.errors import DefinitionError
from cathodeflow.science.energetics.capacity import FARADAY_CONSTANT, gravimetric_capacity, molar_mass


def test_faraday_constant_is_the_product_of_two_exact_constants() -> None:
    assert pytest.approx(constants.e * constants.N_A, rel=1e-13) == FARADAY_CONSTANT


@pytest.mark.parametrize(("ion", "valence"), [("Li", 1), ("Mg", 2)])
def test_capacity_is_that_of_pymatgens_electrode(ion: str, valence: int) -> None:
    def entry(counts: dict[str, int], energy: float) -> ComputedStructureEntry:
        species = [symbol for symbol, count in counts.items() for _ in range(count)]
        coords = [[i / len(species), 0, 0] for i in range(len(species))]
        return ComputedStructureEntry(Structure(Lattice.orthorhombic(30, 5, 5), species, coords), energy)

    full = {"Fe": 1, "P": 1, "O": 4, ion: 1}
    electrode = InsertionElectrode.from_entries(
        [entry({"Fe": 1, "P": 1, "O": 4}, -40.0), entry(full, -46.0)], ComputedEntry(Composition({ion: 1}), -1.9)
    )
    ours = gravimetric_capacity(1, molar_mass(full), valence)
    assert ours == pytest.approx(electrode.get_capacity_grav(use_overall_normalization=False), rel=1e-4)


def test_a_formula_without_mass_is_refused() -> None:
    with pytest.raises(DefinitionError):
        gravimetric_capacity(1, 0.0)
