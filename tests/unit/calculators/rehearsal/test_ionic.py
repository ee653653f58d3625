from __future__ import annotations

import numpy as np
from ase import Atoms

from cathodeflow.calculators.potentials.pair import PairCalculator
from cathodeflow.calculators.rehearsal import ionic
from cathodeflow.calculators.rehearsal.ionic import ionic_steps


class Asked:
    """The inputs of a relaxation of a far too wide cell of phosphorus."""

    elements = ["P"] * 4
    cell = np.diag([3.4, 5.0, 5.2])
    fractional = np.array([[0.14, 0, 0.26], [0.36, 0.5, 0.74], [0.62, 0.5, 0.26], [0.87, 0, 0.74]])

    class incar:
        ibrion, ediffg = 2, -0.01

        @staticmethod
        def integer(tag: str) -> int:
            return {"NSW": 300, "ISIF": 3}[tag]


def test_a_relaxation_ends_when_the_forces_on_the_atoms_are_small_however_far_the_cell_went() -> None:
    *_, last = ionic_steps(Asked, PairCalculator())
    assert last.converged
    change = abs(np.linalg.det(last.cell)) / abs(np.linalg.det(Asked.cell))
    assert abs(change - 1) > 0.2, "the cell has to deform for this test to mean anything"
    atoms = Atoms("P4", cell=last.cell, scaled_positions=last.fractional, pbc=True, calculator=PairCalculator())
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.01


def test_forces_scaled_by_a_shrunken_cell_alone_do_not_end_it() -> None:
    class Scaled:
        """What moves, with forces that the deformation has made small."""

        def get_forces(self) -> np.ndarray:
            return np.full((7, 3), 1e-4)

    class Felt:
        def get_forces(self) -> np.ndarray:
            return np.full((4, 3), 0.02)

    assert not ionic._converged(-0.01, Felt(), Scaled(), None, 0.0)
    assert ionic._converged(-0.05, Felt(), Scaled(), None, 0.0)
