"""A relaxation by VASP inside the job that asks for it: custodian, continuation, corrections and what is kept.

Import this module lazily: atomate2 takes seconds.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomate2.settings import Atomate2Settings
from jobflow import Response

from cathodeflow.calculators.attempt import FILE_NAME, read_attempt
from cathodeflow.calculators.environment import environment
from cathodeflow.calculators.potentials.relaxation import RelaxationSettings, RelaxedStructure
from cathodeflow.calculators.vasp import first_step, requirements
from cathodeflow.calculators.vasp.corrections import corrected_energy
from cathodeflow.calculators.vasp.handlers import BUFFER_S, buffer_of
from cathodeflow.calculators.vasp.input_sets import hubbard_u_of
from cathodeflow.calculators.vasp.makers import PresetRelaxMaker, continuation, relax_maker
from cathodeflow.calculators.vasp.parameters import VaspParameters
from cathodeflow.calculators.vasp.preset import Setting, VaspPreset
from cathodeflow.calculators.vasp.reference_settings import preset_of_phase
from cathodeflow.calculators.vasp.results import WALLTIME, interventions_in, relaxed_structure
from cathodeflow.errors import CalculationError
from cathodeflow.records.calculation import CorrectionTerm, EnergyCorrection
from cathodeflow.records.outcomes import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emmet.core.tasks import TaskDoc
    from pymatgen.core import Structure

SECOND = "second"
"""Folder of the second relaxation, in that of the first."""
CLOCK = "run_time.json"
"""In each folder of a run: how long it took there, s."""
CUSTODIAN_S = 10.0
"""custodian's interval of looking whether a run has ended, s."""
LOOKS_PER_CHECK = 30
"""How many of them lie between two checks of a running program."""
_WALLTIME_START = "CUSTODIAN_WALLTIME_START"


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

    Where `attempt.json` names an earlier attempt that left a whole CONTCAR, it goes on from there.

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
    _require_machine(start, request)
    _correct(start, start, 0.0, 0.0, request.preset)  # refused now rather than after hours
    folder = launch / place
    folder.mkdir(parents=True, exist_ok=True)
    document, chain = _run_all(start, request, launch, place)
    runs = [run for attempt in chain for run in (attempt / place / SECOND, attempt / place) if run.is_dir()]
    before = first_step.energy_of_start(start, runs)
    raw = relaxed_structure(document, start, energy_before=before)
    correction = _correct(start, raw.structure, before, raw.energy_after, request.preset)
    added = sum(term.energy for term in correction.terms)
    steps = first_step.count_ionic_steps(runs)
    for run in runs:
        _drop_orbitals(run)
    return replace(
        raw,
        energy_before=before + added,
        energy_after=raw.energy_after + added,
        steps=max(steps - 1, 0),
        wall_s=sum(_clock(run) for run in runs),
        cores=request.cores,
        correction=correction,
        interventions=tuple(done for run in reversed(runs) for done in interventions_in(run)),
        folder=str(folder.resolve()),
    )


def _run_all(start: Structure, request: Request, launch: Path, place: str) -> tuple[TaskDoc, list[Path]]:
    """Run what is left to run; returns the last document and the launch folders of the attempts it stands on."""
    chain = first_step.chain_of(launch)
    folder = launch / place
    maker = _maker(request, launch)
    if request.double_relax and len(chain) > 1:
        began = _continued(maker, chain[1] / place / SECOND)
        if began is not None:
            return _run(folder / SECOND, *began), chain
    began = _continued(maker, chain[1] / place) if len(chain) > 1 else None
    if began is None:
        chain = chain[:1]
        document = _run(folder, maker, start, None)
    else:
        document = _run(folder, *began)
    if not request.double_relax:
        return document, chain
    second = replace(_maker(request, launch), copy_vasp_kwargs={"additional_vasp_files": ("WAVECAR",)})
    writing = {**second.write_input_set_kwargs, "from_prev": False}
    relaxed: Any = document.structure
    return _run(folder / SECOND, replace(second, write_input_set_kwargs=writing), relaxed, folder), chain


