from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from cathodeflow.science.acquisition.random import random_selection

ELEMENTS = ["Sc", "Ti", "V", "Cr", "Mn", "Fe"]
LEVELS = ["Na1", "Na2", "Na3", "Na4"]


def table(n_elements: int, n_levels: int, arrangements: int) -> tuple[list[str], list[str], list[tuple[str, ...]]]:
    rows = []
    for level in LEVELS[:n_levels]:
        for i, first in enumerate(ELEMENTS[:n_elements]):
            rows.append((f"{level}-{first}", level, (first,)))
            for second in ELEMENTS[i + 1 : n_elements]:
                rows += [(f"{level}-{first}{second}-{a}", level, (first, second)) for a in range(arrangements)]
    keys, levels, elements = zip(*rows, strict=True)
    return list(keys), list(levels), list(elements)


tables = st.builds(table, st.integers(1, 6), st.integers(1, 4), st.integers(1, 3))


@settings(max_examples=80, deadline=None)
@given(tables, st.integers(0, 120), st.integers(0, 5), st.data())
def test_a_selection_holds_each_key_once_and_none_that_is_labelled(space, n, seed, data):
    keys, levels, elements = space
    already = set(data.draw(st.lists(st.sampled_from(keys), max_size=10)))
    chosen = random_selection(keys, levels, elements, n, seed, already)
    assert len(set(chosen)) == len(chosen) == min(n, len(keys) - len(already))
    assert not already & set(chosen)
    assert set(chosen) <= set(keys)


@settings(max_examples=60, deadline=None)
@given(tables, st.integers(0, 120), st.integers(0, 5))
def test_all_unaries_come_before_any_binary(space, n, seed):
    keys, levels, elements = space
    unaries = {key for key, row in zip(keys, elements, strict=True) if len(row) == 1}
    chosen = random_selection(keys, levels, elements, n, seed)
    assert set(chosen[: min(n, len(unaries))]) <= unaries
    if n >= len(unaries):
        assert unaries <= set(chosen)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 24), st.integers(0, 5))
def test_too_few_unaries_are_spread_over_elements_and_levels(n_elements, n_levels, n, seed):
    keys, levels, elements = table(n_elements, n_levels, 1)
    chosen = random_selection(keys, levels, elements, min(n, n_elements * n_levels), seed)
    of = dict(zip(keys, zip(levels, elements, strict=True), strict=True))
    per_element = Counter(of[key][1][0] for key in chosen)
    per_level = Counter(of[key][0] for key in chosen)
    counts = [per_element[symbol] for symbol in ELEMENTS[:n_elements]]
    assert max(counts) - min(counts) <= 1
    counts = [per_level[level] for level in LEVELS[:n_levels]]
    assert max(counts) - min(counts) <= 2


@settings(max_examples=30, deadline=None)
@given(tables, st.integers(0, 60), st.integers(0, 5), st.randoms())
def test_the_choice_does_not_depend_on_the_order_of_the_table(space, n, seed, shuffler):
    rows = list(zip(*space, strict=True))
    shuffler.shuffle(rows)
    keys, levels, elements = (list(column) for column in zip(*rows, strict=True))
    assert random_selection(keys, levels, elements, n, seed) == random_selection(*space, n, seed)


def test_another_seed_draws_other_binaries():
    space = table(6, 4, 3)
    assert random_selection(*space, 60, 0) != random_selection(*space, 60, 1)
