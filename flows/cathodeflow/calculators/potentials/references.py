"""Energies of the elements by the same engine as the labels: the ground formation energies stand on (S0 eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cathodeflow.calculators.potentials.elements import elemental_phases
from cathodeflow.calculators.potentials.relaxation import RelaxedStructure
from cathodeflow.errors import CalculationError

if TYPE_CHECKING:
    from cathodeflow.calculators.engines import Engine

MAX_FORCE = 0.02
"""References are relaxed to this at least, eV/Å: they are few, and every formation energy stands on them."""


@dataclass(frozen=True)
class ElementalReference:
    """The chemical potential of an element.

    Attributes
    ----------
    element : str
        Symbol.
    energy_per_atom : float
        eV.
    phase : str
        Which one, and which others were tried.
    relaxed : RelaxedStructure
        Its relaxation.
    """

    element: str
    energy_per_atom: float
    phase: str
    relaxed: RelaxedStructure


def reference_energy(element: str, engine: Engine) -> ElementalReference:
    """Relax the phases of an element and keep the lowest.

    Parameters
    ----------
    element : str
        Symbol.
    engine : Engine
        Of the labels.

    Returns
    -------
    ElementalReference

    Raises
    ------
    CalculationError
        No phase of the element is known, or none converged.
    """
    best: tuple[float, str, RelaxedStructure] | None = None
    tried = []
    tight = replace(engine, settings=replace(engine.settings, max_force=min(engine.settings.max_force, MAX_FORCE)))
    for candidate in elemental_phases(element):
        relaxed = tight.relax(candidate.structure, relax_cell=not candidate.is_molecule)
        if not relaxed.converged:
            continue
        energy = relaxed.energy_after / len(candidate.structure)
        tried.append(f"{candidate.phase} {energy:.3f}")
        if best is None or energy < best[0]:
            best = (energy, candidate.phase, relaxed)
    if best is None:
        raise CalculationError(
            f"no phase of {element} converged with {engine.provenance}: raise engine.max_steps or leave {element} out",
            "not_converged",
        )
    energy, phase, relaxed = best
    described = phase if len(tried) == 1 else f"{phase}; tried, eV/atom: {', '.join(tried)}"
    return ElementalReference(element, energy, described, relaxed)
