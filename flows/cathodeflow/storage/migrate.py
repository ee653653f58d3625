"""Copy a project from one store to the other, checked, and let its folder name the new one.

The copy is a comparison: each document that is absent or different is written, each that the source lacks is taken
away. So it may be killed and repeated; what was copied is not copied again. Only when counts and content hashes of all
collections agree does the project file change, in one step. The source stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import StoreError
from cathodeflow.records.document import in_utc, now
from cathodeflow.storage.collections import CAMPAIGNS
from cathodeflow.storage.project_file import write_project_file

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

MARKER = "migration"
COPYING, CURRENT, MOVED = "copying", "current", "moved"
CHUNK = 500
CHUNK_BYTES = 8_000_000
ROUNDS = 3  # how often a source that changes meanwhile is copied again
UNDER_WAY = ("RESERVED", "RUNNING")


@dataclass(frozen=True)
class CopiedCollection:
    """What became of one collection.

    Attributes
    ----------
    name : str
        Of the collection.
    documents : int
        In both stores.
    written, removed : int
        By this run: fewer than there are when an earlier one was interrupted.
    content : str
        Hash of the content, in whatever order; the same in both stores.
    """

    name: str
    documents: int
    written: int
    removed: int
    content: str


def busy_with(project: Project) -> str | None:
    """Return what somebody is doing on a project, in words; None when nobody is."""
    for campaign in project.select(CAMPAIGNS, {}):
        lease = campaign.get("lease")
        if lease is not None and in_utc(lease["expires_at"]) > now():
            return f"Campaign {campaign['_id']} is driven by {lease['holder']}"
    running = project.count("fireworks", {"state": {"$in": list(UNDER_WAY)}})
    return f"{running} job(s) of {project.folder} are running" if running else None


def refuse_if_busy(project: Project) -> None:
    """Refuse a project that somebody is working on.

    Raises
    ------
    StoreError
        A driver holds a campaign, or jobs are running.
    """
    busy = busy_with(project)
    if busy is not None:
        raise StoreError(
            f"{busy}: end that first (Ctrl-C ends `cflow run`; one that was killed is over in half a minute), or let "
            "`cflow store migrate --wait` stop the campaigns, wait for the jobs, and let them go on in the new store."
        )


def migrate(
    source: Project,
    target: Project,
    on_progress: Callable[[str, int], None] | None = None,
    settle: Callable[[], None] | None = None,
) -> list[CopiedCollection]:
    """Copy a project to another store and make that its own.

    Parameters
    ----------
    source, target : Project
        The same folder, with the store it has and the store it shall have.
    on_progress : callable, optional
        Told a collection's name and how many of its documents are compared.
    settle : callable, optional
        Called when the copy agrees and before the project has it: what must be there when work begins. A repeat
        after a kill compares, and so undoes it, before it is called again.

    Returns
    -------
    list of CopiedCollection
        By name.

    Raises
    ------
    StoreError
        Somebody works on the project; the target holds another project; the copy does not come to agree.
    """
    refuse_if_busy(source)
    _mark_target(source, target)
    for _ in range(ROUNDS):
        copied = [_copy(source, target, name, on_progress) for name in _collections(source, target)]
        refuse_if_busy(source)
        if all(one.content == content(source, one.name)[1] for one in copied):
            break
    else:
        raise StoreError(
            f"{source.folder} was changed while it was copied: end what works on it, then repeat this command."
        )
    if settle is not None:
        settle()
    write_project_file(target.folder, target.address)
    _mark(target, CURRENT, source)
    _mark(source, MOVED, target)
    return copied


def place_of(project: Project) -> str:
    """Return where a project's documents are, in a word: the address without its password, or `embedded`."""
    return "embedded" if project.address is None else project.address.uri


def _mark(project: Project, state: str, other: Project) -> None:
    document = {"_id": MARKER, "state": state, "other": place_of(other), "folder": str(project.folder), "at": now()}
    project.database[MARKER].replace_one({"_id": MARKER}, document, upsert=True)


