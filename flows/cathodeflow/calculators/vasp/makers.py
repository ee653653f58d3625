"""atomate2's Materials Project makers with the inputs, the handlers and the commands of a preset.

Import this module lazily: atomate2 takes seconds.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomate2 import SETTINGS
from atomate2.common.files import gzip_files
from atomate2.settings import Atomate2Settings
from atomate2.vasp.files import copy_vasp_outputs, write_vasp_input_set
from atomate2.vasp.jobs.base import _FILES_TO_ZIP, get_vasp_task_document, vasp_job
from atomate2.vasp.jobs.mp import MPGGARelaxMaker, MPGGAStaticMaker
from atomate2.vasp.run import run_vasp, should_stop_children
from custodian.custodian import CustodianError
from jobflow import Response
from pymatgen.core import Structure
from pymatgen.core.structure import StructureError
from pymatgen.io.vasp.sets import VaspInputSet

from cathodeflow.calculators.vasp.failures import failure
from cathodeflow.calculators.vasp.handlers import BUFFER_S, Profile, fresh_handlers, fresh_validators
from cathodeflow.calculators.vasp.input_sets import KPoint, input_generator
from cathodeflow.calculators.vasp.parameters import PARALLEL_TAGS
from cathodeflow.calculators.vasp.potcar_library import library_has
from cathodeflow.calculators.vasp.preset import VaspPreset
from cathodeflow.calculators.vasp.results import (
    interventions_in,
    require_converged,
    require_converged_document,
    stopped_at_walltime,
)
from cathodeflow.calculators.vasp.run_files import ORBITALS
from cathodeflow.calculators.vasp.stand_ins import require_vasp_ran
from cathodeflow.calculators.zipped_files import existing
from cathodeflow.errors import CalculationError, DefinitionError

if TYPE_CHECKING:
    from emmet.core.tasks import TaskDoc


@dataclass
class PresetRelaxMaker(MPGGARelaxMaker):
    """A relaxation of a preset; what depends on the machine is decided when the job runs.

    Parameters
    ----------
    profile : str
        Handlers, see `handlers.fresh_handlers`.
    wall_time_s : int or None
        Limit of the allocation, s.
    potcar_spec : bool or None
        Write POTCAR.spec in place of POTCAR; None: where the machine has no library.
    buffer_s : int
        Least time before the limit at which the run is told to stop, s.
    frozen_s : int or None
        A run without output for so long is dead, s.
    """

    profile: Profile = "relax"
    wall_time_s: int | None = None
    potcar_spec: bool | None = None
    buffer_s: int = BUFFER_S
    frozen_s: int | None = None

    @vasp_job
    def make(self, structure: Structure, prev_dir: str | Path | None = None) -> Response[Any]:
        """Run it; arguments and result as atomate2's `BaseVaspMaker.make`."""
        return _run(self, structure, prev_dir)


@dataclass
class PresetStaticMaker(MPGGAStaticMaker):
    """A static run of a preset, hybrid ones included; parameters as `PresetRelaxMaker`."""

    profile: Profile = "static"
    wall_time_s: int | None = None
    potcar_spec: bool | None = None
    buffer_s: int = BUFFER_S
    frozen_s: int | None = None

    @vasp_job
    def make(self, structure: Structure, prev_dir: str | Path | None = None) -> Response[Any]:
        """Run it; arguments and result as atomate2's `BaseVaspMaker.make`."""
        return _run(self, structure, prev_dir)


_BROKEN = (
    SyntaxError,  # of lxml and of the standard library, for XML that is not whole; of pymatgen's parsers
    StructureError,
    zlib.error,
    RuntimeError,
    LookupError,
    ValueError,
    OSError,
    EOFError,
    AttributeError,
    TypeError,
    ArithmeticError,
    AssertionError,
    Warning,  # pymatgen raises its BadPoscarWarning
)
"""What is raised for a run that left broken files; it differs from file to file."""


def _run(
    maker: PresetRelaxMaker | PresetStaticMaker, structure: Structure, prev_dir: str | Path | None
) -> Response[Any]:
    """Run a job; raises CalculationError for whatever VASP, custodian or the files say against it."""
    folder = Path.cwd()
    try:
        response = _calculate(_for_this_machine(maker), structure, prev_dir)
    except (CustodianError, *_BROKEN) as error:
        done = interventions_in(folder)
        if stopped_at_walltime(done):
            require_converged(False, done, folder)
        raise failure(error, folder, done) from error
    if maker.potcar_spec is False:  # engine vasp; only a stand-in runs without POTCARs
        require_vasp_ran(folder)
    require_converged_document(response.output, folder)
    return response


