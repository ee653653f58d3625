"""Each contact of a polyhedron gets its own bond, and none is made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathodeflow.errors import CalculationError
from cathodeflow.science.electronic.bonding import (
    BondIcohp,
    check_charge_spilling,
    contacts_within,
    polyhedron_bonding,
)

# Ligands on the faces of a box around one centre: each is a neighbour twice, by two translations.
CELL = np.diag([3.9, 4.0, 4.1])
PLACES = np.array([[0.0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])
SPECIES = ("V", "O", "O", "F")
CONTACTS = contacts_within(CELL, PLACES, SPECIES, [0], {"O", "F"}, 2.5)


def bonds_of(contacts, strength=lambda index: 1.0 + index / 10, backwards=False):
    """Return the list that LOBSTER would write, spin-polarised, the two channels unequal."""
    bonds = []
    for index, contact in enumerate(contacts):
        atoms, shift = (contact.centre, contact.ligand), contact.translation
        if backwards:
            atoms, shift = atoms[::-1], tuple(-n for n in shift)
        half = -strength(index) / 2
        bonds.append(BondIcohp(str(index + 1), atoms, round(contact.length, 5), shift, (half - 0.1, half + 0.1)))
    return bonds


def test_contacts_are_those_of_pymatgen():
    from pymatgen.core import Lattice, Structure

    rng = np.random.default_rng(1)
    cell = np.array([[5.0, 0, 0], [2.1, 4.4, 0], [-1.3, 0.8, 6.0]])
    places, species = rng.uniform(-1, 2, (12, 3)), ["V", "O", "F"] * 4
    found = contacts_within(cell, places, species, [0, 3], {"O", "F"}, 3.0)
    structure = Structure(Lattice(cell), species, places)
    for centre in (0, 3):
        theirs = sorted(
            round(n.nn_distance, 8) for n in structure.get_neighbors(structure[centre], 3.0) if str(n.specie) != "V"
        )
        assert [round(contact.length, 8) for contact in found if contact.centre == centre] == pytest.approx(theirs)


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(6)), backwards=st.booleans())
def test_every_contact_finds_its_bond_in_any_order_and_direction(order, backwards):
    bonds = bonds_of(CONTACTS, backwards=backwards)
    (polyhedron,) = polyhedron_bonding(CONTACTS, SPECIES, [bonds[k] for k in order])
    assert polyhedron.strengths == pytest.approx([1.0 + index / 10 for index in range(6)])
    assert polyhedron.mean_strength == pytest.approx(1.25)
    fluorine = [1.0 + k / 10 for k, contact in enumerate(CONTACTS) if contact.ligand == 3]
    assert polyhedron.mean_by_ligand["F"] == pytest.approx(np.mean(fluorine))
    assert set(polyhedron.mean_by_ligand) == {"O", "F"}
    assert (polyhedron.centre, polyhedron.element) == (0, "V")


def test_atoms_moved_by_whole_cells_still_find_their_bonds_by_length():
    bonds = [replace(bond, translation=(bond.translation[0] + 5, 0, 0)) for bond in bonds_of(CONTACTS, lambda _: 2.0)]
    (polyhedron,) = polyhedron_bonding(CONTACTS, SPECIES, bonds)
    assert polyhedron.strengths == pytest.approx([2.0] * 6)


@pytest.mark.parametrize("missing", range(6))
def test_a_list_that_lacks_a_bond_is_refused(missing):
    bonds = bonds_of(CONTACTS)
    del bonds[missing]
    with pytest.raises(CalculationError, match="lacks the bond V1-"):
        polyhedron_bonding(CONTACTS, SPECIES, bonds)


def test_lines_that_average_over_bonds_stand_for_each_of_them():
    bonds = [replace(bond, translation=(0, 0, 0), multiplicity=2) for bond in bonds_of(CONTACTS, lambda _: 2.0)[::2]]
    (polyhedron,) = polyhedron_bonding(CONTACTS, SPECIES, bonds)
    assert polyhedron.strengths == pytest.approx([2.0] * 6)


def test_an_icohp_that_is_no_number_is_refused():
    bonds = bonds_of(CONTACTS)
    bonds[0] = replace(bonds[0], icohp=(float("nan"), 0.0))
    with pytest.raises(CalculationError, match="no number"):
        polyhedron_bonding(CONTACTS, SPECIES, bonds)


def test_charge_spilling_above_the_limit_is_refused():
    assert check_charge_spilling([0.012, 0.031]) == 0.031
    with pytest.raises(CalculationError, match=r"6\.0 %"):
        check_charge_spilling([0.012, 0.06])
    for spillings in ([], [1.2], [float("nan")], [-0.1]):
        with pytest.raises(CalculationError, match="no fractions"):
            check_charge_spilling(spillings)
