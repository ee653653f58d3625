"""Collections and cursors with pymongo's face: mongomock's query engine over the rows of a SQLite file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from itertools import islice
from typing import Any

from bson.objectid import ObjectId
from pymongo.errors import PyMongoError
from pymongo.results import InsertManyResult

from cathodeflow.storage.embedded import catalogue as tables
from cathodeflow.storage.embedded.catalogue import Index
from cathodeflow.storage.embedded.documents import ClashError, Documents
from cathodeflow.storage.embedded.engine import (
    DuplicateKeyError,
    EngineCollection,
    EngineCursor,
    OperationFailure,
    extract_near_specs,
    filter_applies,
    helpers,
    process_pipeline,
    resolve_sort_key,
)

_BATCH = 500


def _duplicate(error: ClashError) -> Any:
    details = {"keyPattern": dict.fromkeys(error.fields, 1), "keyValue": error.values}
    return DuplicateKeyError(str(error), 11000, details)


def _sort_of(sort: Any) -> list[tuple[str, int]]:
    """Return a sort in the one form plans read; empty for none."""
    if not sort:
        return []
    items = sort.items() if isinstance(sort, Mapping) else sort
    return [(item, 1) if isinstance(item, str) else (item[0], item[1]) for item in items]


class _Incomplete(Exception):  # noqa: N818  never leaves this module
    """Some documents of a batch were there already."""


class RowStore:
    """What mongomock's collection asks its memory for, answered from the file.

    Parameters
    ----------
    documents : Documents
        The rows of the collection.
    """

    def __init__(self, documents: Documents) -> None:
        self.rows = documents
        self.name = documents.name
        self._file = documents.file

    @property
    def is_created(self) -> bool:
        """Whether the collection exists."""
        with self._file.reading():
            return self.rows.entry() is not None

    @property
    def is_empty(self) -> bool:
        """Whether it holds no document."""
        return len(self) == 0

    @property
    def options(self) -> dict[str, Any]:
        """Validator and the like."""
        with self._file.reading():
            entry = self.rows.entry()
        return entry.options if entry is not None else {}

    @property
    def indexes(self) -> dict[str, dict[str, Any]]:
        """Definitions by name, as mongomock keeps them."""
        with self._file.reading():
            entry = self.rows.entry()
        if entry is None:
            return {}
        return {i.name: dict(i.definition(), key=[tuple(f) for f in i.fields]) for i in entry.indexes}

    @property
    def documents(self) -> Iterator[dict[str, Any]]:
        """All documents in insertion order."""
        with self._file.reading():
            plan = self.rows.plan({})
            sequence = list(self.rows.sequence(plan)) if plan is not None else []
        return self.rows.bodies(sequence)

    def __len__(self) -> int:
        return self.rows.count({}) or 0

    def __contains__(self, key: Any) -> bool:
        return self.rows.get(key) is not None

    def __getitem__(self, key: Any) -> dict[str, Any]:
        found = self.rows.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __setitem__(self, key: Any, document: Mapping[str, Any]) -> None:
        try:
            self.rows.replace(document)
        except ClashError as error:
            raise _duplicate(error) from error

    def __delitem__(self, key: Any) -> None:
        self.rows.delete(key)

    def create(self, **options: Any) -> None:
        """Make the collection."""
        with self._file.transaction():
            self.rows.made(options)

    def drop(self) -> None:
        """Remove the collection and its indexes."""
        with self._file.transaction():
            entry = self.rows.entry()
            if entry is not None:
                tables.drop_collection(self._file, entry)

    def drop_index(self, name: str) -> None:
        """Remove one index; KeyError when it is not there."""
        with self._file.transaction():
            tables.drop_index(self._file, self._index(name))

    def _index(self, name: str) -> Index:
        entry = self.rows.entry()
        for index in entry.indexes if entry is not None else ():
            if index.name == name:
                return index
        raise KeyError(name)

    def begin_transaction(self) -> None:
        """Refuse client sessions: the store has its own transactions."""
        raise NotImplementedError("use the client's transaction() instead of a session's")


class Cursor(EngineCursor):  # type: ignore[misc,unused-ignore]
    """A cursor that decodes no more documents than are asked for."""

    def _compute_results(self, with_limit_and_skip: bool = False) -> Any:
        if self._results is not None and self._factory_last_generated_results == self._factory:
            return super()._compute_results(with_limit_and_skip)
        if not with_limit_and_skip or not self._limit:
            return super()._compute_results(with_limit_and_skip)
        key = (self._skip, self._limit, self._factory)
        if getattr(self, "_first_key", None) != key:
            with self.collection.file.reading():
                stop = self._skip + abs(self._limit)
                found = self.collection.dataset(self._spec, self._sort, self._projection, limit=stop)
                self._first = list(islice(found, self._skip, stop))
            if self.collection.codec_options.tz_aware:
                self._first = [helpers.make_datetime_timezone_aware_in_document(d) for d in self._first]
            self._first_key = key
        return self._first

    def rewind(self) -> None:
        """Start again from the first document."""
        super().rewind()
        self._stream: Iterator[dict[str, Any]] | None = None

    def __next__(self) -> dict[str, Any]:
        if self._limit or self._skip:
            document: dict[str, Any] = super().__next__()
            return document
        if self._stream is None:
            self._stream = self._factory()
        document = next(self._stream)
        self._emitted += 1
        if self.collection.codec_options.tz_aware:
            document = helpers.make_datetime_timezone_aware_in_document(document)
        return document

    next = __next__

    def clone(self) -> Cursor:
        """Return an unused copy."""
        return Cursor(self.collection, self._spec, self._sort, self._projection, self._skip, self._limit or 0)


class Collection(EngineCollection):  # type: ignore[misc,unused-ignore]
    """A collection whose every operation is one transaction of the file."""

    @property
    def file(self) -> Any:
        """The `StoreFile` the documents lie in."""
        return self._db_store.file

    @property
    def _store(self) -> RowStore:
        store: RowStore = self._db_store[self._name]
        return store

    @property
    def rows(self) -> Documents:
        """The rows, below the query engine."""
        return self._store.rows

    # -- reading -----------------------------------------------------------------------------------------------

    def find(self, filter: Any = None, projection: Any = None, skip: int = 0, limit: int = 0, **options: Any) -> Cursor:  # noqa: A002
        """Find documents; arguments as in pymongo."""
        made = super().find(filter, projection, skip, limit, **options)
        return Cursor(self, made._spec, made._sort, projection, skip, limit)  # noqa: SLF001

    def find_one(self, filter: Any = None, *args: Any, **options: Any) -> dict[str, Any] | None:  # noqa: A002
        """Find the first document; arguments as in pymongo."""
        if filter is not None and not isinstance(filter, Mapping):
            filter = {"_id": filter}  # noqa: A001
        cursor = self.find({} if filter is None else filter, *args, **options)
        return next(cursor.limit(1), None)

    def _iter_documents(self, filter: Mapping[str, Any]) -> Iterator[dict[str, Any]]:  # noqa: A002
        return self.matching(filter, (), limit=0)[0]

    def matching(
        self, condition: Mapping[str, Any], sort: list[tuple[str, int]] | tuple[()], *, limit: int
    ) -> tuple[Iterator[dict[str, Any]], bool]:
        """Documents that match, and whether they come sorted already."""
        filter_applies(condition, {})  # says what is wrong with a filter even when there is nothing to filter
        with self.file.reading():
            plan = self.rows.plan(condition, sort, limited=bool(limit))
            if plan is None:
                return iter(()), True
            if limit and plan.sorted:
                sequence: Iterable[int] = self.rows.sequence(plan)
            else:
                sequence = list(self.rows.sequence(plan))
        found = self.rows.bodies(sequence)
        if plan.exact and not condition:
            return found, plan.sorted
        return (d for d in found if filter_applies(condition, d)), plan.sorted

    def dataset(self, spec: Any, sort: Any, fields: Any, *, limit: int = 0) -> Iterator[dict[str, Any]]:
        """Documents that match, sorted and projected."""
        order = _sort_of(sort)
        if any(path.startswith("$") for path, _ in order) or _has_near(spec):
            yield from super()._get_dataset(spec, sort, fields, dict)
            return
        found, is_sorted = self.matching(spec, order, limit=limit)
        if not is_sorted:
            found = iter(_sorted(found, order))
        for document in found:
            result = self._copy_only_fields(document, fields, dict, filter=spec) if fields else document
            if result is not None:
                yield result

    def _get_dataset(self, spec: Any, sort: Any, fields: Any, as_class: type) -> Iterator[dict[str, Any]]:
        return self.dataset(spec, sort, fields)

    def count_documents(self, filter: Mapping[str, Any], **options: Any) -> int:  # noqa: A002
        """Count documents; from an index alone where one can say."""
        if not options:
            counted = self.rows.count(helpers.patch_datetime_awareness_in_document(filter))
            if counted is not None:
                return counted
        return int(super().count_documents(filter, **options))

    def aggregate(self, pipeline: Any, session: Any = None, **options: Any) -> Any:
        """Run a pipeline; a leading `$match` is answered from the indexes."""
        stages = list(pipeline)
        first: Any = {}
        if stages and set(stages[0]) == {"$match"}:
            first = stages.pop(0)["$match"]
        return process_pipeline(list(self.find(first)), self.database, stages, session)

    # -- writing -----------------------------------------------------------------------------------------------

    def _atomically(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run one operation as one transaction; a refused document does not undo the ones before it."""
        with self.file.transaction(keep=(PyMongoError,)):
            return operation(*args, **options)

    def _insert(self, data: Any, session: Any = None, ordered: bool = True, validate: bool = True) -> Any:
        if not isinstance(data, MutableMapping):
            return self._atomically(super()._insert, data, session, ordered, validate)
        if validate and self._store.options:
            return self._atomically(super()._insert, data, session, ordered, validate)
        if "_id" not in data:
            data["_id"] = ObjectId()  # pymongo does so too
        try:
            self._atomically(self.rows.insert, data)
        except ClashError as error:
            raise _duplicate(error) from error
        return data["_id"]

    def insert_many(self, documents: Iterable[dict[str, Any]], ordered: bool = True, **options: Any) -> Any:
        """Insert documents; arguments as in pymongo. Unordered and without a clash it is fast."""
        documents = list(documents)
        if not ordered and documents and not options and not self._store.options and self._insert_all(documents):
            return InsertManyResult([d["_id"] for d in documents], acknowledged=True)
        return super().insert_many(documents, ordered, **options)

    def _insert_all(self, documents: list[dict[str, Any]]) -> bool:
        """Insert all documents fast, or none of them when one clashes."""
        with suppress(_Incomplete, ClashError), self.file.transaction(savepoint=True):
            if self.rows.insert_absent(documents) == len(documents):
                return True
            raise _Incomplete
        return False

    def insert_absent(self, documents: Iterable[dict[str, Any]]) -> int:
        """Insert those documents whose `_id` is not there yet, fast; inserting twice is harmless.

        Returns
        -------
        int
            How many were added.
        """
        try:
            return self.rows.insert_absent(documents)
        except ClashError as error:
            raise _duplicate(error) from error

    def _ensure_uniques(self, new_data: Any) -> None:
        """Nothing to do: the rows check when they are written."""

    def _update(self, *args: Any, **options: Any) -> Any:
        return self._atomically(super()._update, *args, **options)

    def _delete(self, *args: Any, **options: Any) -> Any:
        return self._atomically(super()._delete, *args, **options)

    def _find_and_modify(self, *args: Any, **options: Any) -> Any:
        return self._atomically(super()._find_and_modify, *args, **options)

    def bulk_write(self, *args: Any, **options: Any) -> Any:
        """Run several writes in one transaction; arguments as in pymongo."""
        return self._atomically(super().bulk_write, *args, **options)

    # -- indexes and name --------------------------------------------------------------------------------------

    def create_index(self, keys: Any, cache_for: int = 300, session: Any = None, **options: Any) -> str:
        """Make an index; arguments as in pymongo. One that is there already costs nothing."""
        fields = [(path, direction) for path, direction in helpers.create_index_list(keys)]
        if any(direction not in {1, -1} for _, direction in fields):
            raise NotImplementedError("the embedded store has ascending and descending indexes only")
        name: str = options.get("name") or helpers.gen_index_name(fields)
        index = Index(
            0,
            name,
            tuple(fields),
            unique=bool(options.get("unique")),
            sparse=bool(options.get("sparse")),
            partial=options.get("partialFilterExpression"),
        )
        with self.file.reading():
            entry = self.rows.entry()
            there = next((i for i in entry.indexes if i.name == name), None) if entry is not None else None
        if there is not None:
            if there.definition() != index.definition():
                raise OperationFailure(f"Index with name: {name} already exists with different options")
            return name
        try:
            with self.file.transaction(savepoint=True):
                if name not in self._store.indexes:
                    self.rows.create_index(name, index.definition())
        except ClashError as error:
            raise _duplicate(error) from error
        return name

    def drop_indexes(self, session: Any = None) -> None:
        """Remove all indexes but that of `_id`."""
        with self.file.transaction():
            for name in self._store.indexes:
                self._store.drop_index(name)

    def with_options(self, **options: Any) -> Collection:
        """Return the collection with other options; the same object when nothing changes."""
        codec = options.get("codec_options")
        if codec is None or codec == self.codec_options:
            return self
        return Collection(self.database, self.name, _db_store=self._db_store, codec_options=codec)


def _has_near(spec: Any) -> bool:
    return bool(spec) and bool(extract_near_specs(spec)[0])


def _sorted(found: Iterable[dict[str, Any]], order: list[tuple[str, int]]) -> list[dict[str, Any]]:
    documents = list(found)
    for path, direction in reversed(order):
        documents.sort(key=lambda d, p=path: resolve_sort_key(p, d), reverse=direction < 0)  # type: ignore[misc]
    return documents
