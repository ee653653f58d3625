"""A relaxation by VASP inside the job that asks for it: custodian, continuation, corrections and what is kept.

Import this module lazily: atomate2 takes seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow import Response

from cathodeflow.calculators.attempt import read_attempt, seconds_for_a_run
from cathodeflow.calculators.potentials.relaxation import RelaxationSettings, RelaxedStructure
from cathodeflow.calculators.vasp import first_step
from cathodeflow.calculators.vasp.corrections import correction_record
from cathodeflow.calculators.vasp.handlers import own_walltime, watching
from cathodeflow.calculators.vasp.input_sets import hubbard_u_of
from cathodeflow.calculators.vasp.makers import PresetRelaxMaker, last_geometry, read_converged, relax_maker
from cathodeflow.calculators.vasp.parameters import VaspParameters
from cathodeflow.calculators.vasp.preset import Setting, VaspPreset
from cathodeflow.calculators.vasp.programs import CUSTODIAN_S
from cathodeflow.calculators.vasp.reference_settings import preset_of_phase
from cathodeflow.calculators.vasp.requirements import require_vasp
from cathodeflow.calculators.vasp.results import interventions_in, relaxed_structure
from cathodeflow.calculators.vasp.run_clock import ended_well, seconds_of, timed
from cathodeflow.calculators.vasp.run_files import ORBITALS, bring_orbitals, remove
from cathodeflow.errors import CalculationError
from cathodeflow.records.calculation import EnergyCorrection

if TYPE_CHECKING:
    from emmet.core.tasks import TaskDoc
    from pymatgen.core import Structure

_LOGGER = logging.getLogger(__name__)

SECOND = "second"
"""Folder of the second relaxation, in that of the first."""


@dataclass(frozen=True)
class Request:
    """How a cell is relaxed.

    Attributes
    ----------
    preset : VaspPreset
        Of stage ``relax``.
    high_energy, double_relax : bool
        As `parameters.VaspParameters`.
    wall_time_s, frozen_s : int or None
        As there.
    cores : int
        Processors it runs on.
    potcar_spec : bool
        Symbols in place of POTCARs, which only a stand-in can run with.
    polling_s : float
        custodian's interval, s.
    task_document : dict
        For emmet: what it leaves out.
    """

    preset: VaspPreset
    high_energy: bool = False
    double_relax: bool = False
    wall_time_s: int | None = None
    frozen_s: int | None = None
    cores: int = 1
    potcar_spec: bool = False
    polling_s: float = CUSTODIAN_S
    task_document: dict[str, Any] = field(default_factory=lambda: {"parse_dos": False, "parse_bandstructure": False})


def label_request(parameters: VaspParameters, wanted: RelaxationSettings) -> Request:
    """Return how a label is relaxed; its cell stays where `wanted` says so."""
    preset = parameters.preset
    if not wanted.relax_cell:
        fixed = Setting(value=2, because="The cell is not to be relaxed.")
        preset = preset.model_copy(update={"incar": {**preset.incar, "ISIF": fixed}})
    return Request(
        preset,
        parameters.high_energy,
        parameters.double_relax,
        parameters.wall_time_s,
        parameters.frozen_s,
        parameters.cores_now,
    )


def phase_request(parameters: VaspParameters, structure: Structure, wanted: RelaxationSettings) -> Request:
    """Return how a phase of an element is relaxed: a molecule where its cell has to stay."""
    return Request(
        preset_of_phase(parameters.reference, structure, is_molecule=not wanted.relax_cell),
        high_energy=True,  # lattices that nature does not choose, atoms in an empty box: energies may be positive
        double_relax=parameters.double_relax and wanted.relax_cell,
        wall_time_s=parameters.wall_time_s,
        frozen_s=parameters.frozen_s,
        cores=parameters.cores_now,
    )


def relax(start: Structure, request: Request, place: str = ".") -> RelaxedStructure:
    """Relax a cell in the current folder, or in a folder within it.

    Where `attempt.json` names an earlier attempt, a run that ended well there is not run again, and one that left a
    whole CONTCAR is gone on from; both only if the energy of the unrelaxed cell is known from it.

    Parameters
    ----------
    start : Structure
        The unrelaxed cell.
    request : Request
        How.
    place : str
        Folder below the current one, the same in each attempt; made if absent.

    Returns
    -------
    RelaxedStructure
        Energies with corrections; `wall_s`, `steps` and `interventions` are those of all attempts it goes on from.

    Raises
    ------
    CalculationError
        Nothing usable came out; its reason says why.
    """
    launch = Path.cwd()
    require_vasp(request.preset, start, with_potcars=not request.potcar_spec)
    _correct(start, start, 0.0, 0.0, request.preset)  # refused now rather than after hours
    folder = launch / place
    folder.mkdir(parents=True, exist_ok=True)
    ended = _run_all(start, request, launch, place)
    runs = [run for attempt in ended.chain for run in (attempt / place / SECOND, attempt / place) if run.is_dir()]
    before = first_step.energy_of_start(start, runs)
    raw = relaxed_structure(ended.document, start, energy_before=before)
    correction = _correct(start, raw.structure, before, raw.energy_after, request.preset)
    added = sum(term.energy for term in correction.terms)
    steps = first_step.count_ionic_steps(runs)
    for run in runs:
        remove(run, ORBITALS)  # the largest file, and nothing reads it any more
    return replace(
        raw,
        energy_before=before + added,
        energy_after=raw.energy_after + added,
        steps=max(steps - 1, 0),
        wall_s=sum(seconds_of(run) for run in runs),
        cores=request.cores,
        correction=correction,
        interventions=tuple(done for run in reversed(runs) for done in interventions_in(run)),
        folder=str((ended.folder.parent if ended.folder.name == SECOND else ended.folder).resolve()),
    )


@dataclass(frozen=True)
class _Ended:
    """The last run of a relaxation: its document and folder, and the launch folders of the attempts it stands on."""

    document: TaskDoc
    folder: Path
    chain: list[Path]


def _run_all(start: Structure, request: Request, launch: Path, place: str) -> _Ended:
    """Run what earlier attempts have left to run."""
    chain = first_step.chain_of(launch)
    if not _start_is_known(start, [attempt / place for attempt in chain[1:]]):
        chain = chain[:1]  # without that energy there is no label, however far they came
    stages = (".", SECOND) if request.double_relax else (".",)
    earlier = {stage: [attempt / place / stage for attempt in chain[1:]] for stage in stages}
    geometry, source, left = start, None, list(stages)
    for stage in reversed(stages):
        done = next(filter(None, (_finished(folder, request) for folder in earlier[stage])), None)
        if done is not None:
            if stage == stages[-1]:
                return _Ended(done.document, done.folder, chain)
            geometry, source, left = _end_of(done.document), done.folder, left[left.index(stage) + 1 :]
            break
        came_to = next(filter(None, map(_stopped, earlier[stage])), None)
        if came_to is not None:
            (geometry, source), left = came_to, left[left.index(stage) :]
            break
    else:
        chain = chain[:1]
    if len(chain) == 1:
        _say_that_it_starts_anew(read_attempt(launch).continue_from, place)
    for stage in left:
        folder = launch / place / stage
        document = _run(folder, _maker(request, launch), geometry, source)
        geometry, source = _end_of(document), folder
    return _Ended(document, folder, chain)


def _say_that_it_starts_anew(asked: Path | None, place: str) -> None:
    if asked is not None and ((asked / place).is_dir() or not asked.is_dir()):  # else it had not come so far
        _LOGGER.warning("Nothing in %s can be gone on from (never written, damaged or freed): starting anew.", asked)


def _end_of(document: TaskDoc) -> Structure:
    relaxed: Any = document.structure
    structure: Structure = relaxed
    return structure


def _start_is_known(start: Structure, folders: list[Path]) -> bool:
    """Say whether a run of earlier attempts tells the energy of the unrelaxed cell."""
    runs = [folder for folder in folders if folder.is_dir()]
    if not runs:
        return False
    try:
        first_step.energy_of_start(start, runs)
    except CalculationError:
        return False
    return True


def _stopped(folder: Path) -> tuple[Structure, Path] | None:
    """Return the geometry that a run came to and its folder, None where nothing whole lies there."""
    try:
        return last_geometry(folder), folder
    except CalculationError:
        return None


def _finished(folder: Path, request: Request) -> _Ended | None:
    """Return a run that an earlier attempt brought to its end, None where it did not or its files are damaged."""
    if not ended_well(folder):
        return None
    try:
        document = read_converged(folder, request.task_document)
    except CalculationError:
        return None  # it is run again
    return _Ended(document, folder, [])


def _run(folder: Path, maker: PresetRelaxMaker, structure: Structure, source: Path | None) -> TaskDoc:
    """Run VASP from a geometry, and from the orbitals that a run of it left."""
    make: Callable[..., Response[Any]] = getattr(PresetRelaxMaker.make, "original")  # noqa: B009 - jobflow adds it
    folder.mkdir(parents=True, exist_ok=True)
    with chdir(folder), timed(folder), own_walltime():
        if source is not None:
            bring_orbitals(source, folder)
        document: TaskDoc = make(maker, structure).output
    return document


def _maker(request: Request, launch: Path) -> PresetRelaxMaker:
    limit = seconds_for_a_run(read_attempt(launch), launch, request.wall_time_s)
    maker = relax_maker(
        request.preset, high_energy=request.high_energy, wall_time_s=limit, potcar_spec=request.potcar_spec
    )
    buffer, looking = watching(limit, request.polling_s)
    return replace(
        maker,
        buffer_s=buffer,
        frozen_s=request.frozen_s,
        run_vasp_kwargs={"custodian_kwargs": looking},
        task_document_kwargs=request.task_document,
    )


def _correct(start: Structure, end: Structure, before: float, after: float, preset: VaspPreset) -> EnergyCorrection:
    """Return the correction that a preset's runs get."""
    used = hubbard_u_of(start, preset)
    return correction_record(before, after, end, str(preset.corrections.value), used, preset.potcar_symbols)
