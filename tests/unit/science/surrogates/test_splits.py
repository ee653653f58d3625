import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathodeflow.errors import ModelError
from cathodeflow.science.surrogates.splits import split

marks = st.lists(st.booleans(), min_size=5, max_size=120).filter(lambda row: row.count(False) >= 1)


@settings(max_examples=100, deadline=None)
@given(marks, st.integers(0, 9), st.sampled_from([0.1, 0.2, 0.5]))
def test_the_parts_are_disjoint_complete_and_hold_out_no_unary(unary, seed, fraction):
    keys = [f"k{i}" for i in range(len(unary))]
    if round(fraction * len(unary)) < 1:
        return
    parts = split(keys, unary, fraction, seed)
    assert sorted([*parts.training, *parts.held_out]) == list(range(len(keys)))
    assert not any(unary[i] for i in parts.held_out)
    assert len(parts.held_out) == min(round(fraction * len(keys)), unary.count(False))


@settings(max_examples=50, deadline=None)
@given(marks, st.integers(0, 9), st.randoms())
def test_the_split_follows_the_keys_not_their_order(unary, seed, shuffler):
    rows = [(f"k{i}", mark) for i, mark in enumerate(unary)]
    first = {rows[i][0] for i in split(*zip(*rows, strict=True), 0.2, seed).held_out}
    shuffler.shuffle(rows)
    assert {rows[i][0] for i in split(*zip(*rows, strict=True), 0.2, seed).held_out} == first


def test_a_repeated_key_is_refused():
    with pytest.raises(ModelError, match="twice"):
        split(["a", "b", "a"], [False] * 3)


def test_unaries_alone_leave_nothing_to_judge_with():
    with pytest.raises(ModelError, match="nothing to hold out"):
        split([f"k{i}" for i in range(10)], [True] * 10)