def _continued(maker: PresetRelaxMaker, folder: Path) -> tuple[PresetRelaxMaker, Structure, Path] | None:
    """Return how to go on from a folder, None where nothing whole lies there."""
    try:
        again, structure = continuation(maker, folder)
    except CalculationError:
        return None  # the caller starts anew
    return again, structure, folder


def _run(folder: Path, maker: PresetRelaxMaker, structure: Structure, previous: Path | None) -> TaskDoc:
    make: Callable[..., Response[Any]] = getattr(PresetRelaxMaker.make, "original")  # noqa: B009 - jobflow adds it
    folder.mkdir(exist_ok=True)
    with chdir(folder), _timed(folder), environment({_WALLTIME_START: None}):
        # The limit counts from this run on; custodian would count from the first run of the process.
        document: TaskDoc = make(maker, structure, previous).output
    return document


def _maker(request: Request, launch: Path) -> PresetRelaxMaker:
    limit = _limit(request, launch)
    maker = relax_maker(
        request.preset, high_energy=request.high_energy, wall_time_s=limit, potcar_spec=request.potcar_spec
    )
    buffer = BUFFER_S if limit is None else buffer_of(limit)
    looks = max(1, min(LOOKS_PER_CHECK, int(buffer / 3 / request.polling_s)))
    polling = min(request.polling_s, max(buffer / 3, 0.5))
    return replace(
        maker,
        buffer_s=buffer,
        frozen_s=request.frozen_s,
        run_vasp_kwargs={"custodian_kwargs": {"polling_time_step": polling, "monitor_freq": looks}},
        task_document_kwargs=request.task_document,
    )


def _limit(request: Request, launch: Path) -> int | None:
    """Return the seconds that a run which starts now may take, None where nothing ends it."""
    if request.wall_time_s is not None:
        return request.wall_time_s
    left = read_attempt(launch).seconds_left
    if left is None:
        return None
    now_left = int(left - (time.time() - (launch / FILE_NAME).stat().st_mtime))
    if now_left < 1:
        raise CalculationError(f"the allocation ends before another run can start in {launch}: resubmit it", WALLTIME)
    return now_left


def _require_machine(start: Structure, request: Request) -> None:
    command = Atomate2Settings().VASP_CMD
    found = list(requirements.check_vasp(command))
    if not request.potcar_spec:
        elements = {site.specie.symbol for site in start}
        found += list(requirements.check_potcars(request.preset, elements))
    if found:
        said = "; ".join(f"{finding.subject}: {finding.problem} ({finding.remedy})" for finding in found)
        raise CalculationError(
            f"VASP cannot run here, its command is `{shlex.join(shlex.split(command))}`: {said}",
            Reason.MISSING_PROGRAM.value,
        )


def _correct(start: Structure, end: Structure, before: float, after: float, preset: VaspPreset) -> EnergyCorrection:
    """Return the correction of the relaxed crystal; it is added before and after, so that their difference stays."""
    scheme = str(preset.corrections.value)
    terms = corrected_energy(after, end, scheme, hubbard_u_of(start, preset), preset.potcar_symbols).terms
    return EnergyCorrection(
        scheme=scheme,
        uncorrected_before=before,
        uncorrected_after=after,
        terms=[CorrectionTerm(name=t.name, energy=t.energy, uncertainty=t.uncertainty) for t in terms],
    )


def _drop_orbitals(folder: Path) -> None:
    """Delete WAVECAR of a finished relaxation: it is the largest file, and nothing reads it any more."""
    for name in ("WAVECAR", "WAVECAR.gz"):
        (folder / name).unlink(missing_ok=True)


@contextmanager
def _timed(folder: Path) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        with suppress(OSError):  # the disk is full, which the run itself has said
            (folder / CLOCK).write_text(json.dumps({"wall_s": time.monotonic() - began}), encoding="utf-8")


def _clock(folder: Path) -> float:
    """Return how long the run in a folder took, s; 0 for one that was killed before it could say."""
    try:
        return float(json.loads((folder / CLOCK).read_text(encoding="utf-8"))["wall_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
