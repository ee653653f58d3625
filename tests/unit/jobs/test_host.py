"""Hosts travel to jobs by name or with their crystals, and arrive the same."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from cathodeflow.jobs.host import candidate_structure, host_from
from cathodeflow.records.host import HostSpec
from cathodeflow.science.hosts.host import load_packaged_host


def test_a_packaged_host_travels_by_name():
    spec = HostSpec.of(load_packaged_host("nvpf"), packaged="nvpf").model_dump()
    assert len(str(spec)) < 200
    assert host_from(spec) is host_from(dict(spec))
    assert host_from(spec).level_labels == ("Na4", "Na3", "Na2", "Na1")


def test_an_own_host_arrives_as_it_left():
    host = load_packaged_host("lifepo4")
    arrived = host_from(HostSpec.of(host).model_dump(mode="json"))
    assert arrived.level_labels == host.level_labels
    for ours, theirs in zip(arrived.levels, host.levels, strict=True):
        assert ours.site_indices == theirs.site_indices
        assert ours.working_ion_count == theirs.working_ion_count
        assert ours.structure.species == theirs.structure.species
        np.testing.assert_allclose(ours.structure.cart_coords, theirs.structure.cart_coords, atol=1e-10)


def test_half_a_host_is_refused():
    with pytest.raises(ValidationError, match="either packaged"):
        HostSpec(name="mine")


def test_a_candidate_is_made_from_its_mask():
    structure = candidate_structure({"packaged": "nvpf"}, "Na3", ["Cu", "Mo"], 0x3F)
    assert structure.composition["Cu"] == 2
    assert structure.composition["Mo"] == 6
