"""Files of a run that another run starts from, and files that nothing reads any more."""

from __future__ import annotations

import errno
import gzip
import shutil
import zlib
from pathlib import Path

from cathodeflow.calculators.zipped_files import existing, opened
from cathodeflow.errors import CalculationError
from cathodeflow.records.outcomes import Reason

ORBITALS = "WAVECAR"


def bring(source: Path, name: str, target: Path) -> str:
    """Copy a file of an earlier run into another folder, unpacked.

    Only the file itself is brought: with the whole folder an old vasprun.xml could pass for the new run's.

    Parameters
    ----------
    source, target : Path
        Folders.
    name : str
        Such as ``CHGCAR``; plain or gzipped in `source`.

    Returns
    -------
    str
        `name`.

    Raises
    ------
    CalculationError
        It is missing or damaged (reason ``broken_output``), or the disk is full (``disk_full``).
    """
    path = existing(source, name)
    try:
        with opened(path) as old, (target / name).open("wb") as new:
            shutil.copyfileobj(old, new, 1 << 20)
    except FileNotFoundError as error:
        raise CalculationError(
            f"there is no {name} in {source}: run the step that writes it again", Reason.BROKEN_OUTPUT.value
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        (target / name).unlink(missing_ok=True)  # as far as it came
        raise CalculationError(
            f"{path} is damaged ({error}): run the step that writes it again", Reason.BROKEN_OUTPUT.value
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise CalculationError(
            f"the disk is full, {name} cannot be copied to {target}: make room there", Reason.DISK_FULL.value
        ) from error
    return name


def bring_orbitals(source: Path, target: Path) -> bool:
    """Copy the WAVECAR of an earlier run and say whether there is a whole one; a run can do without.

    Raises
    ------
    CalculationError
        The disk is full.
    """
    path = existing(source, ORBITALS)
    if not path.is_file() or not path.stat().st_size:
        return False
    try:
        bring(source, ORBITALS, target)
    except CalculationError as error:
        remove(target, ORBITALS)
        if error.reason != Reason.BROKEN_OUTPUT:
            raise
        return False
    return True


def remove(folder: Path, name: str) -> None:
    """Delete a file of a run, plain or gzipped, if it is there."""
    for path in (folder / name, folder / f"{name}.gz"):
        path.unlink(missing_ok=True)
