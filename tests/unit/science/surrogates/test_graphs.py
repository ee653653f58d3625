import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from cathodeflow.errors import ModelError
from cathodeflow.science.surrogates.graphs import atomic_numbers, decorate, graph_template, spread_masks


def rock_salt() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_every_bond_is_there_in_both_directions_and_sorted_by_source():
    template = graph_template(rock_salt(), 4.0)
    pairs = sorted(zip(template.source, template.target, template.distance.round(4), strict=True))
    back = sorted(zip(template.target, template.source, template.distance.round(4), strict=True))
    assert pairs == back
    assert np.all(np.diff(template.source) >= 0)


def test_rock_salt_has_six_and_twelve_neighbours():
    template = graph_template(rock_salt(), 3.0)
    assert template.n_edges == 8 * (6 + 12)
    assert set(template.distance.round(4)) == {np.float32(2.1), np.float32(2.9698)}


def test_the_graph_does_not_depend_on_the_elements():
    other = rock_salt()
    other.replace_species({"Mg": "Fe", "O": "S"})
    first, second = graph_template(rock_salt(), 5.0), graph_template(other, 5.0)
    for name in ("source", "target", "distance"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_an_atom_without_neighbours_is_refused():
    with pytest.raises(ModelError, match="no neighbour within 3"):
        graph_template(Structure(Lattice.cubic(9.0), ["Na"], [[0, 0, 0]]), 3.0)


def test_disorder_is_refused():
    with pytest.raises(ModelError, match="disordered"):
        atomic_numbers(Structure(Lattice.cubic(3.0), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=6))
def test_set_bits_carry_the_second_element(masks):
    spread = spread_masks(np.array(masks), 23, 42, 8)
    assert spread.shape == (len(masks), 8)
    assert [int(sum(1 << i for i in range(8) if row[i] == 42)) for row in spread] == masks


def test_decorations_change_the_sites_only():
    base = np.array([11, 23, 8, 23], dtype=np.int64)
    sites = np.array([1, 3])
    assert decorate(base, sites, np.array([[26, 27], [28, 29]])).tolist() == [[11, 26, 8, 27], [11, 28, 8, 29]]
    assert base.tolist() == [11, 23, 8, 23]
