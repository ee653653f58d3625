"""Locks of workflows on a MongoDB server that say who holds them, with what is to be done if the holder dies.

FireWorks' own lock is a bare flag: nobody can tell whether the process that set it lives. Here the flag is a document
that names the process. Whoever holds it writes, in one write, the workflow as it shall be together with the fireworks
that are to follow (`pending`); only then the fireworks. A lock whose process is gone is taken over by the next who
needs it, who first writes what is pending: an update is either not begun or completed by somebody.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

import bson
import gridfs
from fireworks.core import launchpad as fireworks_launchpad
from fireworks.core.launchpad import LockedWorkflowError, WFLock

from cathodeflow.dispatch.processes import TOKENS_IN_USE, is_abandoned, moment, this_process
from cathodeflow.errors import StoreError
from cathodeflow.settings import get_settings

if TYPE_CHECKING:
    from cathodeflow.dispatch.server_launchpad import ServerLaunchPad

INLINE_BYTES = 8_000_000  # what is pending and larger goes to GridFS; a workflow's document ends at 16 MB
LARGEST_DOCUMENT = 16 * 1024**2
PENDING_BUCKET = "pending_fireworks"


class WorkflowLock:
    """The lock of one workflow, as a context.

    Parameters
    ----------
    launchpad : ServerLaunchPad
        Of the project.
    fw_id : int
        Any firework of the workflow.

    Attributes
    ----------
    token : str
        Names this very locking: the workflow is only written, and the lock only taken off, while it stands.
    workflow : object
        `_id` of the workflow.
    nodes : frozenset of int
        Its fireworks when it was locked.
    """

    def __init__(self, launchpad: ServerLaunchPad, fw_id: int) -> None:
        self.launchpad = launchpad
        self.fw_id = fw_id
        self.token = uuid.uuid4().hex
        self.workflow: Any = None
        self.nodes: frozenset[int] = frozenset()
        self.tokens = [self.token]

    def insert(self, document: dict[str, Any]) -> Self:
        """Insert a workflow with this lock in it; the lock is held from then on.

        Raises
        ------
        DuplicateKeyError
            A workflow of its natural key is there.
        """
        TOKENS_IN_USE.add(self.token)
        try:
            self.workflow = self.launchpad.workflows.insert_one({**document, "locked": self.document()}).inserted_id
        except BaseException:
            TOKENS_IN_USE.discard(self.token)
            raise
        self.launchpad.held_locks.append(self)
        return self

    def insert_all(self, documents: Sequence[dict[str, Any]]) -> Self:
        """Insert workflows, all with this lock in them."""
        self.tokens = [self.token, *(uuid.uuid4().hex for _ in documents[1:])]
        TOKENS_IN_USE.update(self.tokens)
        try:
            self.launchpad.workflows.insert_many(
                [
                    one | {"locked": self.document() | {"token": t}}
                    for one, t in zip(documents, self.tokens, strict=True)
                ]
            )
        except BaseException:
            TOKENS_IN_USE.difference_update(self.tokens)
            raise
        self.workflow = self.token
        self.launchpad.held_locks.append(self)
        return self

    def document(self) -> dict[str, Any]:
        """Return what stands in the workflow while it is locked."""
        return {**this_process(), "token": self.token, "since": moment()}

    def __enter__(self) -> Self:
        """Wait for the lock.

        Raises
        ------
        ValueError
            There is no such workflow.
        LockedWorkflowError
            A living process holds it for longer than the setting `store_claim_expiry_s` and a margin.
        """
        if self.workflow is not None:
            return self  # inserted with it
        TOKENS_IN_USE.add(self.token)
        try:
            self._wait()
        except BaseException:
            TOKENS_IN_USE.discard(self.token)
            raise
        self.launchpad.held_locks.append(self)
        return self

    def _wait(self) -> None:
        workflows = self.launchpad.workflows
        deadline = time.monotonic() + get_settings().store_claim_expiry_s * 1.5
        delay = 0.01
        while not self._take(workflows):
            if time.monotonic() > deadline:
                raise LockedWorkflowError(f"Could not get workflow - LOCKED: {self.fw_id}")
            time.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311  so that waiters do not knock in step
            delay = min(delay * 2, 0.5)

    def _take(self, workflows: Any) -> bool:
        free = {"nodes": self.fw_id, "locked.token": None}
        got = workflows.find_one_and_update(free, {"$set": {"locked": self.document()}}, {"nodes": 1})
        if got is not None:
            self.workflow, self.nodes = got["_id"], frozenset(got["nodes"])
            return True
        there = workflows.find_one({"nodes": self.fw_id}, {"locked": 1})
        if there is None:
            raise ValueError(f"Could not find workflow in database: {self.fw_id}")
        return "locked" in there and self.is_abandoned(there["locked"]) and self._take_over(there)

    def is_abandoned(self, locked: Any) -> bool:
        """Whether nobody will take a lock off; FireWorks' own bare flag names no process."""
        return isinstance(locked, dict) and is_abandoned(locked)

    def _take_over(self, there: dict[str, Any]) -> bool:
        taken = self.launchpad.workflows.find_one_and_update(
            {"_id": there["_id"], "locked.token": there["locked"].get("token")}, {"$set": {"locked": self.document()}}
        )
        if taken is None:
            return False
        self.workflow, self.nodes = taken["_id"], frozenset(taken["nodes"])
        write_pending(self.launchpad, taken.get("pending"))
        return True

    def __exit__(self, *_error: object) -> None:
        """Take the lock off, with what was pending when all of it is written."""
        error = _error[0]
        self.launchpad.held_locks.remove(self)
        TOKENS_IN_USE.difference_update(self.tokens)
        if error is None:
            self.launchpad.workflows.update_many(
                {"locked.token": {"$in": self.tokens}}, {"$unset": {"locked": True, "pending": True}}
            )
            return
        # What is pending must stay until it is written: with it the lock stays too, and the next one takes it over.
        self.launchpad.workflows.update_one(
            {"locked.token": self.token, "pending": {"$exists": False}}, {"$unset": {"locked": True}}
        )


