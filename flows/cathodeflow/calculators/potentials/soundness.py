"""Whether a relaxed crystal is still the one that was asked for; one that is not is quarantined, with the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cathodeflow.calculators.potentials.relaxation import RelaxationSettings, RelaxedStructure
from cathodeflow.records.outcomes import Reason

if TYPE_CHECKING:
    from pymatgen.core import Structure

OVERLAP_RATIO = 0.55
"""Two atoms overlap below this share of the sum of their covalent radii (host cells are at 0.85 and above)."""
BOND_RATIO = 1.35
"""A cation and an anion are bonded up to this multiple of the sum of their covalent radii."""
LOST_SHARE = 1 / 3
"""A polyhedron has broken apart when it has lost more than this share of its anions."""
ANIONS = frozenset({"N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I"})


@dataclass(frozen=True)
class Defect:
    """Why a relaxed structure must not train anything.

    Attributes
    ----------
    reason : Reason
        For counting.
    message : str
        With the numbers.
    """

    reason: Reason
    message: str


def find_defect(
    start: Structure,
    relaxed: RelaxedStructure,
    settings: RelaxationSettings,
    working_ion: str,
    max_volume_change: float = 40.0,
) -> Defect | None:
    """Judge a relaxation. The first rule that fails decides, the gravest first.

    Parameters
    ----------
    start : Structure
        The unrelaxed crystal.
    relaxed : RelaxedStructure
        Same atoms in the same order.
    settings : RelaxationSettings
        What was asked for.
    working_ion : str
        Its own surroundings are free to change.
    max_volume_change : float
        Percent of the start's volume, either way.

    Returns
    -------
    Defect or None
        None when the crystal may be used.
    """
    return (
        _not_finite(relaxed)
        or _exploded(start, relaxed.structure, max_volume_change)
        or _overlapping(relaxed.structure)
        or _not_converged(relaxed, settings)
        or _broken(start, relaxed.structure, working_ion)
    )


def _not_finite(relaxed: RelaxedStructure) -> Defect | None:
    numbers = {
        "energy": (relaxed.energy_before, relaxed.energy_after),
        "forces": relaxed.forces,
        "lattice": relaxed.structure.lattice.matrix,
        "positions": relaxed.structure.frac_coords,
    }
    for name, values in numbers.items():
        bad = int((~np.isfinite(np.asarray(values))).sum())
        if bad:
            return Defect(Reason.NON_FINITE, f"{bad} values of the {name} are not finite")
    return None


def _exploded(start: Structure, end: Structure, limit: float) -> Defect | None:
    change = volume_change_percent(start, end)
    if abs(change) <= limit:
        return None
    return Defect(
        Reason.EXPLODED_VOLUME,
        f"the volume changed by {change:+.1f} % ({start.volume:.1f} to {end.volume:.1f} Å^3), the limit is {limit:g} %",
    )


def _overlapping(end: Structure) -> Defect | None:
    radii = _covalent_radii(end)
    centers, neighbours, _, distances = end.get_neighbor_list(r=float(2 * radii.max()))
    if len(distances) == 0:
        return None
    ratios = distances / (radii[centers] + radii[neighbours])
    worst = int(ratios.argmin())
    if ratios[worst] >= OVERLAP_RATIO:
        return None
    pair = "-".join(end[int(index)].specie.symbol for index in (centers[worst], neighbours[worst]))
    return Defect(
        Reason.OVERLAPPING_ATOMS,
        f"{pair} are {distances[worst]:.2f} Å apart, {ratios[worst]:.2f} of the sum of their covalent radii "
        f"(limit {OVERLAP_RATIO})",
    )


def _not_converged(relaxed: RelaxedStructure, settings: RelaxationSettings) -> Defect | None:
    if relaxed.converged:
        return None
    return Defect(
        Reason.NOT_CONVERGED,
        f"after {relaxed.steps} steps the largest force on an atom is {relaxed.largest_force:.3f} eV/Å, "
        f"asked were {settings.max_force:g} on atoms and cell within {settings.max_steps} steps",
    )


def _broken(start: Structure, end: Structure, working_ion: str) -> Defect | None:
    before = coordination_numbers(start, working_ion)
    after = coordination_numbers(end, working_ion, _bonds(start, BOND_RATIO))
    for site, number in before.items():
        if number and after[site] < number * (1 - LOST_SHARE) - 1e-9:
            return Defect(
                Reason.BROKEN_POLYHEDRA,
                f"site {site} ({end[site].specie.symbol}) kept {after[site]} of its {number} anion neighbours",
            )
    return None


def coordination_numbers(
    structure: Structure, working_ion: str, among: dict[int, set[int]] | None = None
) -> dict[int, int]:
    """Count the anions around every cation but the working ion.

    Parameters
    ----------
    structure : Structure
        Ordered.
    working_ion : str
        Left out.
    among : dict of int to set of int, optional
        Count only these neighbours of each site.

    Returns
    -------
    dict of int to int
        Site to number of bonded anions: distances up to 1.35 times the sum of the covalent radii.
    """
    bonds = _bonds(structure, BOND_RATIO)
    counts = {}
    for site, atom in enumerate(structure):
        if atom.specie.symbol in ANIONS or atom.specie.symbol == working_ion:
            continue
        bonded = bonds.get(site, set())
        counts[site] = len(bonded if among is None else bonded & among.get(site, set()))
    return counts


def _bonds(structure: Structure, ratio: float) -> dict[int, set[int]]:
    """Return the anions bonded to each cation, by site index."""
    radii = _covalent_radii(structure)
    is_anion = np.array([atom.specie.symbol in ANIONS for atom in structure])
    centers, neighbours, _, distances = structure.get_neighbor_list(r=float(2 * ratio * radii.max()))
    bonded = (distances <= ratio * (radii[centers] + radii[neighbours])) & ~is_anion[centers] & is_anion[neighbours]
    bonds: dict[int, set[int]] = {}
    for center, neighbour in zip(centers[bonded].tolist(), neighbours[bonded].tolist(), strict=True):
        bonds.setdefault(center, set()).add(neighbour)
    return bonds


def volume_change_percent(start: Structure, end: Structure) -> float:
    """Return the volume change of a relaxation, percent of the start's volume."""
    return 100.0 * (end.volume / start.volume - 1.0)


def _covalent_radii(structure: Structure) -> np.ndarray:
    from ase.data import covalent_radii

    return np.array([covalent_radii[atom.specie.Z] for atom in structure])
