"""Energies of the elements by the same engine as the labels: the ground formation energies stand on (S0 eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cathodeflow.calculators.potentials.elements import elemental_phases
from cathodeflow.calculators.potentials.relaxation import RelaxedStructure
from cathodeflow.errors import CalculationError
from cathodeflow.records.outcomes import Reason

if TYPE_CHECKING:
    from cathodeflow.calculators.engines import Engine
    from cathodeflow.records.calculation import Intervention

MAX_FORCE = 0.02
"""A potential's references are relaxed to this at least, eV/Å: every formation energy stands on them."""


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
        Which one, which others were tried, and which did not converge.
    relaxed : RelaxedStructure
        Its relaxation.
    interventions : tuple of Intervention
        What custodian did to the runs of all phases.
    """

    element: str
    energy_per_atom: float
    phase: str
    relaxed: RelaxedStructure
    interventions: tuple[Intervention, ...] = ()


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
    interventions: list[Intervention] = []
    lost: dict[str, str] = {}
    for number, candidate in enumerate(elemental_phases(element), start=1):
        try:
            relaxed = tight.relax_phase(candidate.structure, f"phase-{number}", relax_cell=not candidate.is_molecule)
        except CalculationError as error:
            if error.reason != Reason.NOT_CONVERGED:
                raise
            lost[candidate.phase] = str(error)
            continue
        if not relaxed.converged:
            lost[candidate.phase] = f"{relaxed.largest_force:.3f} eV/Å after {relaxed.steps} steps"
            continue
        interventions += relaxed.interventions
        energy = relaxed.energy_after / len(candidate.structure)
        tried.append(f"{candidate.phase} {energy:.3f}")
        if best is None or energy < best[0]:
            best = (energy, candidate.phase, relaxed)
    if best is None:
        raise CalculationError(
            f"no phase of {element} converged with {engine.provenance}: {_more_steps(engine)} or leave {element} out "
            f"({'; '.join(f'{phase}: {why}' for phase, why in lost.items())})",
            Reason.NOT_CONVERGED.value,
        )
    energy, phase, relaxed = best
    described = phase if len(tried) == 1 else f"{phase}; tried, eV/atom: {', '.join(tried)}"
    if lost:  # one of them may be the lowest
        described += f"; did not converge: {', '.join(lost)}"
    return ElementalReference(element, energy, described, relaxed, tuple(interventions))


def _more_steps(engine: Engine) -> str:
    return "raise engine.max_steps" if engine.phase_relaxer is None else "name another reference_preset"
