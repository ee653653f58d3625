"""One SQLite file: connections per thread, transactions, and what went wrong in plain words."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import StoreError

if TYPE_CHECKING:
    from cathodeflow.storage.embedded.catalogue import Catalogue

APPLICATION_ID = 0x43464C57  # "CFLW": tells our file from any other SQLite file
FORMAT = 1
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS store_format (version INTEGER NOT NULL)",
    """CREATE TABLE IF NOT EXISTS collections (
        id INTEGER PRIMARY KEY AUTOINCREMENT, database TEXT NOT NULL, name TEXT NOT NULL, options BLOB NOT NULL,
        UNIQUE (database, name))""",
    """CREATE TABLE IF NOT EXISTS indexes (
        id INTEGER PRIMARY KEY AUTOINCREMENT, collection INTEGER NOT NULL, name TEXT NOT NULL,
        definition BLOB NOT NULL, multikey INTEGER NOT NULL DEFAULT 0, unordered INTEGER NOT NULL DEFAULT 0,
        UNIQUE (collection, name))""",
)
# Connections of a parent process, kept so that they are never closed in the child: SQLite forbids it.
_inherited: list[Any] = []


class _Session(threading.local):
    """What one thread holds: its connection, the depth of its transaction and its view of the catalogue."""

    connection: sqlite3.Connection | None = None
    address = ""
    pid = 0
    depth = 0
    reading = 0
    catalogue: Catalogue | None = None
    catalogue_holds = False  # for the rest of a write transaction: nobody else can change it


class StoreFile:
    """A SQLite file that several threads and processes use at once.

    Parameters
    ----------
    path : Path
        The file; made when absent if `create`.
    synchronous : str
        `normal` (survives any killed process) or `full` (also a power cut).
    busy_timeout_s : float
        How long a writer waits for another one, seconds.
    create : bool
        Make the file when it is absent.
    read_only : bool
        SQLite itself refuses to write through these connections, and they never hold up a writer.

    Attributes
    ----------
    before_writing : callable or None
        Called at the beginning of each transaction, all other writers kept away; what it raises ends it.

    Raises
    ------
    StoreError
        The file cannot be opened, or is not a cathodeflow store.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: str = "normal",
        busy_timeout_s: float = 60.0,
        create: bool = True,
        read_only: bool = False,
    ) -> None:
        self.path = Path(path).absolute()
        self.synchronous = synchronous
        self.busy_timeout_s = busy_timeout_s
        self.read_only = read_only
        self.before_writing: Callable[[], None] | None = None
        self._session = _Session()
        if not self._exists():
            if not create:
                raise StoreError(f"There is no store at {self.path}; make the project first (init).")
            self._initialise()
        self.connection()

    def _exists(self) -> bool:
        try:
            return self.path.exists()
        except PermissionError as error:
            raise StoreError(f"{self.path} may not be looked at; ask its owner for access to the folder.") from error

    # -- connections -------------------------------------------------------------------------------------------

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection, opened again after a fork."""
        session = self._session
        if session.connection is not None and session.pid == os.getpid() and not self._outdated(session):
            return session.connection
        if session.connection is not None and session.pid == os.getpid():
            session.connection.close()
        elif session.connection is not None:
            _inherited.append(session.connection)
        session.depth = session.reading = 0
        session.catalogue = None
        session.address = self._address()
        session.connection = self._open(session.address)
        session.pid = os.getpid()
        return session.connection

    def _outdated(self, session: _Session) -> bool:
        """Whether somebody began to write to a file that this thread opened as one that nobody changes."""
        if not self.read_only or "immutable" not in session.address or session.reading:
            return False
        return self._address() != session.address

    def _open(self, address: str) -> sqlite3.Connection:
        with self._explained():
            connection = sqlite3.connect(
                address, uri=True, timeout=self.busy_timeout_s, isolation_level=None, check_same_thread=False
            )
            connection.execute(f"PRAGMA synchronous = {self.synchronous}")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA cache_size = -32000")
            found = connection.execute("PRAGMA application_id").fetchone()[0]
        if found != APPLICATION_ID:
            connection.close()
            raise StoreError(f"{self.path} is not a cathodeflow store; name the right project folder.")
        return connection

    def _address(self) -> str:
        """Address for SQLite: a file on a read-only disk is opened as one that nobody changes.

        So is one to be read in a folder that we may not write in, until somebody writes there: SQLite would have to put
        its log beside it.
        """
        log = Path(f"{self.path}-wal")
        with suppress(OSError):
            read_only = bool(os.statvfs(self.path).f_flag & os.ST_RDONLY)
            if read_only and not (log.exists() and log.stat().st_size):
                return f"{self.path.as_uri()}?immutable=1"
        if self.read_only and not log.exists() and not os.access(self.path.parent, os.W_OK):
            return f"{self.path.as_uri()}?immutable=1"
        return f"{self.path.as_uri()}?mode={'ro' if self.read_only else 'rw'}"

    def _initialise(self) -> None:
        """Make the file elsewhere and move it in place, so that nobody ever sees half of it."""
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.{random.getrandbits(32):08x}")
        try:
            with self._explained():
                connection = sqlite3.connect(draft, isolation_level=None)
                try:
                    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    connection.execute("BEGIN")
                    for statement in _SCHEMA:
                        connection.execute(statement)
                    connection.execute("INSERT INTO store_format VALUES (?)", (FORMAT,))
                    connection.execute("COMMIT")
                    connection.execute("PRAGMA journal_mode = WAL")
                finally:
                    connection.close()
            with suppress(FileExistsError):  # another process was first; its file is as good
                os.link(draft, self.path)
        except OSError as error:
            raise StoreError(f"No store can be made at {self.path}: {error.strerror}.") from error
        finally:
            for leftover in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm"), Path(f"{draft}-journal")):
                leftover.unlink(missing_ok=True)

    def close(self) -> None:
        """Close this thread's connection; the next use opens it again."""
        session = self._session
        if session.connection is not None and session.pid == os.getpid():
            session.connection.close()
        session.connection = None
        session.catalogue = None

    # -- statements --------------------------------------------------------------------------------------------

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement on this thread's connection.

        Raises
        ------
        StoreError
            SQLite refused: full disk, read-only file, damaged file, a writer that never finished.
        """
        try:
            return self.connection().execute(statement, values)
        except sqlite3.DatabaseError as error:
            raise self.explain(error) from error

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> sqlite3.Cursor:
        """Run one statement for many rows; raises as `execute`."""
        try:
            return self.connection().executemany(statement, rows)
        except sqlite3.DatabaseError as error:
            raise self.explain(error) from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self.explain(error) from error

    def explain(self, error: sqlite3.DatabaseError) -> StoreError:
        """Say in one sentence what a SQLite error means for the user."""
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith("SQLITE_FULL"):
            text = f"The disk that holds {self.path} is full; free some space and repeat: nothing committed was lost."
        elif name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
            text = f"{self.path} or its folder is read-only; make both writable."
        elif name.startswith("SQLITE_CANTOPEN"):
            text = f"{self.path} cannot be opened; check that its folder exists and is writable."
        elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            text = (
                f"Another process has been writing to {self.path} for more than {self.busy_timeout_s:g} s; "
                "wait for it, or raise CATHODEFLOW_STORE_BUSY_TIMEOUT_S."
            )
        elif name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            text = f"{self.path} is not a readable store ({error}); restore it from a copy."
        elif name.startswith("SQLITE_IOERR"):
            text = f"Reading or writing {self.path} failed ({error}); check the disk, and keep it off network drives."
        else:
            text = f"The store {self.path} refused an operation: {error}."
        return StoreError(text)

    # -- transactions ------------------------------------------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is inside a write transaction."""
        return self._session.depth > 0 and self._session.pid == os.getpid()

    @contextmanager
    def transaction(
        self, *, keep: tuple[type[BaseException], ...] = (), savepoint: bool = False
    ) -> Iterator[sqlite3.Connection]:
        """Make what happens inside one atomic write; nested ones of the same thread join it.

        Parameters
        ----------
        keep : tuple of exception types
            Errors that end the operation but not what it has done before (a bulk write's failed member).
        savepoint : bool
            When nested, undo this part alone if it raises.

        Raises
        ------
        StoreError
            The transaction could not begin or be committed; nothing of it was written.
        """
        if self.read_only:
            raise StoreError(f"{self.path} was opened to be read only: nothing was written; change it with `cflow`.")
        connection = self.connection()
        session = self._session
        if session.depth:
            with self._nested(session, savepoint=savepoint):
                yield connection
            return
        self._begin(connection)
        session.depth = 1
        session.catalogue_holds = False
        try:
            if self.before_writing is not None:
                self.before_writing()
            yield connection
        except keep:
            self._commit(session, connection)
            raise
        except BaseException:
            self._roll_back(session, connection)
            raise
        else:
            self._commit(session, connection)

    @contextmanager
    def _nested(self, session: _Session, *, savepoint: bool) -> Iterator[None]:
        name = f"level_{session.depth}"
        if savepoint:
            self.execute(f"SAVEPOINT {name}")
        session.depth += 1
        try:
            yield
        except BaseException:
            if savepoint and session.connection is not None and session.connection.in_transaction:
                self.execute(f"ROLLBACK TO {name}")
                session.catalogue = None
            raise
        finally:
            session.depth -= 1
            if savepoint and session.connection is not None and session.connection.in_transaction:
                self.execute(f"RELEASE {name}")

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Take the write lock. Waiting is done here in short random steps: SQLite's own steps grow to 100 ms."""
        deadline = time.monotonic() + self.busy_timeout_s
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                        raise self.explain(error) from error
                    time.sleep(random.uniform(0.0003, 0.003))  # noqa: S311  spread, not secrecy
                else:
                    return
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(self.busy_timeout_s * 1000)}")

    def _commit(self, session: _Session, connection: sqlite3.Connection) -> None:
        session.depth = 0
        try:
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            self._roll_back(session, connection)
            raise self.explain(error) from error

    def _roll_back(self, session: _Session, connection: sqlite3.Connection) -> None:
        session.depth = 0
        session.catalogue = None
        if connection.in_transaction:  # SQLite has already rolled back after a full disk
            connection.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give several reads one consistent view. Never yield to foreign code inside."""
        connection = self.connection()
        session = self._session
        if session.depth or session.reading:
            yield connection
            return
        self.execute("BEGIN")
        session.reading = 1
        try:
            yield connection
        finally:
            session.reading = 0
            if connection.in_transaction:
                connection.execute("COMMIT")

    # -- catalogue ---------------------------------------------------------------------------------------------

    def catalogue(self) -> Catalogue:
        """Return the collections and indexes as of now; call inside `reading` or `transaction`."""
        from cathodeflow.storage.embedded.catalogue import Catalogue

        session = self._session
        if session.depth and session.catalogue_holds and session.catalogue is not None:
            return session.catalogue
        version = self.execute("PRAGMA user_version").fetchone()[0]
        if session.catalogue is None or session.catalogue.version != version:
            session.catalogue = Catalogue.load(self, version)
        session.catalogue_holds = session.depth > 0
        return session.catalogue

    def change_catalogue(self) -> None:
        """Tell every connection that collections or indexes have changed; call inside a transaction."""
        version = self.execute("PRAGMA user_version").fetchone()[0]
        self.execute(f"PRAGMA user_version = {(version + 1) % 2**31}")
        self._session.catalogue = None
