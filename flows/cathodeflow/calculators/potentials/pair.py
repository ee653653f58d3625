"""A simple pair potential: cheap enough to rehearse a whole campaign in a minute, and no claim to be right.

A Morse curve between each two atoms, ``D [exp(-2 a (r - r0)) - 2 exp(-a (r - r0))]``, with ``a`` = 1.5 1/Å, ``r0`` from
the covalent radii (Cordero et al., Dalton Trans. 2008, 2832) and χ the Pauling electronegativity:

- one atom electronegative (χ > 2.56), the other not: ``D = 0.3 |Δχ|``, 0.5 eV at most, ``r0`` the sum of the radii, of
  which the part above 1.35 Å counts for a fifth, so that large metals still fit a small site;
- neither: ``D`` = 0.02 eV, ten times that where no atom is electronegative, ``r0`` the sum of the radii;
- both: only the first, repelling term, ``D`` = 0.2 eV, ``r0`` 1.7 times the sum.

The curve and its slope go to zero at 5 Å. A compound is held near 18 Å^3 per electronegative and 5 Å^3 per other atom
by ``B V0 (V/V0 - 1)^2 / 2`` with ``B`` = 1 eV/Å^3. Energies depend on the elements, the arrangement and the geometry,
smoothly: all that a rehearsal needs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from cathodeflow.calculators.potentials.relaxation import require_finite_geometry

if TYPE_CHECKING:
    from ase import Atoms

CUTOFF = 5.0  # Å
STEEPNESS = 1.5  # 1/Å
STIFFNESS = 1.0  # eV/Å^3
METALLIC = 10.0  # how much deeper the curve is in a metal than between the metals of a compound
ANION_VOLUME, CATION_VOLUME = 18.0, 5.0  # Å^3
ELECTRONEGATIVE = 2.56  # above every metal (Au 2.54), below sulphur (2.58)


class PairCalculator(Calculator):
    """Energy, forces and stress of the pair potential.

    Attributes
    ----------
    evaluations : int
        How often it was evaluated so far.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self.evaluations = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate once.

        Raises
        ------
        CalculationError
            The geometry is not finite.
        """
        from pymatgen.optimization.neighbors import find_points_in_spheres

        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert atoms is not None
        require_finite_geometry(atoms)
        positions = np.ascontiguousarray(atoms.positions, dtype=float)
        cell = np.ascontiguousarray(atoms.cell.array, dtype=float)
        periodic = np.ones(3, dtype=np.int64)
        first, second, images, distances = find_points_in_spheres(
            positions, positions, r=CUTOFF, pbc=periodic, lattice=cell, tol=1e-8
        )
        apart = distances > 1e-8
        first, second, r = first[apart], second[apart], distances[apart]
        vectors = positions[second] + images[apart] @ cell - positions[first]
        numbers = atoms.numbers
        bond, depth, binds = (table[numbers[first], numbers[second]] for table in _tables())
        if not (_electronegativities()[numbers] > ELECTRONEGATIVE).any():
            depth = depth * METALLIC
        energies, slopes = _curve(r, bond, depth, binds)
        pulls = (slopes / r)[:, None] * vectors  # each pair is listed from both ends
        forces = np.stack([np.bincount(first, pulls[:, axis], len(positions)) for axis in range(3)], axis=1)
        energy = float(energies.sum() / 2)
        virial = np.einsum("ni,nj->ij", vectors, pulls) / 2
        volume = atoms.cell.volume
        volume_energy, pressure = _volume_term(atoms.numbers, volume)
        energy += volume_energy
        stress = virial / volume + pressure * np.eye(3)
        self.evaluations += 1
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": forces,
            "stress": stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
        }


def _volume_term(numbers: np.ndarray, volume: float) -> tuple[float, float]:
    """Return the energy that holds a compound near its volume, eV, and its derivative by the volume, eV/Å^3."""
    negative = _electronegativities()[numbers] > ELECTRONEGATIVE
    if not negative.any() or negative.all():
        return 0.0, 0.0
    preferred = ANION_VOLUME * negative.sum() + CATION_VOLUME * (~negative).sum()
    excess = volume / preferred - 1.0
    return STIFFNESS * preferred * excess**2 / 2, STIFFNESS * excess


def _curve(r: np.ndarray, bond: np.ndarray, depth: np.ndarray, binds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the energy of each pair, eV, and its derivative by the distance, eV/Å, both zero at the cutoff."""
    # Held finite at overlaps, so that a bad start gives a large force and not an overflow.
    decay = np.exp(np.minimum(-STEEPNESS * (r - bond), 12.0))
    raw = depth * (decay**2 - 2 * decay * binds)
    raw_slope = depth * (-2 * STEEPNESS) * (decay**2 - decay * binds)
    x = r / CUTOFF
    switch = (1 - x**2) ** 2
    switch_slope = -4 * x * (1 - x**2) / CUTOFF
    return raw * switch, raw_slope * switch + raw * switch_slope


@lru_cache(maxsize=1)
def _electronegativities() -> np.ndarray:
    """Return Pauling's electronegativity by atomic number, 0 where there is none."""
    from pymatgen.core import Element

    values = np.array([0.0, *(Element.from_Z(number).X for number in range(1, 104))])
    return np.where(np.isfinite(values), values, 0.0)


@lru_cache(maxsize=1)
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return bond length (Å), depth (eV) and whether the pair binds (1 or 0), each by the two atomic numbers."""
    from ase.data import covalent_radii

    chi = _electronegativities()
    radii = covalent_radii[: len(chi)]
    negative = chi > ELECTRONEGATIVE
    both = negative[:, None] & negative[None, :]
    one = negative[:, None] ^ negative[None, :]
    squeezed = np.minimum(radii, 1.35 + (radii - 1.35) / 5)
    bond = np.where(one, squeezed[:, None] + squeezed[None, :], radii[:, None] + radii[None, :])
    bond = bond * np.where(both, 1.7, 1.0)
    depth = np.where(one, np.minimum(0.3 * np.abs(chi[:, None] - chi[None, :]), 0.5), np.where(both, 0.2, 0.02))
    return bond, depth, 1.0 - both
