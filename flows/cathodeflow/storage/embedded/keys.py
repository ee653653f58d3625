"""Document values as SQLite keys that sort and compare as MongoDB's do.

SQLite orders NULL < numbers < text < blobs. MongoDB orders null < numbers < strings < objects < arrays < binary <
ObjectId < bool < date. So numbers and strings are their own keys, null is minus infinity (key columns of a table
without rowid refuse NULL) and every other type is a blob that begins with its rank.
"""

from __future__ import annotations

import datetime as dt
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import bson
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

Key = str | int | float | bytes

NULL = -math.inf
LOWEST = -1.7976931348623157e308  # stands for a real minus infinity, whose place null has taken
LARGEST_INTEGER = 2**63 - 1
MISSING = object()
EMPTY_ARRAY = b"\x19\x00"

_OBJECT, _ARRAY, _BINARY, _OBJECT_ID, _BOOL, _DATE, _OTHER = 20, 25, 30, 35, 40, 45, 60
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  dates are naive UTC in BSON
_MILLISECOND = dt.timedelta(milliseconds=1)


def number_key(value: float) -> int | float:
    """Key of a number: itself, except where SQLite has no room for it."""
    if isinstance(value, int):
        return value if -LARGEST_INTEGER - 1 <= value <= LARGEST_INTEGER else float(value)
    if math.isnan(value):
        return NULL
    return LOWEST if value == -math.inf else value


def date_key(value: dt.datetime) -> bytes:
    """Key of a date: milliseconds since 1970, as BSON keeps them."""
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    milliseconds = (value - _EPOCH) // _MILLISECOND
    return bytes([_DATE]) + struct.pack(">Q", milliseconds + 2**63)


def _canonical(value: Any) -> Any:
    """Reduce a nested value to what equality sees: field order and number type do not matter."""
    if isinstance(value, Mapping):
        return {"o": [[k, _canonical(value[k])] for k in sorted(value)]}
    if isinstance(value, (list, tuple)):
        return [_canonical(v) for v in value]
    if isinstance(value, (bool, int)):
        return float(value) if abs(value) < 2**53 else value
    return value


def key_of(value: Any) -> Key:  # noqa: PLR0911  one branch per BSON type reads best in one place
    """Key of a scalar or nested value.

    Parameters
    ----------
    value : Any
        A value BSON can hold, or `MISSING`.

    Returns
    -------
    Key
        Equal for equal values; sorted as MongoDB sorts for null, numbers, strings, binary, ObjectId, bool and date.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return bytes([_BOOL, value])
    if isinstance(value, (int, float)):
        return number_key(value)
    if value is None or value is MISSING:
        return NULL
    if isinstance(value, ObjectId):
        return bytes([_OBJECT_ID]) + value.binary
    if isinstance(value, dt.datetime):
        return date_key(value)
    if isinstance(value, bytes):
        return bytes([_BINARY]) + struct.pack(">Q", len(value)) + value
    if isinstance(value, Decimal128):
        return number_key(float(value.to_decimal()))
    if isinstance(value, Mapping):
        return bytes([_OBJECT]) + bson.encode({"": _canonical(value)})
    if isinstance(value, (list, tuple)):
        return bytes([_ARRAY]) + (bson.encode({"": _canonical(value)}) if value else EMPTY_ARRAY[1:])
    return bytes([_OTHER]) + repr(value).encode("utf-8", "surrogatepass")


def equal_keys(value: Any) -> tuple[Key, ...]:
    """Keys of every value that the query engine takes for equal to `value` (it does not tell True from 1)."""
    if isinstance(value, bool):
        return key_of(value), int(value)
    if isinstance(value, (int, float)) and value in {0, 1}:
        return key_of(value), key_of(bool(value))
    if isinstance(value, ObjectId):
        return key_of(value), str(value)
    return (key_of(value),)


def value_of(key: Key) -> Any:
    """Undo `key_of` for null, numbers, strings, bool, ObjectId and date.

    Raises
    ------
    ValueError
        The key is of a nested or binary value; those are not decoded.
    """
    if not isinstance(key, bytes):
        return None if key == NULL else key
    rank, rest = key[0], key[1:]
    if rank == _BOOL:
        return bool(rest[0])
    if rank == _OBJECT_ID:
        return ObjectId(rest)
    if rank == _DATE:
        return _EPOCH + _MILLISECOND * (struct.unpack(">Q", rest)[0] - 2**63)
    raise ValueError("the key of a nested value cannot be turned back")


def is_ordered(value: Any) -> bool:
    """Whether keys of such values sort exactly as the query engine sorts the values."""
    if isinstance(value, float):
        return not math.isnan(value)
    return value is MISSING or value is None or isinstance(value, (str, int, bytes, ObjectId, dt.datetime))


def values_at(document: Any, parts: Sequence[str]) -> list[Any]:
    """Values a dotted path leads to, arrays on the way fanned out, `MISSING` where a field is absent.

    The same walk as the query engine's, which decides what a filter sees; an empty list means that no value, not
    even a missing one, is there.
    """
    if not parts:
        return [document]
    if isinstance(document, list):
        return _values_in_array(document, parts)
    if isinstance(document, DBRef):
        return [document.id] if list(parts) == ["$id"] else []
    if not isinstance(document, Mapping):
        return []
    if len(parts) == 1:
        return [document.get(parts[0], MISSING)]
    return values_at(document.get(parts[0], {}), parts[1:])


def _values_in_array(array: list[Any], parts: Sequence[str]) -> list[Any]:
    head, rest = parts[0], parts[1:]
    try:
        position = int(head)
    except ValueError:
        found: list[Any] = []
        for item in array:
            if isinstance(item, Mapping) and head in item:
                found.extend(values_at(item[head], rest))
            elif isinstance(item, DBRef) and head == "$id":
                found.append(item.id)
            else:
                found.append(MISSING)
        return found
    if position >= len(array) or position < -len(array):
        return []
    return values_at(array[position], rest)


class Entries:
    """Index entries of one document under one index.

    Parameters
    ----------
    document : Mapping
        The document.
    paths : sequence of sequence of str
        The indexed fields, each split at its dots.

    Attributes
    ----------
    keys : set of tuple of Key
        One tuple per entry; more than one when an array is on a path.
    multikey : bool
        An array was met.
    ordered : bool
        All values sort as their keys do.
    absent : bool
        None of the fields is there (a sparse index leaves the document out).
    """

    __slots__ = ("absent", "keys", "multikey", "ordered")

    def __init__(self, document: Mapping[str, Any], paths: Iterable[Sequence[str]]) -> None:
        self.multikey = False
        self.ordered = True
        self.absent = True
        columns = [self._column(document, parts) for parts in paths]
        self.keys = {tuple(c[0] for c in columns)} if not self.multikey else set(product(*columns))

    def _column(self, document: Mapping[str, Any], parts: Sequence[str]) -> list[Key]:
        if len(parts) == 1:
            value = document.get(parts[0], MISSING)
            values = [value]
            if isinstance(value, str):
                self.absent = False
                return [value]
        else:
            values = values_at(document, parts)
        if len(values) != 1:
            self.multikey = True
        keys: list[Key] = []
        for value in values:
            if value is not MISSING:
                self.absent = False
            if isinstance(value, (list, tuple)):
                self.multikey = True
                keys.extend(self._key(v) for v in value)
                if not value:
                    keys.append(EMPTY_ARRAY)
            else:
                keys.append(self._key(value))
        return keys or [NULL]

    def _key(self, value: Any) -> Key:
        if not is_ordered(value):
            self.ordered = False
        return key_of(value)
