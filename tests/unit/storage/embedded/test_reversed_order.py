"""An index read backwards gives the same documents as sorting all of them."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cathodeflow.storage.collections import IndexSpec
from cathodeflow.storage.connection import create_project

VALUES = st.one_of(st.none(), st.integers(-5, 5), st.floats(-2, 2), st.text("ab", max_size=2))
ROWS = st.lists(st.tuples(st.sampled_from(["x", "y"]), VALUES, VALUES), max_size=25)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(ROWS, st.sampled_from([1, -1]), st.sampled_from([1, -1]), st.integers(0, 6))
def test_an_index_read_backwards_sorts_as_the_query_engine(
    tmp_path_factory, rows: list[tuple], first: int, second: int, limit: int
):
    folder: Path = tmp_path_factory.mktemp("store")
    project = create_project(folder)
    for name in ("plain", "indexed"):
        project.insert_missing(name, [{"_id": n, "g": g, "a": a, "b": b} for n, (g, a, b) in enumerate(rows)])
    project.ensure_index(IndexSpec("indexed", (("g", 1), ("a", 1), ("b", -1))))
    sort = [("a", first), ("b", second)]
    asked = [project.select(name, {"g": "x"}, sort, limit) for name in ("plain", "indexed")]
    assert asked[0] == asked[1]
