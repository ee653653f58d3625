"""Static and hybrid runs inside a job: files of an earlier run brought along, VASP under custodian, what came out.

Import this module lazily: atomate2 takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.calculators.vasp.first_step import chain_of
from cathodeflow.calculators.vasp.handlers import own_walltime, watching
from cathodeflow.calculators.vasp.input_sets import KPoint, in_order_of
from cathodeflow.calculators.vasp.makers import PresetStaticMaker, static_maker
from cathodeflow.calculators.vasp.preset import VaspPreset
from cathodeflow.calculators.vasp.requirements import require_vasp
from cathodeflow.calculators.vasp.results import interventions_in, interventions_of
from cathodeflow.calculators.vasp.run_clock import seconds_of, timed
from cathodeflow.calculators.vasp.run_files import bring, bring_orbitals
from cathodeflow.calculators.zipped_files import existing
from cathodeflow.records.calculation import Intervention

if TYPE_CHECKING:
    from emmet.core.tasks import TaskDoc
    from pymatgen.core import Structure

    from cathodeflow.calculators.vasp.programs import Programs


@dataclass(frozen=True)
class StaticRun:
    """A finished static run.

    Attributes
    ----------
    folder : Path
        Where its files are, most of them gzipped.
    energy : float
        Total energy of the cell, eV, without corrections.
    moments : tuple of float or None
        Per site of the cell as it was given (not as POSCAR has it), Bohr magnetons.
    total_moment : float or None
        Of the cell.
    interventions : tuple of Intervention
        What custodian did, in the attempts that this run goes on from too.
    earlier_s : float
        What those attempts took, s.
    """

    folder: Path
    energy: float
    moments: tuple[float, ...] | None
    total_moment: float | None
    interventions: tuple[Intervention, ...]
    earlier_s: float


def run_static(
    structure: Structure,
    preset: VaspPreset,
    folder: Path,
    programs: Programs,
    *,
    band_edges: Sequence[KPoint] = (),
    density_from: Path | None = None,
) -> StaticRun:
    """Run VASP once on a cell that stays as it is.

    Where `attempt.json` beside `folder` names an earlier attempt that left a WAVECAR there, it starts from that.

    Parameters
    ----------
    structure : Structure
        The cell; sites in any order.
    preset : VaspPreset
        Of stage ``static`` or ``hse``.
    folder : Path
        Where to run; made if absent.
    programs : Programs
        Where VASP is, inside `programs.available()`.
    band_edges : sequence of (3,) sequences
        k-points without weight of a hybrid run.
    density_from : Path, optional
        Folder of a finished run of this cell whose CHGCAR the run starts from (ICHARG = 1).

    Returns
    -------
    StaticRun

    Raises
    ------
    CalculationError
        VASP gave nothing usable; its `reason` says what kind.
    """
    require_vasp(preset, structure, with_potcars=not programs.potcar_spec)
    folder.mkdir(parents=True, exist_ok=True)
    brought = []
    if density_from is not None:
        brought.append(bring(density_from, "CHGCAR", folder))
    before, earlier_s = attempts_before(folder)
    if earlier := _earlier(folder):
        bring_orbitals(earlier[0], folder)
    maker = _maker(preset, band_edges, programs)
    undecorated: Any = getattr(PresetStaticMaker.make, "original")  # noqa: B009 - jobflow adds it
    with chdir(folder), timed(folder), own_walltime():
        document: TaskDoc = undecorated(maker, _bare(structure)).output
    for name in brought:
        existing(folder, name).unlink(missing_ok=True)  # it was a copy
    moments, total = _moments(document, structure)
    output: Any = document.output
    return StaticRun(
        folder=folder,
        energy=float(output.energy),
        moments=moments,
        total_moment=total,
        interventions=(*before, *interventions_of(document)),
        earlier_s=earlier_s,
    )


def attempts_before(folder: Path) -> tuple[tuple[Intervention, ...], float]:
    """Return what custodian did in the attempts that a run goes on from, and what they took, s."""
    earlier = _earlier(folder)
    done = tuple(done for one in reversed(earlier) for done in interventions_in(one))
    return done, sum(seconds_of(one) for one in earlier if one.is_dir())


def _earlier(folder: Path) -> list[Path]:
    return [launch / folder.name for launch in chain_of(folder.parent)[1:]]


def _maker(preset: VaspPreset, band_edges: Sequence[KPoint], programs: Programs) -> PresetStaticMaker:
    limit = programs.seconds_left()
    buffer, looking = watching(limit, programs.polling_s)
    maker = static_maker(preset, band_edges=band_edges, wall_time_s=limit, potcar_spec=programs.potcar_spec)
    return replace(
        maker,
        buffer_s=buffer,
        frozen_s=programs.frozen_s,
        copy_vasp_kwargs={},
        run_vasp_kwargs={"custodian_kwargs": looking},
        # The bands and densities of states are read from smaller files than vasprun.xml.
        task_document_kwargs={"parse_dos": False, "parse_bandstructure": False, "vasprun_kwargs": {"parse_dos": False}},
    )


def _bare(structure: Structure) -> Structure:
    """Return the cell without what an earlier run hung on its sites: moments start per element."""
    return type(structure)(structure.lattice, [site.specie.symbol for site in structure], structure.frac_coords)


def _moments(document: TaskDoc, structure: Structure) -> tuple[tuple[float, ...] | None, float | None]:
    """Return moments per site and their total as OUTCAR states them, None where it does not."""
    runs: Any = document.calcs_reversed
    outcar = runs[0].output.outcar or {}
    sites = outcar.get("magnetization") or []
    total = outcar.get("total_magnetization")
    if len(sites) != len(structure):
        return None, None if total is None else float(total)
    restored = in_order_of(structure, [float(site["tot"]) for site in sites])
    return tuple(restored), None if total is None else float(total)
