"""The symmetry of a host cell as permutations of its substitution sites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cathodeflow.errors import HostError

if TYPE_CHECKING:
    from pymatgen.core import Structure


def site_permutations(structure: Structure, site_indices: Sequence[int], symprec: float = 0.1) -> NDArray[np.int64]:
    """Return the distinct permutations that the space group of the cell makes of its substitution sites.

    All operations of the given cell that keep the set of substitution sites count, translations inside a non-primitive
    cell included. Cells are relaxed ones, whose symmetry is exact only to the force threshold, hence the generous
    default tolerance.

    Parameters
    ----------
    structure : Structure
        Ordered host cell, before substitution.
    site_indices : sequence of int
        Sites in `structure`, in the order that masks refer to.
    symprec : float
        Distance tolerance of spglib in Å.

    Returns
    -------
    (n_operations, n_sites) int array
        Row g sends site i to site `row[i]`. Rows are unique and sorted, and form a group.

    Raises
    ------
    HostError
        If spglib finds no symmetry, or operations that do not form a group.
    """
    import spglib

    numbers = [site.specie.Z for site in structure]
    lattice = np.asarray(structure.lattice.matrix)
    found = spglib.get_symmetry((lattice.tolist(), structure.frac_coords.tolist(), numbers), symprec=symprec)
    if found is None:
        raise HostError(f"spglib found no symmetry at {symprec} Å; check the cell for overlapping atoms.")
    coords = np.asarray(structure.frac_coords)[list(site_indices)]
    images = (
        _permutation(coords @ rotation.T + translation, coords, lattice, 3 * symprec)
        for rotation, translation in zip(found["rotations"], found["translations"], strict=True)
    )
    rows = [row for row in images if row is not None]
    distinct = np.unique(np.array(rows, dtype=np.int64), axis=0)
    _check_closed(distinct, symprec)
    return distinct


def _permutation(
    images: NDArray[np.float64], coords: NDArray[np.float64], lattice: NDArray[np.float64], tolerance: float
) -> NDArray[np.int64] | None:
    """Match images to sites; None where one falls off the set, as when only some equivalent sites are substituted."""
    difference = images[:, None, :] - coords[None, :, :]
    difference -= np.round(difference)
    distance = np.linalg.norm(difference @ lattice, axis=-1)
    nearest = distance.argmin(axis=1)
    if len(set(nearest.tolist())) != len(coords) or distance.min(axis=1).max() > tolerance:
        return None
    return nearest


def _check_closed(rows: NDArray[np.int64], symprec: float) -> None:
    """Refuse permutations that are not a group, as loose tolerances can give: orbit counts would be wrong."""
    products = rows[:, rows].reshape(-1, rows.shape[1])
    if len(np.unique(products, axis=0)) != len(rows):
        raise HostError(f"The symmetry found at {symprec} Å is not a group; use a smaller symmetry tolerance.")
