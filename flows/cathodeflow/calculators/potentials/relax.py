"""Relaxation through atomate2's ForceFieldRelaxMaker."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from cathodeflow.calculators.potentials.relaxation import RelaxationSettings, RelaxedStructure
from cathodeflow.calculators.threads import limit_threads
from cathodeflow.errors import CalculationError

if TYPE_CHECKING:
    from pymatgen.core import Structure

ENDS_ONLY = 10**9  # atomate2's observer keeps every n-th frame, and the last one always

CURVATURE = 40.0
"""First guess of the Hessian, eV/Å^2; ASE's is 70, which took a quarter more steps on these crystals."""


def relax_with(
    calculator: dict[str, str],
    calculator_kwargs: dict[str, Any],
    structure: Structure,
    settings: RelaxationSettings,
    optimizer: str = "BFGS",
) -> RelaxedStructure:
    """Relax ions, and the lattice if asked, with atomate2's force-field maker.

    atomate2 runs the optimizer over ASE's `FrechetCellFilter`. Of what its plain job does, this leaves out the frames
    between the first and the last, the file of the last one and the task document; FIRE, its default optimizer, is
    replaced by BFGS, which needs a third of the steps on these crystals (docs/science/labels.md).

    Parameters
    ----------
    calculator : dict
        ``{"@module": …, "@callable": …}`` of an ASE calculator that counts its `evaluations`.
    calculator_kwargs : dict
        For its constructor.
    structure : Structure
        The start.
    settings : RelaxationSettings
        When to end.
    optimizer : str
        One of atomate2's names.

    Returns
    -------
    RelaxedStructure

    Raises
    ------
    CalculationError
        The potential or the optimizer gave numbers that are not finite, with reason ``non_finite``.
    """
    from atomate2.forcefields.jobs import ForceFieldRelaxMaker

    threads = limit_threads()
    maker = ForceFieldRelaxMaker(
        force_field_name=calculator,
        calculator_kwargs=calculator_kwargs,
        relax_cell=settings.relax_cell,
        steps=max(settings.max_steps, 2),  # one step means a static calculation to atomate2
        optimizer_kwargs={"optimizer": optimizer},
        relax_kwargs={
            "fmax": settings.max_force,
            "interval": ENDS_ONLY,
            "final_atoms_object_file": None,
            "use_emmet_models": True,
            **({"alpha": CURVATURE} if optimizer in {"BFGS", "LBFGS"} else {}),
        },
    )
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = maker.run_ase(structure)
    except (np.linalg.LinAlgError, FloatingPointError, ValueError) as error:
        # What linear algebra says of a lattice or Hessian that is not finite any more.
        raise CalculationError(f"the relaxation left the numbers: {error}; look at its start", "non_finite") from error
    wall_s = time.perf_counter() - began
    trajectory: Any = result.trajectory
    final: Any = result.final_mol_or_struct
    counter: Any = maker.calculator
    return RelaxedStructure(
        structure=final,
        energy_before=float(trajectory.energy[0]),
        energy_after=float(trajectory.energy[-1]),
        forces=np.asarray(trajectory.forces[-1], dtype=float),
        steps=max(counter.evaluations - 1, 0),
        converged=bool(result.converged),
        wall_s=wall_s,
        cores=threads,
    )
