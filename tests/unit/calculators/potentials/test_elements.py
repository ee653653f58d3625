"""The starting structures of the elements are the phases they claim to be."""

from __future__ import annotations

import pytest
from ase.data import covalent_radii
from pymatgen.core import Element
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from cathodeflow.calculators.potentials.elements import elemental_phases, reference_elements
from cathodeflow.errors import CalculationError
from cathodeflow.science.hosts.compositions import D_BLOCK_30
from cathodeflow.science.hosts.host import load_packaged_host

OF_HOSTS = ("Li", "Na", "K", "Mg", "Ca", "Al", "P", "O", "F", "S", "Si", "Fe", "V", "Zr", "Nb", "W", "Mo", "Cr", "Mn")


@pytest.mark.parametrize("element", sorted({*D_BLOCK_30, *OF_HOSTS, "B", "C", "N", "H", "Cl", "Ga"}))
def test_neighbours_are_a_bond_apart(element):
    for phase in elemental_phases(element):
        assert {site.specie.symbol for site in phase.structure} == {element}
        _, _, _, distances = phase.structure.get_neighbor_list(r=6.0)
        ratio = distances.min() / (2 * covalent_radii[Element(element).Z])
        assert 0.75 < ratio < 1.35, (phase.phase, ratio)


@pytest.mark.parametrize(
    ("element", "number", "atoms"),
    [("Mn", 217, 29), ("P", 64, 4), ("S", 70, 32), ("B", 166, 12), ("Ga", 64, 4), ("C", 194, 4)],
)
def test_packaged_phases_have_their_space_group(element, number, atoms):
    structure = elemental_phases(element)[0].structure
    assert len(structure) == atoms
    assert SpacegroupAnalyzer(structure, symprec=0.01).get_space_group_number() == number


def test_metals_are_tried_in_other_lattices_too():
    assert [phase.phase for phase in elemental_phases("Na")] == ["bcc", "fcc", "hcp"]
    assert len(elemental_phases("Si")) == 1


def test_molecules_keep_their_box():
    (oxygen,) = elemental_phases("O")
    assert oxygen.is_molecule
    assert len(oxygen.structure) == 2


def test_an_element_without_structure_is_refused():
    with pytest.raises(CalculationError, match="leave I out") as caught:
        elemental_phases("I")
    assert caught.value.reason == "missing_reference"


def test_the_host_and_its_substituents_need_references():
    assert reference_elements(load_packaged_host("nvpf"), ["Mo", "Cu"]) == ["Cu", "F", "Mo", "Na", "O", "P", "V"]
