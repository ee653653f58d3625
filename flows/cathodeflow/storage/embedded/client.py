"""`MongoClient` and `Database` over one SQLite file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cathodeflow.settings import get_settings
from cathodeflow.storage.embedded import catalogue as tables
from cathodeflow.storage.embedded.collection import Collection, RowStore
from cathodeflow.storage.embedded.documents import Documents
from cathodeflow.storage.embedded.engine import (
    ConfigurationError,
    EngineClient,
    EngineDatabase,
    enable_gridfs_integration,
)
from cathodeflow.storage.embedded.file import StoreFile

SCHEME = "embedded://"
_gridfs_lock = threading.Lock()
_gridfs_enabled = False


def _enable_gridfs() -> None:
    """Let the gridfs package take our databases for pymongo's; once per process."""
    global _gridfs_enabled  # noqa: PLW0603  the patch is process-wide itself
    with _gridfs_lock:
        if not _gridfs_enabled:
            enable_gridfs_integration()
            _gridfs_enabled = True


class DatabaseRows:
    """What mongomock's database asks its memory for, answered from the file."""

    def __init__(self, file: StoreFile, name: str) -> None:
        self.file = file
        self.name = name
        self._stores: dict[str, RowStore] = {}

    def __getitem__(self, collection: str) -> RowStore:
        store = self._stores.get(collection)
        if store is None:
            store = self._stores[collection] = RowStore(Documents(self.file, self.name, collection))
        return store

    def __contains__(self, collection: str) -> bool:
        return self[collection].is_created

    def list_created_collection_names(self) -> list[str]:
        """Names of the collections that exist."""
        with self.file.reading():
            return [name for database, name in self.file.catalogue().collections if database == self.name]

    @property
    def _collections(self) -> list[str]:
        return self.list_created_collection_names()

    def create_collection(self, name: str, **options: Any) -> RowStore:
        """Make a collection."""
        self[name].create(**options)
        return self[name]

    def rename(self, name: str, new_name: str) -> None:
        """Give a collection another name."""
        with self.file.transaction():
            entry = self.file.catalogue().collections.get((self.name, name))
            if entry is not None:
                tables.rename_collection(self.file, entry, new_name)

    @property
    def is_created(self) -> bool:
        """Whether any collection exists."""
        return bool(self.list_created_collection_names())


class Database(EngineDatabase):  # type: ignore[misc,unused-ignore]
    """A database of the file."""

    def get_collection(self, name: str, **options: Any) -> Collection:
        """Return a collection; arguments as in pymongo."""
        found: Collection | None = self._collection_accesses.get(name)
        if found is None:
            self._ensure_valid_collection_name(name)
            found = Collection(self, name, _db_store=self._store, codec_options=self._codec_options)
            self._collection_accesses[name] = found
        return found.with_options(**options) if options else found

    def rename_collection(self, name: str, new_name: str, dropTarget: bool = False) -> Any:
        """Rename a collection in one transaction; arguments as in pymongo."""
        with self._store.file.transaction():
            return super().rename_collection(name, new_name, dropTarget)


class MongoClient(EngineClient):  # type: ignore[misc,unused-ignore]
    """A client of the embedded store with pymongo's face.

    Parameters
    ----------
    host : str or Path
        Path of the SQLite file, with or without `embedded://` before it.
    create : bool
        Make the file when it is absent.
    tz_aware : bool
        Return dates with their time zone (UTC).
    file : StoreFile, optional
        Use this open file in place of `host`.

    Raises
    ------
    StoreError
        The file cannot be opened.
    """

    def __init__(
        self,
        host: str | Path,
        port: Any = None,
        *,
        create: bool = True,
        tz_aware: bool = False,
        file: StoreFile | None = None,
        **_ignored: Any,
    ) -> None:
        if file is None:
            settings = get_settings()
            file = StoreFile(
                Path(str(host).removeprefix(SCHEME)),
                synchronous=settings.store_synchronous,
                busy_timeout_s=settings.store_busy_timeout_s,
                create=create,
            )
        self.file = file
        super().__init__(tz_aware=tz_aware, _store=self)
        _enable_gridfs()

    @property
    def address(self) -> tuple[str, int]:
        """The path in place of a host."""
        return str(self.file.path), 0

    def __repr__(self) -> str:
        return f"MongoClient({SCHEME}{self.file.path})"

    def get_database(self, name: str | None = None, **options: Any) -> Database:
        """Return a database of the file; arguments as in pymongo."""
        if name is None:
            raise ConfigurationError("No default database name defined or provided.")
        found: Database | None = self._database_accesses.get(name)
        if found is None:
            rows = DatabaseRows(self.file, name)
            found = Database(self, name, _store=rows, codec_options=options.get("codec_options") or self._codec_options)
            self._database_accesses[name] = found
        return found

    def list_database_names(self) -> list[str]:
        """Names of the databases that hold a collection."""
        with self.file.reading():
            return sorted({database for database, _ in self.file.catalogue().collections})

    def drop_database(self, name_or_database: Any) -> None:
        """Remove a database and all its collections in one transaction."""
        name = name_or_database if isinstance(name_or_database, str) else name_or_database.name
        with self.file.transaction():
            for (database, _), entry in self.file.catalogue().collections.items():
                if database == name:
                    tables.drop_collection(self.file, entry)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all operations of this thread inside one atomic transaction.

        Nested ones join it; one that raises is undone alone if the error is caught outside of it. Other processes
        wait meanwhile: keep it short.
        """
        with self.file.transaction(savepoint=True):
            yield

    def close(self) -> None:
        """Close this thread's connection; the client stays usable."""
        self.file.close()
