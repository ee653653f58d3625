"""The job that runs the static calculation which every other branch reads."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow.core.job import job

from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.jobs.followups.branch import (
    STATIC_FOLDER,
    Found,
    branch_output,
    overrides_of,
    preset_for,
)
from cathodeflow.records.outcomes import Branch, Reason

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from cathodeflow.calculators.vasp.preset import VaspPreset


@job
def static(crystal: dict[str, Any], engine: dict[str, Any], followups: dict[str, Any]) -> dict[str, Any]:
    """Run the static calculation on a relaxed cell.

    What the asked branches need beyond the preset is set before: for ``bonding`` as many bands as LOBSTER's basis has
    functions and no symmetry, for ``bader`` the all-electron density.

    Parameters
    ----------
    crystal : dict
        `records.crystal.Crystal.model_dump()` of the label's relaxed cell.
    engine, followups : dict
        Sections of a definition.

    Returns
    -------
    dict
        Fields of `records.followup.FollowUpRecord`, without what only the campaign knows.

    Raises
    ------
    CalculationError
        The run failed in a way that another attempt may not repeat.
    DefinitionError
        An override that no preset has.
    """
    from cathodeflow.records.crystal import Crystal

    structure = Crystal.model_validate(crystal).to_structure()
    return branch_output(
        Branch.STATIC,
        engine,
        followups,
        lambda: preset_for("static", followups, needed_overrides(structure, followups)),
        lambda preset: _run(structure, preset, engine, followups),
    )


def needed_overrides(structure: Structure, followups: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the asked branches change of the static preset."""
    branches = set(followups["branches"])
    needed: dict[str, Any] = {}
    if Branch.BADER in branches:
        needed["incar.LAECHG"] = True
    if Branch.BONDING in branches:
        # Without a basis that branch alone is lost, and says so: the others can do with fewer bands.
        with suppress(NoBasisError):
            needed |= {"incar.NBANDS": bands_for_lobster(structure, followups), "incar.LWAVE": True, "incar.ISYM": 0}
    return needed


class NoBasisError(CalculationError):
    """LOBSTER has no basis functions for a POTCAR of the cell."""


def basis_of(structure: Structure, preset: VaspPreset) -> dict[str, tuple[str, ...]]:
    """Return LOBSTER's basis functions of each element of a cell.

    Raises
    ------
    NoBasisError
        One has none.
    """
    from cathodeflow.calculators.lobster.inputs import lobster_basis

    try:
        return lobster_basis(potcar_symbols(structure, preset))
    except DefinitionError as error:
        raise NoBasisError(str(error), Reason.PREREQUISITE_FAILED.value) from error


def bands_for_lobster(structure: Structure, followups: Mapping[str, Any]) -> int:
    """Return how many bands LOBSTER and VASP need of a cell; raises NoBasisError."""
    from cathodeflow.calculators.lobster.inputs import minimal_n_bands
    from cathodeflow.calculators.vasp.materials_project import magnetic_moment
    from cathodeflow.calculators.vasp.valences import valence_electrons

    preset = preset_for("static", followups)
    symbols = potcar_symbols(structure, preset)
    functional = str(preset.potcar_functional.value)
    elements = [site.specie.symbol for site in structure]
    moments = [preset.magnetic_moment_values.get(element, magnetic_moment(element)) for element in elements]
    return minimal_n_bands(
        structure,
        basis_of(structure, preset),
        sum(valence_electrons(symbols[element], functional) for element in elements),
        unpaired=sum(map(abs, moments)),
    )


def potcar_symbols(structure: Structure, preset: VaspPreset) -> dict[str, str]:
    """Return the POTCAR of each element of a cell, such as ``V_pv``."""
    from cathodeflow.calculators.vasp.materials_project import potcar_symbol

    elements = dict.fromkeys(site.specie.symbol for site in structure)
    return {element: preset.potcar_symbols.get(element, potcar_symbol(element)) for element in elements}


def functional_of(structure: Structure, preset: VaspPreset) -> str:
    """Return ``PBE``, ``PBE+U`` or ``HSE06``: what a preset computes a cell with."""
    from cathodeflow.calculators.vasp.input_sets import hubbard_u_of

    if preset.stage == "hse":
        return "HSE06"
    return "PBE+U" if preset.hubbard_u.value != "none" and hubbard_u_of(structure, preset) else "PBE"


def _run(structure: Structure, preset: VaspPreset, engine: Mapping[str, Any], followups: Mapping[str, Any]) -> Found:
    from cathodeflow.calculators.vasp.electronic_outputs import read_density_grid, read_eigenvalues
    from cathodeflow.calculators.vasp.programs import programs_of
    from cathodeflow.calculators.vasp.run_files import remove
    from cathodeflow.calculators.vasp.static import run_static
    from cathodeflow.jobs.followups.gap import edges_part
    from cathodeflow.records.followup import StaticResult

    programs = programs_of(engine)
    with programs.available():
        run = run_static(structure, preset, Path.cwd() / STATIC_FOLDER, programs)
    bands = read_eigenvalues(run.folder)
    edges = edges_part(run.folder, functional_of(structure, preset))
    if Branch.BONDING not in followups["branches"]:
        remove(run.folder, "WAVECAR")  # gigabytes that only LOBSTER reads
    moments = None if run.moments is None else list(run.moments)
    result = StaticResult(
        energy=run.energy,
        edges=edges,
        volume=structure.volume,
        magnetic_moments=moments,
        total_magnetization=run.total_moment,
        n_bands=bands.energies.shape[2],
        density_grid=list(read_density_grid(run.folder)),
    )
    return Found(
        result,
        presets=(preset.name,),
        overrides=overrides_of(preset, "static"),
        interventions=run.interventions,
        earlier_s=run.earlier_s,
    )
