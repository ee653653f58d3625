"""Read ACF.dat, the table that the `bader` program writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cathodeflow.errors import CalculationError
from cathodeflow.science.electronic.charges import AtomicCharges

_COLUMNS = 7  # number, x, y, z, charge, smallest distance, volume
_SUM_TOLERANCE = 1e-3  # e; six decimals for a few hundred atoms


def read_acf(path: Path) -> AtomicCharges:
    """Return the charges of an ACF.dat.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    AtomicCharges

    Raises
    ------
    CalculationError
        If the file is missing, cut short or damaged, or its charges do not add up to the number it states.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise CalculationError(f"The bader program left no readable {path.name}: {error}.", "broken_output") from error
    try:
        rules = [index for index, line in enumerate(lines) if line.strip().startswith("----")]
        table = np.array([[float(word) for word in line.split()] for line in lines[rules[0] + 1 : rules[1]]])
        stated = _footer(lines[rules[1] + 1 :])
    except (ValueError, IndexError, KeyError) as error:
        raise CalculationError(
            f"{path.name} is damaged or incomplete; run the bader program again.", "broken_output"
        ) from error
    if table.ndim != 2 or table.shape[1] != _COLUMNS or (table[:, 0] != np.arange(1, len(table) + 1)).any():
        raise CalculationError(f"{path.name} does not hold one line of {_COLUMNS} numbers per atom.", "broken_output")
    charges = AtomicCharges(
        electrons=table[:, 4],
        volumes=table[:, 6],
        min_distances=np.where(table[:, 5] > 0, table[:, 5], np.nan),
        vacuum_electrons=stated.get("VACUUM CHARGE", 0.0),
        vacuum_volume=stated.get("VACUUM VOLUME", 0.0),
    )
    if abs(charges.total_electrons - stated["NUMBER OF ELECTRONS"]) > _SUM_TOLERANCE:
        raise CalculationError(
            f"The charges of {path.name} do not add up to the electrons it states; run it again.", "broken_output"
        )
    return charges


def _footer(lines: list[str]) -> dict[str, float]:
    """Return the named sums below the table; the number of electrons is the last and must be whole."""
    stated = {}
    for line in lines:
        name, separator, value = line.partition(":")
        if separator:
            # A last number without its line's end may be cut in the middle.
            if not line.endswith("\n"):
                raise ValueError(line)
            stated[name.strip()] = float(value)
    if "NUMBER OF ELECTRONS" not in stated:
        raise KeyError("NUMBER OF ELECTRONS")
    return stated
