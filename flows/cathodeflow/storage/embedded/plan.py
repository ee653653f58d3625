"""From a filter and a sort to SQL over the index tables: which documents can match, in which order.

A plan never leaves out a document that matches. Where it is exact it needs no look into the documents at all, and a
count is answered from the index alone.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from bson.objectid import ObjectId

from cathodeflow.storage.embedded.catalogue import CollectionEntry, Index
from cathodeflow.storage.embedded.keys import LARGEST_INTEGER, NULL, Key, equal_keys, key_of

_RANGES = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_MOST_KEYS = 20_000  # SQLite's limit on bound values is 32,766
_MOST_BRANCHES = 24  # of a merge of sorted branches
Sort = Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Constraint:
    """What a filter says about one path, in keys.

    Attributes
    ----------
    keys : tuple of Key or None
        Equal to one of these.
    bounds : tuple of (operator, Key)
        Within these, and of the same type.
    exact : bool
        Nothing else is said about the path, and keys tell the whole truth.
    """

    keys: tuple[Key, ...] | None = None
    bounds: tuple[tuple[str, Key], ...] = ()
    exact: bool = True

    @property
    def excludes_null(self) -> bool:
        """Whether a document without the path cannot match."""
        return NULL not in self.keys if self.keys is not None else bool(self.bounds)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bytes, ObjectId, dt.datetime))


def _is_exact(value: Any) -> bool:
    """Whether equal keys mean equal values, for the query engine too."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) <= LARGEST_INTEGER
    return isinstance(value, str)


def _equality(values: Sequence[Any]) -> Constraint:
    keys = dict.fromkeys(key for value in values for key in equal_keys(value))
    return Constraint(tuple(keys), exact=all(_is_exact(v) for v in values))


def _bounds(operator: str, value: Any) -> tuple[tuple[str, Key], ...]:
    """One side of a range, closed on the other side at the end of the value's type."""
    key = key_of(value)
    first: Key
    beyond: Key
    if isinstance(key, str):
        first, beyond = "", b""
    elif isinstance(key, bytes):
        first, beyond = key[:1], bytes([key[0] + 1])
    else:
        first, beyond = NULL, ""
    sql = _RANGES[operator]
    if sql.startswith(">"):
        return (sql, key), ("<", beyond)
    return (sql, key), (">" if first == NULL else ">=", first)


def constraint_of(condition: Any) -> Constraint | None:
    """Translate the condition on one path; None when keys cannot say anything about it."""
    if not isinstance(condition, Mapping):
        return _equality([condition]) if _is_scalar(condition) else None
    if not condition or not all(isinstance(k, str) and k.startswith("$") for k in condition):
        return None
    keys: Constraint | None = None
    bounds: list[tuple[str, Key]] = []
    exact = True
    for operator, value in condition.items():
        if operator == "$eq" and _is_scalar(value) and keys is None:
            keys = _equality([value])
        elif (
            operator == "$in"
            and keys is None
            and isinstance(value, (list, tuple))
            and len(value) <= _MOST_KEYS
            and all(_is_scalar(v) for v in value)
        ):
            keys = _equality(value)
        elif operator in _RANGES and isinstance(value, (str, int, float, dt.datetime)) and not _is_odd(value):
            bounds.extend(_bounds(operator, value))
            exact = exact and _is_exact(value)
        else:
            exact = False
    if keys is not None:
        return replace(keys, exact=keys.exact and exact and not bounds)
    return Constraint(None, tuple(bounds), exact) if bounds else None


def _is_odd(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, float) and math.isnan(value))


def constraints_of(condition: Mapping[str, Any]) -> tuple[dict[str, Constraint], bool]:
    """Collect what a filter says path by path.

    Returns
    -------
    dict
        Constraint of each path.
    bool
        Whether the constraints say all that the filter says.
    """
    found: dict[str, Constraint] = {}
    exact = True
    for path, value in condition.items():
        if path == "$and" and isinstance(value, (list, tuple)) and all(isinstance(v, Mapping) for v in value):
            for part in value:
                inner, inner_exact = constraints_of(part)
                exact = exact and inner_exact and bool(part) and not (inner.keys() & found.keys())
                for inner_path, constraint in inner.items():
                    found.setdefault(inner_path, constraint)
            exact = exact and bool(value)
        elif path.startswith("$"):
            exact = exact and path == "$comment"
        elif (said := constraint_of(value)) is not None and path not in found:
            found[path] = said
            exact = exact and said.exact
        else:
            exact = False
    return found, exact


