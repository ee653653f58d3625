"""Names of the project's collections and the indexes declared on them, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

DATABASE = "cathodeflow"
CAMPAIGNS = "campaigns"
CANDIDATES = "candidates"
LABELS = "labels"
PREDICTIONS = "predictions"
VERDICTS = "verdicts"
MODELS = "models"
VALIDATIONS = "validations"
FOLLOW_UPS = "follow_ups"
WITHDRAWN = "withdrawn"
REFERENCES = "references"
EVENTS = "events"
ATTEMPTS = "attempts"
OUTPUTS = "outputs"
OUTPUTS_DATA = "outputs_data"
BLOBS = "blobs"


@dataclass(frozen=True)
class IndexSpec:
    """One declared index.

    Attributes
    ----------
    collection : str
        Of which collection.
    fields : tuple of (str, int)
        Dotted path and direction.
    unique, sparse : bool
        As in MongoDB.
    """

    collection: str
    fields: tuple[tuple[str, int], ...]
    unique: bool = False
    sparse: bool = False

    @property
    def name(self) -> str:
        """MongoDB's default name."""
        return "_".join(f"{path}_{direction}" for path, direction in self.fields)


def _ascending(collection: str, *paths: str) -> IndexSpec:
    return IndexSpec(collection, tuple((path, 1) for path in paths))


# `_id` is the natural key of every document, so that writing twice is harmless and the key costs no further index.
INDEXES: tuple[IndexSpec, ...] = (
    _ascending(CAMPAIGNS, "state"),
    _ascending(CANDIDATES, "campaign", "level"),
    _ascending(CANDIDATES, "campaign", "composition"),
    _ascending(LABELS, "campaign", "purpose", "outcome"),
    _ascending(LABELS, "campaign", "round"),
    _ascending(LABELS, "campaign", "composition"),
    _ascending(PREDICTIONS, "campaign", "round", "level"),
    _ascending(PREDICTIONS, "campaign", "round", "composition"),
    _ascending(VERDICTS, "campaign", "round", "passed", "rank"),
    _ascending(VERDICTS, "campaign", "round", "rejected_by"),
    _ascending(VERDICTS, "campaign", "composition"),
    _ascending(MODELS, "campaign", "round", "target"),
    _ascending(VALIDATIONS, "campaign", "rank"),
    _ascending(FOLLOW_UPS, "campaign", "branch", "outcome"),
    _ascending(FOLLOW_UPS, "campaign", "composition"),
    _ascending(WITHDRAWN, "campaign", "resubmission"),
    _ascending(EVENTS, "campaign", "_id"),
    _ascending(ATTEMPTS, "campaign", "kind", "key"),
    _ascending(ATTEMPTS, "campaign", "reason"),
    IndexSpec(OUTPUTS, (("uuid", 1), ("index", 1)), unique=True),
    _ascending(OUTPUTS_DATA, "blob_uuid"),
    _ascending(OUTPUTS_DATA, "job_uuid"),
)


def ensure_indexes(project: Project, specs: tuple[IndexSpec, ...] = INDEXES) -> None:
    """Make the declared indexes that are not there yet.

    Parameters
    ----------
    project : Project
        An open project.
    specs : tuple of IndexSpec
        Which ones; all of this module by default.

    Raises
    ------
    StoreError
        The store cannot be written.
    """
    for spec in specs:
        project.ensure_index(spec)
