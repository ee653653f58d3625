"""The embedded collection answers as mongomock does in memory, and keeps what it is told."""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path
from typing import Any

import mongomock_ng
import pytest
from bson.objectid import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import DeleteOne, InsertOne, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DocumentTooLarge, DuplicateKeyError

from cathodeflow.storage.embedded.client import MongoClient


@pytest.fixture
def database(tmp_path: Path) -> Any:
    return MongoClient(tmp_path / "store.sqlite")["test"]


# -- the same answers as the query engine in memory -----------------------------------------------------------------

DATES = st.sampled_from([dt.datetime(2020, 1, 1), dt.datetime(2026, 5, 4, 3, 2, 1)])  # noqa: DTZ001
NUMBERS = st.sampled_from([-3, -1.5, 0, 1, 2, 2.5, 7, 1e9])
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.sampled_from(["", "a", "b", "zz"]), DATES)
PLAIN = st.one_of(NUMBERS, st.sampled_from(["", "a", "b", "zz"]))
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.fixed_dictionaries({}, optional={"x": SCALARS, "y": SCALARS}),
    st.lists(st.fixed_dictionaries({}, optional={"x": SCALARS}), max_size=2),
)
PATHS = st.sampled_from(["a", "b", "c", "a.x", "b.x", "_id"])
CONDITIONS = st.one_of(
    SCALARS,
    st.builds(lambda v: {"$eq": v}, SCALARS),
    st.builds(lambda v: {"$in": v}, st.lists(SCALARS, max_size=3)),
    st.builds(lambda v: {"$nin": v}, st.lists(SCALARS, max_size=2)),
    st.builds(lambda v: {"$ne": v}, SCALARS),
    st.builds(lambda o, v: {o: v}, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.one_of(PLAIN, DATES)),
    st.builds(lambda low, high: {"$gt": low, "$lte": high}, NUMBERS, NUMBERS),
    st.builds(lambda v: {"$exists": v}, st.booleans()),
)
TERMS = st.dictionaries(PATHS, CONDITIONS, max_size=3)
FILTERS = st.one_of(
    TERMS,
    st.builds(lambda a, b: {"$and": [a, b]}, TERMS, TERMS),
    st.builds(lambda a, b: {"$or": [a, b]}, TERMS, TERMS),
    st.builds(lambda a, b: {**a, "$and": [b]}, TERMS, TERMS),
)
SORTS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "_id"]), st.sampled_from([1, -1])), max_size=2, unique_by=lambda s: s[0]
)
DOCUMENTS = st.fixed_dictionaries({"_id": st.integers(0, 12)}, optional={"a": VALUES, "b": VALUES, "c": SCALARS})
CHANGES = st.one_of(
    st.builds(lambda p, v: {"$set": {p: v}}, st.sampled_from(["a", "b", "c"]), VALUES),
    st.builds(lambda p: {"$unset": {p: 1}}, st.sampled_from(["a", "b", "c"])),
    st.builds(lambda v: {"$inc": {"n": v}}, st.integers(-2, 2)),
    st.builds(lambda v: {"$max": {"m": v}}, st.integers(-2, 2)),
    st.builds(lambda v: {"$push": {"l": v}}, SCALARS),
    st.builds(lambda v: {"$addToSet": {"l": v}}, NUMBERS),
)
OPERATIONS = st.one_of(
    st.tuples(st.just("insert_one"), DOCUMENTS),
    st.tuples(st.just("insert_many"), st.lists(DOCUMENTS, min_size=1, max_size=4), st.booleans()),
    st.tuples(st.just("update_one"), FILTERS, CHANGES, st.booleans()),
    st.tuples(st.just("update_many"), FILTERS, CHANGES),
    st.tuples(st.just("replace_one"), FILTERS, DOCUMENTS.map(lambda d: {k: v for k, v in d.items() if k != "_id"})),
    st.tuples(st.just("find_one_and_update"), FILTERS, CHANGES, SORTS),
    st.tuples(st.just("delete_one"), FILTERS),
    st.tuples(st.just("delete_many"), FILTERS),
)
INDEXES = (["a"], ["a", "-b"], ["a.x"], ["c", "b.x"], ["-c"])


def index_keys(names: list[str]) -> list[tuple[str, int]]:
    return [(name.lstrip("-"), -1 if name.startswith("-") else 1) for name in names]


