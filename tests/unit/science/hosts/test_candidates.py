"""The space of candidates and the crystal of each."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher

from cathodeflow.errors import DefinitionError, HostError
from cathodeflow.science.hosts.arrangements import all_masks, canonical_masks, distinct_arrangements
from cathodeflow.science.hosts.candidates import (
    count_by_ratio,
    count_space,
    decorate,
    enumerate_candidates,
    parse_candidate_key,
)
from cathodeflow.science.hosts.host import Host, load_packaged_host
from cathodeflow.science.hosts.symmetry import site_permutations


@pytest.fixture(scope="module")
def nvpf() -> Host:
    return load_packaged_host("nvpf")


@pytest.fixture(scope="module")
def olivine() -> Host:
    return load_packaged_host("lifepo4")


def test_counts_agree_with_what_is_enumerated(nvpf: Host) -> None:
    elements = ["V", "Mo", "Cu"]
    counts = count_space(nvpf, elements)
    found = list(enumerate_candidates(nvpf, elements))
    per_level = Counter(candidate.level for candidate in found)
    assert {level.level: level.distinct for level in counts.levels} == per_level
    assert counts.distinct == len(found) == len({candidate.key for candidate in found})
    assert counts.arrangements == sum(candidate.multiplicity for candidate in found)
    assert {level.compositions for level in counts.levels} == {3 + 3 * 7} == {counts.compositions}


def test_each_ratio_has_the_burnside_count(nvpf: Host) -> None:
    for level in nvpf.levels:
        permutations = site_permutations(level.structure, level.site_indices)
        found = {k: len(distinct_arrangements(permutations, 8, k)) for k in range(1, 8)}
        assert found == count_by_ratio(permutations)


def test_structure_matcher_finds_the_same_classes(olivine: Host) -> None:
    """Every arrangement of two elements on four sites, grouped by an independent method."""
    matcher = StructureMatcher(ltol=0.02, stol=0.05, angle_tol=1, primitive_cell=False, scale=False)
    for level in olivine.levels:
        permutations = site_permutations(level.structure, level.site_indices)
        for n_second in range(5):
            masks = all_masks(4, n_second)
            canonical = canonical_masks(permutations, masks)
            crystals = [decorate(level, ("Fe", "Mn"), int(mask)) for mask in masks]
            for crystal, mask in zip(crystals, masks, strict=True):
                crystal.properties["mask"] = int(mask)
            groups = matcher.group_structures(crystals)
            theirs = {frozenset(crystal.properties["mask"] for crystal in group) for group in groups}
            ours = {frozenset(masks[canonical == value].tolist()) for value in np.unique(canonical)}
            assert theirs == ours


def test_a_decorated_crystal_holds_the_composition_and_keeps_the_sites(nvpf: Host) -> None:
    for candidate in islice(enumerate_candidates(nvpf, ["Cu", "Mo"]), 0, None, 17):
        level = nvpf.level(candidate.level)
        crystal = decorate(level, candidate.elements, candidate.mask)
        held = Counter(crystal[i].specie.symbol for i in level.site_indices)
        assert held == dict(zip(candidate.elements, candidate.counts, strict=True))
        assert np.array_equal(crystal.frac_coords, level.structure.frac_coords)
        others = set(range(len(crystal))) - set(level.site_indices)
        assert all(crystal[i].specie == level.structure[i].specie for i in others)


def test_bit_i_is_the_ith_substitution_site(nvpf: Host) -> None:
    level = nvpf.level("Na2")
    for bit in range(8):
        crystal = decorate(level, ("Cu", "Mo"), 1 << bit)
        assert [i for i in level.site_indices if crystal[i].specie.symbol == "Mo"] == [level.site_indices[bit]]


def test_the_pristine_host_is_among_its_candidates(nvpf: Host) -> None:
    pristine = [c for c in enumerate_candidates(nvpf, ["V", "Mo"]) if c.composition == "V8"]
    assert [c.key for c in pristine] == ["nvpf-Na4-V8-00", "nvpf-Na3-V8-00", "nvpf-Na2-V8-00", "nvpf-Na1-V8-00"]
    assert decorate(nvpf.level("Na3"), ("V",), 0) == nvpf.level("Na3").structure


def test_a_key_is_read_back_into_its_parts(nvpf: Host) -> None:
    for candidate in enumerate_candidates(nvpf, ["Cu", "Mo"], levels=["Na3"]):
        parts = parse_candidate_key(candidate.key)
        assert (parts.host, parts.level, parts.mask) == ("nvpf", "Na3", candidate.mask)
        assert (parts.composition.elements, parts.composition.counts) == (candidate.elements, candidate.counts)
    assert parse_candidate_key("my-own.host-Na2.5-Cu2Mo6-3f").host == "my-own.host"


@pytest.mark.parametrize(
    "key", ["", "nvpf", "nvpf-Na3-Cu2Mo6", "nvpf-Na3-Cu2Mo6-zz", "nvpf-Na3-Cu2Mo6-1", "nvpf-Na3-Cu2Mo6-3F", "-a-V8-00"]
)
def test_a_text_that_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(DefinitionError):
        parse_candidate_key(key)


def test_only_the_levels_asked_for_are_enumerated(nvpf: Host) -> None:
    assert {c.level for c in enumerate_candidates(nvpf, ["V"], levels=["Na1", "Na4"])} == {"Na1", "Na4"}
    with pytest.raises(HostError):
        list(enumerate_candidates(nvpf, ["V"], levels=["Na0"]))


def test_the_working_ion_cannot_be_a_substituent(nvpf: Host) -> None:
    with pytest.raises(DefinitionError, match="working ion"):
        list(enumerate_candidates(nvpf, ["V", "Na"]))


@pytest.mark.parametrize(("elements", "mask"), [(("V",), 1), (("V", "Mo"), 256), (("V", "Mo"), -1)])
def test_a_mask_that_does_not_fit_is_refused(nvpf: Host, elements: tuple[str, ...], mask: int) -> None:
    with pytest.raises(DefinitionError):
        decorate(nvpf.level("Na3"), elements, mask)
