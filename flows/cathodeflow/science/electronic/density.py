"""A density on a regular grid over one cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathodeflow.errors import CalculationError


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single truth
class GridDensity:
    """Electrons per volume on a grid; point (i, j, k) lies at fractional (i/nx, j/ny, k/nz).

    Attributes
    ----------
    values : (nx, ny, nz) array
        e/Å³; electrons count positive.
    lattice : (3, 3) array
        Lattice vectors as rows, Å.
    """

    values: NDArray[np.float64]
    lattice: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or 0 in self.values.shape:
            raise CalculationError(f"A density needs a three-dimensional grid, not one of shape {self.values.shape}.")
        if self.lattice.shape != (3, 3) or not np.isfinite(self.lattice).all() or not self.volume > 1e-6:
            raise CalculationError("The density's cell has no volume; its file is damaged.", "non_finite")
        if not np.isfinite(self.values).all():
            raise CalculationError("The density holds values that are no numbers; run it again.", "non_finite")

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³."""
        return float(abs(np.linalg.det(self.lattice)))

    @property
    def voxel_volume(self) -> float:
        """Volume that one grid point stands for, Å³."""
        return self.volume / self.values.size

    @property
    def electrons(self) -> float:
        """Integral over the cell, e."""
        return float(self.values.sum() * self.voxel_volume)


def require_same_grid(first: GridDensity, *others: GridDensity, lattice_tolerance: float = 1e-4) -> None:
    """Refuse densities that cannot be added point by point.

    Parameters
    ----------
    first, *others : GridDensity
        Densities to be combined.
    lattice_tolerance : float
        Largest difference of any component of a lattice vector, Å; files carry six decimals.

    Raises
    ------
    CalculationError
        If the number of grid points or the cell differ.
    """
    for other in others:
        if other.values.shape != first.values.shape:
            raise CalculationError(
                f"Densities on grids {first.values.shape} and {other.values.shape} cannot be combined; "
                "set NGXF, NGYF and NGZF alike and run them again."
            )
        if np.abs(other.lattice - first.lattice).max() > lattice_tolerance:
            raise CalculationError("Densities in different cells cannot be combined; compute all in one cell.")