def apply(collection: Any, operation: tuple[Any, ...]) -> Any:
    """Run one operation; an error of the database is an answer too."""
    name, *arguments = operation
    try:
        if name == "insert_one":
            return collection.insert_one(dict(arguments[0])).inserted_id
        if name == "insert_many":
            return collection.insert_many([dict(d) for d in arguments[0]], ordered=arguments[1]).inserted_ids
        if name == "update_one":
            # An upsert would invent an _id.
            result = collection.update_one(arguments[0], arguments[1])
            return result.matched_count, result.modified_count
        if name == "update_many":
            result = collection.update_many(*arguments)
            return result.matched_count, result.modified_count
        if name == "replace_one":
            return collection.replace_one(*arguments).matched_count
        if name == "find_one_and_update":
            return collection.find_one_and_update(arguments[0], arguments[1], sort=arguments[2] or None)
        return getattr(collection, name)(*arguments).deleted_count
    except (mongomock_ng.OperationFailure, BulkWriteError, TypeError, NotImplementedError) as error:
        return type(error).__name__


def ask(collection: Any, condition: Any, sort: Any, skip: int, limit: int) -> Any:
    try:
        found = list(collection.find(condition, sort=sort or None, skip=skip, limit=limit))
        return found, collection.count_documents(condition), collection.find_one(condition, sort=sort or None)
    except (mongomock_ng.OperationFailure, TypeError, NotImplementedError) as error:
        return type(error).__name__


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    operations=st.lists(OPERATIONS, max_size=12),
    questions=st.lists(st.tuples(FILTERS, SORTS, st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=6),
    indexes=st.lists(st.sampled_from(INDEXES), max_size=3, unique_by=tuple),
    late=st.booleans(),
)
def test_answers_as_the_engine_in_memory(
    tmp_path: Path, operations: Any, questions: Any, indexes: Any, late: bool
) -> None:
    ours = MongoClient(tmp_path / "store.sqlite")["test"]
    ours.drop_collection("c")
    theirs = mongomock_ng.MongoClient()["test"]
    if not late:
        for names in indexes:
            ours.c.create_index(index_keys(names))
    for operation in operations:
        assert apply(ours.c, operation) == apply(theirs.c, operation), operation
    for names in indexes:
        ours.c.create_index(index_keys(names))
    assert list(ours.c.find()) == list(theirs.c.find())
    for question in questions:
        assert ask(ours.c, *question) == ask(theirs.c, *question), question


# -- indexes --------------------------------------------------------------------------------------------------------


def test_unique_index_refuses_a_second_value_and_keeps_the_first(database: Any) -> None:
    database.c.create_index("n", unique=True)
    database.c.insert_one({"_id": 1, "n": 5})
    with pytest.raises(DuplicateKeyError):
        database.c.insert_one({"_id": 2, "n": 5.0})
    database.c.insert_one({"_id": 2, "n": 6})
    with pytest.raises(DuplicateKeyError):
        database.c.update_one({"_id": 2}, {"$set": {"n": 5}})
    assert list(database.c.find()) == [{"_id": 1, "n": 5}, {"_id": 2, "n": 6}]


def test_unique_index_cannot_be_made_over_equal_values(database: Any) -> None:
    database.c.insert_many([{"n": 1}, {"n": 1}])
    with pytest.raises(DuplicateKeyError):
        database.c.create_index("n", unique=True)
    assert list(database.c.index_information()) == ["_id_"]


def test_sparse_unique_index_leaves_out_documents_without_the_field(database: Any) -> None:
    database.c.create_index([("m.a", 1), ("m.b", 1)], unique=True, sparse=True)
    database.c.insert_many([{"x": 1}, {"x": 2}, {"m": {"a": 1, "b": 1}}])
    with pytest.raises(DuplicateKeyError):
        database.c.insert_one({"m": {"a": 1, "b": 1}})
    assert database.c.count_documents({"m.a": 1, "m.b": 1}) == 1
    assert database.c.count_documents({"m.a": None}) == 2


def test_multikey_index_finds_a_document_by_each_element(database: Any) -> None:
    database.c.create_index("nodes")
    database.c.insert_many([{"_id": i, "nodes": [i, i + 1, i + 1]} for i in range(50)])
    assert [d["_id"] for d in database.c.find({"nodes": 7})] == [6, 7]
    assert database.c.count_documents({"nodes": {"$in": [7, 8]}}) == 3
    database.c.update_one({"_id": 7}, {"$pull": {"nodes": 8}})
    assert [d["_id"] for d in database.c.find({"nodes": 8})] == [8]


