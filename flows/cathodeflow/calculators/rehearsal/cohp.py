"""The bonds that the stand-in `lobster` finds, and the stated model of their COHP.

- **strength** of a bond, -ICOHP of both spins at the Fermi level: ``(0.5 + |Δχ|) exp((2 Å - d) / 0.5 Å)`` eV, Δχ the
  difference of the atoms' electronegativities by Pauling, d their distance. Of two spin channels up has 0.45 of it,
  down 0.55.
- **curve**: a Gaussian of 0.5 eV at -3 eV that holds the strength, bonding, and one at +3 eV that takes it back. ICOHP
  is integrated from COHPstartEnergy, so that a range that begins too high loses what lies below it, as with LOBSTER.
- COOP is -0.1, COBI -0.2 times COHP, without a unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CENTRE, WIDTH = 3.0, 0.5  # eV
SPIN_SHARES = {1: (1.0,), 2: (0.45, 0.55)}
FACTORS = {"COHP": 1.0, "COOP": -0.1, "COBI": -0.2}


@dataclass(frozen=True)
class Interaction:
    """One pair of atoms.

    Attributes
    ----------
    atoms : tuple of int
        From 0, in CONTCAR's order.
    translation : tuple of int
        Cell of the second atom relative to the first.
    length : float
        Å.
    """

    atoms: tuple[int, int]
    translation: tuple[int, int, int]
    length: float


@dataclass(frozen=True)
class Generator:
    """What one ``cohpGenerator`` line asks for: all pairs in a range of lengths, Å, of two elements if given."""

    shortest: float
    longest: float
    elements: frozenset[str] | None = None


def interactions(
    cell: np.ndarray, fractional: np.ndarray, elements: list[str], generators: list[Generator]
) -> list[Interaction]:
    """Return every pair that a generator asks for, once, over periodic images.

    Parameters
    ----------
    cell : ndarray of shape (3, 3)
        Lattice vectors as rows, Å.
    fractional : ndarray of shape (n_atoms, 3)
        Positions.
    elements : list of str
        Of each atom.
    generators : list of Generator
        From lobsterin.

    Returns
    -------
    list of Interaction
        By atoms, then length.
    """
    if not generators:
        return []
    longest = max(generator.longest for generator in generators)
    reach = np.ceil(longest * np.linalg.norm(np.linalg.inv(cell), axis=0) + np.ptp(fractional, axis=0)).astype(int)
    shifts = np.array(list(np.ndindex(*(2 * reach + 1)))) - reach
    found = []
    for first in range(len(elements)):
        for second in range(first, len(elements)):
            pair = frozenset((elements[first], elements[second]))
            wanted = [g for g in generators if g.elements is None or g.elements == pair]
            if not wanted:
                continue
            lengths = np.linalg.norm((fractional[second] + shifts - fractional[first]) @ cell, axis=1)
            for place in np.flatnonzero((lengths > 1e-6) & (lengths <= longest)):
                x, y, z = (int(n) for n in shifts[place])
                # Of an atom and its own images, each pair of opposite cells is one bond.
                if first == second and (x, y, z) < (0, 0, 0):
                    continue
                length = float(lengths[place])
                if any(g.shortest <= length <= g.longest for g in wanted):
                    found.append(Interaction((first, second), (x, y, z), length))
    return sorted(found, key=lambda bond: (bond.atoms, round(bond.length, 6), bond.translation))


def strength(first: str, second: str, length: float) -> float:
    """Return -ICOHP of a bond with both spins and its whole energy range, eV."""
    from pymatgen.core import Element

    contrast = abs(Element(first).X - Element(second).X)
    return float((0.5 + contrast) * math.exp((2.0 - length) / 0.5))


def held(start: float, end: float) -> float:
    """Return the part of a bond's strength that lies between two energies relative to the Fermi level, eV."""
    return _integral(end) - _integral(start)


def curve(energies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the COHP of a bond of unit strength, per eV, and its integral from the first energy, (n,) each."""
    scale = 1 / (WIDTH * math.sqrt(2 * math.pi))
    lower, upper = (np.exp(-(((energies - place) / WIDTH) ** 2) / 2) * scale for place in (-CENTRE, CENTRE))
    integral = np.array([_integral(float(energy)) for energy in energies])
    return upper - lower, integral[0] - integral


def _integral(energy: float) -> float:
    """Return the strength below an energy: rises to one at -CENTRE, falls back to zero at +CENTRE."""
    lower, upper = ((1 + math.erf((energy - place) / (WIDTH * math.sqrt(2)))) / 2 for place in (-CENTRE, CENTRE))
    return lower - upper
