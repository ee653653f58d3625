"""Open a project: its folder, its database and what goes with it.

Opening, counting and reading by an index import neither the query engine nor pymongo (0.4 s): `status` stays quick.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import StoreError
from cathodeflow.settings import get_settings
from cathodeflow.storage import collections as names
from cathodeflow.storage.embedded.documents import Documents, count_values
from cathodeflow.storage.embedded.file import StoreFile
from cathodeflow.storage.project_file import Home, store_of

if TYPE_CHECKING:
    from jobflow import JobStore

    from cathodeflow.storage.address import StoreAddress
    from cathodeflow.storage.blobs import Blobs
    from cathodeflow.storage.embedded.client import MongoClient


class Project:
    """A project folder and its database; holds any number of campaigns.

    Parameters
    ----------
    folder : Path
        The project folder.
    file : StoreFile or None
        The embedded store; None when the database is a MongoDB server.
    address : StoreAddress or None
        Of the server, for that case.
    home : Home or None
        What the folder says of its store, to be asked before writing; None where the folder does not matter.

    Attributes
    ----------
    folder : Path
        Absolute.
    """

    def __init__(
        self,
        folder: Path,
        file: StoreFile | None,
        address: StoreAddress | None = None,
        home: Home | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.file = file
        self.address = address
        self.home = home
        if file is not None and home is not None:
            file.before_writing = home.refuse_elsewhere

    @property
    def uri(self) -> str | None:
        """Address of the server, without a password; None for the embedded store."""
        return None if self.address is None else self.address.uri

    @property
    def database_name(self) -> str:
        """Name of the database on the server or in the file."""
        return names.DATABASE if self.address is None else self.address.database

    def __repr__(self) -> str:
        return f"Project({str(self.folder)!r})"

    # -- the database ------------------------------------------------------------------------------------------

    @cached_property
    def client(self) -> MongoClient:
        """A client with pymongo's face: the embedded one, or pymongo's own."""
        if self.address is not None:
            from cathodeflow.storage.server import connect

            return connect(self.address)  # type: ignore[return-value,unused-ignore]
        from cathodeflow.storage.embedded.client import MongoClient

        return MongoClient(self.embedded_file.path, file=self.file)

    @property
    def embedded_file(self) -> StoreFile:
        """The embedded store.

        Raises
        ------
        StoreError
            The project's documents are on a server.
        """
        if self.file is None:
            raise StoreError("this operation is for the embedded store")
        return self.file

    @cached_property
    def database(self) -> Any:
        """The project's database; `project.database["labels"]` is a pymongo-like collection."""
        return self.client[self.database_name]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all operations of this thread inside one atomic transaction; nested ones join it.

        On a MongoDB server each operation stands alone; what several of them must keep together is written in an order
        that a repeat or a repair completes (docs/decisions/mongodb.md).

        Raises
        ------
        StoreError
            It could not be committed, or the project was moved to another store; nothing of it was written.
        """
        if self.file is None:
            if self.home is not None:
                self.home.refuse_elsewhere()
            yield
            return
        with self.file.transaction(savepoint=True):
            yield

    def ensure_index(self, spec: names.IndexSpec) -> None:
        """Make a declared index unless it is there."""
        if self.file is None:
            options = {"unique": True} if spec.unique else {}
            options |= {"sparse": True} if spec.sparse else {}
            self.database[spec.collection].create_index(list(spec.fields), **options)
            return
        documents = self._documents(spec.collection)
        with self.file.reading():
            entry = documents.entry()
            if entry is not None and any(i.name == spec.name for i in entry.indexes):
                return
        definition: dict[str, Any] = {"key": [list(field) for field in spec.fields]}
        definition |= {"unique": True} if spec.unique else {}
        definition |= {"sparse": True} if spec.sparse else {}
        with self.file.transaction(savepoint=True):
            entry = documents.entry()
            if entry is None or all(i.name != spec.name for i in entry.indexes):
                documents.create_index(spec.name, definition)

    def _documents(self, collection: str) -> Documents:
        return Documents(self.embedded_file, names.DATABASE, collection)

    # -- reading and writing without the query engine ----------------------------------------------------------

    def get(self, collection: str, id_: Any) -> dict[str, Any] | None:
        """Return one document by its `_id`, or None."""
        if self.file is None:
            found: dict[str, Any] | None = self.database[collection].find_one({"_id": id_})
            return found
        return self._documents(collection).get(id_)

    def select(
        self,
        collection: str,
        condition: Mapping[str, Any],
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
    ) -> list[dict[str, Any]]:
        """Return documents that match, cheaply where an index answers; the query engine helps where none does.

        Parameters
        ----------
        collection : str
            Which collection.
        condition : Mapping
            MongoDB filter.
        sort : sequence of (path, direction)
            Order; insertion order by default.
        limit : int
            At most so many; 0 for all.
        """
        if self.file is not None:
            documents = self._documents(collection)
            with self.file.reading():
                plan = documents.plan(condition, tuple(sort), limited=bool(limit))
                if plan is None:
                    return []
                if plan.exact and plan.sorted:
                    return list(islice(documents.bodies(documents.sequence(plan)), limit or None))
        cursor = self.database[collection].find(condition)
        if sort:
            cursor = cursor.sort(list(sort))
        return list(cursor.limit(limit))

    def count(self, collection: str, condition: Mapping[str, Any] | None = None) -> int:
        """Count documents; from an index alone where one can say."""
        if self.file is not None:
            counted = self._documents(collection).count(condition or {})
            if counted is not None:
                return counted
        return int(self.database[collection].count_documents(condition or {}))

    def any_matches(self, collection: str, condition: Mapping[str, Any]) -> bool:
        """Whether any document matches; from an index alone where one can say."""
        if self.file is not None:
            found = self._documents(collection).any_matches(condition)
            if found is not None:
                return found
        return self.database[collection].find_one(condition, {"_id": 1}) is not None

    def count_by(self, collection: str, path: str, condition: Mapping[str, Any] | None = None) -> dict[Any, int]:
        """Count documents by the value of a field, missing as None.

        Parameters
        ----------
        collection : str
            Which collection.
        path : str
            The field, dotted.
        condition : Mapping, optional
            MongoDB filter.

        Returns
        -------
        dict
            Number of documents by value.
        """
        condition = condition or {}
        if self.file is None:
            pipeline = [{"$match": condition}, {"$group": {"_id": f"${path}", "count": {"$sum": 1}}}]
            return {group["_id"]: group["count"] for group in self.database[collection].aggregate(pipeline)}
        counted = self._documents(collection).count_by(path, condition)
        return counted if counted is not None else count_values(self.select(collection, condition), path)

    def insert_missing(self, collection: str, documents: Iterable[dict[str, Any]]) -> int:
        """Insert the documents whose `_id` is not there yet, fast and in one transaction.

        Returns
        -------
        int
            How many were new.
        """
        if self.file is not None:
            return self._documents(collection).insert_absent(documents)
        from pymongo import UpdateOne

        writes = [UpdateOne({"_id": d["_id"]}, {"$setOnInsert": d}, upsert=True) for d in documents]
        return int(self.database[collection].bulk_write(writes, ordered=False).upserted_count) if writes else 0

    def campaign_names(self) -> list[str]:
        """Names of the campaigns, sorted."""
        return sorted(document["_id"] for document in self.select(names.CAMPAIGNS, {}))

    # -- what goes with it -------------------------------------------------------------------------------------

    @cached_property
    def blobs(self) -> Blobs:
        """Large binary things (weights), by the sha256 of their content."""
        from cathodeflow.storage.blobs import Blobs

        return Blobs(self)

    def job_store(self) -> JobStore:
        """Return the jobflow store of this project's job outputs."""
        from cathodeflow.storage.outputs import job_store

        return job_store(self)


