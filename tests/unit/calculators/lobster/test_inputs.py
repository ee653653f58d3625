"""What LOBSTER is asked for: basis by POTCAR, bands, bonds."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.lobster import Lobsterin

from cathodeflow.calculators.lobster.inputs import basis_functions, lobster_basis, minimal_n_bands, write_lobsterin
from cathodeflow.calculators.vasp.materials_project import potcar_symbol
from cathodeflow.errors import DefinitionError


@pytest.fixture
def crystal() -> Structure:
    return Structure(
        Lattice.cubic(4.2), ["Na", "V", "O", "F"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5]]
    )


BASIS = lobster_basis({"Na": "Na_pv", "V": "V_pv", "O": "O", "F": "F"})


def test_the_basis_holds_the_valence_shells_of_the_potcar():
    assert set(BASIS["V"]) == {"3d", "3p", "4s"}
    assert set(BASIS["Na"]) == {"2p", "3s"}
    assert set(BASIS["O"]) == set(BASIS["F"]) == {"2s", "2p"}
    assert set(lobster_basis({"V": "V_sv"})["V"]) == {"3d", "3s", "3p", "4s"}


def test_every_potcar_of_the_materials_project_has_a_basis():
    from pymatgen.io.vasp.sets import MPRelaxSet

    elements = MPRelaxSet.CONFIG["POTCAR"]
    found = lobster_basis({element: potcar_symbol(element) for element in elements})
    assert set(found) == set(elements)
    # W_pv is in the older library only: as its neighbours in the table.
    assert found["W"] == found["Ta"] == found["Re"] == ("5d", "5p", "6s")


def test_a_potcar_without_a_basis_is_named_with_a_remedy():
    with pytest.raises(DefinitionError, match=r"POTCAR V_GW.*override potcar_symbols"):
        lobster_basis({"V": "V_GW", "O": "O"})


def test_bands_hold_every_basis_function_and_every_electron(crystal):
    functions = basis_functions(crystal, BASIS)
    assert functions == (3 + 1) + (5 + 3 + 1) + 2 * (1 + 3)
    lobsterin = Lobsterin({"basisfunctions": [f"{name} {' '.join(of)}" for name, of in BASIS.items()]})
    assert functions == lobsterin._get_nbands(crystal)
    electrons = 7 + 11 + 6 + 7
    assert minimal_n_bands(crystal, BASIS, electrons) == functions
    # With more electrons than functions VASP's own number counts, and a moment asks for more of one spin.
    assert minimal_n_bands(crystal, {**BASIS, "V": ("4s",)}, electrons) == 17 + 3
    assert minimal_n_bands(crystal, {**BASIS, "V": ("4s",)}, electrons, unpaired=4.0) == 17 + 3 + 2


def test_an_element_without_a_basis_is_refused(crystal):
    with pytest.raises(DefinitionError, match="F"):
        basis_functions(crystal, {name: BASIS[name] for name in ("Na", "V", "O")})


def test_lobsterin_asks_for_the_bonds_of_transition_metals_to_ligands(crystal, tmp_path: Path):
    lines = write_lobsterin(tmp_path, crystal, BASIS, cutoff=2.5).read_text().splitlines()
    asked = [line for line in lines if line.startswith("cohpGenerator")]
    assert asked == [f"cohpGenerator from 0.5 to 2.51 type V type {ligand}" for ligand in "OF"]
    assert {"COHPStartEnergy -35", "COHPEndEnergy 5", "basisSet pbeVaspFit2015"} <= set(lines)
    assert "basisfunctions V " + " ".join(BASIS["V"]) in lines
    # pymatgen knows every keyword (but takes one cohpGenerator only, of which LOBSTER takes many).
    (tmp_path / "one").write_text("\n".join(line for line in lines if line != asked[0]))
    assert Lobsterin.from_file(tmp_path / "one")["cohpendenergy"] == 5.0
    lines = write_lobsterin(tmp_path, crystal, BASIS, cutoff=2.5, centres=["Na"], gaussian_width=0.05).read_text()
    assert "type Na type O" in lines
    assert "type V" not in lines
    assert "gaussianSmearingWidth 0.05" in lines


def test_what_has_no_such_bonds_or_no_fermi_level_is_refused(crystal, tmp_path: Path):
    salt = Structure(Lattice.cubic(5), ["Na", "F"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(DefinitionError, match="no bonds of a transition metal"):
        write_lobsterin(tmp_path, salt, BASIS, cutoff=2.5)
    with pytest.raises(DefinitionError, match="must hold 0"):
        write_lobsterin(tmp_path, crystal, BASIS, cutoff=2.5, end=-1.0)
    assert not (tmp_path / "lobsterin").exists()
