"""Space-group operations as site permutations."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from cathodeflow.science.hosts.host import load_packaged_host
from cathodeflow.science.hosts.symmetry import site_permutations


@pytest.fixture(scope="module")
def rock_salt() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_rows_are_distinct_permutations_and_hold_the_identity(rock_salt: Structure) -> None:
    rows = site_permutations(rock_salt, range(4))
    assert (np.sort(rows, axis=1) == np.arange(4)).all()
    assert len({tuple(row) for row in rows}) == len(rows)
    assert (rows == np.arange(4)).all(axis=1).any()


def test_the_four_cations_of_rock_salt_are_permuted_in_all_ways(rock_salt: Structure) -> None:
    assert len(site_permutations(rock_salt, range(4))) == 24


def test_translations_inside_a_supercell_count(rock_salt: Structure) -> None:
    chain = rock_salt.get_primitive_structure() * (3, 1, 1)
    cations = [i for i, site in enumerate(chain) if site.specie.symbol == "Mg"]
    rows = {tuple(row) for row in site_permutations(chain, cations)}
    assert {(0, 1, 2), (1, 2, 0), (2, 0, 1)} <= rows


def test_only_operations_that_keep_a_chosen_subset_count(rock_salt: Structure) -> None:
    assert len(site_permutations(rock_salt, [0, 1])) == 2
    assert len(site_permutations(rock_salt, [2])) == 1


def test_permutations_refer_to_the_order_of_the_indices() -> None:
    level = load_packaged_host("nvpf").level("Na3")
    rows = {tuple(row) for row in site_permutations(level.structure, level.site_indices)}
    turned = tuple(reversed(level.site_indices))
    reversed_rows = {tuple(7 - np.array(row[::-1])) for row in site_permutations(level.structure, turned)}
    assert rows == reversed_rows


def test_a_broken_symmetry_leaves_fewer_permutations(rock_salt: Structure) -> None:
    strained = rock_salt.copy()
    strained.translate_sites([0], [0.06, 0, 0])
    assert len(site_permutations(strained, range(4), symprec=0.01)) < 24
