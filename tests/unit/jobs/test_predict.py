"""Shards cover the space once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cathodeflow.jobs.predict import shard_candidates, shards
from cathodeflow.science.hosts.candidates import enumerate_candidates
from cathodeflow.science.hosts.host import load_packaged_host

HOST = load_packaged_host("lifepo4")
ELEMENTS = ["Mn", "Fe", "Mo"]
EVERY = [candidate.key for candidate in enumerate_candidates(HOST, ELEMENTS)]


@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 60))
def test_shards_hold_each_candidate_once_and_in_order(size):
    made = shards(HOST, ELEMENTS, None, size)
    assert [shard.number for shard in made] == list(range(len(made)))
    assert all(0 < shard.stop - shard.start <= size for shard in made)
    keys = [one.key for shard in made for one in shard_candidates(shard, {"packaged": "lifepo4"}, ELEMENTS, None)]
    assert keys == EVERY


def test_ratios_restrict_the_shards():
    made = shards(HOST, ELEMENTS, [(2, 2)], 1000)
    found = [one for shard in made for one in shard_candidates(shard, {"packaged": "lifepo4"}, ELEMENTS, [[2, 2]])]
    assert {one.counts for one in found} == {(4,), (2, 2)}
