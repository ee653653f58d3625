"""The job that computes the energy of an element."""

from __future__ import annotations

from typing import Any

from jobflow.core.job import job


@job
def reference(element: str, engine: dict[str, Any]) -> dict[str, Any]:
    """Relax the phases of an element with an engine; the lowest is its reference.

    Parameters
    ----------
    element : str
        Symbol.
    engine : dict
        The section ``engine`` of a definition.

    Returns
    -------
    dict
        Fields of `records.label.ReferenceRecord`, without what only the store knows.

    Raises
    ------
    CalculationError
        No phase is known, none converged, or one failed that may not be left out.
    """
    from cathodeflow.calculators.engines import engine as build_engine
    from cathodeflow.calculators.potentials.references import reference_energy
    from cathodeflow.records.crystal import Crystal
    from cathodeflow.records.document import software_versions

    built = build_engine(engine)
    found = reference_energy(element, built)
    return {
        "element": element,
        "energy_per_atom": found.energy_per_atom,
        "phase": found.phase,
        "n_atoms": len(found.relaxed.structure),
        "max_force": found.relaxed.largest_force,
        "lost_phases": [lost.model_dump(mode="json") for lost in found.lost_phases],
        "crystal": Crystal.from_structure(found.relaxed.structure).model_dump(),
        "overrides": [override.model_dump() for override in built.overrides],
        "interventions": [done.model_dump() for done in found.interventions],
        "origin": {"provenance": built.provenance, "software": software_versions()},
    }
