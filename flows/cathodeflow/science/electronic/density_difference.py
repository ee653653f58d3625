"""Where electrons go when two parts are put together (S3 eq. 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.science.electronic.density import GridDensity, require_same_grid


def density_difference(
    together: GridDensity, first: GridDensity, second: GridDensity, charge_tolerance: float | None = 0.01
) -> GridDensity:
    """Return Δρ = ρ_AB - ρ_A - ρ_B (S3 eq. 4), e/Å³.

    All three must be computed in the same cell, on the same grid, with the atoms of A and B where they are in AB.

    Parameters
    ----------
    together : GridDensity
        Of A and B together.
    first, second : GridDensity
        Of A alone and of B alone.
    charge_tolerance : float or None
        Largest integral of Δρ, e. More means that the parts do not hold the electrons of the whole (an atom missing,
        another potential, a damaged file). None for charged parts, whose difference does not integrate to zero.

    Returns
    -------
    GridDensity
        Positive where electrons gather, negative where they leave.

    Raises
    ------
    CalculationError
        If grids or cells differ, or the integral exceeds `charge_tolerance`.
    """
    require_same_grid(together, first, second)
    difference = GridDensity(together.values - first.values - second.values, together.lattice)
    if charge_tolerance is not None and abs(difference.electrons) > charge_tolerance:
        raise CalculationError(
            f"The density difference integrates to {difference.electrons:.4f} e instead of zero; "
            "the two parts do not hold the electrons of the whole."
        )
    return difference


def displaced_charge(difference: GridDensity) -> float:
    """Return the electrons that moved, half the integral of |Δρ|, e."""
    return float(np.abs(difference.values).sum() * difference.voxel_volume / 2)


def planar_average(density: GridDensity, axis: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean over planes spanned by the two other lattice vectors.

    Parameters
    ----------
    density : GridDensity
        Any density or difference of densities.
    axis : int
        Lattice vector along which to go: 0, 1 or 2.

    Returns
    -------
    heights : (n,) array
        Distance of each plane from the first, perpendicular to the planes, Å.
    means : (n,) array
        e/Å³.

    Raises
    ------
    DefinitionError
        If the axis is none of 0, 1, 2.
    """
    first, second = _other_axes(axis)
    area = float(np.linalg.norm(np.cross(density.lattice[first], density.lattice[second])))
    count = density.values.shape[axis]
    return np.arange(count) * (density.volume / area / count), density.values.mean(axis=(first, second))


def plane_slice(density: GridDensity, axis: int, fraction: float) -> NDArray[np.float64]:
    """Return the values on one lattice plane, linearly interpolated between the two nearest grid planes.

    Parameters
    ----------
    density : GridDensity
        Any density or difference of densities.
    axis : int
        Lattice vector that the plane cuts: 0, 1 or 2.
    fraction : float
        Where along it, in fractional coordinates; periodic.

    Returns
    -------
    (n, m) array
        e/Å³; rows and columns follow the two other lattice vectors in order.

    Raises
    ------
    DefinitionError
        If the axis is none of 0, 1, 2.
    """
    _other_axes(axis)
    count = density.values.shape[axis]
    position = (fraction % 1.0) * count
    below = int(np.floor(position))
    weight = position - below
    lower = density.values.take(below % count, axis=axis)
    upper = density.values.take((below + 1) % count, axis=axis)
    return np.asarray((1 - weight) * lower + weight * upper)


def _other_axes(axis: int) -> tuple[int, int]:
    """Return the two axes beside this one, in order."""
    if axis not in {0, 1, 2}:
        raise DefinitionError(f"A grid has the axes 0, 1 and 2, not {axis}.")
    first, second = (other for other in range(3) if other != axis)
    return first, second
