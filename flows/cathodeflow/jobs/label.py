"""The job that relaxes one candidate and judges the outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobflow.core.job import job

from cathodeflow.errors import CalculationError
from cathodeflow.records.outcomes import Outcome, Reason

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from cathodeflow.calculators.potentials.relaxation import RelaxedStructure
    from cathodeflow.records.label import Relaxation

FINAL_REASONS = frozenset({Reason.NON_FINITE, Reason.MISSING_REFERENCE})
"""What an engine reports that another attempt would only repeat."""


@job
def label(
    key: str,
    host: dict[str, Any],
    level: str,
    elements: list[str],
    mask: int,
    engine: dict[str, Any],
    references: dict[str, float],
    max_volume_change: float = 40.0,
) -> dict[str, Any]:
    """Relax a candidate.

    Parameters
    ----------
    key : str
        The candidate's key.
    host : dict
        `HostSpec.model_dump()`.
    level : str
        Level label.
    elements : list of str
        One or two substituents.
    mask : int
        Which substitution sites carry the second.
    engine : dict
        The section ``engine`` of a definition.
    references : dict of str to float
        Energy per atom of each element by the same engine, eV.
    max_volume_change : float
        Beyond it the relaxation has exploded, percent.

    Returns
    -------
    dict
        Fields of `records.label.LabelRecord`, without what only the campaign knows. A result that must not be trained
        on is returned as quarantined, with its reason, since another attempt would only repeat it.

    Raises
    ------
    CalculationError
        The engine failed in a way that another attempt may not repeat.
    """
    from cathodeflow.calculators.engines import engine as build_engine
    from cathodeflow.calculators.potentials.soundness import Defect, find_defect
    from cathodeflow.jobs.host import candidate_structure, host_from
    from cathodeflow.records.document import software_versions

    built = build_engine(engine)
    start = candidate_structure(host, level, elements, mask)
    relaxation: Relaxation | None = None
    relaxed: RelaxedStructure | None = None
    defect: Defect | None
    try:
        _require_references(start, references)
        relaxed = built.relax(start)
    except CalculationError as error:
        if error.reason not in FINAL_REASONS:
            raise
        defect = Defect(Reason(error.reason), str(error))
    else:
        working_ion = host_from(host).working_ion
        defect = find_defect(start, relaxed, built.settings, working_ion, max_volume_change)
        if defect is None or defect.reason is not Reason.NON_FINITE:
            relaxation = relaxation_record(start, relaxed, references)
    n_second = mask.bit_count()
    counts = [host_from(host).n_sites - n_second, n_second] if len(elements) > 1 else [host_from(host).n_sites]
    return {
        "key": key,
        "level": level,
        "composition": "".join(f"{element}{count}" for element, count in zip(elements, counts, strict=True)),
        "elements": list(elements),
        "counts": counts,
        "mask": mask,
        "outcome": (Outcome.QUARANTINED if defect else Outcome.DONE).value,
        "reason": defect.reason.value if defect else None,
        "message": defect.message if defect else "",
        "relaxation": relaxation.model_dump() if relaxation else None,
        "overrides": [override.model_dump() for override in built.overrides],
        "interventions": [done.model_dump() for done in relaxed.interventions] if relaxed else [],
        "folder": relaxed.folder if relaxed else "",
        "origin": {"provenance": built.provenance, "software": software_versions()},
    }


def relaxation_record(start: Structure, relaxed: RelaxedStructure, references: dict[str, float]) -> Relaxation:
    """Turn a relaxation into the part of a label that holds its numbers.

    Parameters
    ----------
    start : Structure
        Before.
    relaxed : RelaxedStructure
        After.
    references : dict of str to float
        Energy per atom of each element, eV.

    Returns
    -------
    Relaxation
        With formation energies (S0 eq. 1) and the relaxation energy (S0 eq. 2), eV/atom.
    """
    from cathodeflow.calculators.potentials.soundness import volume_change_percent
    from cathodeflow.records.crystal import Crystal
    from cathodeflow.records.label import Relaxation
    from cathodeflow.science.energetics.formation_energy import formation_energy_per_atom, relaxation_energy

    counts = {element.symbol: int(number) for element, number in start.composition.items()}
    before = float(formation_energy_per_atom(relaxed.energy_before, counts, references))
    after = float(formation_energy_per_atom(relaxed.energy_after, counts, references))
    return Relaxation(
        n_atoms=len(start),
        energy_before=relaxed.energy_before,
        energy_after=relaxed.energy_after,
        formation_energy_before=before,
        formation_energy=after,
        relaxation_energy=float(relaxation_energy(after, before)),
        volume_before=start.volume,
        volume_after=relaxed.structure.volume,
        volume_change_percent=volume_change_percent(start, relaxed.structure),
        max_force=relaxed.largest_force,
        steps=relaxed.steps,
        converged=relaxed.converged,
        wall_s=relaxed.wall_s,
        cores=relaxed.cores,
        correction=relaxed.correction,
        crystal=Crystal.from_structure(relaxed.structure),
        forces=relaxed.forces.tolist(),
    )


def _require_references(start: Structure, references: dict[str, float]) -> None:
    missing = sorted({site.specie.symbol for site in start} - set(references))
    if missing:
        raise CalculationError(
            f"there is no reference energy of {', '.join(missing)}: compute it first", Reason.MISSING_REFERENCE.value
        )
