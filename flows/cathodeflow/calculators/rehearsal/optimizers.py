"""BFGS, FIRE and a cell that relaxes with its ions, step for step as in ASE, without what importing ASE's costs.

Those load most of SciPy, which takes longer than a small run; a stand-in starts anew for each run.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

MAX_STEP = 0.2
"""Longest move of an atom in one BFGS step, and of all atoms together in one FIRE step, Å."""
TIME_STEP, LONGEST_TIME_STEP, MIXING = 0.1, 1.0, 0.1
"""FIRE's first and longest time step and its mixing of velocities with forces (Bitzek et al., PRL 97, 170201)."""
STEPS_BEFORE_FASTER, FASTER, SLOWER, LESS_MIXING = 5, 1.1, 0.5, 0.99
NOT_MOVED = 1e-7
"""A move shorter than this teaches nothing about the curvature, Å."""


class Optimizer(Protocol):
    """What moves something that has positions and forces."""

    def step(self) -> None:
        """Move once."""


class IonsAndCell:
    """A crystal whose lattice moves as three more atoms (as ASE's `UnitCellFilter`).

    Its rows are the ions in the undeformed cell, then the deformation gradient times the number of ions.

    Parameters
    ----------
    atoms : ase Atoms
        With a calculator that gives stresses.
    constant_volume, hydrostatic : bool
        Only the shape may change, or only the volume.
    """

    def __init__(self, atoms: Any, *, constant_volume: bool = False, hydrostatic: bool = False) -> None:
        self.atoms = atoms
        self.constant_volume, self.hydrostatic = constant_volume, hydrostatic
        self.undeformed = np.array(atoms.cell.array)

    def __len__(self) -> int:
        return len(self.atoms) + 3

    @property
    def deformation(self) -> np.ndarray:
        """Deformation gradient, (3, 3)."""
        return np.asarray(np.linalg.solve(self.undeformed, self.atoms.cell.array)).T

    def get_positions(self) -> np.ndarray:
        """Return the rows, Å."""
        deformation = self.deformation
        ions = np.linalg.solve(deformation, self.atoms.get_positions().T).T
        return np.vstack([ions, len(self.atoms) * deformation])

    def set_positions(self, rows: np.ndarray) -> None:
        """Move ions and lattice."""
        count = len(self.atoms)
        deformation = rows[count:] / count
        self.atoms.set_cell(self.undeformed @ deformation.T, scale_atoms=True)
        self.atoms.set_positions(rows[:count] @ deformation.T)

    def get_forces(self) -> np.ndarray:
        """Return the forces on the rows, eV/Å."""
        deformation = self.deformation
        virial = -self.atoms.get_volume() * self.atoms.get_stress(voigt=False)
        virial = np.linalg.solve(deformation, virial.T).T
        mean = np.trace(virial) / 3 * np.eye(3)
        if self.hydrostatic:
            virial = mean
        elif self.constant_volume:
            virial = virial - mean
        return np.vstack([self.atoms.get_forces() @ deformation, virial / len(self.atoms)])


class Bfgs:
    """Quasi-Newton steps.

    Parameters
    ----------
    moving : ase Atoms or filter
        What moves, n rows.
    curvature : float
        First guess of the Hessian, eV/Å^2.
    """

    def __init__(self, moving: Any, curvature: float) -> None:
        self.moving = moving
        self.hessian = curvature * np.eye(3 * len(moving))
        self.last: tuple[np.ndarray, np.ndarray] | None = None

    def step(self) -> None:
        """Move once."""
        positions = self.moving.get_positions()
        forces = self.moving.get_forces().ravel()
        self._learn(positions.ravel(), forces)
        values, vectors = np.linalg.eigh(self.hessian)
        move = (vectors @ (forces @ vectors / np.abs(values))).reshape(-1, 3)
        longest = float(np.linalg.norm(move, axis=1).max())
        self.moving.set_positions(positions + move * min(1.0, MAX_STEP / longest if longest else 1.0))
        self.last = positions.ravel(), forces

    def _learn(self, positions: np.ndarray, forces: np.ndarray) -> None:
        if self.last is None:
            return
        moved, changed = positions - self.last[0], forces - self.last[1]
        if np.abs(moved).max() < NOT_MOVED:
            return
        expected = self.hessian @ moved
        self.hessian -= np.outer(changed, changed) / (moved @ changed) + np.outer(expected, expected) / (
            moved @ expected
        )


class Fire:
    """Damped dynamics.

    Parameters
    ----------
    moving : ase Atoms or filter
        What moves.
    """

    def __init__(self, moving: Any) -> None:
        self.moving = moving
        self.velocities: np.ndarray | None = None
        self.time_step, self.mixing, self.downhill = TIME_STEP, MIXING, 0

    def step(self) -> None:
        """Move once."""
        forces = self.moving.get_forces()
        if self.velocities is None:
            self.velocities = np.zeros_like(forces)
        else:
            self._steer(forces, float(np.vdot(forces, self.velocities)))
        self.velocities += self.time_step * forces
        move = self.time_step * self.velocities
        length = float(np.linalg.norm(move))
        self.moving.set_positions(self.moving.get_positions() + move * min(1.0, MAX_STEP / length if length else 1.0))

    def _steer(self, forces: np.ndarray, power: float) -> None:
        assert self.velocities is not None
        if power <= 0:
            self.velocities = np.zeros_like(forces)
            self.time_step, self.mixing, self.downhill = self.time_step * SLOWER, MIXING, 0
            return
        along = forces * (np.linalg.norm(self.velocities) / np.linalg.norm(forces))
        self.velocities = (1 - self.mixing) * self.velocities + self.mixing * along
        if self.downhill > STEPS_BEFORE_FASTER:
            self.time_step = min(self.time_step * FASTER, LONGEST_TIME_STEP)
            self.mixing *= LESS_MIXING
        self.downhill += 1
