"""Files that programs left, plain or gzipped: atomate2 zips those of a run that has ended."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO

DAMAGED = (OSError, EOFError, zlib.error)
"""What reading raises of a file that is not there, cut off or damaged."""
_GZIPPED = b"\x1f\x8b"


def existing(folder: Path, name: str) -> Path:
    """Return the plain or the gzipped file of this name; the plain one if there is none, or both."""
    plain, zipped = folder / name, folder / f"{name}.gz"
    return zipped if zipped.exists() and not plain.exists() else plain


def opened(path: Path) -> IO[bytes]:
    """Open a file for reading bytes, unzipped where its name ends in ``.gz``; reading raises `DAMAGED`."""
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]  # a GzipFile reads as any binary file
    return path.open("rb")


def content_of(path: Path) -> bytes:
    """Return a file's bytes, unzipped where they are gzip's; raises `DAMAGED`."""
    raw = path.read_bytes()
    return gzip.decompress(raw) if raw.startswith(_GZIPPED) else raw
