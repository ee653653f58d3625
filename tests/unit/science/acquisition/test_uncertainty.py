import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathodeflow.science.acquisition.features import candidate_features
from cathodeflow.science.acquisition.uncertainty import uncertainty_selection


@st.composite
def spaces(draw):
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    keys = [f"c{i:03d}" for i in range(n)]
    features = rng.integers(0, 3, size=(n, 4)).astype(np.float32)
    std = rng.choice([0.0, 0.01, 0.02, 0.5], size=n)
    return keys, std, features


@settings(max_examples=80, deadline=None)
@given(spaces(), st.integers(0, 50), st.integers(0, 3), st.data())
def test_a_selection_holds_each_key_once_and_none_that_is_labelled(space, n, seed, data):
    keys, std, features = space
    already = set(data.draw(st.lists(st.sampled_from(keys), max_size=8)))
    chosen = uncertainty_selection(keys, std, features, n, seed, already)
    assert len(set(chosen)) == len(chosen) == min(n, len(keys) - len(already))
    assert not already & set(chosen)


@settings(max_examples=40, deadline=None)
@given(spaces(), st.integers(0, 20), st.integers(0, 3), st.integers(0, 100))
def test_the_choice_does_not_depend_on_the_order_of_the_table(space, n, seed, shuffle):
    keys, std, features = space
    order = np.random.default_rng(shuffle).permutation(len(keys))
    other = uncertainty_selection([keys[i] for i in order], std[order], features[order], n, seed)
    assert other == uncertainty_selection(keys, std, features, n, seed)


def test_the_most_disputed_candidate_is_first():
    features = np.zeros((3, 1), dtype=np.float32)
    assert uncertainty_selection(["a", "b", "c"], np.array([0.1, 0.3, 0.2]), features, 1, 0) == ["b"]


def test_alike_candidates_are_not_asked_twice():
    features = candidate_features(["Na1"] * 3, [("V", "Fe"), ("V", "Fe"), ("Mo", "Cu")], [(0.5, 0.5)] * 3)
    std = np.array([0.30, 0.29, 0.10])
    assert uncertainty_selection(["VFe1", "VFe2", "MoCu"], std, features, 2, 0) == ["VFe1", "MoCu"]


def test_what_is_labelled_counts_as_known():
    features = np.array([[0.0], [0.1], [3.0]], dtype=np.float32)
    std = np.array([0.2, 0.2, 0.1])
    assert uncertainty_selection(["a", "b", "c"], std, features, 1, 0, already=["a"]) == ["c"]


@pytest.mark.parametrize("std", [[0.1, np.nan], [0.1, -1.0], [0.1]])
def test_unusable_deviations_are_refused(std):
    with pytest.raises(ValueError, match="deviation"):
        uncertainty_selection(["a", "b"], np.array(std), np.zeros((2, 1), dtype=np.float32), 1, 0)


def test_two_pure_compounds_are_as_far_apart_as_two_levels():
    features = candidate_features(["Na1", "Na1", "Na2"], [("V",), ("Fe",), ("V",)], [(1.0,)] * 3)
    distance = np.linalg.norm(features[:, None] - features[None], axis=2)
    assert distance[0, 1] == pytest.approx(distance[0, 2]) == pytest.approx(np.sqrt(2))
