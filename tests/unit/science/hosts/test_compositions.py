"""Element sets and compositions."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.errors import DefinitionError
from cathodeflow.science.hosts.compositions import (
    D_BLOCK_30,
    ELEMENTS_BY_NUMBER,
    Composition,
    atomic_number,
    compositions,
    element_sets,
    ordered_elements,
)

some_elements = st.lists(st.sampled_from(ELEMENTS_BY_NUMBER), min_size=1, max_size=8, unique=True)


def test_thirty_d_block_elements_are_those_of_the_three_rows() -> None:
    assert len(D_BLOCK_30) == len(set(D_BLOCK_30)) == 30
    assert D_BLOCK_30[0] == "Sc"
    assert D_BLOCK_30[9:11] == ("Zn", "Y")
    assert D_BLOCK_30[19:22] == ("Cd", "La", "Hf")
    assert D_BLOCK_30[-1] == "Hg"


def test_atomic_numbers_are_those_of_pymatgen() -> None:
    from pymatgen.core import Element

    assert [Element(symbol).Z for symbol in ELEMENTS_BY_NUMBER] == list(range(1, len(ELEMENTS_BY_NUMBER) + 1))


@given(some_elements, st.integers(1, 9))
def test_compositions_fill_the_sites_and_are_all_different(elements: list[str], n_sites: int) -> None:
    found = list(compositions(elements, n_sites))
    n = len(elements)
    assert len(found) == n + comb(n, 2) * (n_sites - 1)
    assert len({composition.key for composition in found}) == len(found)
    assert all(composition.n_sites == n_sites for composition in found)
    assert all(composition.elements == ordered_elements(composition.elements) for composition in found)


@given(some_elements, st.integers(1, 9))
def test_a_composition_is_read_back_from_its_key(elements: list[str], n_sites: int) -> None:
    for composition in compositions(elements, n_sites):
        assert Composition.from_key(composition.key) == composition


def test_order_is_by_atomic_number_whatever_the_list_says() -> None:
    assert element_sets(["Mo", "Cu"]) == (("Cu",), ("Mo",), ("Cu", "Mo"))
    assert Composition(("Cu", "Mo"), (2, 6)).key == "Cu2Mo6"
    assert atomic_number("V") == 23


@pytest.mark.parametrize("elements", [[], ["V", "V"], ["V", "Xx"], ["v"]])
def test_a_list_of_elements_that_cannot_be_used_is_refused(elements: list[str]) -> None:
    with pytest.raises(DefinitionError):
        element_sets(elements)


@pytest.mark.parametrize("key", ["", "V", "V0", "Mo6Cu2", "V4V4", "Cu2Mo3Ru3", "Cu2-Mo6", "Qq8", "Cu02Mo6"])
def test_a_text_that_is_no_composition_is_refused(key: str) -> None:
    with pytest.raises(DefinitionError):
        Composition.from_key(key)