def test_ranges_over_arrays_may_be_met_by_different_elements(database: Any) -> None:
    database.c.create_index("v")
    database.c.insert_one({"_id": 1, "v": [1, 9]})
    assert database.c.count_documents({"v": {"$gt": 5, "$lt": 3}}) == 1


@pytest.mark.parametrize("direction", [1, -1])
def test_index_gives_the_sort_without_reading_everything(database: Any, direction: int) -> None:
    database.c.create_index([("state", 1), ("priority", direction)])
    database.c.insert_many([{"_id": i, "state": "READY", "priority": i % 7} for i in range(100)])
    with database.c.file.reading():
        plan = database.c.rows.plan({"state": "READY"}, [("priority", direction)], limited=True)
    assert plan.sorted
    first = database.c.find_one({"state": "READY"}, sort=[("priority", direction)])
    assert first["_id"] == (0 if direction == 1 else 6)


def test_sort_by_an_index_with_arrays_follows_the_engine(database: Any) -> None:
    database.c.create_index("v")
    database.c.insert_many([{"_id": 1, "v": [5, 1]}, {"_id": 2, "v": 3}, {"_id": 3, "v": {"x": 1}}])
    theirs = mongomock_ng.MongoClient()["t"].c
    theirs.insert_many([{"_id": 1, "v": [5, 1]}, {"_id": 2, "v": 3}, {"_id": 3, "v": {"x": 1}}])
    assert list(database.c.find(sort=[("v", 1)], limit=2)) == list(theirs.find(sort=[("v", 1)], limit=2))


def test_indexes_can_be_listed_dropped_and_made_again(database: Any) -> None:
    assert database.c.create_index([("a", 1), ("b", -1)]) == "a_1_b_-1"
    assert database.c.create_index([("a", 1), ("b", -1)]) == "a_1_b_-1"
    with pytest.raises(mongomock_ng.OperationFailure):
        database.c.create_index([("a", 1), ("b", -1)], unique=True)
    database.c.drop_index("a_1_b_-1")
    with pytest.raises(mongomock_ng.OperationFailure):
        database.c.drop_index("a_1_b_-1")
    database.c.create_index("a")
    database.c.drop_indexes()
    assert list(database.c.index_information()) == ["_id_"]


# -- collections ----------------------------------------------------------------------------------------------------


def test_rename_and_drop_are_kept(tmp_path: Path) -> None:
    database = MongoClient(tmp_path / "s.sqlite")["test"]
    database.old.create_index("n")
    database.old.insert_many([{"_id": i, "n": i} for i in range(5)])
    database.gone.insert_one({"x": 1})
    database.old.rename("new")
    database.gone.drop()
    again = MongoClient(tmp_path / "s.sqlite")["test"]
    assert again.list_collection_names() == ["new"]
    assert list(again.new.index_information()) == ["_id_", "n_1"]
    assert again.new.find_one({"n": 3}) == {"_id": 3, "n": 3}
    assert again.old.count_documents({}) == 0
    with pytest.raises(mongomock_ng.OperationFailure):
        again.absent.rename("other")


def test_another_client_notices_a_rename_at_once(tmp_path: Path) -> None:
    one, two = (MongoClient(tmp_path / "s.sqlite")["test"] for _ in range(2))
    one.a.insert_one({"_id": 1})
    assert two.a.count_documents({}) == 1
    one.a.rename("b")
    assert two.a.count_documents({}) == 0
    assert two.b.find_one({"_id": 1}) == {"_id": 1}


# -- writes ---------------------------------------------------------------------------------------------------------


def test_a_transaction_that_raises_leaves_nothing(database: Any) -> None:
    database.c.insert_one({"_id": 0})
    with pytest.raises(RuntimeError), database.client.transaction():  # noqa: PT012  the raise is what is tested
        database.c.insert_one({"_id": 1})
        database.d.create_index("x")
        raise RuntimeError
    assert database.c.count_documents({}) == 1
    assert database.list_collection_names() == ["c"]


def test_a_nested_transaction_is_undone_alone_when_its_error_is_caught(database: Any) -> None:
    with database.client.transaction():
        database.c.insert_one({"_id": 1})
        with pytest.raises(RuntimeError), database.client.transaction():  # noqa: PT012  the raise is what is tested
            database.c.insert_one({"_id": 2})
            raise RuntimeError
        database.c.insert_one({"_id": 3})
    assert [d["_id"] for d in database.c.find()] == [1, 3]


