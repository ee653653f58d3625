"""The documents of one collection: rows, index entries, candidates and counts. No query engine is needed here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import bson
from bson.objectid import ObjectId

from cathodeflow.storage.embedded import catalogue as tables
from cathodeflow.storage.embedded.catalogue import CollectionEntry, Index
from cathodeflow.storage.embedded.file import StoreFile
from cathodeflow.storage.embedded.keys import MISSING, Entries, Key, key_of, value_of, values_at
from cathodeflow.storage.embedded.plan import Plan, Sort, constraints_of, make_plan

LARGEST_DOCUMENT = 16 * 1024 * 1024
_CHUNK = 2_000
_MOST_IDS = 500


class ClashError(Exception):
    """A unique index forbids a document; `index` is its name (`_id_` for the primary key)."""

    def __init__(self, index: str, fields: Sequence[str], document: Mapping[str, Any]) -> None:
        self.index = index
        self.fields = list(fields)
        self.values = {path: next(iter(values_at(document, path.split("."))), None) for path in fields}
        super().__init__(f"E11000 duplicate key error index: {index} dup key: {self.values!r}")


def encode(document: Mapping[str, Any]) -> bytes:
    """Encode a document; refuses, as MongoDB does, one beyond 16 MiB.

    Raises
    ------
    pymongo.errors.DocumentTooLarge
        The encoded document has more than 16,777,216 bytes.
    bson.errors.InvalidDocument
        A value that BSON cannot hold.
    """
    body = bson.encode(document)
    if len(body) > LARGEST_DOCUMENT:
        from pymongo.errors import DocumentTooLarge

        raise DocumentTooLarge(
            f"BSON document too large ({len(body)} bytes) - the store takes documents of up to "
            f"{LARGEST_DOCUMENT} bytes; put the large part into a blob."
        )
    return body


def check_names(document: Mapping[str, Any]) -> None:
    """Refuse top-level field names that begin with a dollar, as MongoDB does."""
    for name in document:
        if name.startswith("$"):
            from bson.errors import InvalidDocument

            raise InvalidDocument(f'Top-level field names cannot start with the "$" sign (found: {name})')


class Documents:
    """One collection of the file, by database and name.

    Parameters
    ----------
    file : StoreFile
        The file.
    database, name : str
        The collection, which need not exist yet.
    filter_applies : callable, optional
        The query engine's test, needed for partial indexes only.
    """

    def __init__(
        self,
        file: StoreFile,
        database: str,
        name: str,
        filter_applies: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] | None = None,
    ) -> None:
        self.file = file
        self.database = database
        self.name = name
        self._filter_applies = filter_applies

    # -- the collection itself ---------------------------------------------------------------------------------

    def entry(self) -> CollectionEntry | None:
        """Return the collection as it stands, None when nothing made it yet; call inside `reading`/`transaction`."""
        return self.file.catalogue().collections.get((self.database, self.name))

    def made(self, options: Mapping[str, Any] | None = None) -> CollectionEntry:
        """Return the collection, making it when it is not there; call inside a transaction."""
        entry = self.entry()
        if entry is None:
            tables.create_collection(self.file, self.database, self.name, dict(options or {}))
            entry = self.entry()
        if entry is None:
            raise LookupError(f"collection {self.name} was not entered")
        return entry

    # -- index entries -----------------------------------------------------------------------------------------

    def _entries(self, index: Index, document: Mapping[str, Any]) -> set[tuple[Key, ...]]:
        if index.partial is not None:
            if self._filter_applies is None:
                from cathodeflow.storage.embedded.engine import filter_applies

                self._filter_applies = filter_applies
            if not self._filter_applies(index.partial, document):
                return set()
        entries = Entries(document, index.paths)
        if index.sparse and entries.absent:
            return set()
        if (entries.multikey and not index.multikey) or (not entries.ordered and not index.unordered):
            tables.flag_index(self.file, index, multikey=entries.multikey, unordered=not entries.ordered)
        return entries.keys

    def _check_unique(
        self, index: Index, keys: Iterable[tuple[Key, ...]], seq: int, document: Mapping[str, Any]
    ) -> None:
        for key in keys:
            if self.file.execute(index.clash_sql, (*key, seq)).fetchone() is not None:
                raise ClashError(index.name, [path for path, _ in index.fields], document)

    # -- one document ------------------------------------------------------------------------------------------

    def insert(self, document: Mapping[str, Any]) -> None:
        """Add one document; call inside a transaction.

        Raises
        ------
        ClashError
            The `_id` or a unique index's value is taken; nothing was written.
        """
        check_names(document)
        body = encode(document)
        entry = self.made()
        stored = bson.decode(body)
        key = key_of(stored["_id"])
        if self.file.execute(f"SELECT 1 FROM {entry.table} WHERE id = ?", (key,)).fetchone() is not None:  # noqa: S608
            raise ClashError("_id_", ["_id"], document)
        entries = [(index, self._entries(index, stored)) for index in entry.indexes]
        for index, keys in entries:
            if index.unique:
                self._check_unique(index, keys, -1, document)
        seq = self.file.execute(f"INSERT INTO {entry.table} (id, body) VALUES (?, ?)", (key, body)).lastrowid  # noqa: S608
        for index, keys in entries:
            for columns in keys:
                self.file.execute(index.insert_sql, (*columns, seq))

    def replace(self, document: Mapping[str, Any]) -> None:
        """Write a new body under an existing `_id`; call inside a transaction. Raises as `insert`."""
        check_names(document)
        body = encode(document)
        entry = self.made()
        key = key_of(document["_id"])
        row = self.file.execute(f"SELECT seq, body FROM {entry.table} WHERE id = ?", (key,)).fetchone()  # noqa: S608
        if row is None:
            self.insert(document)
            return
        seq, old_body = row
        if old_body == body:
            return
        if entry.indexes:
            old, new = bson.decode(old_body), bson.decode(body)
            changes = [(i, self._entries(i, old), self._entries(i, new)) for i in entry.indexes]
            for index, before, after in changes:
                if index.unique:
                    self._check_unique(index, after - before, seq, document)
            for index, before, after in changes:
                for columns in before - after:
                    self.file.execute(index.delete_sql, (*columns, seq))
                for columns in after - before:
                    self.file.execute(index.insert_sql, (*columns, seq))
        self.file.execute(f"UPDATE {entry.table} SET body = ? WHERE seq = ?", (body, seq))  # noqa: S608

    def delete(self, id_: Any) -> bool:
        """Remove the document with this `_id`; call inside a transaction. Returns whether it was there."""
        entry = self.entry()
        if entry is None:
            return False
        row = self.file.execute(f"SELECT seq, body FROM {entry.table} WHERE id = ?", (key_of(id_),)).fetchone()  # noqa: S608
        if row is None:
            return False
        document = bson.decode(row[1])
        for index in entry.indexes:
            for columns in self._entries(index, document):
                self.file.execute(index.delete_sql, (*columns, row[0]))
        self.file.execute(f"DELETE FROM {entry.table} WHERE seq = ?", (row[0],))  # noqa: S608
        return True

    # -- many documents ----------------------------------------------------------------------------------------

    def insert_absent(self, documents: Iterable[dict[str, Any]]) -> int:
        """Add the documents whose `_id` is not there yet; one transaction.

        Returns
        -------
        int
            How many were added.

        Raises
        ------
        ClashError
            A unique index other than that of `_id` forbids one; nothing was written.
        """
        added = 0
        chunk: list[dict[str, Any]] = []
        with self.file.transaction(savepoint=True):
            self.made()
            for document in documents:
                chunk.append(document)
                if len(chunk) == _CHUNK:
                    added += self._insert_chunk(chunk)
                    chunk = []
            if chunk:
                added += self._insert_chunk(chunk)
        return added

    def _insert_chunk(self, documents: list[dict[str, Any]]) -> int:
        entry = self.made()
        keyed: dict[Key, dict[str, Any]] = {}
        for document in documents:
            if "_id" not in document:
                document["_id"] = ObjectId()
            keyed.setdefault(key_of(document["_id"]), document)
        for key in self._known(entry, list(keyed)):
            del keyed[key]
        first = self.file.execute(f"SELECT COALESCE(MAX(seq), 0) + 1 FROM {entry.table}").fetchone()[0]  # noqa: S608
        rows = []
        for seq, (key, document) in enumerate(keyed.items(), start=first):
            check_names(document)
            rows.append((seq, key, encode(document)))
        self.file.executemany(f"INSERT INTO {entry.table} VALUES (?, ?, ?)", rows)  # noqa: S608
        for index in entry.indexes:
            self._insert_entries(index, enumerate(keyed.values(), start=first))
        return len(rows)

    def _known(self, entry: CollectionEntry, keys: list[Key]) -> list[Key]:
        known: list[Key] = []
        for start in range(0, len(keys), _MOST_IDS):
            part = keys[start : start + _MOST_IDS]
            marks = ", ".join("?" * len(part))
            rows = self.file.execute(f"SELECT id FROM {entry.table} WHERE id IN ({marks})", part)  # noqa: S608
            known.extend(row[0] for row in rows)
        return known

    def _insert_entries(self, index: Index, documents: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        rows: list[tuple[Key, ...]] = []
        for seq, document in documents:
            keys = self._entries(index, document)
            if index.unique:
                self._check_unique(index, keys, seq, document)
                for columns in keys:
                    self.file.execute(index.insert_sql, (*columns, seq))
            else:
                rows.extend((*columns, seq) for columns in keys)
        if rows:
            self.file.executemany(index.insert_sql, rows)

    # -- indexes -----------------------------------------------------------------------------------------------

    def create_index(self, name: str, definition: dict[str, Any]) -> None:
        """Make an index over what is there; call inside a transaction.

        Raises
        ------
        ClashError
            It is to be unique and two documents have the same value.
        """
        entry = self.made()
        cursor = self.file.execute(
            "INSERT INTO indexes (collection, name, definition) VALUES (?, ?, ?)",
            (entry.id, name, bson.encode(definition)),
        )
        index = Index.from_definition(int(cursor.lastrowid or 0), name, definition)
        self.file.execute(index.create_sql)
        self.file.change_catalogue()
        self._insert_entries(index, ((seq, bson.decode(body)) for seq, body in self._all_rows(entry)))

    def _all_rows(self, entry: CollectionEntry) -> Iterator[tuple[int, bytes]]:
        last = -1
        while True:
            rows = self.file.execute(
                f"SELECT seq, body FROM {entry.table} WHERE seq > ? ORDER BY seq LIMIT {_CHUNK}",  # noqa: S608
                (last,),
            ).fetchall()
            yield from rows
            if len(rows) < _CHUNK:
                return
            last = rows[-1][0]

    # -- reading -----------------------------------------------------------------------------------------------

    def get(self, id_: Any) -> dict[str, Any] | None:
        """Return the document with this `_id`, or None."""
        with self.file.reading():
            entry = self.entry()
            if entry is None:
                return None
            row = self.file.execute(f"SELECT body FROM {entry.table} WHERE id = ?", (key_of(id_),)).fetchone()  # noqa: S608
        return None if row is None else bson.decode(row[0])

    def plan(self, condition: Mapping[str, Any], sort: Sort = (), *, limited: bool = False) -> Plan | None:
        """Choose how to find what may match; None when the collection is not there. Inside `reading`."""
        entry = self.entry()
        return None if entry is None else make_plan(entry, condition, sort, limited=limited)

    def sequence(self, plan: Plan) -> Iterator[int]:
        """Row numbers of the candidates of a plan, each once; call inside `reading`."""
        rows = self.file.execute(plan.sql, plan.values)
        if not plan.repeats:
            for row in rows:
                yield row[0]
            return
        seen: set[int] = set()
        for row in rows:
            if row[0] not in seen:
                seen.add(row[0])
                yield row[0]

    def bodies(self, sequence: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Decode the documents of these rows, leaving out those that have gone meanwhile."""
        with self.file.reading():
            entry = self.entry()
        if entry is None:
            return
        statement = f"SELECT body FROM {entry.table} WHERE seq = ?"  # noqa: S608
        for seq in sequence:
            row = self.file.execute(statement, (seq,)).fetchone()
            if row is not None:
                yield bson.decode(row[0])

    def count(self, condition: Mapping[str, Any]) -> int | None:
        """Count from an index alone; None when no index can say.

        Returns
        -------
        int or None
            The number of documents that match `condition`.
        """
        with self.file.reading():
            entry = self.entry()
            if entry is None:
                return 0 if constraints_of(condition)[1] else None
            if not condition:
                return int(self.file.execute(f"SELECT COUNT(*) FROM {entry.table}").fetchone()[0])  # noqa: S608
            plan = make_plan(entry, condition)
            if not plan.exact:
                return None
            what = "COUNT(DISTINCT seq)" if plan.repeats else "COUNT(*)"
            return int(self.file.execute(f"SELECT {what} FROM ({plan.sql})", plan.values).fetchone()[0])  # noqa: S608

    def any_matches(self, condition: Mapping[str, Any]) -> bool | None:
        """Whether any document matches, from an index alone; None when no index can say."""
        with self.file.reading():
            plan = self.plan(condition)
            if plan is None:
                return False
            if not plan.exact:
                return None
            statement = f"SELECT EXISTS (SELECT 1 FROM ({plan.sql.removesuffix(' ORDER BY m.seq')}))"  # noqa: S608
            return bool(self.file.execute(statement, plan.values).fetchone()[0])

    def count_by(self, path: str, condition: Mapping[str, Any]) -> dict[Any, int] | None:
        """Count documents by the value at `path`, from an index alone; None when no index can say."""
        with self.file.reading():
            entry = self.entry()
            if entry is None:
                return {}
            constraints, exact = constraints_of(condition)
            if not exact or path in constraints or any(c.keys is None for c in constraints.values()):
                return None
            for index in entry.indexes:
                fields = [p for p, _ in index.fields]
                if path not in fields or index.multikey or index.sparse or index.partial is not None:
                    continue
                if set(constraints) <= set(fields):
                    return self._count_by_index(index, fields.index(path), constraints)
        return None

    def _count_by_index(self, index: Index, position: int, constraints: Mapping[str, Any]) -> dict[Any, int] | None:
        terms, values = [], []
        for column, (path, _) in enumerate(index.fields):
            if path in constraints:
                keys = constraints[path].keys
                terms.append(f"k{column} IN ({', '.join('?' * len(keys))})")
                values.extend(keys)
        where = f"WHERE {' AND '.join(terms)}" if terms else ""
        rows = self.file.execute(
            f"SELECT k{position}, COUNT(*) FROM {index.table} {where} GROUP BY k{position}",  # noqa: S608
            values,
        ).fetchall()
        try:
            return {value_of(key): number for key, number in rows}
        except ValueError:
            return None


def count_values(documents: Iterable[Mapping[str, Any]], path: str) -> dict[Any, int]:
    """Count documents by the value at `path` the slow way, missing as None."""
    counted: Counter[Any] = Counter()
    for document in documents:
        value = next(iter(values_at(document, path.split("."))), None)
        counted[None if value is MISSING else value] += 1
    return dict(counted)
