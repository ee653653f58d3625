"""The jobflow store of job outputs, over the project's own database; what a document cannot hold goes to GridFS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bson
from maggma.stores import MongoStore
from monty.json import jsanitize

from cathodeflow.storage.collections import DATABASE, OUTPUTS, OUTPUTS_DATA
from cathodeflow.storage.outbox import current_outbox

if TYPE_CHECKING:
    from jobflow import JobStore

    from cathodeflow.storage.connection import Project

SPILLED = "spilled"
LARGEST_OUTPUT = 16_000_000
"""Bytes of a document beyond which its output goes to GridFS: MongoDB takes 16 MiB and no more."""
LARGEST_DATA = 1_000_000
"""The same for volumetric and other data that jobs mark as such: charge densities, trajectories, band structures."""


class OutputStore(MongoStore):
    """A maggma store over a collection of a project, on either kind of store.

    Parameters
    ----------
    folder : str
        The project folder.
    collection_name : str
        The collection.
    field : str
        The part of a document that is moved to GridFS when the document is too large.
    largest : int
        Bytes from which on a document is too large.
    """

    def __init__(
        self,
        folder: str,
        collection_name: str = OUTPUTS,
        field: str = "output",
        largest: int = LARGEST_OUTPUT,
        **options: Any,
    ) -> None:
        self.folder = str(folder)
        self.field = field
        self.largest = largest
        self._project: Project | None = None
        super().__init__(DATABASE, collection_name, **options)

    @property
    def name(self) -> str:
        """Where the documents are."""
        return f"project://{self.folder}/{self.collection_name}"

    def connect(self, force_reset: bool = False) -> None:
        """Open the project."""
        if self._project is None or force_reset:
            from cathodeflow.storage.connection import open_project

            self.use(open_project(Path(self.folder)))

    def use(self, project: Project) -> None:
        """Use an open project, so that writes join its transactions."""
        self._project = project
        self._coll = project.database[self.collection_name]

    def close(self) -> None:
        """Nothing to do: the connection is the project's."""

    def update(self, docs: list[dict[str, Any]] | dict[str, Any], key: list[str] | str | None = None) -> None:
        """Write documents; within a job on a server, to its launch folder first.

        Raises
        ------
        PyMongoError, StoreError
            They could not be written. Within a job nothing is raised for a server that is away: the documents stay in
            the outbox.
        """
        documents = docs if isinstance(docs, list) else [docs]
        clean = [jsanitize(document, allow_bson=True, recursive_msonable=True) for document in documents]
        box = current_outbox()
        if box is None:
            self.write(clean, key)
        else:
            box.deliver(self.collection_name, key, clean, lambda: self.write(clean, key))

    def write(self, documents: list[dict[str, Any]], key: list[str] | str | None = None) -> None:
        """Write plain documents to the database, those of the same key replaced."""
        keys = key or self.key
        names = [keys] if isinstance(keys, str) else list(keys)
        for document in documents:
            self._collection.replace_one({name: document[name] for name in names}, self._fitting(document), upsert=True)

    def _fitting(self, document: dict[str, Any]) -> dict[str, Any]:
        size = len(bson.encode(document))
        if size <= self.largest or self.field not in document:
            return document
        content = bson.encode({self.field: document[self.field]})
        id_ = self.project.blobs.put(content, f"{self.collection_name}/{document.get('uuid', '')}")
        return {**document, self.field: {SPILLED: id_, "bytes": len(content)}}

    @property
    def project(self) -> Project:
        """The project, opened when it is not."""
        self.connect()
        assert self._project is not None  # for the type checker
        return self._project

    def query(self, *args: Any, **options: Any) -> Iterator[dict[str, Any]]:
        """Return documents as MongoStore does, what was moved to GridFS put back."""
        box = current_outbox()
        if box is None:
            return self._found(*args, **options)
        return iter(box.read(lambda: list(self._found(*args, **options))))

    def _found(self, *args: Any, **options: Any) -> Iterator[dict[str, Any]]:
        for document in super().query(*args, **options):
            yield whole(self.project, document, self.field)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OutputStore) and (self.folder, self.collection_name) == (
            other.folder,
            other.collection_name,
        )

    def __hash__(self) -> int:
        return hash((self.folder, self.collection_name))


def whole(project: Project, document: dict[str, Any], field: str = "output") -> dict[str, Any]:
    """Return a document of job outputs with what was moved to GridFS put back.

    Parameters
    ----------
    project : Project
        An open project.
    document : dict
        As the collection holds it.
    field : str
        The part that may have been moved.

    Raises
    ------
    StoreError
        What was moved is not there, or damaged.
    """
    moved = document.get(field)
    if not isinstance(moved, dict) or set(moved) != {SPILLED, "bytes"}:
        return document
    # The database has 16 MB documents; BSON itself, which holds what was moved, has no such limit.
    return {**document, field: bson.decode(project.blobs.get(moved[SPILLED]))[field]}


def find_output(project: Project, uuid: str) -> dict[str, Any] | None:
    """Return the newest output document of a job, whole; None when it left none."""
    found = project.database[OUTPUTS].find_one({"uuid": uuid}, sort=[("index", -1)])
    return None if found is None else whole(project, found)


def has_output(project: Project, uuid: str) -> bool:
    """Whether a job has left an output document."""
    return project.database[OUTPUTS].find_one({"uuid": uuid}, {"uuid": 1}) is not None


def job_store(project: Project) -> JobStore:
    """Return the jobflow store of a project, with the additional store `data` that atomate2's makers ask for."""
    from jobflow import JobStore

    outputs = output_store(project, OUTPUTS)
    made = JobStore(outputs, additional_stores={"data": output_store(project, OUTPUTS_DATA)})
    made.connect()
    return made


def output_store(project: Project, collection: str) -> OutputStore:
    """Return the store of one of the two collections of job outputs."""
    if collection == OUTPUTS_DATA:
        store = OutputStore(str(project.folder), OUTPUTS_DATA, "data", LARGEST_DATA, key="blob_uuid")
    else:
        store = OutputStore(str(project.folder), OUTPUTS)
    store.use(project)
    return store
