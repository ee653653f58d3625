"""A database whose collections can only be read: pymongo's reading methods, and a clear refusal of all others.

The embedded store is opened so that SQLite refuses writes; on a MongoDB server a user may hold the right to write, so
what this view gives out never leads to a method that does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from cathodeflow.errors import StoreError

READING = frozenset({"count_documents", "distinct", "estimated_document_count", "find_one", "index_information"})
_CHAINED = frozenset({"sort", "limit", "skip", "batch_size", "hint", "max_time_ms", "collation", "comment", "rewind"})
_CURSOR = frozenset({"distinct", "next", "to_list", "explain", "close", "alive"})
_WRITING_STAGES = ("$out", "$merge")


def _refuse(what: str) -> NoReturn:
    raise StoreError(
        f"{what} would write, and this project was opened to be read only: nothing was changed. "
        "A campaign is changed with `cflow`."
    )


def _has(inner: Any, name: str) -> bool:
    """Whether it has that attribute; pymongo answers any other name with a collection."""
    return hasattr(type(inner), name) or name in getattr(inner, "__dict__", {})


class _Guarded:
    """What reads of one pymongo-like object; a subclass says which attributes."""

    __slots__ = ("_inner",)
    _inner: Any

    def __init__(self, inner: Any) -> None:
        object.__setattr__(self, "_inner", inner)

    def __setattr__(self, name: str, value: Any) -> None:
        _refuse(f"setting {name}")

    def __delattr__(self, name: str) -> None:
        _refuse(f"deleting {name}")

    def __setitem__(self, name: Any, value: Any) -> None:
        _refuse(f"assigning {name!r}")

    def __delitem__(self, name: Any) -> None:
        _refuse(f"deleting {name!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inner.name!r})"


class ReadOnlyCursor(_Guarded):
    """The answers to `find` or `aggregate`: to be iterated, sorted, limited, indexed."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from self._inner

    def __next__(self) -> dict[str, Any]:
        found: dict[str, Any] = next(self._inner)
        return found

    def __getitem__(self, place: Any) -> Any:
        found = self._inner[place]
        return ReadOnlyCursor(found) if isinstance(place, slice) else found

    def __repr__(self) -> str:
        return "ReadOnlyCursor()"

    def clone(self) -> ReadOnlyCursor:
        """Return the same question, not yet asked."""
        return ReadOnlyCursor(self._inner.clone())

    def __getattr__(self, name: str) -> Any:
        if name in _CURSOR:
            return getattr(self._inner, name)
        if name in _CHAINED:
            method = getattr(self._inner, name)

            def chained(*arguments: Any, **options: Any) -> ReadOnlyCursor:
                method(*arguments, **options)
                return self

            return chained
        raise AttributeError(f"a cursor that is only read has no {name!r}: {', '.join(sorted(_CHAINED | _CURSOR))}")


class ReadOnlyCollection(_Guarded):
    """One collection: `find`, `find_one`, `aggregate`, `count_documents`, `distinct` and their like.

    Raises
    ------
    StoreError
        A method that writes was asked for, or a stage of `aggregate` that does.
    """

    @property
    def name(self) -> str:
        """Of the collection."""
        return str(self._inner.name)

    def find(self, *arguments: Any, **options: Any) -> ReadOnlyCursor:
        """Find documents; arguments as in pymongo."""
        return ReadOnlyCursor(self._inner.find(*arguments, **options))

    def aggregate(self, pipeline: Sequence[Mapping[str, Any]], *arguments: Any, **options: Any) -> ReadOnlyCursor:
        """Run a pipeline that writes nothing; arguments as in pymongo."""
        for stage in pipeline:
            for name in _WRITING_STAGES:
                if name in stage:
                    _refuse(f"the stage {name}")
        return ReadOnlyCursor(self._inner.aggregate(pipeline, *arguments, **options))

    def __getattr__(self, name: str) -> Any:
        if name in READING:
            return getattr(self._inner, name)
        if not name.startswith("_") and _has(self._inner, name):
            _refuse(f"{self._inner.name}.{name}")
        known = ", ".join(sorted(READING | {"aggregate", "find"}))
        raise AttributeError(f"a collection that is only read has no {name!r}: {known}")

    def __iter__(self) -> NoReturn:
        raise TypeError(f"a collection is not iterable: iterate {self.name}.find()")


class ReadOnlyDatabase(_Guarded):
    """A project's database; ``database["labels"]`` and ``database.labels`` are collections to read.

    Parameters
    ----------
    inner : Database
        Of pymongo or of the embedded store.
    """

    @property
    def name(self) -> str:
        """Of the database."""
        return str(self._inner.name)

    def list_collection_names(self) -> list[str]:
        """Return the names of the collections, sorted."""
        return sorted(self._inner.list_collection_names())

    def __getitem__(self, name: str) -> ReadOnlyCollection:
        return ReadOnlyCollection(self._inner[name])

    def __getattr__(self, name: str) -> ReadOnlyCollection:
        if name.startswith("_"):
            raise AttributeError(name)
        if _has(self._inner, name):
            _refuse(f"the database's {name}")
        return self[name]

    def __iter__(self) -> NoReturn:
        raise TypeError("a database is not iterable: ask it for list_collection_names()")
