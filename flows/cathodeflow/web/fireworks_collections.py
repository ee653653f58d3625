"""FireWorks' collections as a reader may see them: some campaigns only, nothing to write, and pages that stay cheap.

FireWorks counts and sorts as a MongoDB server does well. Over the embedded store the same would look at every document,
so counts are taken from an index, and pages are read from the newest job backwards, no further than they reach.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from flask import flash, has_request_context, request
from werkzeug.exceptions import BadRequest, NotFound

from cathodeflow.campaign.query import refuse_code, value_at
from cathodeflow.dispatch.jobs import FIREWORKS, WORKFLOWS
from cathodeflow.errors import DefinitionError

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

CAMPAIGN_OF = {FIREWORKS: "spec._campaign", WORKFLOWS: "metadata.campaign"}
_BY_AGE = frozenset({"_id", "fw_id", "created_on"})
_CHEAP = frozenset({"state", *CAMPAIGN_OF.values()})
PER_PAGE = 20  # of FireWorks' lists
_CHUNK = 500
_MOST_SORTED = 2_000
_MOST_LOOKED_AT = 20_000
# A pattern of the reader's own may take for ever, and one that Python matches holds up every page meanwhile.
_PLAIN = re.compile(r"\^?[\w .:/-]{0,200}\$?")
_PATTERNS = frozenset({"$regex", "$regexMatch", "$regexFind", "$regexFindAll", "$jsonSchema"})


class NarrowedCollection:
    """A collection that can be read and not written, and of which only some campaigns are there.

    Parameters
    ----------
    project : Project
        The open project, its slow counts kept (`kept_counts`).
    name : str
        Of the collection.
    campaigns : tuple of str or None
        The only campaigns whose documents are there; None for all.
    """

    def __init__(self, project: Project, name: str, campaigns: tuple[str, ...] | None) -> None:
        self._project = project
        self._collection = project.database[name]
        self._name = name
        self._campaigns = campaigns

    def find(self, filter: Mapping[str, Any] | None = None, *args: Any, **options: Any) -> Any:  # noqa: A002
        """As pymongo's; launches are looked at one by one, as they do not say whose they are."""
        condition = narrowed(filter or {}, self._name, self._campaigns)
        if self._name in CAMPAIGN_OF and self._project.file is not None:
            found = Pages(self._project, self._name, condition)
            found.sort(options.get("sort") or []).limit(options.get("limit") or 0)
            return WholePages(found) if _overlaps() else found
        if _overlaps():
            return WholePages(self._collection.find(condition, *args, **options))
        if self._campaigns is None or self._name in CAMPAIGN_OF:
            return self._collection.find(condition, *args, **options)
        documents = list(self._collection.find(condition))
        mine = self._fireworks_of({document.get("fw_id") for document in documents})
        return [document for document in documents if document.get("fw_id") in mine]

    def find_one(self, filter: Mapping[str, Any] | None = None, *args: Any, **options: Any) -> Any:  # noqa: A002
        """As pymongo's; FireWorks tries the filter of a reader by it, and keeps to itself why it is refused."""
        if self._campaigns is not None and self._name not in CAMPAIGN_OF:
            return next(iter(self.find(filter)), None)
        try:
            condition = narrowed(filter or {}, self._name, self._campaigns)
        except BadRequest as error:
            flash(str(error.description))
            raise
        return self._collection.find_one(condition, *args, **options)

    def count_documents(self, filter: Mapping[str, Any], **_options: Any) -> int:  # noqa: A002
        """As pymongo's."""
        return self._count(narrowed(filter, self._name, self._campaigns))

    def aggregate(self, pipeline: list[dict[str, Any]], **options: Any) -> Any:
        """As pymongo's; a plain count is answered from an index."""
        if self._campaigns is not None and self._name not in CAMPAIGN_OF:
            raise NotFound
        first, *rest = pipeline if pipeline and "$match" in pipeline[0] else [{"$match": {}}, *pipeline]
        condition = narrowed(first["$match"], self._name, self._campaigns)
        if rest == [{"$count": "count"}]:
            number = self._count(condition)
            return iter([{"count": number}] if number else [])
        return self._collection.aggregate([{"$match": condition}, *rest], **options)

    def index_information(self) -> Any:
        """As pymongo's."""
        return self._collection.index_information()

    def _count(self, condition: dict[str, Any]) -> int:
        own = {} if self._campaigns is None else {"metadata.campaign": {"$in": list(self._campaigns)}}
        state = condition.get("state")
        if self._name != WORKFLOWS or {**condition, "state": None} != {**own, "state": None}:
            return self._project.count(self._name, condition)
        states = self._project.count_by(WORKFLOWS, "state", own)  # no index knows: it is slow, and therefore kept
        return sum(states.values()) if state is None else states.get(state, 0)

    def _fireworks_of(self, fw_ids: set[Any]) -> set[Any]:
        condition = narrowed({"fw_id": {"$in": list(fw_ids)}}, FIREWORKS, self._campaigns)
        return {found["fw_id"] for found in self._project.select(FIREWORKS, condition)}


def _overlaps() -> bool:
    """Whether the page asked for is the one on which FireWorks skips pages as if they were rows."""
    return has_request_context() and request.endpoint == "wf_metadata_find"


