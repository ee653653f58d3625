"""The steps are those of ASE's optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.filters import UnitCellFilter
from ase.optimize import BFGS, FIRE

from cathodeflow.calculators.potentials.pair import PairCalculator
from cathodeflow.calculators.rehearsal.optimizers import Bfgs, Fire, IonsAndCell


def shaken() -> Atoms:
    atoms = bulk("FeO", "rocksalt", a=4.5, cubic=True)
    atoms.positions += np.random.default_rng(3).normal(0, 0.15, atoms.positions.shape)
    atoms.set_cell(atoms.cell.array @ np.diag([1.03, 0.98, 1.0]), scale_atoms=True)
    atoms.calc = PairCalculator()
    return atoms


OURS_AND_ASES = [
    (lambda moving: Bfgs(moving, 40.0), lambda moving: BFGS(moving, logfile=None, alpha=40.0)),
    (Fire, lambda moving: FIRE(moving, logfile=None)),
]


CELLS: dict[str, tuple[Callable[[Atoms], Any], Callable[[Atoms], Any]]] = {
    "ions": (lambda atoms: atoms, lambda atoms: atoms),
    "ions and cell": (IonsAndCell, UnitCellFilter),
    "ions and shape": (
        lambda atoms: IonsAndCell(atoms, constant_volume=True),
        lambda atoms: UnitCellFilter(atoms, constant_volume=True),
    ),
    "ions and volume": (
        lambda atoms: IonsAndCell(atoms, hydrostatic=True),
        lambda atoms: UnitCellFilter(atoms, hydrostatic_strain=True),
    ),
}


@pytest.mark.parametrize("moving", CELLS)
@pytest.mark.parametrize(("our", "theirs"), OURS_AND_ASES, ids=["BFGS", "FIRE"])
def test_the_path_is_ases(our: Callable[[Any], Any], theirs: Callable[[Any], Any], moving: str) -> None:
    one, other = shaken(), shaken()
    own, ases = CELLS[moving]
    steps, reference = our(own(one)), theirs(ases(other))
    for _ in range(30):
        steps.step()
        reference.step()
        np.testing.assert_allclose(one.positions, other.positions, rtol=0, atol=1e-8)
        np.testing.assert_allclose(one.cell.array, other.cell.array, rtol=0, atol=1e-8)
    assert one.get_potential_energy() < shaken().get_potential_energy() - 0.1
