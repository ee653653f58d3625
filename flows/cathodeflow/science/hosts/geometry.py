"""Is a crystal geometrically sound: finite cell, no overlapping atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pymatgen.core import Structure

OVERLAP_RATIO = 0.6
"""Shortest distance allowed, in sums of covalent radii (Cordero 2008).

P-O in a phosphate is at 0.87 and Na-Na in a relaxed fluorophosphate at 0.95; the two halves of a split Na site, 1.95 Å
apart and never both filled, are at 0.59.
"""


def closest_contact(structure: Structure) -> tuple[float, int, int]:
    """Return the closest pair of atoms relative to their covalent radii.

    Parameters
    ----------
    structure : Structure
        Ordered crystal.

    Returns
    -------
    ratio : float
        Distance over the sum of covalent radii (ase.data, Cordero 2008), smallest over all pairs of different sites.
        Infinite for a single site.
    first, second : int
        Indices of the pair.
    """
    distances = _masked_distances(structure)
    radii = covalent_radii(structure)
    ratios = distances / (radii[:, None] + radii[None, :])
    first, second = np.unravel_index(int(np.argmin(ratios)), ratios.shape)
    return float(ratios[first, second]), int(first), int(second)


def covalent_radii(structure: Structure) -> NDArray[np.float64]:
    """Return each site's covalent radius in Å, shape (n_sites,)."""
    from ase.data import covalent_radii as by_number

    return np.asarray(by_number, dtype=np.float64)[[site.specie.Z for site in structure]]


def lattice_is_sound(structure: Structure) -> bool:
    """Return whether the cell is finite, with a volume of at least 1 Å^3 per site."""
    finite = bool(np.isfinite(structure.lattice.matrix).all() and np.isfinite(structure.frac_coords).all())
    return finite and abs(float(np.linalg.det(structure.lattice.matrix))) >= float(len(structure))


def _masked_distances(structure: Structure) -> NDArray[np.float64]:
    distances = np.array(structure.distance_matrix, dtype=np.float64)
    np.fill_diagonal(distances, np.inf)
    return distances
