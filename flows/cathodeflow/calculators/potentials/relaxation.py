"""What a relaxation is asked for and what it gives, whichever potential runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cathodeflow.errors import CalculationError

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from pymatgen.core import Structure

    from cathodeflow.records.calculation import EnergyCorrection, Intervention


def require_finite_geometry(atoms: Atoms) -> None:
    """Refuse a geometry that an optimizer has thrown out of all bounds, before a potential chokes on it.

    Raises
    ------
    CalculationError
        A position or the cell is not finite.
    """
    import numpy as np

    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise CalculationError("the relaxation moved atoms out of all bounds; look at its start", "non_finite")


@dataclass(frozen=True)
class RelaxationSettings:
    """When a relaxation ends.

    Attributes
    ----------
    max_force : float
        It has converged when no atom feels more than this, eV/Å (the cell's generalised forces included).
    max_steps : int
        It has failed to converge after this many.
    relax_cell : bool
        Whether the lattice may change (molecules in a box keep theirs).
    """

    max_force: float = 0.05
    max_steps: int = 500
    relax_cell: bool = True


@dataclass(frozen=True)
class RelaxedStructure:
    """What a relaxation gave.

    Attributes
    ----------
    structure : Structure
        The last geometry.
    energy_before, energy_after : float
        Total energies of the first and of the last geometry, eV.
    forces : ndarray of shape (n_atoms, 3)
        In the last geometry, eV/Å.
    steps : int
        Evaluations of the potential after the first one.
    converged : bool
        Whether `max_force` was reached.
    wall_s : float
        Wall time, s.
    cores : int
        Processors it ran on.
    correction : EnergyCorrection or None
        What the energies hold beyond the program's own; None for engines without.
    interventions : tuple of Intervention
        What custodian did.
    folder : str
        Where the program ran; empty for engines that write none.
    """

    structure: Structure
    energy_before: float
    energy_after: float
    forces: np.ndarray
    steps: int
    converged: bool
    wall_s: float
    cores: int = 1
    correction: EnergyCorrection | None = None
    interventions: tuple[Intervention, ...] = ()
    folder: str = ""

    @property
    def largest_force(self) -> float:
        """Largest residual force on an atom, eV/Å."""
        return float((self.forces**2).sum(axis=1).max() ** 0.5)