@dataclass(frozen=True)
class Plan:
    """How candidates are found.

    Attributes
    ----------
    sql : str
        Selects `seq` (and key columns where branches are merged) of every candidate.
    values : tuple
        Bound values of `sql`.
    index : Index or None
        The index used; None for the primary key or the whole table.
    sorted : bool
        Candidates come in the order asked for.
    exact : bool
        Every candidate matches.
    repeats : bool
        A document may come more than once.
    narrow : bool
        The candidates are fewer than the whole collection.
    """

    sql: str
    values: tuple[Any, ...] = ()
    index: Index | None = None
    sorted: bool = False
    exact: bool = False
    repeats: bool = False
    narrow: bool = False


@dataclass
class _Conditions:
    """SQL conditions on one table and the values bound in them."""

    terms: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def equal(self, column: str, keys: Sequence[Key]) -> None:
        if len(keys) == 1:
            self.terms.append(f"{column} = ?")
        else:
            self.terms.append(f"{column} IN ({', '.join('?' * len(keys))})")
        self.values.extend(keys)

    def within(self, column: str, constraint: Constraint, *, multikey: bool) -> bool:
        """Add a constraint; returns whether all of it could be added."""
        if constraint.keys is not None:
            self.equal(column, constraint.keys)
            return True
        # On arrays each bound may be met by another element: only one pair of bounds may be used.
        bounds = constraint.bounds[:2] if multikey else constraint.bounds
        for operator, key in bounds:
            self.terms.append(f"{column} {operator} ?")
            self.values.append(key)
        return len(bounds) == len(constraint.bounds)

    @property
    def where(self) -> str:
        return f" WHERE {' AND '.join(self.terms)}" if self.terms else ""


@dataclass(frozen=True)
class _Choice:
    """An index, how many of its leading fields are fixed, and whether it then gives the sort."""

    index: Index
    fixed: int
    ranged: bool
    sorts: bool

    def rank(self, constraints: Mapping[str, Constraint]) -> tuple[int, ...]:
        whole = self.index.unique and self.fixed == len(self.index.fields)
        keys = sum(len(constraints[path].keys or ()) for path, _ in self.index.fields[: self.fixed])
        return (whole, self.fixed, self.sorts, self.ranged, -keys, -len(self.index.fields))


def _usable(index: Index, constraints: Mapping[str, Constraint]) -> bool:
    if index.partial is not None:
        return False
    if index.sparse:
        return any(path in constraints and constraints[path].excludes_null for path, _ in index.fields)
    return all(direction in {1, -1} for _, direction in index.fields)


def _choice(index: Index, constraints: Mapping[str, Constraint], sort: Sort) -> _Choice:
    fixed = 0
    for path, _ in index.fields:
        if path not in constraints or constraints[path].keys is None:
            break
        fixed += 1
    ranged = fixed < len(index.fields) and index.fields[fixed][0] in constraints
    sorts = (
        bool(sort)
        and not index.multikey
        and not index.unordered
        and tuple(index.fields[fixed : fixed + len(sort)]) in {tuple(sort), _reversed(sort)}
        and math.prod(len(constraints[path].keys or ()) for path, _ in index.fields[:fixed]) <= _MOST_BRANCHES
    )
    return _Choice(index, fixed, ranged, sorts)


def _reversed(sort: Sort) -> tuple[tuple[str, int], ...]:
    """Return the opposite order, which an index read backwards gives."""
    return tuple((path, -direction) for path, direction in sort)


def _choose(
    entry: CollectionEntry, constraints: Mapping[str, Constraint], sort: Sort, *, limited: bool
) -> _Choice | None:
    choices = [_choice(i, constraints, sort) for i in entry.indexes if _usable(i, constraints)]
    useful = [c for c in choices if c.fixed or c.ranged or (c.sorts and limited)]
    return max(useful, key=lambda c: c.rank(constraints), default=None)


