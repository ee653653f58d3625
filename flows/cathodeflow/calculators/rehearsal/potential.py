"""Which potential stands in for the electrons' energy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import CalculationError

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from cathodeflow.calculators.rehearsal.ionic import IonicStep

VARIABLE = "CATHODEFLOW_REHEARSAL_POTENTIAL"
DEFAULT = "chgnet-0.3.0"


def potential_name() -> str:
    """Return the potential that the environment asks for."""
    return os.environ.get(VARIABLE, DEFAULT)


def load_potential(name: str) -> Calculator:
    """Load a potential.

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


def magnetic_moments(calculator: Any, elements: list[str], step: IonicStep) -> list[float] | None:
    """Return the moments that CHGNet predicts, Bohr magnetons without sign, None for potentials that know none."""
    model = getattr(calculator, "model", None)
    if model is None:
        return None
    from pymatgen.core import Structure

    predicted = model.predict_structure(Structure(step.cell, elements, step.fractional), task="em")
    return [float(value) for value in predicted["m"]]
