"""Which collections and indexes the file holds, and the SQLite tables they live in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import bson

if TYPE_CHECKING:
    from cathodeflow.storage.embedded.file import StoreFile


@dataclass(frozen=True)
class Index:
    """One index of a collection, kept in the SQLite table `keys_<id>`.

    Attributes
    ----------
    id : int
        Number of the table.
    name : str
        MongoDB's name, `state_1` for example.
    fields : tuple of (str, int)
        Dotted path and direction of each column.
    unique, sparse : bool
        As in MongoDB.
    partial : dict or None
        Only documents that match this filter are in the index.
    multikey : bool
        Some document has had an array on one of the paths: entries are more than documents.
    unordered : bool
        Some value does not sort as its key does.
    """

    id: int
    name: str
    fields: tuple[tuple[str, int], ...]
    unique: bool = False
    sparse: bool = False
    partial: dict[str, Any] | None = None
    expire_after_s: float | None = None
    multikey: bool = False
    unordered: bool = False
    paths: tuple[tuple[str, ...], ...] = field(init=False, compare=False)
    table: str = field(init=False, compare=False)
    insert_sql: str = field(init=False, compare=False)
    delete_sql: str = field(init=False, compare=False)
    clash_sql: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        columns = [f"k{i}" for i in range(len(self.fields))]
        equal = " AND ".join(f"{c} = ?" for c in columns)
        marks = ", ".join("?" * (len(columns) + 1))
        table = f"keys_{self.id}"
        for name, value in {
            "paths": tuple(tuple(path.split(".")) for path, _ in self.fields),
            "table": table,
            "insert_sql": f"INSERT OR IGNORE INTO {table} VALUES ({marks})",  # noqa: S608
            "delete_sql": f"DELETE FROM {table} WHERE {equal} AND seq = ?",  # noqa: S608  names are ours
            "clash_sql": f"SELECT seq FROM {table} WHERE {equal} AND seq <> ? LIMIT 1",  # noqa: S608
        }.items():
            object.__setattr__(self, name, value)

    @property
    def create_sql(self) -> str:
        """Statement that makes the table; the directions are kept so that ties come in insertion order."""
        columns = ", ".join(f"k{i}" for i in range(len(self.fields)))
        order = ", ".join(f"k{i} {'DESC' if d == -1 else 'ASC'}" for i, (_, d) in enumerate(self.fields))
        return f"CREATE TABLE {self.table} ({columns}, seq INTEGER, PRIMARY KEY ({order}, seq)) WITHOUT ROWID"

    def definition(self) -> dict[str, Any]:
        """Return what is stored, and what decides whether two definitions are the same index."""
        kept: dict[str, Any] = {"key": [list(f) for f in self.fields]}
        if self.unique:
            kept["unique"] = True
        if self.sparse:
            kept["sparse"] = True
        if self.partial is not None:
            kept["partialFilterExpression"] = self.partial
        if self.expire_after_s is not None:
            kept["expireAfterSeconds"] = self.expire_after_s
        return kept

    @classmethod
    def from_definition(cls, id_: int, name: str, definition: dict[str, Any], **flags: bool) -> Index:
        """Build from what `definition` gives."""
        return cls(
            id_,
            name,
            tuple((path, direction) for path, direction in definition["key"]),
            unique=definition.get("unique", False),
            sparse=definition.get("sparse", False),
            partial=definition.get("partialFilterExpression"),
            expire_after_s=definition.get("expireAfterSeconds"),
            **flags,
        )


@dataclass(frozen=True)
class CollectionEntry:
    """One collection, kept in the SQLite table `documents_<id>`."""

    id: int
    database: str
    name: str
    options: dict[str, Any]
    indexes: tuple[Index, ...]

    @property
    def table(self) -> str:
        """Name of the table of documents."""
        return f"documents_{self.id}"


@dataclass(frozen=True)
class Catalogue:
    """All collections of the file at one catalogue version."""

    version: int
    collections: dict[tuple[str, str], CollectionEntry]

    @classmethod
    def load(cls, file: StoreFile, version: int) -> Catalogue:
        """Read the catalogue tables."""
        indexes: dict[int, list[Index]] = {}
        rows = file.execute("SELECT id, collection, name, definition, multikey, unordered FROM indexes ORDER BY id")
        for id_, collection, name, definition, multikey, unordered in rows:
            index = Index.from_definition(
                id_, name, bson.decode(definition), multikey=bool(multikey), unordered=bool(unordered)
            )
            indexes.setdefault(collection, []).append(index)
        found = {}
        for id_, database, name, options in file.execute("SELECT id, database, name, options FROM collections"):
            entry = CollectionEntry(id_, database, name, bson.decode(options), tuple(indexes.get(id_, ())))
            found[database, name] = entry
        return cls(version, found)


def create_collection(file: StoreFile, database: str, name: str, options: dict[str, Any] | None = None) -> None:
    """Enter a collection and make its table; call inside a transaction."""
    cursor = file.execute(
        "INSERT INTO collections (database, name, options) VALUES (?, ?, ?)",
        (database, name, bson.encode(options or {})),
    )
    file.execute(
        f"CREATE TABLE documents_{cursor.lastrowid} (seq INTEGER PRIMARY KEY, id NOT NULL UNIQUE, body BLOB NOT NULL)"
    )
    file.change_catalogue()


def drop_collection(file: StoreFile, entry: CollectionEntry) -> None:
    """Remove a collection, its documents and its indexes; call inside a transaction."""
    for index in entry.indexes:
        file.execute(f"DROP TABLE {index.table}")
    file.execute(f"DROP TABLE {entry.table}")
    file.execute("DELETE FROM indexes WHERE collection = ?", (entry.id,))
    file.execute("DELETE FROM collections WHERE id = ?", (entry.id,))
    file.change_catalogue()


def rename_collection(file: StoreFile, entry: CollectionEntry, name: str) -> None:
    """Give a collection another name; documents and indexes stay where they are."""
    file.execute("UPDATE collections SET name = ? WHERE id = ?", (name, entry.id))
    file.change_catalogue()


def drop_index(file: StoreFile, index: Index) -> None:
    """Remove an index; call inside a transaction."""
    file.execute(f"DROP TABLE {index.table}")
    file.execute("DELETE FROM indexes WHERE id = ?", (index.id,))
    file.change_catalogue()


def flag_index(file: StoreFile, index: Index, *, multikey: bool, unordered: bool) -> None:
    """Remember for good that an index has met an array or an unsortable value."""
    file.execute(
        "UPDATE indexes SET multikey = multikey | ?, unordered = unordered | ? WHERE id = ?",
        (multikey, unordered, index.id),
    )
    file.change_catalogue()
