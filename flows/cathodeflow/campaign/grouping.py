"""Answers to a query counted by the values of fields, with the sum, mean and range of another field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign.query import Question, answer, value_at

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

STATISTICS = ("sum", "mean", "min", "max")


@dataclass
class _Tally:
    n: int = 0
    numbers: int = 0
    total: float = 0.0
    least: float = inf
    most: float = -inf

    def add(self, value: Any) -> None:
        self.n += 1
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.numbers += 1
            self.total += value
            self.least, self.most = min(self.least, value), max(self.most, value)

    def row(self) -> tuple[float | None, ...]:
        if not self.numbers:
            return (None,) * len(STATISTICS)
        return self.total, self.total / self.numbers, self.least, self.most


def grouped(
    project: Project, question: Question, by: Sequence[str], of: str | None = None
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Count what answers a query by the values of fields.

    Parameters
    ----------
    project : Project
        An open project.
    question : Question
        Its fields and order are of no consequence; its limit is on the rows.
    by : sequence of str
        Dotted paths. A document whose value is a list counts once for each member.
    of : str, optional
        Dotted path of a number, of which sum, mean, least and greatest are given too; those that lack it are counted
        and left out of these.

    Returns
    -------
    tuple of (tuple of str, list of tuple)
        Column names and rows, the most frequent first.

    Raises
    ------
    DefinitionError
        The query engine refuses the filter.
    """
    fields = tuple(dict.fromkeys((*by, of) if of else by))
    tallies: dict[tuple[Any, ...], _Tally] = {}
    for document in answer(project, replace(question, fields=fields, sort=(), limit=0)):
        value = value_at(document, of) if of else None
        for group in _groups(document, by):
            tallies.setdefault(group, _Tally()).add(value)
    columns = (*by, "n", *((f"{statistic} of {of}" for statistic in STATISTICS) if of else ()))
    rows = [(*group, tally.n, *(tally.row() if of else ())) for group, tally in tallies.items()]
    rows.sort(key=lambda row: (-row[len(by)], *(_in_order(value) for value in row[: len(by)])))
    return columns, rows[: question.limit or None]


def _in_order(value: Any) -> tuple[bool, bool, Any]:
    """Numbers by size, then words, then what is missing."""
    number = isinstance(value, int | float)
    return value is None, not number, value if number else str(value)


def _groups(document: Mapping[str, Any], by: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return product(*(tuple(_members(value_at(document, path))) for path in by))


def _members(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for member in value:
            yield from _members(member)
    elif isinstance(value, Mapping):
        from bson import json_util

        yield json_util.dumps(value, sort_keys=True)
    else:
        yield value
