"""Strength of the bonds of coordination polyhedra by -ICOHP (S0 section 3.5, Fig. 4e and f)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathodeflow.errors import CalculationError

CHARGE_SPILLING_LIMIT = 0.05
"""Largest part of the occupied states that the local basis may miss; custodian's validator has the same limit."""


@dataclass(frozen=True, slots=True)
class BondIcohp:
    """One line of an ICOHP list.

    Attributes
    ----------
    label : str
        Number of the bond in the list.
    atoms : (int, int)
        Indices of its atoms from 0, in the order of the structure.
    length : float
        Å.
    translation : (int, int, int)
        Cell of the second atom relative to the first.
    icohp : tuple of float
        eV, one value per spin channel; negative for a bonding contact.
    multiplicity : int
        Bonds that the line averages over (LOBSTER before 3; one since).
    """

    label: str
    atoms: tuple[int, int]
    length: float
    translation: tuple[int, int, int]
    icohp: tuple[float, ...]
    multiplicity: int = 1

    @property
    def strength(self) -> float:
        """-ICOHP of the bond, both channels added, eV."""
        return -sum(self.icohp)


@dataclass(frozen=True, slots=True)
class Contact:
    """One neighbour of a polyhedron's centre.

    Attributes
    ----------
    centre, ligand : int
        Indices of the atoms.
    translation : (int, int, int)
        Cell of the ligand relative to the centre.
    length : float
        Å.
    """

    centre: int
    ligand: int
    translation: tuple[int, int, int]
    length: float


@dataclass(frozen=True, slots=True)
class PolyhedronBonding:
    """The bonds of one polyhedron.

    Attributes
    ----------
    centre : int
        Index of its central atom.
    element : str
        Element of the centre.
    contacts : tuple of Contact
        Nearest first.
    strengths : tuple of float
        -ICOHP of each contact, eV.
    mean_strength : float
        eV per bond.
    mean_by_ligand : dict
        Ligand element to its mean, eV per bond.
    """

    centre: int
    element: str
    contacts: tuple[Contact, ...]
    strengths: tuple[float, ...]
    mean_strength: float
    mean_by_ligand: dict[str, float]


def contacts_within(
    lattice: ArrayLike,
    positions: ArrayLike,
    species: Sequence[str],
    centres: Sequence[int],
    ligands: frozenset[str] | set[str],
    cutoff: float,
) -> tuple[Contact, ...]:
    """Return the ligands around each centre, over periodic images.

    Parameters
    ----------
    lattice : (3, 3) array
        Rows, Å.
    positions : (n, 3) array
        Fractional coordinates.
    species : sequence of str
        Element of each atom.
    centres : sequence of int
        Indices of the central atoms (the transition metals).
    ligands : set of str
        Elements that bind to them ({"O", "F"} in S0).
    cutoff : float
        Longest bond, Å.

    Returns
    -------
    tuple of Contact
        Centre by centre, nearest first.
    """
    cell = np.asarray(lattice, dtype=np.float64)
    fractional = np.asarray(positions, dtype=np.float64)
    # A sphere of the cutoff reaches ceil(cutoff / spacing of the planes) cells beyond that of any pair of atoms.
    spacings = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    spread = np.ptp(fractional, axis=0) if len(fractional) else np.zeros(3)
    reach = np.ceil(cutoff / spacings + spread).astype(int)
    images = np.array(list(np.ndindex(*(2 * reach + 1))), dtype=int) - reach
    around = [index for index, element in enumerate(species) if element in ligands]
    found = []
    for centre in centres:
        of_centre = []
        for ligand in around:
            lengths = np.linalg.norm((fractional[ligand] + images - fractional[centre]) @ cell, axis=1)
            for k in np.flatnonzero((lengths <= cutoff) & (lengths > 1e-6)):
                x, y, z = (int(n) for n in images[k])
                of_centre.append(Contact(centre, ligand, (x, y, z), float(lengths[k])))
        found.extend(sorted(of_centre, key=lambda contact: contact.length))
    return tuple(found)