def create_project(folder: Path, uri: str | None = None) -> Project:
    """Make a project folder with an empty store; one that is there already is opened.

    Parameters
    ----------
    folder : Path
        Made when absent.
    uri : str, optional
        `mongodb://` address of a server to use in place of the embedded store; the folder remembers it.

    Raises
    ------
    StoreError
        The folder or the store cannot be made, or the database belongs to another project.
    """
    from cathodeflow.storage.identity import settle_identity

    folder = Path(folder)
    home = Home(folder)
    address = store_of(folder, uri)
    with _made_folder(folder):
        project = _project(folder, address, create=True, home=home.of(address, given=uri))
        with _in_words(address):
            settle_identity(project)
            names.ensure_indexes(project)
    if project.home is None:  # it is the folder's word only now
        project.home = Home(folder).of(address, given=uri)
    return project


@contextmanager
def _made_folder(folder: Path) -> Iterator[None]:
    """Make a folder for what is done inside; a refusal leaves none behind that is new and empty."""
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"The project folder {folder} cannot be made: {error.strerror}.") from error
    try:
        yield
    except StoreError:
        if new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()
        raise


def open_project(folder: Path, uri: str | None = None, *, read_only: bool = False, moving: bool = False) -> Project:
    """Open a project.

    Parameters
    ----------
    folder : Path
        The project folder.
    uri : str, optional
        `mongodb://` address of a server to use in place of the store that the folder names.
    read_only : bool
        Open the embedded store so that nothing can be written. A server's rights are its own: see
        `storage.read_only` for a view of its collections that only reads.
    moving : bool
        To move it: the store that the folder names, whatever the setting says.

    Raises
    ------
    StoreError
        There is no store in the folder, it cannot be read, the server cannot be reached, or the database there
        belongs to another project.
    """
    home = Home(Path(folder))  # first: a move from here on is noticed
    address = store_of(Path(folder), uri, moving=moving)
    return _project(Path(folder), address, create=False, read_only=read_only, home=home.of(address, given=uri))


def open_target(folder: Path, uri: str | None) -> Project:
    """Open the store that a project is to be moved to, made when absent.

    Parameters
    ----------
    folder : Path
        The project folder.
    uri : str or None
        Address of a server; None for the embedded store.

    Raises
    ------
    StoreError
        It cannot be opened.
    """
    from cathodeflow.storage.address import StoreAddress

    return _project(folder, None if uri is None else StoreAddress.parse(uri), create=True)


def _project(
    folder: Path, address: StoreAddress | None, *, create: bool, read_only: bool = False, home: Home | None = None
) -> Project:
    if address is None:
        return Project(folder, _store_file(folder, create=create, read_only=read_only), home=home)
    from cathodeflow.storage.server import check

    project = Project(folder, None, address, home)
    check(project.client, address)
    if not create:
        from cathodeflow.storage.identity import check_identity

        with _in_words(address):
            check_identity(project)
    return project


def _in_words(address: StoreAddress | None) -> AbstractContextManager[None]:
    """As `server.in_words`, where there is a server."""
    if address is None:
        return nullcontext()
    from cathodeflow.storage.server import in_words

    return in_words(address)


def _store_file(folder: Path, *, create: bool, read_only: bool = False) -> StoreFile:
    settings = get_settings()
    return StoreFile(
        folder / settings.store_file,
        synchronous=settings.store_synchronous,
        busy_timeout_s=settings.store_busy_timeout_s,
        create=create,
        read_only=read_only,
    )