def make_plan(entry: CollectionEntry, condition: Mapping[str, Any], sort: Sort = (), *, limited: bool = False) -> Plan:
    """Choose how to find the documents that may match.

    Parameters
    ----------
    entry : CollectionEntry
        The collection and its indexes.
    condition : Mapping
        The filter.
    sort : sequence of (path, direction)
        Order asked for; empty for insertion order.
    limited : bool
        Only the first few documents are wanted, so an index that only sorts pays.
    """
    constraints, exact = constraints_of(condition)
    if any(c.keys == () for c in constraints.values()):
        return Plan(f"SELECT seq FROM {entry.table} WHERE 0", exact=exact, sorted=True, narrow=True)  # noqa: S608
    if (by_id := constraints.get("_id")) is not None and by_id.keys is not None:
        return _plan_by_id(entry, constraints, by_id, exact=exact)
    choice = _choose(entry, constraints, sort, limited=limited)
    if choice is None:
        return Plan(f"SELECT seq FROM {entry.table} ORDER BY seq", exact=exact and not constraints, sorted=not sort)  # noqa: S608
    if choice.sorts:
        return _plan_sorted(entry, constraints, choice, sort, exact=exact)
    conditions, covered = _conditions(entry, constraints, choice.index)
    sql = f"SELECT m.seq FROM {choice.index.table} m{conditions.where} ORDER BY m.seq"  # noqa: S608
    return Plan(
        sql,
        tuple(conditions.values),
        choice.index,
        sorted=not sort,
        exact=exact and covered,
        repeats=choice.index.multikey,
        narrow=True,
    )


def _plan_by_id(
    entry: CollectionEntry, constraints: Mapping[str, Constraint], by_id: Constraint, *, exact: bool
) -> Plan:
    conditions = _Conditions()
    conditions.equal("id", by_id.keys or ())
    sql = f"SELECT seq FROM {entry.table}{conditions.where} ORDER BY seq"  # noqa: S608
    return Plan(sql, tuple(conditions.values), exact=exact and len(constraints) == 1, sorted=True, narrow=True)


def _conditions(
    entry: CollectionEntry, constraints: Mapping[str, Constraint], index: Index, *, skip: int = 0
) -> tuple[_Conditions, bool]:
    """Conditions on one index table, with the other indexes asked for what it does not hold."""
    conditions = _Conditions()
    covered = True
    left = dict(constraints)
    for position, (path, _) in enumerate(index.fields):
        constraint = left.pop(path, None)
        if constraint is not None and position >= skip:
            covered = conditions.within(f"m.k{position}", constraint, multikey=index.multikey) and covered
    for path, constraint in left.items():
        other = next((i for i in entry.indexes if i.fields[0][0] == path and _usable(i, {path: constraint})), None)
        if other is None or constraint.keys is None or other is index:
            covered = False
            continue
        inner = _Conditions()
        inner.equal("o.k0", constraint.keys)
        # The unary plus keeps SQLite from starting at the other index.
        inner.terms.append("o.seq = +m.seq")
        conditions.terms.append(f"EXISTS (SELECT 1 FROM {other.table} o{inner.where})")  # noqa: S608
        conditions.values.extend(inner.values)
    return conditions, covered


def _plan_sorted(
    entry: CollectionEntry, constraints: Mapping[str, Constraint], choice: _Choice, sort: Sort, *, exact: bool
) -> Plan:
    """Merge branches that the index already holds in the order asked for, so that the first ones cost little."""
    index = choice.index
    branches, values = [], []
    keys = [constraints[path].keys or () for path, _ in index.fields[: choice.fixed]]
    rest, covered = _conditions(entry, constraints, index, skip=choice.fixed)
    order = [f"m.k{choice.fixed + i}" for i in range(len(sort))]
    for combination in product(*keys):
        terms = [f"m.k{i} = ?" for i in range(choice.fixed)] + rest.terms
        where = f" WHERE {' AND '.join(terms)}" if terms else ""
        branches.append(f"SELECT m.seq, {', '.join(order)} FROM {index.table} m{where}")  # noqa: S608
        values.extend([*combination, *rest.values])
    directions = ["DESC" if d == -1 else "ASC" for _, d in sort]
    ordering = ", ".join(f"{i + 2} {d}" for i, d in enumerate(directions))
    sql = f"{' UNION ALL '.join(branches)} ORDER BY {ordering}, 1"
    return Plan(sql, tuple(values), index, sorted=True, exact=exact and covered, narrow=bool(constraints))
