"""What a store holds, counted and weighed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project


@dataclass(frozen=True)
class StoreContents:
    """What `cflow store info` tells.

    Attributes
    ----------
    backend : str
        ``embedded`` or ``mongodb``.
    place : str
        The file, or the address without its password.
    database : str
        Its name there.
    version : str
        Of the server or of SQLite.
    bytes : int
        On disk for the embedded store; of the documents on a server.
    collections : dict of str to int
        Documents in each.
    indexes : dict of str to int
        Indexes of each.
    """

    backend: str
    place: str
    database: str
    version: str
    bytes: int
    collections: dict[str, int]
    indexes: dict[str, int]


def store_contents(project: Project) -> StoreContents:
    """Look into a store.

    Raises
    ------
    StoreError
        It cannot be read.
    """
    found = sorted(name for name in project.database.list_collection_names() if not name.startswith("system."))
    counts = {name: project.count(name) for name in found}
    indexes = {name: len(project.database[name].index_information()) for name in found}
    if project.address is None:
        import sqlite3

        path = project.embedded_file.path
        version = f"SQLite {sqlite3.sqlite_version}"
        return StoreContents("embedded", str(path), project.database_name, version, _bytes_of(path), counts, indexes)
    from cathodeflow.storage.server import in_words

    with in_words(project.address):
        size = int(project.database.command("dbstats").get("dataSize", 0))
        version = str(project.client.server_info()["version"])
    return StoreContents("mongodb", project.address.uri, project.database_name, version, size, counts, indexes)


def _bytes_of(path: Path) -> int:
    parts = [path, *(Path(f"{path}{suffix}") for suffix in ("-wal", "-shm"))]
    return sum(part.stat().st_size for part in parts if part.exists())