def _calculate(
    maker: PresetRelaxMaker | PresetStaticMaker, structure: Structure, prev_dir: str | Path | None
) -> Response[Any]:
    """Do what atomate2's `BaseVaspMaker.make` does, step by step, but leave WAVECAR as it is.

    It is the largest file, gains nothing by being zipped, and is read or deleted next; zipping it would also take
    longer than what is left before a walltime.
    """
    if prev_dir is not None:
        copy_vasp_outputs(prev_dir, **maker.copy_vasp_kwargs)
    writing = {"from_prev": prev_dir is not None, **maker.write_input_set_kwargs}
    write_vasp_input_set(structure, maker.input_set_generator, **writing)
    run_vasp(**maker.run_vasp_kwargs)
    document = read_document(Path.cwd(), maker.task_document_kwargs)
    document.task_label = maker.name
    stop_children = should_stop_children(document, **maker.stop_children_kwargs)
    zip_outputs(Path.cwd())
    return Response(stop_children=stop_children, stored_data={"custodian": document.custodian}, output=document)


def read_document(folder: Path, options: Mapping[str, Any]) -> TaskDoc:
    """Parse a run's files as emmet does; `options` are atomate2's `task_document_kwargs`, errors are the parsers'."""
    log = logging.getLogger("emmet.core.vasp.calculation")
    # Without eigenvalues there is no band structure to find edges in, which emmet takes for an error.
    silent = options.get("parse_bandstructure", True) is False
    if silent:
        log.addFilter(_without_bands)
    try:
        document: Any = get_vasp_task_document(folder, **options)
    finally:
        log.removeFilter(_without_bands)
    parsed: TaskDoc = document
    return parsed


def read_converged(folder: Path, options: Mapping[str, Any]) -> TaskDoc:
    """Parse the files of a run that ended earlier.

    Parameters
    ----------
    folder : Path
        Where it ran.
    options : mapping
        atomate2's `task_document_kwargs`.

    Raises
    ------
    CalculationError
        They are not whole, or it did not converge.
    """
    try:
        document = read_document(folder, options)
    except _BROKEN as error:
        raise failure(error, folder, interventions_in(folder)) from error
    require_converged_document(document, folder)
    return document


def _without_bands(record: logging.LogRecord) -> bool:
    return record.getMessage() != "Error in parsing bandstructure"


def zip_outputs(folder: Path) -> None:
    """Zip a run's files as atomate2's setting VASP_ZIP_FILES has it, all but WAVECAR."""
    setting = SETTINGS.VASP_ZIP_FILES
    if setting == "atomate":
        gzip_files(
            folder,
            include_files=[name for name in _FILES_TO_ZIP if name != ORBITALS],
            allow_missing=True,
            force=True,
        )
    elif setting:
        gzip_files(folder, exclude_files=[ORBITALS], force=True)


def _for_this_machine(maker: PresetRelaxMaker | PresetStaticMaker) -> PresetRelaxMaker | PresetStaticMaker:
    """Return the maker with new handlers, the commands set now and POTCAR or its symbols."""
    generator: VaspInputSet = maker.input_set_generator
    commands = Atomate2Settings()
    _require_parallel_only(commands.VASP_INCAR_UPDATES)
    spec = maker.potcar_spec
    if spec is None:
        spec = not library_has(str(generator.user_potcar_functional))
    running: dict[str, Any] = {
        "vasp_cmd": commands.VASP_CMD,
        "vasp_gamma_cmd": gamma_command(commands),
        **maker.run_vasp_kwargs,
        "handlers": fresh_handlers(
            maker.profile, wall_time_s=maker.wall_time_s, buffer_s=maker.buffer_s, frozen_s=maker.frozen_s
        ),
        "validators": fresh_validators(with_core_charge=bool(generator.user_incar_settings.get("LAECHG"))),
    }
    writing = {**maker.write_input_set_kwargs, "potcar_spec": spec}
    return replace(maker, run_vasp_kwargs=running, write_input_set_kwargs=writing)


def gamma_command(commands: Atomate2Settings) -> str:
    """Return the command of a run at Γ only: where just VASP_CMD is set, its launcher with ``vasp_gam``.

    custodian takes a `vasp_gam` that it finds on the PATH for S0's mesh; without the launcher it would run on one core.
    """
    fields = Atomate2Settings.model_fields
    set_itself = fields["VASP_GAMMA_CMD"].default != commands.VASP_GAMMA_CMD
    if set_itself or fields["VASP_CMD"].default == commands.VASP_CMD:
        return commands.VASP_GAMMA_CMD
    launcher, _, program = commands.VASP_CMD.rpartition(" ")
    return f"{launcher} {program.replace('vasp_std', 'vasp_gam')}".strip()