def _mark_target(source: Project, target: Project) -> None:
    if place_of(source) == place_of(target):
        raise StoreError(f"The documents of {source.folder} are there already ({place_of(source)}): nothing to do.")
    mark = target.get(MARKER, MARKER)
    # An embedded store is in the very folder, which may have been renamed since.
    unfinished = (
        mark is not None
        and mark["state"] in {COPYING, MOVED}
        and (target.address is None or mark["folder"] == str(source.folder))
    )
    if not unfinished and any(target.count(name) for name in _collections(target)):
        raise StoreError(
            f"{target.embedded_file.path} holds other documents: move that file away, then repeat this command."
            if target.address is None
            else f"{target.address.uri} holds other documents in the database {target.database_name!r}: name another "
            "database in the address (mongodb://host/name), or empty that one."
        )
    _mark(target, COPYING, source)


def _collections(*projects: Project) -> list[str]:
    names = {name for project in projects for name in project.database.list_collection_names()}
    return sorted(name for name in names if name != MARKER and not name.startswith("system."))


def _encoded(document: dict[str, Any]) -> bytes:
    import bson

    # MongoDB moves `_id` to the front; nothing else about the order changes.
    return bytes(bson.encode({"_id": document["_id"], **{k: v for k, v in document.items() if k != "_id"}}))


def content(project: Project, collection: str) -> tuple[int, str]:
    """Return the number of documents of a collection and a hash of their content, in whatever order."""
    total, count = 0, 0
    for document in project.database[collection].find():
        total += int.from_bytes(hashlib.sha256(_encoded(document)).digest(), "big")
        count += 1
    return count, f"{total % 2**256:064x}"


def _chunks(project: Project, collection: str) -> Iterator[list[dict[str, Any]]]:
    """Give the documents in chunks, small ones where the documents are large."""
    documents = iter(project.database[collection].find())
    size = 1
    while chunk := list(islice(documents, size)):
        yield chunk
        mean = max(1, sum(len(_encoded(document)) for document in chunk) // len(chunk))
        size = max(1, min(CHUNK, CHUNK_BYTES // mean))


def _copy(
    source: Project, target: Project, name: str, on_progress: Callable[[str, int], None] | None
) -> CopiedCollection:
    written = done = 0
    ids: set[bytes] = set()
    there_is_more = target.count(name) > 0
    for chunk in _chunks(source, name):
        ids.update(_key(document["_id"]) for document in chunk)
        written += _write_chunk(target, name, chunk, compare=there_is_more)
        done += len(chunk)
        if on_progress is not None:
            on_progress(name, done)
    removed = _remove_others(target, name, ids)
    count, hashed = content(target, name)
    if count != done:
        raise StoreError(f"{count} of {done} documents of {name} arrived in {place_of(target)}: repeat this command.")
    return CopiedCollection(name, done, written, removed, hashed)


def _key(id_: Any) -> bytes:
    import bson

    return hashlib.sha256(bson.encode({"_id": id_})).digest()[:16]


def _write_chunk(target: Project, name: str, chunk: Sequence[dict[str, Any]], *, compare: bool) -> int:
    if not compare:
        return target.insert_missing(name, list(chunk))
    found = target.database[name].find({"_id": {"$in": [document["_id"] for document in chunk]}})
    there = {_key(document["_id"]): _encoded(document) for document in found}
    absent = [document for document in chunk if _key(document["_id"]) not in there]
    changed = [d for d in chunk if there.get(_key(d["_id"]), _encoded(d)) != _encoded(d)]
    for document in changed:
        target.database[name].replace_one({"_id": document["_id"]}, document)
    return len(changed) + (target.insert_missing(name, absent) if absent else 0)


def _remove_others(target: Project, name: str, ids: set[bytes]) -> int:
    gone = [d["_id"] for d in target.database[name].find({}, {"_id": 1}) if _key(d["_id"]) not in ids]
    for start in range(0, len(gone), CHUNK):
        target.database[name].delete_many({"_id": {"$in": gone[start : start + CHUNK]}})
    return len(gone)
