"""Crystal graphs: who sees whom within a cutoff, and how far away.

A graph template holds everything of one host cell that does not depend on which element sits on a site. All
decorations of one working-ion level share one template and differ only in their atomic numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cathodeflow.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure


@dataclass(frozen=True)
class GraphTemplate:
    """The bonds of one cell, without its elements.

    Attributes
    ----------
    n_atoms : int
        Atoms of the cell.
    source, target : ndarray of int64, shape (n_edges,)
        Ends of each directed edge, sorted by `source`; both directions of every pair are present.
    distance : ndarray of float32, shape (n_edges,)
        Edge lengths in angstrom.
    cutoff : float
        Radius within which two atoms are connected, in angstrom.
    """

    n_atoms: int
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    distance: NDArray[np.float32]
    cutoff: float

    @property
    def n_edges(self) -> int:
        """Number of directed edges."""
        return len(self.source)


def graph_template(structure: Structure, cutoff: float) -> GraphTemplate:
    """Connect all atoms of a cell that are within `cutoff` of each other, periodic images included.

    Parameters
    ----------
    structure : pymatgen Structure
        An ordered crystal.
    cutoff : float
        Radius in angstrom.

    Returns
    -------
    GraphTemplate
        Edges sorted by source, then target, then length, so that the same cell always gives the same arrays.

    Raises
    ------
    ModelError
        If an atom has no neighbour: the network's mean over neighbours would be undefined.
    """
    source, target, _, distance = structure.get_neighbor_list(cutoff)
    keep = distance > 1e-8
    source, target, distance = source[keep], target[keep], distance[keep]
    n_atoms = len(structure)
    lonely = np.flatnonzero(np.bincount(source, minlength=n_atoms) == 0)
    if len(lonely):
        raise ModelError(
            f"atom {int(lonely[0])} of {structure.composition.formula} has no neighbour within {cutoff:g} angstrom; "
            "check the lattice of this structure"
        )
    order = np.lexsort((distance.round(6), target, source))
    return GraphTemplate(
        n_atoms=n_atoms,
        source=source[order].astype(np.int64),
        target=target[order].astype(np.int64),
        distance=distance[order].astype(np.float32),
        cutoff=cutoff,
    )


def atomic_numbers(structure: Structure) -> NDArray[np.int64]:
    """Atomic numbers of an ordered structure, shape (n_atoms,).

    Raises
    ------
    ModelError
        If a site is disordered.
    """
    if not structure.is_ordered:
        raise ModelError(f"{structure.composition.formula} has disordered sites; order them before predicting")
    return np.array([site.specie.Z for site in structure], dtype=np.int64)


def decorate(base: NDArray[np.int64], sites: NDArray[np.int64], decorations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put decorations on the substitution sites of one level.

    Parameters
    ----------
    base : ndarray of int64, shape (n_atoms,)
        Atomic numbers of the host cell.
    sites : ndarray of int64, shape (n_sites,)
        Indices of the substitution sites.
    decorations : ndarray of int64, shape (n_crystals, n_sites)
        Atomic numbers on those sites.

    Returns
    -------
    ndarray of int64, shape (n_crystals, n_atoms)
        Atomic numbers of every crystal.
    """
    numbers = np.repeat(base[None, :], len(decorations), axis=0)
    numbers[:, sites] = decorations
    return numbers


def spread_masks(masks: NDArray[np.int64], first: int, second: int, n_sites: int) -> NDArray[np.int64]:
    """Turn bitmasks into decorations.

    Parameters
    ----------
    masks : ndarray of int64, shape (n_crystals,)
        Bit i set means that site i carries `second`, else `first`.
    first, second : int
        Atomic numbers.
    n_sites : int
        Number of substitution sites.

    Returns
    -------
    ndarray of int64, shape (n_crystals, n_sites)
        Atomic numbers on the sites.
    """
    bits = (np.asarray(masks, dtype=np.int64)[:, None] >> np.arange(n_sites)) & 1
    return np.where(bits == 1, second, first).astype(np.int64)
