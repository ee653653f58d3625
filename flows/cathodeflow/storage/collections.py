"""Names of the project's collections and the indexes declared on them, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

DATABASE = "cathodeflow"
PROJECT = "project"
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
SUBMISSIONS = "submissions"
FIREWORKS = "fireworks"
LAUNCHES = "launches"
WORKFLOWS = "workflows"
MARKER = "migration"
"""What a move leaves in both stores; never copied."""

COPYING, CURRENT, MOVED = "copying", "current", "moved"
"""States of such a mark: of a target that is not whole yet, of one that the project has, of one that it left."""


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


SUBMISSION_INDEXES: tuple[IndexSpec, ...] = (
    IndexSpec(SUBMISSIONS, (("seat", 1),), unique=True, sparse=True),
    IndexSpec(SUBMISSIONS, (("waiting_seat", 1),), unique=True, sparse=True),
    _ascending(SUBMISSIONS, "open", "site"),
    # Sparse: only jobs that ran out of something carry the keys, and each tick asks for them. An index on category and
    # kind would serve the counts of each tick, but the embedded store then claims by it and sorts all READY jobs.
    IndexSpec(FIREWORKS, (("spec._time_factor", 1),), sparse=True),
    IndexSpec(FIREWORKS, (("spec._memory_factor", 1),), sparse=True),
)

NATURAL_KEY = ("metadata.campaign", "metadata.kind", "metadata.key", "metadata.attempt")
"""What names a workflow; adding it twice is harmless."""

FIREWORKS_INDEXES: tuple[IndexSpec, ...] = (
    IndexSpec(FIREWORKS, (("fw_id", 1),), unique=True),
    _ascending(FIREWORKS, "launches"),
    # What a worker claims: the first READY one of its campaign, highest priority first, oldest first among equals.
    IndexSpec(FIREWORKS, (("state", 1), ("spec._campaign", 1), ("spec._priority", -1), ("spec._category", 1))),
    _ascending(FIREWORKS, "spec._campaign", "spec._kind", "state"),
    IndexSpec(LAUNCHES, (("launch_id", 1),), unique=True),
    _ascending(LAUNCHES, "fw_id"),
    _ascending(LAUNCHES, "state"),
    _ascending(WORKFLOWS, "nodes"),
    IndexSpec(WORKFLOWS, tuple((path, 1) for path in NATURAL_KEY), unique=True, sparse=True),
)

SERVER_FIREWORKS_INDEXES: tuple[IndexSpec, ...] = (
    *(spec for spec in FIREWORKS_INDEXES if spec != _ascending(WORKFLOWS, "nodes")),
    # A firework is in one workflow. Each condition under which one document is written has its very own unique index:
    # MongoDB would do with fewer, mongo-java-server uses an index only for exactly its fields.
    IndexSpec(WORKFLOWS, (("nodes", 1),), unique=True),
    IndexSpec(WORKFLOWS, (("nodes", 1), ("locked.token", 1)), unique=True),
    IndexSpec(WORKFLOWS, (("locked.token", 1),), unique=True, sparse=True),
    IndexSpec(FIREWORKS, (("fw_id", 1), ("state", 1)), unique=True),
    IndexSpec(FIREWORKS, (("claimed_by.token", 1),), unique=True, sparse=True),
)


def declared(project: Project) -> tuple[IndexSpec, ...]:
    """Return all indexes that a project's kind of store shall have."""
    of_fireworks = SERVER_FIREWORKS_INDEXES if project.file is None else FIREWORKS_INDEXES
    return (*INDEXES, *SUBMISSION_INDEXES, *of_fireworks)


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
