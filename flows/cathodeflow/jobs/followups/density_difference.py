"""The job that finds where electrons go when working ions meet the framework (S3 eq. 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow.core.job import job

from cathodeflow.errors import CalculationError
from cathodeflow.jobs.followups.branch import (
    Found,
    branch_output,
    overrides_of,
    preset_for,
    static_folder,
)
from cathodeflow.records.outcomes import Branch, Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from cathodeflow.calculators.bader.chgcar import DensityFile
    from cathodeflow.records.calculation import Intervention, Override
    from cathodeflow.records.followup import DensityDifferenceResult
    from cathodeflow.science.electronic.density import GridDensity

FRAMEWORK_FOLDER, IONS_FOLDER = "framework", "ions"
VOLUMETRIC_FILE = "density_difference.vasp"
MAX_SIDE = 96
"""Points along a side of the slice that a record holds."""
AXIS = 2
"""Lattice vector along which the average is taken and which the slice cuts."""
# What serves other branches is of no use in a part; the number of bands belongs to the whole.
_OF_THE_PARTS = {"incar.LAECHG": False, "incar.LWAVE": True, "incar.LCHARG": True, "incar.NEDOS": 301}
_NOT_OF_THE_PARTS = ("incar.NBANDS", "incar.ISYM", *_OF_THE_PARTS)
_OF_THE_IONS: dict[str, Any] = {"incar.ISMEAR": 0, "incar.SIGMA": 0.05}
"""Lone ions in a cell have half-filled s levels, which the tetrahedron method does not bring to converge."""


@dataclass(frozen=True)
class _Whole:
    """The cell that is taken apart, its density, and ISMEAR and SIGMA that its run had in the end."""

    structure: Structure
    density: DensityFile
    inside: tuple[int, ...]
    outside: tuple[int, ...]
    smearing: tuple[int, float] | None = None


@job
def density_difference(
    static: dict[str, Any], crystal: dict[str, Any], engine: dict[str, Any], followups: dict[str, Any]
) -> dict[str, Any]:
    """Compute the density of the cell less those of its framework and of its working ions.

    The two parts are static runs with the preset of the static run, atoms unmoved, on its very grid (NGXF, NGYF, NGZF).
    Both are neutral, so that the difference integrates to zero; what it integrates to is found and recorded, not
    enforced.

    Parameters
    ----------
    static : dict
        Output of `jobs.followups.static.static`.
    crystal, engine : dict
        As there.
    followups : dict
        As there, with `working_ion`, the element that makes the second part.

    Returns
    -------
    dict
        Fields of `records.followup.FollowUpRecord`, without what only the campaign knows.

    Raises
    ------
    CalculationError
        A run failed in a way that another attempt may not repeat.
    DefinitionError
        An override that no preset has.
    """
    return branch_output(
        Branch.DENSITY_DIFFERENCE,
        engine,
        followups,
        lambda: _whole(static_folder(static), crystal, str(followups.get("working_ion") or "")),
        lambda whole: _parts(whole, engine, followups),
        static=static,
    )


def _whole(folder: Path, crystal: Mapping[str, Any], working_ion: str) -> _Whole:
    from cathodeflow.calculators.bader.chgcar import read_density
    from cathodeflow.calculators.vasp.electronic_outputs import read_smearing
    from cathodeflow.calculators.zipped_files import existing
    from cathodeflow.records.crystal import Crystal

    structure = Crystal.model_validate(crystal).to_structure()
    outside = tuple(index for index, site in enumerate(structure) if site.specie.symbol == working_ion)
    inside = tuple(index for index in range(len(structure)) if index not in outside)
    if not outside or not inside:
        raise CalculationError(
            f"the cell holds no {working_ion or 'working ion'} beside a framework, so that it has no two parts",
            Reason.PREREQUISITE_FAILED.value,
        )
    return _Whole(structure, read_density(existing(folder, "CHGCAR")), inside, outside, read_smearing(folder))


def _of_the_framework(whole: _Whole, followups: Mapping[str, Any]) -> dict[str, Any]:
    """Return the smearing that custodian gave the whole: another one in the framework would show in the difference."""
    planned = preset_for("static", followups).incar_values.get("ISMEAR")
    if whole.smearing is None or whole.smearing[0] == planned:
        return {}
    return {"incar.ISMEAR": whole.smearing[0], "incar.SIGMA": whole.smearing[1]}


def _parts(whole: _Whole, engine: Mapping[str, Any], followups: Mapping[str, Any]) -> Found:
    from cathodeflow.calculators.bader.chgcar import read_density
    from cathodeflow.calculators.vasp.programs import programs_of
    from cathodeflow.calculators.vasp.run_files import remove
    from cathodeflow.calculators.vasp.static import run_static
    from cathodeflow.calculators.zipped_files import existing

    grid = dict(zip(("incar.NGXF", "incar.NGYF", "incar.NGZF"), whole.density.density.values.shape, strict=True))
    programs = programs_of(engine)
    densities: list[GridDensity] = []
    presets: list[str] = []
    overrides: list[Override] = []
    interventions: list[Intervention] = []
    earlier_s = 0.0
    smeared = _of_the_framework(whole, followups)
    runs = ((FRAMEWORK_FOLDER, whole.inside, smeared), (IONS_FOLDER, whole.outside, _OF_THE_IONS))
    with programs.available():
        for name, sites, own in runs:
            part = type(whole.structure).from_sites([whole.structure[index] for index in sites])
            preset = preset_for(
                "static", followups, {**_OF_THE_PARTS, **own, **grid}, without=(*_NOT_OF_THE_PARTS, *own, *grid)
            )
            run = run_static(part, preset, Path.cwd() / name, programs)
            remove(run.folder, "WAVECAR")
            densities.append(read_density(existing(run.folder, "CHGCAR")).density)
            presets.append(preset.name)
            overrides += overrides_of(preset, name)
            interventions += run.interventions
            earlier_s += run.earlier_s
    return Found(
        difference_result(whole, densities[0], densities[1], Path.cwd() / VOLUMETRIC_FILE),
        presets=tuple(presets),
        overrides=tuple(overrides),
        interventions=tuple(interventions),
        earlier_s=earlier_s,
    )


def difference_result(whole: _Whole, framework: GridDensity, ions: GridDensity, file: Path) -> DensityDifferenceResult:
    """Subtract the parts, write the difference to a file and sum it up.

    Parameters
    ----------
    whole : _Whole
        The cell and its density.
    framework, ions : GridDensity
        Of the parts.
    file : Path
        New CHGCAR-like file.

    Returns
    -------
    DensityDifferenceResult

    Raises
    ------
    CalculationError
        The grids differ, or the parts do not hold the electrons of the whole (reason ``broken_output``).
    """
    from dataclasses import replace

    from cathodeflow.calculators.bader.chgcar import write_density
    from cathodeflow.records.followup import DensityDifferenceResult
    from cathodeflow.science.electronic import density_difference as science

    try:
        difference = science.density_difference(whole.density.density, framework, ions)
    except CalculationError as error:
        reason = Reason.NON_FINITE if error.reason == Reason.NON_FINITE else Reason.BROKEN_OUTPUT
        raise CalculationError(str(error), reason.value) from error
    formulas = [
        type(whole.structure).from_sites([whole.structure[index] for index in sites]).composition.formula
        for sites in (whole.inside, whole.outside)
    ]
    write_density(
        file,
        replace(whole.density, density=difference, magnetisation=None),
        f"density difference: the whole less {formulas[0]} less {formulas[1]}",
    )
    positions, means = science.planar_average(difference, AXIS)
    height = _busiest_height(whole)
    plane, extent = _thinned(science.plane_slice(difference, AXIS, height)), whole.structure.lattice.abc
    return DensityDifferenceResult(
        parts=formulas,
        integral=difference.electrons,
        displaced_charge=science.displaced_charge(difference),
        axis=AXIS,
        positions=positions.tolist(),
        planar_average=means.tolist(),
        slice=[[float(f"{value:.5g}") for value in row] for row in plane.tolist()],
        slice_axis=AXIS,
        slice_fraction=height,
        slice_extent=[extent[axis] for axis in range(3) if axis != AXIS],
        volumetric_file=str(file),
    )


def _busiest_height(whole: _Whole) -> float:
    """Return the fraction along the axis at which a plane cuts most working ions."""
    heights = whole.structure.frac_coords[list(whole.outside), AXIS] % 1.0
    apart = np.abs(heights[:, None] - heights[None, :])
    length = whole.structure.lattice.abc[AXIS]
    near = (np.minimum(apart, 1 - apart) * length < 0.25).sum(axis=1)  # Å, a quarter of an ion's radius
    return float(heights[int(near.argmax())])


def _thinned(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take every n-th point along a side that has more than `MAX_SIDE`."""
    first, second = (-(-side // MAX_SIDE) for side in plane.shape)
    return plane[::first, ::second]
