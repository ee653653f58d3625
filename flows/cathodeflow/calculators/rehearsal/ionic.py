"""Ionic steps: what IBRION, NSW, ISIF and EDIFFG ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cathodeflow.calculators.rehearsal.inputs import VaspInputs
from cathodeflow.calculators.rehearsal.optimizers import Bfgs, Fire, IonsAndCell, Optimizer

CURVATURE = 40.0  # eV/Å^2, first guess of the Hessian, as in the engine mlff


@dataclass(frozen=True)
class IonicStep:
    """One geometry and what the potential says of it.

    Attributes
    ----------
    cell, fractional : ndarray
        Lattice vectors as rows, Å, and positions.
    energy : float
        Total energy, eV.
    forces : ndarray of shape (n_atoms, 3)
        eV/Å.
    stress : ndarray of shape (3, 3)
        ASE's sign (negative where the crystal wants to expand), eV/Å^3.
    converged : bool
        Whether EDIFFG is met.
    """

    cell: np.ndarray
    fractional: np.ndarray
    energy: float
    forces: np.ndarray
    stress: np.ndarray
    converged: bool


def ionic_steps(inputs: VaspInputs, calculator: Any, *, never_converge: bool = False) -> Iterator[IonicStep]:
    """Go through the ionic steps of a run.

    Parameters
    ----------
    inputs : VaspInputs
        Its INCAR says how far; at most NSW steps, the first geometry counted, as VASP counts.
    calculator : ase calculator
        Energy, forces and stress.
    never_converge : bool
        Go on to NSW whatever EDIFFG says.

    Yields
    ------
    IonicStep
        The last is converged, or number NSW.
    """
    from ase import Atoms

    incar = inputs.incar
    atoms: Any = Atoms(
        symbols=inputs.elements, scaled_positions=inputs.fractional, cell=inputs.cell, pbc=True, calculator=calculator
    )
    last = incar.integer("NSW")
    if incar.ibrion == -1 or last < 1:
        yield _step(atoms, converged=True)
        return
    moving = _degrees_of_freedom(atoms, incar.integer("ISIF"))
    optimizer = _optimizer(moving, incar.ibrion)
    energy: float | None = None
    for number in range(1, last + 1):
        if number > 1:
            optimizer.step()
        now = float(atoms.get_potential_energy())
        converged = _converged(incar.ediffg, atoms, moving, energy, now) and not never_converge
        energy = now
        yield _step(atoms, converged=converged)
        if converged:
            return


def _converged(ediffg: float, atoms: Any, moving: Any, before: float | None, now: float) -> bool:
    """Say whether EDIFFG is met: by the forces on atoms too, which a cell filter scales with the deformation."""
    if ediffg < 0:
        # Most steps are judged by the atoms' own forces already.
        return all(float(np.linalg.norm(of.get_forces(), axis=1).max()) < -ediffg for of in (atoms, moving))
    return before is not None and ediffg > 0 and abs(now - before) < ediffg


def _degrees_of_freedom(atoms: Any, isif: int) -> Any:
    """Return what moves: ions (0-2), ions and cell (3), at constant volume (4), ions and volume (8)."""
    return atoms if isif <= 2 else IonsAndCell(atoms, constant_volume=isif == 4, hydrostatic=isif == 8)


def _optimizer(moving: Any, ibrion: int) -> Optimizer:
    # 3 is damped dynamics; 1 (quasi-Newton) and 2 (conjugate gradient) differ in VASP, not here.
    return Fire(moving) if ibrion == 3 else Bfgs(moving, CURVATURE)


def _step(atoms: Any, *, converged: bool) -> IonicStep:
    return IonicStep(
        cell=np.array(atoms.cell.array),
        fractional=np.array(atoms.get_scaled_positions(wrap=False)),
        energy=float(atoms.get_potential_energy()),
        forces=np.array(atoms.get_forces()),
        stress=np.array(atoms.get_stress(voigt=False)),
        converged=converged,
    )
