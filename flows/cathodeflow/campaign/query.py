"""Questions to the store in MongoDB's language, and rows to answer them with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import CathodeflowError, DefinitionError, StoreError

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

# What is shown of each collection unless fields are asked for.
DEFAULT_FIELDS: Mapping[str, tuple[str, ...]] = {
    "candidates": ("key", "level", "composition", "mask", "multiplicity"),
    "predictions": (
        "round",
        "key",
        "formation_energy",
        "formation_energy_std",
        "relaxation_energy",
        "relaxation_energy_std",
    ),
    "verdicts": ("round", "composition", "noble", "passed", "rejected_by", "rank", "score", "voltages"),
    "labels": (
        "key",
        "purpose",
        "round",
        "outcome",
        "reason",
        "relaxation.formation_energy",
        "relaxation.relaxation_energy",
        "relaxation.volume_change_percent",
        "relaxation.max_force",
        "relaxation.steps",
    ),
    "models": ("_id", "n_train", "n_held_out", "epochs", "metrics.r2", "metrics.mae", "pretrained_metrics.r2"),
    "validations": ("composition", "pristine", "noble", "rank", "voltages", "volume_changes", "profile_holds"),
    "follow_ups": (
        "composition",
        "level",
        "branch",
        "outcome",
        "reason",
        "gap.pbe.gap",
        "gap.hybrid.gap",
        "bonding.mean_strength",
        "density_difference.displaced_charge",
        "wall_s",
    ),
    "references": ("_id", "phase", "energy_per_atom", "n_atoms"),
    "campaigns": ("_id", "state", "stage", "round", "provenance", "started_at", "finished_at", "message"),
    "events": ("created_at", "campaign", "kind", "message"),
    "attempts": ("created_at", "kind", "key", "attempt", "outcome", "reason", "action", "message"),
    "withdrawn": ("created_at", "campaign", "resubmission", "collection", "document._id", "document.reason"),
    "fireworks": ("fw_id", "state", "spec._campaign", "spec._kind", "spec._key", "spec._category", "updated_on"),
    "submissions": ("created_at", "site", "category", "state", "job_id", "submitted_at", "ended_at", "outcome"),
    "launches": ("launch_id", "fw_id", "state", "host", "launch_dir", "time_start", "runtime_secs"),
}
COLLECTIONS: tuple[str, ...] = tuple(DEFAULT_FIELDS)
SHARED_COLLECTIONS = frozenset({"references"})  # documents of no one campaign
# Where a document names its campaign, if not in `campaign`.
CAMPAIGN_FIELDS: Mapping[str, str] = {"campaigns": "_id", "fireworks": "spec._campaign"}

# Operators that run code, which no filter from outside may.
_FORBIDDEN = frozenset({"$where", "$function", "$accumulator"})


@dataclass(frozen=True)
class Question:
    """A checked query.

    Attributes
    ----------
    collection : str
        One of `COLLECTIONS`.
    filter : dict
        MongoDB filter.
    fields : tuple of str
        Dotted paths to show; empty for whole documents.
    sort : tuple of (str, int)
        Dotted path and direction.
    limit : int
        Most documents to return; 0 for all.
    """

    collection: str
    filter: dict[str, Any]
    fields: tuple[str, ...] = ()
    sort: tuple[tuple[str, int], ...] = ()
    limit: int = 0


def parse_filter(text: str | None) -> dict[str, Any]:
    """Read a MongoDB filter from JSON, extended JSON included (``{"$date": …}``, ``{"$oid": …}``).

    Parameters
    ----------
    text : str or None
        The JSON; None and blank text are the empty filter.

    Raises
    ------
    DefinitionError
        It is no JSON object, says where; or it holds an operator that runs code.
    """
    if text is None or not text.strip():
        return {}
    from bson import json_util
    from bson.errors import BSONError

    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        where = f"column {error.colno}" if "\n" not in text else f"line {error.lineno}, column {error.colno}"
        raise DefinitionError(
            f'the filter is not JSON at {where}: {error.msg}; write for example \'{{"level": "Na3"}}\''
        ) from error
    try:
        options = json_util.JSONOptions(tz_aware=False)
        found = json_util.loads(text, json_options=options)
    except (BSONError, ValueError, TypeError) as error:
        raise DefinitionError(f"the filter holds extended JSON that cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise DefinitionError(f'a filter is a JSON object such as \'{{"level": "Na3"}}\', not {text.strip()[:40]}')
    refuse_code(found)
    return found


def refuse_code(value: Any) -> None:
    """Refuse a filter that would run code in the database.

    Raises
    ------
    DefinitionError
        It holds such an operator, at any depth.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in _FORBIDDEN:
                raise DefinitionError(
                    f"the operator {key} runs code and is refused; use comparisons such as $gt or $in"
                )
            refuse_code(item)
    elif isinstance(value, list):
        for item in value:
            refuse_code(item)


def parse_sort(text: str | None) -> tuple[tuple[str, int], ...]:
    """Read a sort order: comma-separated dotted paths, each with a leading ``-`` to descend.

    Raises
    ------
    DefinitionError
        A path is empty.
    """
    order = []
    for part in (text or "").split(",") if text else []:
        path = part.strip()
        direction = -1 if path.startswith("-") else 1
        path = path.lstrip("-+")
        if not path:
            raise DefinitionError(f"--sort {text!r} holds an empty field; write for example --sort rank,-score")
        order.append((path, direction))
    return tuple(order)


