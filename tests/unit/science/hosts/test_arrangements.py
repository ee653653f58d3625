"""Orbits of bitmasks under site permutations."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathodeflow.errors import HostError
from cathodeflow.science.hosts.arrangements import (
    MAX_SITES,
    all_masks,
    burnside_count,
    canonical_masks,
    distinct_arrangements,
)


def generated_group(generators: list[tuple[int, ...]]) -> np.ndarray:
    n_sites = len(generators[0])
    group = {tuple(range(n_sites))}
    frontier = list(group)
    while frontier:
        element = frontier.pop()
        for generator in generators:
            product = tuple(generator[i] for i in element)
            if product not in group:
                group.add(product)
                frontier.append(product)
    return np.array(sorted(group), dtype=np.int64)


@st.composite
def permutation_groups(draw: st.DrawFn) -> np.ndarray:
    n_sites = draw(st.integers(1, 6))
    generators = draw(st.lists(st.permutations(range(n_sites)).map(tuple), min_size=1, max_size=3))
    return generated_group(generators)


@settings(max_examples=60, deadline=None)
@given(permutation_groups(), st.data())
def test_orbit_sizes_sum_to_all_arrangements_and_their_number_is_burnside(
    group: np.ndarray, data: st.DataObject
) -> None:
    n_sites = group.shape[1]
    n_second = data.draw(st.integers(0, n_sites))
    found = distinct_arrangements(group, n_sites, n_second)
    assert sum(arrangement.multiplicity for arrangement in found) == comb(n_sites, n_second)
    assert len(found) == burnside_count(group, n_second)


@settings(max_examples=60, deadline=None)
@given(permutation_groups(), st.data())
def test_orbits_are_those_of_a_plain_search(group: np.ndarray, data: st.DataObject) -> None:
    n_sites = group.shape[1]
    n_second = data.draw(st.integers(0, n_sites))
    orbits = {
        frozenset(frozenset(int(row[i]) for i in chosen) for row in group)
        for chosen in combinations(range(n_sites), n_second)
    }
    expected = {(min(sum(1 << i for i in member) for member in orbit), len(orbit)) for orbit in orbits}
    found = distinct_arrangements(group, n_sites, n_second)
    assert {(arrangement.mask, arrangement.multiplicity) for arrangement in found} == expected
    assert [arrangement.mask for arrangement in found] == sorted(arrangement.mask for arrangement in found)


@settings(max_examples=60, deadline=None)
@given(permutation_groups(), st.data())
def test_canonical_mask_does_not_depend_on_which_equivalent_arrangement_it_is_given(
    group: np.ndarray, data: st.DataObject
) -> None:
    n_sites = group.shape[1]
    mask = data.draw(st.integers(0, 2**n_sites - 1))
    row = data.draw(st.sampled_from(list(group)))
    image = sum(1 << int(row[i]) for i in range(n_sites) if mask >> i & 1)
    canonical = canonical_masks(group, np.array([mask, image]))
    assert canonical[0] == canonical[1] <= mask


def test_every_mask_of_twenty_sites_is_listed_once() -> None:
    masks = all_masks(20, 3)
    assert len(masks) == len(set(masks.tolist())) == comb(20, 3)
    assert all(int(mask).bit_count() == 3 for mask in masks)


def test_permutations_that_are_no_group_are_refused_by_burnside() -> None:
    with pytest.raises(HostError, match="group"):
        burnside_count(np.array([[0, 1, 2], [1, 2, 0]]), 1)


@pytest.mark.parametrize(("n_sites", "n_second"), [(0, 0), (MAX_SITES + 1, 2), (4, 5), (4, -1)])
def test_sites_that_cannot_be_enumerated_are_refused(n_sites: int, n_second: int) -> None:
    with pytest.raises(HostError):
        distinct_arrangements(np.arange(n_sites)[None, :], n_sites, n_second)
