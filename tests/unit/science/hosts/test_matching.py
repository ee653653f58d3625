from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure

from cathodeflow.errors import HostError
from cathodeflow.science.hosts.candidates import Candidate, decorate, enumerate_candidates
from cathodeflow.science.hosts.host import load_packaged_host
from cathodeflow.science.hosts.matching import SAME_GEOMETRY, match_decoration

HOSTS = {name: load_packaged_host(name) for name in ("nvpf", "lifepo4")}
CANDIDATES: dict[str, list[Candidate]] = {
    "nvpf": list(enumerate_candidates(HOSTS["nvpf"], ["V", "Mo"])),
    "lifepo4": list(enumerate_candidates(HOSTS["lifepo4"], ["Fe", "Mn"])),
}


def unrelaxed(candidate: Candidate) -> Structure:
    return decorate(HOSTS[candidate.host].level(candidate.level), candidate.elements, candidate.mask)


def disguised(start: Structure, seed: int) -> Structure:
    """The same crystal with other axes, orientation, origin and order of sites."""
    rng = np.random.default_rng(seed)
    order, axes = rng.permutation(len(start)), rng.permutation(3)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return Structure(
        start.lattice.matrix[axes] @ rotation,
        [start[int(i)].specie.symbol for i in order],
        (start.frac_coords[order][:, axes] + rng.random(3)) % 1.0,
    )


picked = st.sampled_from(["nvpf", "lifepo4"]).flatmap(lambda name: st.sampled_from(CANDIDATES[name]))


@settings(max_examples=60, deadline=None)
@given(candidate=picked, seed=st.integers(0, 2**32 - 1))
def test_a_candidate_is_recognised_in_any_disguise(candidate: Candidate, seed: int):
    start = unrelaxed(candidate)
    hidden = disguised(start, seed)
    found = match_decoration(HOSTS[candidate.host], hidden)
    assert found.key == candidate.key
    assert found.is_unrelaxed
    laid = found.alignment.lay(hidden, found.start)
    assert [site.specie for site in laid] == [site.specie for site in start]
    assert laid.lattice.matrix == pytest.approx(start.lattice.matrix, abs=1e-6)
    # Sites coincide up to the tolerance of the host's symmetry, which made one key of equivalent arrangements.
    assert np.abs(laid.cart_coords - start.cart_coords).max() < 0.4


@settings(max_examples=30, deadline=None)
@given(candidate=st.sampled_from(CANDIDATES["lifepo4"]), seed=st.integers(0, 2**32 - 1))
def test_vectors_turn_with_the_crystal(candidate: Candidate, seed: int):
    """Displacements of the disguised crystal, laid on the host, are those of the crystal itself."""
    start = unrelaxed(candidate)
    hidden = disguised(start, seed)
    found = match_decoration(HOSTS["lifepo4"], hidden)
    moves = np.random.default_rng(seed).normal(scale=0.05, size=(len(start), 3))
    moved = Structure(hidden.lattice, hidden.species, hidden.cart_coords + moves, coords_are_cartesian=True)
    laid = found.alignment.lay(moved, found.start)
    before = found.alignment.lay(hidden, found.start)
    turned = moves[found.alignment.order] @ found.alignment.rotation(hidden, found.start)
    assert laid.cart_coords - before.cart_coords == pytest.approx(turned, abs=1e-6)


@pytest.mark.parametrize("mask", range(1, 255, 17))
def test_equivalent_arrangements_get_one_key(mask: int):
    host = HOSTS["nvpf"]
    structure = decorate(host.level("Na3"), ("V", "Mo"), mask)
    assert match_decoration(host, structure).key in {candidate.key for candidate in CANDIDATES["nvpf"]}


def test_a_relaxed_crystal_is_recognised_but_is_not_the_start():
    start = unrelaxed(CANDIDATES["lifepo4"][-1])
    start.perturb(0.15, seed=1)
    start.apply_strain([0.02, -0.01, 0.01])
    found = match_decoration(HOSTS["lifepo4"], start)
    assert found.key == CANDIDATES["lifepo4"][-1].key
    assert not found.is_unrelaxed
    assert SAME_GEOMETRY < found.deviation < 0.5


def test_rounding_of_files_does_not_matter():
    start = unrelaxed(CANDIDATES["nvpf"][40])
    rounded = Structure(start.lattice.matrix.round(4), start.species, start.frac_coords.round(5))
    assert match_decoration(HOSTS["nvpf"], rounded).is_unrelaxed


def without(structure: Structure, symbol: str) -> Structure:
    structure.remove_sites(structure.indices_from_symbol(symbol)[:1])
    return structure


def put(structure: Structure, *symbols: str) -> Structure:
    for index, symbol in zip(HOSTS["lifepo4"].level("Li1").site_indices, symbols, strict=False):
        structure.replace(index, symbol)
    return structure


def shuffled(structure: Structure) -> Structure:
    coords = np.random.default_rng(0).permutation(structure.frac_coords)
    return Structure(structure.lattice, structure.species, coords)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: without(s, "Li"), "holds 3 Li; a cell of lifepo4 holds 4 (Li1), 0 (Li0)"),
        (lambda s: without(s, "O"), "is not the framework of lifepo4"),
        (lambda s: without(s, "Fe"), "Fe3 would fill its 4 substitution sites"),
        (lambda s: put(s, "Mn", "Co"), "a candidate has one or two elements"),
        (shuffled, "its sites do not lie within"),
    ],
    ids=["no such level", "anion missing", "substituted site missing", "three elements", "other places"],
)
def test_other_crystals_are_refused_with_the_reason(change, why: str):
    structure = change(HOSTS["lifepo4"].level("Li1").structure.copy())
    with pytest.raises(HostError, match=re.escape(why)):
        match_decoration(HOSTS["lifepo4"], structure)


def test_a_disordered_crystal_is_refused():
    structure = HOSTS["lifepo4"].level("Li1").structure.copy()
    structure.replace(structure.indices_from_symbol("Fe")[0], {"Fe": 0.5, "Mn": 0.5})
    with pytest.raises(HostError, match="disordered"):
        match_decoration(HOSTS["lifepo4"], structure)
