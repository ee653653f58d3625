"""Volume change on cycling (S0 section 3.5: 2.63 % for Na1 to Na3 and 5.69 % for Na1 to Na4 of NVPF)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathodeflow.science.energetics.voltage import level_content


def volume_change_percent(volume_after: ArrayLike, volume_before: ArrayLike) -> NDArray[np.float64]:
    """Return 100 (V_after - V_before) / V_before.

    Parameters
    ----------
    volume_after, volume_before : float or (n,) array
        Volumes of cells with the same number of formula units, in the same unit.

    Returns
    -------
    float or (n,) array
        Percent; positive for growth.
    """
    before = np.asarray(volume_before, dtype=np.float64)
    return 100.0 * (np.asarray(volume_after, dtype=np.float64) - before) / before


def volume_changes(volumes: Mapping[str, float]) -> dict[str, float]:
    """Return the expansion from the emptiest level to each fuller one.

    Parameters
    ----------
    volumes : mapping of str to float
        Level label to volume, Å^3 per cell.

    Returns
    -------
    dict of str to float
        {"Na1-Na2": percent, "Na1-Na3": …, "Na1-Na4": …}, relative to the emptiest level; empty for a single one.
    """
    emptiest, *fuller = sorted(volumes, key=level_content)
    return {f"{emptiest}-{label}": float(volume_change_percent(volumes[label], volumes[emptiest])) for label in fuller}