def check_collection(name: str) -> str:
    """Return the collection of that name; the singular, capitals and a missing or other joint are understood.

    Raises
    ------
    DefinitionError
        There is none; names the nearest and all.
    """
    from difflib import get_close_matches

    lowered = name.lower()
    joined = lowered.replace("-", "").replace("_", "")
    for known in COLLECTIONS:
        plain = known.replace("_", "")
        if joined in {plain, plain.removesuffix("s")}:
            return known
    near = get_close_matches(lowered, COLLECTIONS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise DefinitionError(f"no collection {name!r}: {hint}There are {', '.join(COLLECTIONS)}")


def ask(
    collection: str,
    filter_text: str | None = None,
    fields: Sequence[str] = (),
    sort: str | None = None,
    limit: int = 0,
    campaign: str | None = None,
) -> Question:
    """Check a query as it was typed.

    Parameters
    ----------
    collection, filter_text, sort : str
        See `check_collection`, `parse_filter` and `parse_sort`.
    fields : sequence of str
        Dotted paths.
    limit : int
        0 for all.
    campaign : str, optional
        Only documents of that campaign.

    Raises
    ------
    DefinitionError
        Something of it cannot be used; says what.
    """
    name = check_collection(collection)
    wanted = parse_filter(filter_text)
    if campaign is not None and name == "launches":
        raise DefinitionError(
            "launches name no campaign: ask for the fw_id of its jobs in fireworks, and filter launches by those"
        )
    if campaign is not None and name not in SHARED_COLLECTIONS:
        mine = {CAMPAIGN_FIELDS.get(name, "campaign"): campaign}
        wanted = {"$and": [mine, wanted]} if wanted else mine
    return Question(name, wanted, tuple(fields), parse_sort(sort), limit)


def answer(project: Project, question: Question) -> Iterator[dict[str, Any]]:
    """Yield the documents that answer a query.

    Raises
    ------
    DefinitionError
        The query engine refuses the filter; gives its words.
    """
    projection = dict.fromkeys(question.fields, 1) or None
    if projection is not None and "_id" not in projection:
        projection["_id"] = 0
    try:
        cursor = project.database[question.collection].find(question.filter, projection)
        if question.sort:
            cursor = cursor.sort(list(question.sort))
        if question.limit:
            cursor = cursor.limit(question.limit)
        yield from cursor
    except refusals() as error:
        raise refused(error) from error


def refusals() -> tuple[type[Exception], ...]:
    """Return what the query engine raises on a filter it cannot use."""
    import re

    from pymongo.errors import PyMongoError

    return PyMongoError, NotImplementedError, TypeError, ValueError, re.error


def refused(error: Exception) -> CathodeflowError:
    """Return what an error of the query engine means: a filter it cannot use, or a server that is away."""
    from cathodeflow.storage.server import explain, is_unreachable

    if is_unreachable(error):
        return StoreError(explain(error))
    return DefinitionError(f"the filter cannot be used: {(str(error).splitlines() or [type(error).__name__])[0]}")


def count(project: Project, question: Question) -> int:
    """Count the documents that answer a query, whatever its limit; raises as `answer`."""
    try:
        return project.count(question.collection, question.filter)
    except refusals() as error:
        raise refused(error) from error


def value_at(document: Any, path: str) -> Any:
    """Return what a dotted path leads to in a document, None where nothing is.

    A list on the way is entered by index, or gives the list of what its members hold.
    """
    node = document
    parts = path.split(".")
    for place, part in enumerate(parts):
        if isinstance(node, Mapping):
            node = node.get(part)
        elif isinstance(node, list) and part.isdigit():
            node = node[int(part)] if int(part) < len(node) else None
        elif isinstance(node, list):
            rest = ".".join(parts[place:])
            return [value_at(member, rest) for member in node]
        else:
            return None
    return node


def rows_of(
    documents: Iterable[Mapping[str, Any]], fields: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Lay documents out as rows; a mapping of scalars becomes one column per key.

    Parameters
    ----------
    documents : iterable of mapping
        Documents.
    fields : sequence of str
        Dotted paths, in order.

    Returns
    -------
    tuple of (tuple of str, list of tuple)
        Column names and rows.
    """
    raw = [[value_at(document, field) for field in fields] for document in documents]
    columns: list[tuple[str, int, str | None]] = []
    for place, field in enumerate(fields):
        held = [row[place] for row in raw]
        if any(isinstance(value, Mapping) for value in held) and all(
            value is None or (isinstance(value, Mapping) and _is_flat(value)) for value in held
        ):
            keys = dict.fromkeys(key for value in held if value for key in value)
            columns += [(f"{field}.{key}", place, key) for key in keys]
        else:
            columns.append((field, place, None))
    rows = [
        tuple(row[place] if key is None else (row[place] or {}).get(key) for _, place, key in columns) for row in raw
    ]
    return tuple(name for name, _, _ in columns), rows


def _is_flat(value: Mapping[str, Any]) -> bool:
    return not any(isinstance(item, Mapping | list) for item in value.values())
