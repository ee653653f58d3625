"""Printing: tables for people, plain columns for pipes, JSON for programs."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


def is_terminal() -> bool:
    """Whether a person reads standard output on a terminal."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def console() -> Console:
    """Return a console for standard output; rich itself respects NO_COLOR."""
    from rich.console import Console

    return Console(highlight=False)


def say(line: str = "") -> None:
    """Print one line to standard output."""
    typer.echo(line)


def note(line: str) -> None:
    """Print one line to standard error: about the output, not part of it."""
    typer.echo(line, err=True)


def print_json(value: Any) -> None:
    """Print a value as JSON. Not-a-number and infinities, which JSON lacks, become null; times are ISO 8601 in UTC."""
    typer.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def plain(value: Any) -> Any:
    """Reduce a value of the store to what JSON has."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if value is None or isinstance(value, str | int):
        return value
    return str(value)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
    """Print rows: a drawn table on a terminal, aligned columns that are never cut elsewhere.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    rows : sequence of sequence
        One value per column; see `text_of` for how values look.
    title : str, optional
        Printed above.
    """
    cells = [[text_of(value) for value in row] for row in rows]
    numeric = [bool(rows) and all(_is_number(row[place]) for row in rows) for place in range(len(columns))]
    if is_terminal():
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title, title_justify="left", header_style="bold")
        for name, right in zip(columns, numeric, strict=True):
            table.add_column(name, justify="right" if right else "left", overflow="fold")
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        console().print(table)
        return
    if title:
        say(title)
    widths = [max(len(name), *(len(row[place]) for row in cells), 0) for place, name in enumerate(columns)]
    for row in [list(columns), *cells]:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        say("  ".join(padded).rstrip())


def _is_number(value: Any) -> bool:
    if isinstance(value, str):  # a number formatted already
        return value.replace(".", "", 1).isdigit()
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def text_of(value: Any) -> str:
    """Write one value for people: four decimals, times to the second, lists and mappings as JSON."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(plain(value), ensure_ascii=False)
    return str(value)


def duration(seconds: float | None) -> str:
    """Write a duration as people say it: 42 s, 3 min 05 s, 2 h 10 min, 3 d 4 h; a dash for none."""
    if seconds is None:
        return "-"
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    minutes, left = divmod(rest, 60)
    if whole.days:
        return f"{whole.days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    if minutes:
        return f"{minutes} min {left:02d} s"
    return f"{left} s"


def size(n_bytes: float) -> str:
    """Write a number of bytes in powers of 1024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} TiB"


def write_text(path: Path, text: str) -> None:
    """Write a file in one step: readers see the old one or the new one, never half.

    Raises
    ------
    StoreError
        The folder cannot be written or the disk is full.
    """
    from cathodeflow.errors import StoreError

    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error.strerror}; choose another place or free some space") from error
