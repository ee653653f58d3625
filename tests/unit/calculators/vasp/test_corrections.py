from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from cathodeflow.calculators.vasp.corrections import CorrectedEnergy, corrected_energy
from cathodeflow.calculators.vasp.input_sets import hubbard_u_of
from cathodeflow.calculators.vasp.preset import load_preset
from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.science.hosts.candidates import decorate
from cathodeflow.science.hosts.host import load_packaged_host

HOST = load_packaged_host("nvpf")
RELAX = load_preset("s0_relax")
SCHEME = "materials-project-2020"
# eV per atom, of Wang et al. (2021), table 1: oxide, fluoride; V and Mo in GGA+U fluorides and oxides.
OXIDE, FLUORIDE, V, MO = -0.687, -0.462, -1.700, -3.202


def corrected(structure: Structure, energy: float = -500.0) -> CorrectedEnergy:
    return corrected_energy(energy, structure, SCHEME, hubbard_u_of(structure, RELAX))


def test_terms_of_nvpf_are_the_published_ones_per_atom() -> None:
    found = corrected(HOST.level("Na3").structure)
    counts = HOST.level("Na3").structure.composition
    expected = V * counts["V"] + FLUORIDE * counts["F"] + OXIDE * counts["O"]
    assert found.corrected - found.uncorrected == pytest.approx(expected, abs=1e-9)
    assert [term.name.removeprefix("MP2020 ") for term in found.terms] == [
        "GGA/GGA+U mixing correction (V)",
        "anion correction (F)",
        "anion correction (oxide)",
    ]
    assert all(term.uncertainty > 0 for term in found.terms)


def test_each_metal_brings_its_own_term() -> None:
    mixed = corrected(decorate(HOST.level("Na3"), ["V", "Mo"], 0b00000111))
    pristine = corrected(HOST.level("Na3").structure)
    assert mixed.corrected - pristine.corrected == pytest.approx(3 * (MO - V), abs=1e-9)


def test_between_levels_the_corrections_cancel() -> None:
    shifts = [
        corrected(decorate(HOST.level(level), ["Mo", "Au"], 0b00000111)).corrected for level in ("Na4", "Na3", "Na1")
    ]
    assert shifts == pytest.approx([shifts[0]] * 3, abs=1e-9)


@pytest.mark.parametrize("element", ["Na", "V", "Mo", "Co", "P", "S", "H", "N", "O", "F", "Cl"])
def test_an_element_has_none_be_it_a_molecule_or_a_metal(element: str) -> None:
    structure = Structure(Lattice.cubic(12), [element] * 2, [[0, 0, 0], [0.1, 0, 0]])
    assert corrected_energy(-2.6, structure, SCHEME, {}) == CorrectedEnergy(SCHEME, -2.6, -2.6, ())


def test_none_changes_nothing() -> None:
    structure = HOST.level("Na3").structure
    assert corrected_energy(-500.0, structure, "none", {"V": 9.9}) == CorrectedEnergy("none", -500.0, -500.0, ())


def test_another_u_or_potcar_than_the_fits_is_refused() -> None:
    structure = HOST.level("Na3").structure
    with pytest.raises(CalculationError, match=r"Invalid U value of 4\.2 on V"):
        corrected_energy(-500.0, structure, SCHEME, {"V": 4.2})
    with pytest.raises(CalculationError, match="set corrections to none"):
        corrected_energy(-500.0, structure, SCHEME, {"V": 3.25}, {"V": "V_sv"})
    with pytest.raises(DefinitionError, match="no correction scheme"):
        corrected_energy(-500.0, structure, "materials-project", {"V": 3.25})
