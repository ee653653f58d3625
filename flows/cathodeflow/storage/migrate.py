"""Copy a project from one store to the other, checked, and let its folder name the new one.

The copy is a comparison: each document that is absent or different is written, each that the source lacks is taken
away. So it may be killed and repeated; what was copied is not copied again. Only when counts and content hashes of all
collections agree does the project file change, in one step. The source stays as it is.

On an embedded source the last comparison and the change of the project file are one transaction: whoever else has the
project open writes before it, and is seen, or after it, and is refused (`Project.home`). On a server such a write is
refused from the change on; one that began just before and arrives just after it stays in the store that was left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import StoreError
from cathodeflow.records.document import in_utc, now
from cathodeflow.storage.collections import CAMPAIGNS, COPYING, CURRENT, MARKER, MOVED
from cathodeflow.storage.identity import identity_of, settle_identity
from cathodeflow.storage.project_file import write_project_file

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

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
        intent = campaign.get("intent")
        if intent is not None:
            return f"Process {intent['pid']} on {intent['host']} resubmits jobs of {campaign['_id']}"
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
    before_round: Callable[[], None] | None = None,
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
    before_round : callable, optional
        Called before each comparison of the whole.

    Returns
    -------
    list of CopiedCollection
        By name.

    Raises
    ------
    StoreError
        Somebody works on the project, or has moved it; the target holds another project; the copy does not come to
        agree.
    """
    refuse_if_busy(source)
    settle_identity(source)
    _mark_target(source, target)
    if source.file is not None:
        # Before the transaction below: a kill between the change of the folder and its commit would take the mark back.
        _mark(source, MOVED, target)
    for _ in range(ROUNDS):
        if before_round is not None:
            before_round()
        copied = [_copy(source, target, name, on_progress) for name in _collections(source, target)]
        with source.transaction():
            refuse_if_busy(source)
            if _agree(source, copied):
                if settle is not None:
                    settle()
                _mark(source, MOVED, target)
                write_project_file(target.folder, target.address, identity_of(source))
                break
    else:
        raise StoreError(
            f"{source.folder} was changed while it was copied: end what works on it, then repeat this command."
        )
    _mark(target, CURRENT, source)
    return copied


def _agree(source: Project, copied: Sequence[CopiedCollection]) -> bool:
    """Whether a source still is what was copied; a collection that was begun meanwhile was not."""
    names = {name for name in _collections(source) if source.count(name)}
    return names <= {one.name for one in copied} and all(one.content == content(source, one.name)[1] for one in copied)


def place_of(project: Project) -> str:
    """Return where a project's documents are, in a word: the address without its password, or `embedded`."""
    return "embedded" if project.address is None else project.address.uri


def _mark(project: Project, state: str, other: Project) -> None:
    document = {
        "_id": MARKER,
        "state": state,
        "other": place_of(other),
        "folder": str(project.folder),
        "project": identity_of(project) or identity_of(other),
        "at": now(),
    }
    project.database[MARKER].replace_one({"_id": MARKER}, document, upsert=True)


def _mark_target(source: Project, target: Project) -> None:
    if place_of(source) == place_of(target):
        raise StoreError(f"The documents of {source.folder} are there already ({place_of(source)}): nothing to do.")
    if not _is_left_over(source, target) and any(target.count(name) for name in _collections(target)):
        raise StoreError(
            f"{target.embedded_file.path} holds other documents: move that file away, then repeat this command."
            if target.address is None
            else f"{target.address.uri} holds other documents in the database {target.database_name!r}: name another "
            "database in the address (mongodb://host/name), or empty that one."
        )
    _mark(target, COPYING, source)


def _is_left_over(source: Project, target: Project) -> bool:
    """Whether the target holds an interrupted copy of this very project, or what it left there when it was moved."""
    mark = target.get(MARKER, MARKER)
    if mark is None or mark["state"] not in {COPYING, MOVED}:
        return False
    of = mark.get("project")  # none in those of earlier versions
    if of is not None and of != identity_of(source):
        return False
    # An embedded store is in the very folder, which may have been renamed since. What is being copied from another
    # folder may be a copy of this one, which is at work there by now.
    return target.address is None or mark["folder"] == str(source.folder) or (of is not None and mark["state"] == MOVED)


def _collections(*projects: Project) -> list[str]:
    names = {name for project in projects for name in project.database.list_collection_names()}
    return sorted(name for name in names if name != MARKER and not name.startswith("system."))


def _encoded(document: dict[str, Any]) -> bytes:
    import bson

    # MongoDB moves `_id` to the front, and orders the fields that an update with operators adds.
    return bytes(bson.encode({"_id": document["_id"], **{k: document[k] for k in sorted(document) if k != "_id"}}))


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
    there, removed = (frozenset[bytes](), 0)
    if target.count(name):
        there, removed = _remove_others(source, target, name)
    written = done = 0
    for chunk in _chunks(source, name):
        absent = [document for document in chunk if _key(document["_id"]) not in there]
        _write(target, name, absent)
        written += len(absent)
        done += len(chunk)
        if on_progress is not None:
            on_progress(name, done)
    count, hashed = content(target, name)
    if count != done:
        raise StoreError(f"{count} of {done} documents of {name} arrived in {place_of(target)}: repeat this command.")
    return CopiedCollection(name, done, written, removed, hashed)


def _key(id_: Any) -> bytes:
    import bson

    return hashlib.sha256(bson.encode({"_id": id_})).digest()[:16]


def _remove_others(source: Project, target: Project, name: str) -> tuple[frozenset[bytes], int]:
    """Take away what the source lacks or has otherwise, all of it before anything is written.

    A document replaced by itself could meet one that has its unique key still, and is about to lose it.

    Returns
    -------
    frozenset of bytes
        Keys of the documents that stay.
    int
        How many there were that the source lacks.
    """
    wanted = {_key(d["_id"]): hashlib.sha256(_encoded(d)).digest() for d in source.database[name].find()}
    gone, same, lacking = [], set(), 0
    for document in target.database[name].find():
        key = _key(document["_id"])
        if wanted.get(key) == hashlib.sha256(_encoded(document)).digest():
            same.add(key)
        else:
            gone.append(document["_id"])
            lacking += key not in wanted
    for start in range(0, len(gone), CHUNK):
        target.database[name].delete_many({"_id": {"$in": gone[start : start + CHUNK]}})
    return frozenset(same), lacking


def _write(target: Project, name: str, documents: list[dict[str, Any]]) -> None:
    if not documents:
        return
    if target.file is not None:
        target.insert_missing(name, documents)
    else:  # as they are: an upsert would order their fields, and ends some bytes below the largest document
        target.database[name].insert_many(documents, ordered=False)
