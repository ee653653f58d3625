"""The jobflow store of job outputs, over the project's own database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maggma.stores import MongoStore

from cathodeflow.storage.collections import DATABASE, OUTPUTS
from cathodeflow.storage.embedded.client import MongoClient

if TYPE_CHECKING:
    from jobflow import JobStore

    from cathodeflow.storage.connection import Project


class EmbeddedStore(MongoStore):
    """A maggma store over a collection of the embedded store.

    Parameters
    ----------
    path : str
        The SQLite file.
    collection_name : str
        The collection.
    database : str
        The database.
    """

    def __init__(self, path: str, collection_name: str = OUTPUTS, database: str = DATABASE, **options: Any) -> None:
        self.path = str(path)
        super().__init__(database, collection_name, **options)

    @property
    def name(self) -> str:
        """Where the documents are."""
        return f"embedded://{self.path}/{self.collection_name}"

    def connect(self, force_reset: bool = False) -> None:
        """Open the file."""
        if self._coll is None or force_reset:
            self._coll = MongoClient(self.path, create=False)[self.database][self.collection_name]

    def use(self, client: MongoClient) -> None:
        """Use an open client, so that writes join its transactions."""
        self._coll = client[self.database][self.collection_name]

    def close(self) -> None:
        """Nothing to do: connections belong to threads and are closed with them."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EmbeddedStore) and (self.path, self.collection_name, self.database) == (
            other.path,
            other.collection_name,
            other.database,
        )

    def __hash__(self) -> int:
        return hash((self.path, self.collection_name, self.database))


def job_store(project: Project) -> JobStore:
    """Return the jobflow store of a project."""
    from jobflow import JobStore

    if project.file is None:
        store = MongoStore(DATABASE, OUTPUTS, uri=project.uri)
    else:
        store = EmbeddedStore(str(project.file.path))
        store.use(project.client)
    made = JobStore(store)
    made.connect()
    return made
