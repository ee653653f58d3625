"""How long a run took, kept in its folder: the attempt that goes on from it counts that time too."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

FILE_NAME = "run_time.json"
"""When a run began, how long it took, and whether it ended well."""
BEGAN, WALL_S, DONE = "began", "wall_s", "done"


@contextmanager
def timed(folder: Path) -> Iterator[None]:
    """Write down when a run began, and how long it took or that it went wrong once that is known."""
    began, clock = time.time(), time.monotonic()
    _say(folder, {BEGAN: began})
    done = False
    try:
        yield
        done = True
    finally:
        with suppress(OSError):  # the disk is full, which the run itself has said
            _say(folder, {BEGAN: began, WALL_S: time.monotonic() - clock, DONE: done})


def ended_well(folder: Path) -> bool:
    """Say whether a run was timed to its end, and that was no error."""
    return bool(_said(folder).get(DONE))


def seconds_of(folder: Path) -> float:
    """Return how long the run in a folder took, s; of one that was killed, until it last wrote a file."""
    said = _said(folder)
    if WALL_S in said:
        return float(said[WALL_S])
    if BEGAN not in said:
        return 0.0
    written = [path.stat().st_mtime for path in folder.iterdir() if path.is_file()]
    return max(0.0, max(written, default=0.0) - float(said[BEGAN]))


def _say(folder: Path, content: dict[str, Any]) -> None:
    (folder / FILE_NAME).write_text(json.dumps(content), encoding="utf-8")


def _said(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
