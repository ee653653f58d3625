from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.stores import Stores

from cathodeflow.campaign.grouping import grouped
from cathodeflow.campaign.query import Question
from cathodeflow.errors import DefinitionError
from cathodeflow.storage.connection import create_project

DOCUMENTS: list[dict[str, Any]] = [
    {"_id": 1, "level": "Na1", "run": {"wall_s": 2.0}, "done": [{"by": "a"}, {"by": "b"}]},
    {"_id": 2, "level": "Na1", "run": {"wall_s": 4.0}, "done": [{"by": "a"}]},
    {"_id": 3, "level": "Na3", "run": None, "done": []},
    {"_id": 4, "level": "Na3", "run": {"wall_s": 1.0}},
    {"_id": 5, "level": "Na3", "run": {"wall_s": True}, "done": [{"by": "a"}, {"by": "a"}]},
]


def test_documents_are_counted_and_a_number_of_theirs_added_up(tmp_path: Path, stores: Stores):
    project = stores.create(tmp_path)
    project.insert_missing("labels", [dict(document) for document in DOCUMENTS])
    columns, rows = grouped(project, Question("labels", {}), ("level",), "run.wall_s")
    assert columns == ("level", "n", *(f"{name} of run.wall_s" for name in ("sum", "mean", "min", "max")))
    assert rows == [("Na3", 3, 1.0, 1.0, 1.0, 1.0), ("Na1", 2, 6.0, 3.0, 2.0, 4.0)]
    assert grouped(project, Question("labels", {"level": "Na1"}), ("level",)) == (("level", "n"), [("Na1", 2)])
    assert grouped(project, Question("labels", {"_id": 3}), ("level",), "run.wall_s")[1] == [
        ("Na3", 1, None, None, None, None)
    ]


def test_a_list_counts_once_for_each_member(tmp_path: Path, stores: Stores):
    project = stores.create(tmp_path)
    project.insert_missing("labels", [dict(document) for document in DOCUMENTS])
    assert grouped(project, Question("labels", {}), ("done.by",))[1] == [("a", 4), ("b", 1), (None, 1)]
    both = {(level, by): n for level, by, n in grouped(project, Question("labels", {}), ("level", "done.by"))[1]}
    assert both == {("Na1", "a"): 2, ("Na1", "b"): 1, ("Na3", "a"): 2, ("Na3", None): 1}


def test_the_limit_is_on_the_rows_and_a_bad_filter_is_refused(tmp_path: Path):
    project = create_project(tmp_path)
    project.insert_missing("labels", [dict(document) for document in DOCUMENTS])
    assert grouped(project, Question("labels", {}, limit=1), ("_id",))[1] == [(1, 1)]
    with pytest.raises(DefinitionError, match="cannot be used"):
        grouped(project, Question("labels", {"level": {"$no_such": 1}}), ("level",))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-5, 5)), max_size=12))
def test_groups_share_out_all_documents(tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, int]]):
    project = create_project(tmp_path_factory.mktemp("grouped"))
    documents = [{"_id": place, "kind": kind, "x": x} for place, (kind, x) in enumerate(members)]
    project.insert_missing("labels", documents)
    _, rows = grouped(project, Question("labels", {}), ("kind",), "x")
    assert {row[0]: row[1] for row in rows} == Counter(kind for kind, _ in members)
    assert sum(row[2] for row in rows) == sum(x for _, x in members)
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
    for kind, n, total, mean, least, most in rows:
        assert least <= mean <= most
        assert mean * n == pytest.approx(total)
        assert {least, most} <= {x for k, x in members if k == kind}
