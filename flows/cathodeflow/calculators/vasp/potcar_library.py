"""The licensed POTCAR library of a machine: where it is, and whose POTCARs it holds."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from pathlib import Path
from typing import Any

EXCHANGE = {"PBE": "PE", "LDA": "CA", "PW91": "91"}
"""LEXCH in a POTCAR by the functional's family."""


def library_folder() -> Path | None:
    """Return the folder pymatgen takes POTCARs from, None where none is set or it does not exist.

    The environment is asked now, and pymatgen's own settings after it: these are read once, when pymatgen is imported.
    """
    named = os.environ.get("PMG_VASP_PSP_DIR") or _pymatgen_settings().get("PMG_VASP_PSP_DIR")
    folder = Path(named).expanduser() if named else None
    return folder if folder is not None and folder.is_dir() else None


def functional_folder(functional: str) -> Path | None:
    """Return the folder of a functional in the library, None where it is not there."""
    from pymatgen.io.vasp.inputs import PotcarSingle

    library = library_folder()
    if library is None:
        return None
    named = _pymatgen_settings().get("PMG_VASP_PSP_SUB_DIRS") or {}
    folder = library / str(named.get(functional, PotcarSingle.functional_dir[functional]))
    return folder if folder.is_dir() else None


def functionals() -> tuple[str, ...]:
    """Return the functionals, by pymatgen's names, that this machine has POTCARs of."""
    from pymatgen.io.vasp.inputs import PotcarSingle

    return tuple(sorted(name for name in PotcarSingle.functional_dir if library_has(name)))


def library_has(functional: str) -> bool:
    """Say whether this machine has POTCARs of a functional."""
    return functional_folder(functional) is not None


def potcar_path(functional: str, symbol: str) -> Path | None:
    """Return the POTCAR of a symbol, in any of the layouts pymatgen reads; None where it is not there."""
    folder = functional_folder(functional)
    if folder is None:
        return None
    for stem in (f"POTCAR.{symbol}", f"{symbol}/POTCAR"):
        for ending in ("", ".gz", ".Z"):
            if (folder / f"{stem}{ending}").is_file():
                return folder / f"{stem}{ending}"
    return None


def exchange_of(path: Path) -> str | None:
    """Return LEXCH of a POTCAR (``PE``, ``CA``, ``91``), None where the file names none.

    Raises
    ------
    OSError
        The file cannot be read or is cut off.
    """
    raw = path.read_bytes()
    if path.suffix == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, zlib.error) as error:
            raise OSError("it is not a whole gzip file") from error
    found = re.search(rb"LEXCH\s*=\s*(\S+)", raw)
    return found.group(1).decode("ascii", "replace") if found else None


def expected_exchange(functional: str) -> str:
    """Return LEXCH that POTCARs of a functional must have."""
    return next(code for family, code in EXCHANGE.items() if functional.startswith(family))


def _pymatgen_settings() -> dict[str, Any]:
    from pymatgen.core import SETTINGS

    return dict(SETTINGS)
