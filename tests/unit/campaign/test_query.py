from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect, OperationFailure

from cathodeflow.campaign.query import (
    COLLECTIONS,
    DEFAULT_FIELDS,
    answer,
    ask,
    check_collection,
    count,
    parse_filter,
    parse_sort,
    refused,
    rows_of,
    value_at,
)
from cathodeflow.errors import DefinitionError, StoreError
from cathodeflow.records.candidate import CandidateRecord
from cathodeflow.storage.connection import Project, create_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = create_project(tmp_path_factory.mktemp("query"))
    for campaign in ("one", "two"):
        records = [
            CandidateRecord(
                id=f"{campaign}/{mask}",
                campaign=campaign,
                key=f"k{mask}",
                host="nvpf",
                level="Na3" if mask % 2 else "Na1",
                composition="Cu2Mo6",
                elements=["Cu", "Mo"],
                counts=[2, 6],
                mask=mask,
                multiplicity=mask + 1,
            )
            for mask in range(6)
        ]
        project.insert_missing("candidates", [record.to_mongo() for record in records])
    return project


def test_no_filter_is_the_empty_filter():
    assert parse_filter(None) == {}
    assert parse_filter("  ") == {}


def test_a_filter_may_hold_extended_json():
    wanted = parse_filter(
        '{"_id": {"$oid": "5f5f5f5f5f5f5f5f5f5f5f5f"}, "created_at": {"$date": "2026-01-02T03:04:05Z"}}'
    )
    assert wanted["_id"] == ObjectId("5f5f5f5f5f5f5f5f5f5f5f5f")
    assert wanted["created_at"].replace(tzinfo=UTC) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "where"),
    [('{"level": "Na3"', "column 16"), ("{'level': 1}", "column 2"), ('{"a": 1,\n "b" 2}', "line 2, column 6")],
)
def test_bad_json_says_where(text: str, where: str):
    with pytest.raises(DefinitionError, match=where):
        parse_filter(text)


@pytest.mark.parametrize("text", ["[1]", "3", '"level"', "null"])
def test_a_filter_is_an_object(text: str):
    with pytest.raises(DefinitionError, match="a filter is a JSON object"):
        parse_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"$where": "sleep(1)"}',
        '{"$and": [{"a": 1}, {"$where": "1"}]}',
        '{"$expr": {"$function": {"body": "", "args": [], "lang": "js"}}}',
        '{"a": {"$not": {"$accumulator": {}}}}',
    ],
)
def test_operators_that_run_code_are_refused_at_any_depth(text: str):
    with pytest.raises(DefinitionError, match="runs code"):
        parse_filter(text)


def test_bad_extended_json_is_a_sentence():
    with pytest.raises(DefinitionError, match="extended JSON"):
        parse_filter('{"_id": {"$oid": "xyz"}}')


def test_an_operator_that_does_not_exist_is_a_sentence(project: Project):
    with pytest.raises(DefinitionError, match="cannot be used"):
        list(answer(project, ask("candidates", '{"mask": {"$nonsense": 1}}')))


def test_a_pattern_that_is_none_is_a_sentence(project: Project):
    with pytest.raises(DefinitionError, match="the filter cannot be used: missing \\), unterminated subpattern"):
        list(answer(project, ask("candidates", '{"key": {"$regex": "("}}')))
    with pytest.raises(DefinitionError, match="cannot be used"):
        count(project, ask("candidates", '{"key": {"$regex": "("}}'))


def test_a_server_that_is_away_is_not_blamed_on_the_filter():
    assert isinstance(refused(AutoReconnect("connection closed")), StoreError)
    assert isinstance(refused(OperationFailure("unknown operator: $nonsense", 2)), DefinitionError)


def test_a_sort_order_takes_signs_and_commas():
    assert parse_sort("rank,-score") == (("rank", 1), ("score", -1))
    assert parse_sort(None) == ()
    with pytest.raises(DefinitionError, match="empty field"):
        parse_sort("rank,,score")


def test_collections_are_found_in_the_singular_and_misspelt_ones_named():
    assert check_collection("candidate") == "candidates"
    assert check_collection("LABELS") == "labels"
    with pytest.raises(DefinitionError, match="did you mean predictions"):
        check_collection("predictons")
    with pytest.raises(DefinitionError, match="There are candidates"):
        check_collection("workflows")


def test_a_campaign_narrows_the_filter_but_not_shared_collections():
    assert ask("labels", '{"round": 0}', campaign="one").filter == {"$and": [{"campaign": "one"}, {"round": 0}]}
    assert ask("labels", campaign="one").filter == {"campaign": "one"}
    assert ask("references", campaign="one").filter == {}
    assert ask("campaigns", campaign="one").filter == {"_id": "one"}
    assert ask("fireworks", campaign="one").filter == {"spec._campaign": "one"}
    with pytest.raises(DefinitionError, match="launches name no campaign"):
        ask("launches", campaign="one")


def test_an_answer_is_filtered_sorted_and_limited(project: Project):
    question = ask("candidates", '{"level": "Na3"}', ["key", "multiplicity"], "-mask", 2, "one")
    assert list(answer(project, question)) == [{"key": "k5", "multiplicity": 6}, {"key": "k3", "multiplicity": 4}]
    assert count(project, question) == 3


def test_every_collection_has_fields_to_show():
    assert set(DEFAULT_FIELDS) == set(COLLECTIONS)
    assert all(DEFAULT_FIELDS.values())


def test_a_path_enters_mappings_and_lists():
    document = {"a": {"b": [1, {"c": 2}]}, "rules": [{"rule": "x"}, {"rule": "y"}]}
    assert value_at(document, "a.b.1.c") == 2
    assert value_at(document, "rules.rule") == ["x", "y"]
    assert value_at(document, "a.z.c") is None
    assert value_at(document, "a.b.7") is None


def test_mappings_of_scalars_become_one_column_each():
    documents = [
        {"k": 1, "voltages": {"V21": 3.6, "V43": 2.0}},
        {"k": 2, "voltages": {"V21": 3.5, "V32": 3.0}},
        {"k": 3},
    ]
    columns, rows = rows_of(documents, ["k", "voltages"])
    assert columns == ("k", "voltages.V21", "voltages.V43", "voltages.V32")
    assert rows == [(1, 3.6, 2.0, None), (2, 3.5, None, 3.0), (3, None, None, None)]


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(), min_size=1), st.integers(1, 4))
def test_rows_hold_what_the_documents_hold(flat: dict[str, Any], n: int):
    columns, rows = rows_of([flat] * n, list(flat))
    assert columns == tuple(flat)
    assert rows == [tuple(flat.values())] * n


def test_a_question_needs_no_project_folder(tmp_path: Path):
    with pytest.raises(DefinitionError):
        ask("candidates", "{")