def _require_parallel_only(updates: dict[str, Any]) -> None:
    foreign = sorted(set(updates) - set(PARALLEL_TAGS))
    if foreign:
        raise DefinitionError(
            f"atomate2's VASP_INCAR_UPDATES sets {', '.join(foreign)} for all runs of this machine, "
            "which no report would show: override it in the campaign instead"
        )


def relax_maker(
    preset: VaspPreset,
    *,
    high_energy: bool = False,
    wall_time_s: int | None = None,
    potcar_spec: bool | None = None,
) -> PresetRelaxMaker:
    """Build the maker of a relaxation.

    Parameters
    ----------
    preset : VaspPreset
        Of stage ``relax``.
    high_energy : bool
        Whether the start is far from equilibrium; chooses the handlers.
    wall_time_s : int, optional
        Limit of the allocation, s.
    potcar_spec : bool, optional
        As `PresetRelaxMaker`; False for engine ``vasp``, which cannot run without POTCAR.

    Returns
    -------
    PresetRelaxMaker
        Its `make(structure, prev_dir=None)` makes a job that ends with emmet's TaskDoc. A run that did not converge
        raises CalculationError, with a reason of its own where the walltime stopped it.

    Raises
    ------
    DefinitionError
        The preset is of another stage.
    """
    _require_stage(preset, ("relax",))
    return PresetRelaxMaker(
        name=preset.name,
        input_set_generator=_as_atomate2_types_it(input_generator(preset)),
        profile="high_energy" if high_energy else "relax",
        wall_time_s=wall_time_s,
        potcar_spec=potcar_spec,
        stop_children_kwargs={"handle_unsuccessful": True},
    )


def last_geometry(folder: Path) -> Structure:
    """Return where a relaxation that was stopped or killed had come to.

    Parameters
    ----------
    folder : Path
        Where it ran.

    Returns
    -------
    Structure
        Of its CONTCAR; sites in the order of its POSCAR. Start from it, with `run_files.bring_orbitals`.

    Raises
    ------
    CalculationError
        There is no whole CONTCAR to go on from; start anew.
    """
    written = existing(folder, "CONTCAR")
    if not written.is_file():
        raise CalculationError(f"no CONTCAR to go on from in {folder}: start anew")
    try:
        return Structure.from_file(written)
    except (ValueError, IndexError, OSError, EOFError, StructureError, zlib.error, Warning) as error:
        raise CalculationError(f"no whole CONTCAR to go on from in {folder} ({error}): start anew") from error


def static_maker(
    preset: VaspPreset,
    *,
    band_edges: Sequence[KPoint] = (),
    wall_time_s: int | None = None,
    potcar_spec: bool | None = None,
) -> PresetStaticMaker:
    """Build the maker of a static or hybrid run.

    Parameters
    ----------
    preset : VaspPreset
        Of stage ``static`` or ``hse``.
    band_edges : sequence of (3,) sequences
        As `input_sets.input_generator`.
    wall_time_s, potcar_spec
        As `relax_maker`.

    Returns
    -------
    PresetStaticMaker
        A hybrid run starts from the CHGCAR in its `prev_dir`.

    Raises
    ------
    DefinitionError
        The preset is of another stage, or takes no band edges.
    """
    _require_stage(preset, ("static", "hse"))
    copied = {"additional_vasp_files": ("CHGCAR",)} if preset.stage == "hse" else {}
    return PresetStaticMaker(
        name=preset.name,
        input_set_generator=_as_atomate2_types_it(input_generator(preset, band_edges=band_edges)),
        profile="hse" if preset.stage == "hse" else "static",
        wall_time_s=wall_time_s,
        potcar_spec=potcar_spec,
        copy_vasp_kwargs=copied,
        stop_children_kwargs={"handle_unsuccessful": True},
    )


def _require_stage(preset: VaspPreset, stages: tuple[str, ...]) -> None:
    if preset.stage not in stages:
        raise DefinitionError(f"preset {preset.name} is of stage {preset.stage}, not {' or '.join(stages)}")


def _as_atomate2_types_it(generator: VaspInputSet) -> Any:
    """Its own Materials Project makers hold pymatgen's sets too, in a field typed for another class."""
    return generator
