"""Large files in the store that no document refers to any more, and taking them away.

FireWorks' documents end at 16 MB. Jobs that are larger than a document can announce are kept in GridFS while they are
written (`pending_fireworks`); what a launch says beyond that is kept there too (`fw_gridfs`). A workflow lets go of the
first when its jobs are written. The second stays with its launch, past attempts included, which is what undoing a
resubmission needs; it is let go of when a launch is told its end twice, or taken back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cathodeflow.records.document import in_utc
from cathodeflow.storage.collections import LAUNCHES, WORKFLOWS

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

YOUNGEST_S = 3600.0
"""Whoever has written a file refers to it at once; nobody is an hour between the two."""
_BATCH = 100


@dataclass(frozen=True)
class Bucket:
    """Where large files are kept, and what refers to them.

    Attributes
    ----------
    name : str
        Of the bucket of GridFS.
    holds : str
        What is in it, for people.
    collection, path : str
        Documents, and the part of them that names a file.
    """

    name: str
    holds: str
    collection: str
    path: str


@dataclass(frozen=True)
class Strays:
    """What nothing refers to in one bucket.

    Attributes
    ----------
    bucket : Bucket
        Which.
    ids : tuple
        Of the files, and of chunks that no file has.
    bytes : int
        What they hold.
    kept : int
        Files that are referred to, or too young to be judged.
    """

    bucket: Bucket
    ids: tuple[Any, ...]
    bytes: int
    kept: int


def buckets() -> tuple[Bucket, ...]:
    """Return all buckets whose files can be left over."""
    from fireworks.fw_config import GRIDFS_FALLBACK_COLLECTION

    from cathodeflow.dispatch.workflow_lock import PENDING_BUCKET

    return (
        Bucket(PENDING_BUCKET, "jobs that were too large to be announced", WORKFLOWS, "pending.file"),
        Bucket(GRIDFS_FALLBACK_COLLECTION, "large ends of launches", LAUNCHES, "action.gridfs_id"),
    )


def find_strays(project: Project, youngest_s: float = 0.0) -> list[Strays]:
    """Find the files that nothing refers to; changes nothing.

    Parameters
    ----------
    project : Project
        The open project.
    youngest_s : float
        Younger files are left; `YOUNGEST_S` at least.

    Returns
    -------
    list of Strays
        Of the buckets that hold anything.
    """
    before = datetime.now(UTC) - timedelta(seconds=max(youngest_s, YOUNGEST_S))
    there = set(project.database.list_collection_names())
    found = [_strays(project, one, before) for one in buckets() if there & {f"{one.name}.files", f"{one.name}.chunks"}]
    return [one for one in found if one.ids or one.kept]


def _strays(project: Project, bucket: Bucket, before: datetime) -> Strays:
    database = project.database
    # Files first: one that is referred to from now on is either seen below, or young.
    files = {d["_id"]: d for d in database[f"{bucket.name}.files"].find({}, {"uploadDate": 1, "length": 1})}
    halves = set(database[f"{bucket.name}.chunks"].distinct("files_id")) - files.keys()  # of a killed writer
    named = _named(project, bucket) if files or halves else frozenset()
    gone = [id_ for id_, d in files.items() if str(id_) not in named and in_utc(d["uploadDate"]) < before]
    # A file's number says when it was begun.
    torn = [id_ for id_ in halves if str(id_) not in named and id_.generation_time < before]
    size = sum(int(files[id_]["length"]) for id_ in gone) + sum(_weight(project, bucket, id_) for id_ in torn)
    return Strays(bucket, (*gone, *torn), size, len(files) - len(gone))


def _named(project: Project, bucket: Bucket) -> frozenset[str]:
    head, _, last = bucket.path.partition(".")
    documents = project.database[bucket.collection].find({bucket.path: {"$exists": True}}, {bucket.path: 1, "_id": 0})
    return frozenset(str(document[head][last]) for document in documents)


def _weight(project: Project, bucket: Bucket, id_: Any) -> int:
    chunks = project.database[f"{bucket.name}.chunks"].find({"files_id": id_}, {"data": 1})
    return sum(len(chunk["data"]) for chunk in chunks)


def remove_strays(project: Project, strays: Strays) -> int:
    """Take away what was found and is still referred to by nothing; may be killed and repeated.

    Parameters
    ----------
    project : Project
        The open project.
    strays : Strays
        As `find_strays` found them.

    Returns
    -------
    int
        How many files.
    """
    named = _named(project, strays.bucket)
    gone = [id_ for id_ in strays.ids if str(id_) not in named]
    for start in range(0, len(gone), _BATCH):
        some = {"$in": gone[start : start + _BATCH]}
        with project.transaction():
            # The file's own document last: as long as it stands, a repeat finds what is left of it.
            project.database[f"{strays.bucket.name}.chunks"].delete_many({"files_id": some})
            project.database[f"{strays.bucket.name}.files"].delete_many({"_id": some})
    return len(gone)
