"""Bring a store up to this version of the program: indexes, and documents of older layouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import StoreError
from cathodeflow.records.document import SCHEMA_VERSION
from cathodeflow.storage import collections as names

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

VERSIONED = (
    *(names.CAMPAIGNS, names.CANDIDATES, names.LABELS, names.PREDICTIONS, names.VERDICTS, names.MODELS),
    *(names.VALIDATIONS, names.FOLLOW_UPS, names.REFERENCES, names.EVENTS, names.ATTEMPTS, names.WITHDRAWN),
)

Step = Callable[[str, dict[str, Any]], dict[str, Any]]
# From version n to n + 1: collection and document to the document. Version 1 is the first.
STEPS: dict[int, Step] = {}


@dataclass(frozen=True)
class Upgraded:
    """What was done.

    Attributes
    ----------
    indexes : int
        Made; those there were stay.
    documents : int
        Brought up to the present layout.
    """

    indexes: int
    documents: int


def upgrade(
    project: Project,
    specs: Sequence[names.IndexSpec],
    version: int = SCHEMA_VERSION,
    steps: dict[int, Step] | None = None,
) -> Upgraded:
    """Make the declared indexes and bring old documents up; safe to repeat, and to interrupt.

    Parameters
    ----------
    project : Project
        An open project.
    specs : sequence of IndexSpec
        All that are declared.
    version : int
        Of the layout that documents shall have.
    steps : dict of int to callable, optional
        How a document comes from one version to the next; `STEPS` by default.

    Raises
    ------
    StoreError
        Documents were written by a newer version of the program, or an index cannot be made; nothing is lost.
    """
    _refuse_newer(project, version)
    before = sum(_indexes(project, name) for name in {spec.collection for spec in specs})
    names.ensure_indexes(project, tuple(specs))
    after = sum(_indexes(project, name) for name in {spec.collection for spec in specs})
    return Upgraded(after - before, sum(_bring_up(project, name, version, steps or STEPS) for name in VERSIONED))


def _indexes(project: Project, collection: str) -> int:
    if collection not in project.database.list_collection_names():
        return 0
    return len(project.database[collection].index_information())


def _refuse_newer(project: Project, version: int) -> None:
    for name in VERSIONED:
        newer = project.count(name, {"schema_version": {"$gt": version}})
        if newer:
            raise StoreError(
                f"{newer} documents of {name} were written by a newer cathodeflow (layout above {version}): "
                "install that version; this one leaves them alone."
            )


def _bring_up(project: Project, collection: str, version: int, steps: dict[int, Step]) -> int:
    count = 0
    for document in list(project.database[collection].find({"schema_version": {"$lt": version}})):
        fresh = document
        for number in range(document["schema_version"], version):
            if number not in steps:
                raise StoreError(
                    f"There is no way from layout {number} to {number + 1}: install a version between them."
                )
            fresh = steps[number](collection, dict(fresh)) | {"schema_version": number + 1}
        old = {"_id": document["_id"], "schema_version": document["schema_version"]}
        count += project.database[collection].replace_one(old, fresh).modified_count
    return count