def pack(launchpad: ServerLaunchPad, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return fireworks that are to be written as they go into the workflow's document.

    Parameters
    ----------
    launchpad : ServerLaunchPad
        Of the project.
    entries : sequence of dict
        ``firework``: the document; ``was``: state of the one it replaces, None for a new one.

    Raises
    ------
    StoreError
        A job is larger than a document may be; nothing was written.
    """
    packed = {"fireworks": list(entries)}
    content = bson.encode(packed)
    if len(content) <= INLINE_BYTES:
        return packed
    for entry in entries:
        size = len(bson.encode(entry["firework"]))
        if size > LARGEST_DOCUMENT:
            raise StoreError(
                f"Job {entry['firework']['name']} carries {size / 1e6:.1f} MB, and a document of MongoDB ends at "
                f"{LARGEST_DOCUMENT / 1e6:.1f} MB: give it references to the outputs of other jobs in place of data."
            )
    return {"file": gridfs.GridFS(launchpad.db, PENDING_BUCKET).put(content)}


def write_pending(launchpad: ServerLaunchPad, pending: dict[str, Any] | None) -> None:
    """Write fireworks that are pending, unless they were written or have gone on meanwhile. Safe to repeat."""
    from pymongo.errors import DuplicateKeyError

    if pending is None:
        return
    if "file" in pending:
        content = gridfs.GridFS(launchpad.db, PENDING_BUCKET).get(pending["file"]).read()
        pending = bson.decode(content)
    for entry in pending["fireworks"]:
        document, was = entry["firework"], entry["was"]
        if was is None:
            try:
                launchpad.fireworks.insert_one(document)
            except DuplicateKeyError:
                continue
        else:
            launchpad.fireworks.replace_one({"fw_id": document["fw_id"], "state": was}, document)


def lock_or_join(launchpad: ServerLaunchPad, fw_id: int) -> AbstractContextManager[Any]:
    """Return the lock of a job's workflow, or nothing to wait for where this thread holds it already."""
    if any(fw_id in lock.nodes for lock in launchpad.held_locks):
        return nullcontext()
    return WorkflowLock(launchpad, fw_id)


def _lock_for(launchpad: Any, fw_id: int, *args: Any, **options: Any) -> Any:
    """Stand in for FireWorks' `WFLock`, which its methods look up by name."""
    if hasattr(launchpad, "held_locks"):
        return lock_or_join(launchpad, fw_id)
    return WFLock(launchpad, fw_id, *args, **options)


fireworks_launchpad.WFLock = _lock_for
