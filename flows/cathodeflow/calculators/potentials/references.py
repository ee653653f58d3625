"""Energies of the elements by the same engine as the labels: the ground formation energies stand on (S0 eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cathodeflow.calculators.potentials.elements import ElementalPhase, elemental_phases
from cathodeflow.calculators.potentials.relaxation import RelaxedStructure
from cathodeflow.errors import CalculationError
from cathodeflow.records.label import LostPhase
from cathodeflow.records.outcomes import Reason

if TYPE_CHECKING:
    from cathodeflow.calculators.engines import Engine
    from cathodeflow.records.calculation import Intervention

MAX_FORCE = 0.02
"""A potential's references are relaxed to this at least, eV/Å: every formation energy stands on them."""
MESSAGE_LENGTH = 1000
OF_THE_LATTICE = frozenset({Reason.CALCULATION_ERROR, Reason.NON_FINITE})
"""Failures that say that a lattice cannot be computed. Others are of the run, and another attempt may mend them."""


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
        Which one, which others were tried, and which gave no energy.
    relaxed : RelaxedStructure
        Its relaxation.
    lost_phases : tuple of LostPhase
        Those that gave no energy: one of them may be the lowest.
    interventions : tuple of Intervention
        What custodian did to the runs of all phases.
    """

    element: str
    energy_per_atom: float
    phase: str
    relaxed: RelaxedStructure
    lost_phases: tuple[LostPhase, ...] = ()
    interventions: tuple[Intervention, ...] = ()


def reference_energy(element: str, engine: Engine) -> ElementalReference:
    """Relax the phases of an element and keep the lowest.

    One that does not converge is left out, and so is a lattice that nature does not choose and that the engine cannot
    compute, as long as another one converges: it is tried in case the engine prefers it, and no more.

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
        No phase of the element is known, none converged, or one failed that may not be left out.
    """
    best: tuple[float, ElementalPhase, RelaxedStructure] | None = None
    tried = []
    tight = replace(engine, settings=replace(engine.settings, max_force=min(engine.settings.max_force, MAX_FORCE)))
    interventions: list[Intervention] = []
    lost: list[LostPhase] = []
    failed: CalculationError | None = None
    for number, candidate in enumerate(elemental_phases(element), start=1):
        try:
            relaxed = tight.relax_phase(candidate.structure, f"phase-{number}", relax_cell=not candidate.is_molecule)
        except CalculationError as error:
            if not _may_be_left_out(candidate, error):
                raise
            lost.append(_lost(candidate, error.reason, str(error)))
            failed = failed or (error if error.reason != Reason.NOT_CONVERGED else None)
            continue
        if not relaxed.converged:
            why = f"{relaxed.largest_force:.3f} eV/Å after {relaxed.steps} steps"
            lost.append(_lost(candidate, Reason.NOT_CONVERGED, why))
            continue
        interventions += relaxed.interventions
        energy = relaxed.energy_after / len(candidate.structure)
        tried.append(f"{candidate.phase} {energy:.3f}")
        if best is None or energy < best[0]:
            best = (energy, candidate, relaxed)
    if best is None and failed is not None:
        raise failed
    if best is None:
        raise CalculationError(
            f"no phase of {element} converged with {engine.provenance}: {_more_steps(engine)} or leave {element} out "
            f"({'; '.join(f'{phase.phase}: {phase.message}' for phase in lost)})",
            Reason.NOT_CONVERGED.value,
        )
    energy, lowest, relaxed = best
    described = lowest.phase if len(tried) == 1 else f"{lowest.phase}; tried, eV/atom: {', '.join(tried)}"
    described += _named("did not converge", [one for one in lost if one.reason == Reason.NOT_CONVERGED])
    described += _named("failed", [one for one in lost if one.reason != Reason.NOT_CONVERGED])
    return ElementalReference(element, energy, described, relaxed, tuple(lost), tuple(interventions))


def _may_be_left_out(phase: ElementalPhase, error: CalculationError) -> bool:
    return error.reason == Reason.NOT_CONVERGED or (phase.is_hypothetical and error.reason in OF_THE_LATTICE)


def _lost(phase: ElementalPhase, reason: str, message: str) -> LostPhase:
    return LostPhase(
        phase=phase.phase, hypothetical=phase.is_hypothetical, reason=Reason(reason), message=message[:MESSAGE_LENGTH]
    )


def _named(words: str, phases: Sequence[LostPhase]) -> str:
    return f"; {words}: {', '.join(phase.phase for phase in phases)}" if phases else ""


def _more_steps(engine: Engine) -> str:
    return "raise engine.max_steps" if engine.phase_relaxer is None else "name another reference_preset"
