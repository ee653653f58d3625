"""Which potential stands in for the electrons' energy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from cathodeflow.calculators.rehearsal import service
from cathodeflow.errors import CalculationError

VARIABLE = "CATHODEFLOW_REHEARSAL_POTENTIAL"
DEFAULT = "chgnet-0.3.0"


def asked_potential() -> str:
    """Return the name of the potential that the environment asks for."""
    return os.environ.get(VARIABLE, DEFAULT)


def load_potential() -> Calculator:
    """Load the potential that the environment asks for, or reach for the worker's where it serves one.

    Raises
    ------
    CalculationError
        There is no such potential.
    """
    socket = os.environ.get(service.VARIABLE, "")
    if socket and Path(socket).is_socket():
        return ServedCalculator(socket)
    return load_local(asked_potential())


def load_local(name: str) -> Calculator:
    """Load a potential into this process.

    Parameters
    ----------
    name : str
        ``pair`` or ``chgnet-0.3.0`` (or another CHGNet of the chgnet package).

    Raises
    ------
    CalculationError
        There is no such potential.
    """
    if name == "pair":
        from cathodeflow.calculators.potentials.pair import PairCalculator

        return PairCalculator()
    if name.startswith("chgnet-"):
        from cathodeflow.calculators.potentials.chgnet import CHGNetEnergyCalculator
        from cathodeflow.calculators.threads import limit_threads

        limit_threads()
        return CHGNetEnergyCalculator(version=name.removeprefix("chgnet-"))
    raise CalculationError(f" REHEARSAL: {VARIABLE}={name!r} is none of pair, chgnet-0.3.0", "refused")


class ServedCalculator(Calculator):
    """An ASE calculator that asks the worker.

    Parameters
    ----------
    socket : str
        Of the service.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, socket: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.served = service.ServedPotential(socket)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Ask once.

        Raises
        ------
        CalculationError
            What the potential raised, or the service is gone.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert atoms is not None
        energy, forces, stress = self.served.ask("evaluate", atoms.numbers, atoms.cell.array, atoms.positions)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces, "stress": stress}


def evaluate(
    calculator: Any, numbers: np.ndarray, cell: np.ndarray, positions: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return energy, eV, forces, eV/Å, and stress in Voigt's order, eV/Å^3, of a crystal."""
    atoms: Any = Atoms(numbers=numbers, cell=cell, positions=positions, pbc=True)
    calculator.calculate(atoms, calculator.implemented_properties, all_changes)
    results = calculator.results
    return float(results["energy"]), np.asarray(results["forces"]), np.asarray(results["stress"])


def magnetic_moments(
    calculator: Any, numbers: np.ndarray, cell: np.ndarray, positions: np.ndarray
) -> list[float] | None:
    """Return the moments that CHGNet predicts, Bohr magnetons without sign, None for potentials that know none."""
    if isinstance(calculator, ServedCalculator):
        moments: list[float] | None = calculator.served.ask("moments", numbers, cell, positions)
        return moments
    model = getattr(calculator, "model", None)
    if model is None:
        return None
    from pymatgen.core import Structure

    crystal = Structure(cell, numbers.tolist(), positions, coords_are_cartesian=True)
    return [float(value) for value in model.predict_structure(crystal, task="em")["m"]]