def test_others_see_a_transaction_whole_or_not_at_all(tmp_path: Path) -> None:
    one, two = (MongoClient(tmp_path / "s.sqlite") for _ in range(2))
    one["t"].c.insert_one({"_id": 0})
    with one.transaction():
        one["t"].c.insert_one({"_id": 1})
        assert two["t"].c.count_documents({}) == 1
    assert two["t"].c.count_documents({}) == 2


def test_a_bulk_write_keeps_what_came_before_the_refused_member(database: Any) -> None:
    writes = [InsertOne({"_id": 1}), InsertOne({"_id": 1}), InsertOne({"_id": 2}), DeleteOne({"_id": 9})]
    with pytest.raises(BulkWriteError):
        database.c.bulk_write(writes, ordered=True)
    assert [d["_id"] for d in database.c.find()] == [1]
    with pytest.raises(BulkWriteError):
        database.c.bulk_write([*writes, UpdateOne({"_id": 2}, {"$set": {"x": 1}})], ordered=False)
    assert list(database.c.find()) == [{"_id": 1}, {"_id": 2, "x": 1}]


def test_inserting_absent_documents_twice_is_harmless(database: Any) -> None:
    database.c.create_index("n")
    documents = [{"_id": f"k{i}", "n": i % 3} for i in range(5000)]
    assert database.c.insert_absent(documents) == 5000
    database.c.update_one({"_id": "k7"}, {"$set": {"n": "changed"}})
    assert database.c.insert_absent([*documents, {"_id": "new", "n": 0}]) == 1
    assert database.c.find_one({"_id": "k7"})["n"] == "changed"
    assert database.c.count_documents({"n": 0}) == 1668


def test_upsert_inserts_once_and_then_updates(database: Any) -> None:
    for _ in range(2):
        database.c.update_one({"_id": "x"}, {"$inc": {"n": 1}, "$setOnInsert": {"born": 1}}, upsert=True)
    assert list(database.c.find()) == [{"_id": "x", "n": 2, "born": 1}]
    after = database.c.find_one_and_update({"_id": "x"}, {"$inc": {"n": 1}}, return_document=ReturnDocument.AFTER)
    assert after["n"] == 3


def test_a_document_of_15_9_mb_is_taken_and_one_of_16_1_mb_refused(database: Any) -> None:
    database.c.insert_one({"_id": 1, "b": b"x" * int(15.9 * 2**20)})
    with pytest.raises(DocumentTooLarge, match="16777216"):
        database.c.insert_one({"_id": 2, "b": b"x" * int(16.1 * 2**20)})
    with pytest.raises(DocumentTooLarge):
        database.c.replace_one({"_id": 1}, {"b": b"x" * int(16.1 * 2**20)})
    assert [len(d["b"]) for d in database.c.find()] == [int(15.9 * 2**20)]


def test_dates_come_back_in_utc_with_milliseconds(database: Any) -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    database.c.create_index("t")
    database.c.insert_one({"_id": 1, "t": dt.datetime(2026, 1, 1, 2, 0, 0, 123456, tzinfo=zone)})
    assert database.c.find_one()["t"] == dt.datetime(2026, 1, 1, 0, 0, 0, 123000)  # noqa: DTZ001
    assert database.c.count_documents({"t": {"$lte": dt.datetime(2026, 1, 1, 2, 0, 1, tzinfo=zone)}}) == 1


def test_ids_of_any_type_are_found_again(database: Any) -> None:
    ids = [1, "1", 2.5, ObjectId(), None, {"a": 1, "b": 2}, dt.datetime(2020, 1, 1), b"x"]  # noqa: DTZ001
    database.c.insert_many([{"_id": i} for i in ids])
    for i in ids:
        assert database.c.find_one({"_id": i}) == {"_id": i}
    assert database.c.count_documents({"_id": {"$in": [1, "1", 99]}}) == 2


def test_threads_count_without_losing_one(database: Any) -> None:
    database.c.insert_one({"_id": "n", "n": 0})

    def count() -> None:
        for _ in range(50):
            database.c.find_one_and_update({"_id": "n"}, {"$inc": {"n": 1}})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.c.find_one()["n"] == 200


def test_a_cursor_may_be_read_while_its_documents_change(database: Any) -> None:
    database.c.insert_many([{"_id": i, "n": 0} for i in range(1500)])
    seen = 0
    for document in database.c.find({"n": 0}):
        database.c.update_one({"_id": document["_id"]}, {"$set": {"n": 1}})
        seen += 1
    assert seen == 1500
    assert database.c.count_documents({"n": 1}) == 1500