class WholePages:
    """A cursor that skips whole pages where FireWorks skips as many rows.

    Parameters
    ----------
    cursor : Cursor or Pages
        What is skipped in.
    """

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def sort(self, *order: Any) -> WholePages:
        """As pymongo's."""
        self._cursor = self._cursor.sort(*order)
        return self

    def skip(self, pages: int) -> WholePages:
        """Skip pages."""
        self._cursor = self._cursor.skip(max(pages, 0) * PER_PAGE)
        return self

    def limit(self, number: int) -> Any:
        """As pymongo's."""
        return self._cursor.limit(number)


class Pages:
    """What pymongo's cursor is to FireWorks' pages, over the embedded store.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        Fireworks or workflows.
    condition : dict
        What must hold.
    """

    def __init__(self, project: Project, name: str, condition: dict[str, Any]) -> None:
        self._project = project
        self._name = name
        self._condition = condition
        self._order: list[tuple[str, int]] = []
        self._skipped = 0
        self._limit = 0

    def sort(self, order: Any, direction: int | None = None) -> Pages:
        """As pymongo's."""
        self._order = [(order, direction or 1)] if isinstance(order, str) else list(order)
        return self

    def skip(self, number: int) -> Pages:
        """As pymongo's; a page before the first is the first."""
        self._skipped = max(number, 0)
        return self

    def limit(self, number: int) -> Pages:
        """As pymongo's."""
        self._limit = number
        return self

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the documents of the page."""
        end = self._skipped + self._limit if self._limit else None
        return islice(self._documents(end), self._skipped, end)

    def _documents(self, end: int | None) -> Iterator[dict[str, Any]]:
        path, direction = self._order[0] if self._order else ("_id", 1)
        # Without a limit all are wanted, whatever the order.
        few = end is None or set(self._condition) - _CHEAP or self._is_small()
        if few:
            found = self._project.select(self._name, self._condition, limit=0 if end is None else _MOST_LOOKED_AT)
            return iter(sorted(found, key=_sort_key(path), reverse=direction == -1)) if self._order else iter(found)
        if path not in _BY_AGE:
            raise BadRequest("There are too many to sort them by this: choose a state of which there are fewer.")
        return self._by_age(newest_first=direction == -1)

    def _is_small(self) -> bool:
        return self._name == FIREWORKS and self._project.count(self._name, self._condition) <= _MOST_SORTED

    def _by_age(self, *, newest_first: bool) -> Iterator[dict[str, Any]]:
        """Walk along the numbers of the jobs, which an index holds in order; sees each document once."""
        applies = _condition_applies(self._condition)
        seen: set[Any] = set()
        chunk = self._chunk(None, newest_first)
        for _ in range(_MOST_LOOKED_AT // _CHUNK):
            if not chunk:
                return
            for document in self._of_jobs(chunk):
                if document["_id"] not in seen and applies(document):
                    seen.add(document["_id"])
                    yield document
            chunk = self._chunk(chunk[-1]["fw_id"], newest_first)

    def _chunk(self, last: int | None, newest_first: bool) -> list[dict[str, Any]]:
        beyond = {} if last is None else {"fw_id": {"$lt" if newest_first else "$gt": last}}
        return self._project.select(FIREWORKS, beyond, [("fw_id", -1 if newest_first else 1)], _CHUNK)

    def _of_jobs(self, jobs: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        if self._name == FIREWORKS:
            return jobs
        place = {job["fw_id"]: number for number, job in enumerate(jobs)}
        found = self._project.select(WORKFLOWS, {"nodes": {"$in": list(place)}})
        return sorted(found, key=lambda workflow: min(place.get(node, _CHUNK) for node in workflow["nodes"]))


def _condition_applies(condition: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool]:
    from cathodeflow.storage.embedded.engine import filter_applies

    return lambda document: bool(filter_applies(condition, document))


def _sort_key(path: str) -> Callable[[Mapping[str, Any]], tuple[bool, str, Any]]:
    """Order values of any kind: those that are missing first, then by kind."""

    def key(document: Mapping[str, Any]) -> tuple[bool, str, Any]:
        value = value_at(document, path)
        if isinstance(value, int | float):
            return True, "number", value
        return value is not None, type(value).__name__, str(value)

    return key


def narrowed(condition: Mapping[str, Any], collection: str, campaigns: tuple[str, ...] | None) -> dict[str, Any]:
    """Return a filter with ours added, its empty parts left out so that an index can answer.

    Raises
    ------
    BadRequest
        The filter would run code, or hold up every page.
    """
    try:
        refuse_code(condition)
        _refuse_patterns(condition)
    except DefinitionError as error:
        raise BadRequest(str(error)) from error
    parts = list(_parts(condition))
    path = CAMPAIGN_OF.get(collection)
    if campaigns is not None and path is not None:
        parts.append({path: {"$in": list(campaigns)}})
    names = [name for part in parts for name in part]
    if len(set(names)) == len(names) and not any(name.startswith("$") for name in names):
        return {name: value for part in parts for name, value in part.items()}
    return {"$and": parts}


def _refuse_patterns(value: Any) -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name in _PATTERNS and not (name == "$regex" and isinstance(item, str) and _PLAIN.fullmatch(item)):
                raise DefinitionError(
                    f"{'' if name == '$regex' else f'{name} is refused: '}$regex takes plain text here, with ^ for its "
                    "beginning and $ for its end, such as ^trial/label; `cflow query` takes any pattern"
                )
            _refuse_patterns(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_patterns(item)


def _parts(condition: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if set(condition) == {"$and"} and isinstance(condition["$and"], list):
        for part in condition["$and"]:
            yield from _parts(part)
    elif condition:
        yield dict(condition)
