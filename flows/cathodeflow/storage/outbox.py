"""A job's result on disk before the database is asked, so that a server that is away costs no result.

While a job runs under a server, its outputs and its end are first files in the folder `outbox` of its launch. They are
taken away when the database has all of them: a server that is killed may lose its last confirmed writes, so what was
written before it went away is written again. When the server stays away for longer than a job waits, they stay;
whoever repairs the store next (`dispatch.repair`) hands them in.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cathodeflow.errors import StoreError
from cathodeflow.settings import get_settings

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

Result = TypeVar("Result")
FOLDER = "outbox"
ENDING = "ending.json"
LEFT = "left"
DAMAGED = "outbox.damaged"

_current: ContextVar[Outbox | None] = ContextVar("outbox", default=None)


@dataclass(frozen=True)
class Contents:
    """What a job has left in its outbox.

    Attributes
    ----------
    outputs : tuple of dict
        ``collection``, ``key`` and ``documents`` of each writing.
    ending : dict or None
        ``launch_id``, ``state`` and ``action``; None when the job had not ended.
    """

    outputs: tuple[dict[str, Any], ...]
    ending: dict[str, Any] | None

    def write(self, project: Project) -> None:
        """Write the outputs to the database; safe to repeat.

        Raises
        ------
        PyMongoError, StoreError
            The database does not take them.
        """
        from cathodeflow.storage.outputs import output_store

        for kept in self.outputs:
            output_store(project, kept["collection"]).write(kept["documents"], kept["key"])


class Undelivered(BaseException):
    """The server stayed away; what the job has made is in its outbox.

    No error of the job, hence no Exception: FireWorks would fizzle the job.
    """


def current_outbox() -> Outbox | None:
    """Return the outbox of the job that runs in this context; None outside of jobs and on the embedded store."""
    return _current.get()


class Outbox:
    """What one launch has made and the database has not confirmed.

    Parameters
    ----------
    launch : Path
        Folder of the launch.
    say : callable, optional
        Told in words when the job waits for the server.

    Attributes
    ----------
    undelivered : bool
        Something could not be delivered in time.
    unreadable : bool
        The job could not read its input in time: it has made nothing.
    """

    def __init__(self, launch: Path, say: Callable[[str], None] | None = None) -> None:
        self.folder = launch / FOLDER
        self.undelivered = False
        self.unreadable = False
        self._say = say or (lambda _message: None)
        self._confirmed: list[Callable[[], None]] = []
        self._went_away = False
        self._count = len(list(self.folder.glob("*.bson"))) if self.folder.exists() else 0

    @contextmanager
    def opened(self) -> Iterator[Outbox]:
        """Be the outbox of what is called inside."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    def deliver(
        self, collection: str, key: list[str] | str | None, documents: list[dict[str, Any]], write: Callable[[], None]
    ) -> None:
        """Keep documents on disk, then write them to the database, waiting for a server that is away.

        Raises
        ------
        StoreError
            They cannot be written to disk, or the database refuses them.
        """
        import bson
        from pymongo.errors import PyMongoError

        from cathodeflow.storage.server import is_unreachable

        name = f"{self._count:04d}.bson"
        self._count += 1
        self._write(name, bson.encode({"collection": collection, "key": key, "documents": documents}))
        try:
            self._patiently(write)
        except (PyMongoError, StoreError) as error:
            if not is_unreachable(error):
                raise
            self.undelivered = True
        else:
            self._confirmed.append(write)

    def read(self, act: Callable[[], Result]) -> Result:
        """Read from the database, waiting for a server that is away.

        Raises
        ------
        PyMongoError
            It stayed away.
        """
        from pymongo.errors import PyMongoError

        try:
            return self._patiently(act)
        except PyMongoError:
            self.unreadable = True
            raise

    def end(self, launch_id: int, action: dict[str, Any], state: str, complete: Callable[[], Result]) -> Result:
        """Keep on disk how the job ended, then tell the database.

        Raises
        ------
        Undelivered
            The server stayed away; the end and the outputs are kept, or there is nothing to keep.
        """
        from pymongo.errors import PyMongoError

        from cathodeflow.storage.server import is_unreachable

        if self.unreadable:
            raise Undelivered
        ending = {"launch_id": launch_id, "state": state, "action": action}
        self._write(ENDING, json.dumps(ending, default=str).encode())
        if self.undelivered:
            self._leave()

        def all_of_it() -> Result:
            if self._went_away:
                for write in self._confirmed:
                    write()
            return complete()

        try:
            done = self._patiently(all_of_it)
        except (PyMongoError, StoreError) as error:
            if not is_unreachable(error):
                raise
            self._leave()
            raise
        self.clear()
        return done

    def _leave(self) -> None:
        try:
            self._write(LEFT, b"")
        except StoreError as error:  # a full disk: what stands there is handed in once this process is known to be gone
            self._say(str(error))
        raise Undelivered

    def _patiently(self, act: Callable[[], Result]) -> Result:
        from cathodeflow.storage.server import with_patience

        def told(delay: float, error: Exception) -> None:
            self._went_away = True
            self._say(f"the MongoDB server is away ({type(error).__name__}): asking again in {delay:.1f} s")

        return with_patience(act, 0.0 if self.undelivered else get_settings().store_patience_s, told)

    def _write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all.

        Raises
        ------
        StoreError
            The disk refuses it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = self.folder / f".{name}.part"
            with fresh.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.folder / name)
        except OSError as error:
            raise StoreError(f"The result of the job cannot be kept in {self.folder}: {error.strerror}.") from error

    @property
    def went_away(self) -> bool:
        """Whether the server was away while the job ran, for all that is known."""
        return self._went_away

    @property
    def confirmed(self) -> tuple[Callable[[], None], ...]:
        """What writes again the outputs that the database has confirmed."""
        return tuple(self._confirmed)

    # -- for those who hand in ---------------------------------------------------------------------------------

    @property
    def was_left(self) -> bool:
        """Whether the job gave up waiting: nobody else will deliver this."""
        return (self.folder / LEFT).exists()

    def contents(self) -> Contents | None:
        """Return what the job has left; None where a disk has damaged it, which is then put aside for people.

        Files are whole or not there, whatever is killed. With one of them gone bad the others say too little: the job
        runs again.
        """
        import bson

        try:
            outputs = tuple(bson.decode(path.read_bytes()) for path in sorted(self.folder.glob("*.bson")))
            ending = self.folder / ENDING
            return Contents(outputs, json.loads(ending.read_text(encoding="utf-8")) if ending.exists() else None)
        except (bson.errors.InvalidBSON, ValueError):
            aside = self.folder.with_name(DAMAGED)
            shutil.rmtree(aside, ignore_errors=True)
            self.folder.rename(aside)
            return None

    def clear(self) -> None:
        """Take the files away: the database has everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