def polyhedron_bonding(
    contacts: Sequence[Contact],
    species: Sequence[str],
    bonds: Sequence[BondIcohp],
    length_tolerance: float = 0.01,
) -> tuple[PolyhedronBonding, ...]:
    """Return -ICOHP of every contact and its mean over each polyhedron.

    A contact takes the bond between its two atoms that has its translation and its length. Programs may move atoms by
    whole cells; then the bond of the same length counts, each bond once.

    Parameters
    ----------
    contacts : sequence of Contact
        Of all centres, from `contacts_within`.
    species : sequence of str
        Element of each atom.
    bonds : sequence of BondIcohp
        The ICOHP list of the same structure.
    length_tolerance : float
        Å.

    Returns
    -------
    tuple of PolyhedronBonding
        In order of the centres' first contact.

    Raises
    ------
    CalculationError
        If a contact is missing from the list (the list is cut short, or made with a shorter range), or a value is no
        number.
    """
    free: dict[tuple[int, int], list[BondIcohp]] = {}
    for bond in bonds:
        if not np.isfinite(bond.icohp).all():
            raise CalculationError(f"Bond {bond.label} has an ICOHP that is no number.", "non_finite")
        free.setdefault((min(bond.atoms), max(bond.atoms)), []).extend([bond] * bond.multiplicity)
    by_centre: dict[int, list[tuple[Contact, float]]] = {}
    # Exact translations first, so that no contact takes the bond that belongs to another one.
    strengths: dict[int, float] = {}
    for exact in (True, False):
        for index, contact in enumerate(contacts):
            if index not in strengths:
                bond_found = _take(free, contact, exact, length_tolerance)
                if bond_found is not None:
                    strengths[index] = bond_found.strength
    for index, contact in enumerate(contacts):
        if index not in strengths:
            pair = f"{species[contact.centre]}{contact.centre + 1}-{species[contact.ligand]}{contact.ligand + 1}"
            raise CalculationError(
                f"The ICOHP list lacks the bond {pair} of {contact.length:.3f} Å; "
                "it is cut short or was made with a shorter range."
            )
        by_centre.setdefault(contact.centre, []).append((contact, strengths[index]))
    return tuple(_polyhedron(centre, species, pairs) for centre, pairs in by_centre.items())


def check_charge_spilling(spillings: Sequence[float], limit: float = CHARGE_SPILLING_LIMIT) -> float:
    """Return the worst charge spilling of the spin channels, or refuse the projection.

    Parameters
    ----------
    spillings : sequence of float
        Absolute charge spilling per channel, as a fraction (0.01 is 1 %).
    limit : float
        Largest that is accepted.

    Raises
    ------
    CalculationError
        If there is none, one is no fraction (reason ``broken_output``), or one exceeds the limit
        (``charge_spilling``).
    """
    values: NDArray[np.float64] = np.asarray(spillings, dtype=np.float64)
    if not values.size or not ((values >= 0) & (values <= 1)).all():
        raise CalculationError(
            f"Charge spillings {tuple(spillings)} are no fractions; run LOBSTER again.", "broken_output"
        )
    worst = float(values.max())
    if worst > limit:
        raise CalculationError(
            f"The local basis misses {100 * worst:.1f} % of the charge, more than {100 * limit:.1f} %; "
            "take a larger basis.",
            "charge_spilling",
        )
    return worst


def _take(
    free: dict[tuple[int, int], list[BondIcohp]], contact: Contact, exact: bool, length_tolerance: float
) -> BondIcohp | None:
    """Remove and return the bond that is this contact, or None."""
    candidates = free.get((min(contact.centre, contact.ligand), max(contact.centre, contact.ligand)), [])
    forward = contact.translation
    backward = (-forward[0], -forward[1], -forward[2])
    for position, bond in enumerate(candidates):
        same_way = bond.atoms[0] == contact.centre
        if exact and bond.translation != (forward if same_way else backward):
            continue
        if abs(bond.length - contact.length) <= length_tolerance:
            return candidates.pop(position)
    return None


def _polyhedron(centre: int, species: Sequence[str], pairs: Sequence[tuple[Contact, float]]) -> PolyhedronBonding:
    """Average the bonds of one centre."""
    of_ligand: dict[str, list[float]] = {}
    for contact, strength in pairs:
        of_ligand.setdefault(species[contact.ligand], []).append(strength)
    return PolyhedronBonding(
        centre=centre,
        element=species[centre],
        contacts=tuple(contact for contact, _ in pairs),
        strengths=tuple(strength for _, strength in pairs),
        mean_strength=float(np.mean([strength for _, strength in pairs])),
        mean_by_ligand={element: float(np.mean(values)) for element, values in of_ligand.items()},
    )
