"""atomate2's Materials Project makers with the inputs, the handlers and the commands of a preset.

Import this module lazily: atomate2 takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atomate2.settings import Atomate2Settings
from atomate2.vasp.flows.mp import MPGGADoubleRelaxMaker
from atomate2.vasp.jobs.base import BaseVaspMaker, vasp_job
from atomate2.vasp.jobs.mp import MPGGARelaxMaker, MPGGAStaticMaker
from custodian.custodian import CustodianError
from jobflow import Response
from pymatgen.core import Structure
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
from cathodeflow.errors import CalculationError, DefinitionError


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


def _run(
    maker: PresetRelaxMaker | PresetStaticMaker, structure: Structure, prev_dir: str | Path | None
) -> Response[Any]:
    """Run a job; raises CalculationError for whatever VASP, custodian or the files say against it."""
    undecorated: Callable[..., Response[Any]] = getattr(BaseVaspMaker.make, "original")  # noqa: B009 - jobflow adds it
    folder = Path.cwd()
    try:
        response = undecorated(_for_this_machine(maker), structure, prev_dir)
    except (
        CustodianError,
        SyntaxError,  # of lxml and of the standard library, for XML that is not whole
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
    ) as error:
        # What is raised for a run that left broken files differs from file to file.
        done = interventions_in(folder)
        if stopped_at_walltime(done):
            require_converged(False, done, folder)
        raise failure(error, folder, done) from error
    require_converged_document(response.output, folder)
    return response


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


def continuation(maker: PresetRelaxMaker, folder: Path) -> tuple[PresetRelaxMaker, Structure]:
    """Go on where the walltime stopped a relaxation.

    Parameters
    ----------
    maker : PresetRelaxMaker
        Of the stopped run.
    folder : Path
        Where it ran.

    Returns
    -------
    PresetRelaxMaker
        Its job starts from the WAVECAR of `folder`, if there is one: make it with ``prev_dir=folder``.
    Structure
        The last geometry: what to make it with. Its sites are in the order of the stopped run's POSCAR.

    Raises
    ------
    CalculationError
        There is no whole CONTCAR to go on from; start anew.
    """
    for name in ("INCAR", "OUTCAR", "vasprun.xml"):  # atomate2 copies them before it looks whether it wants them
        if not (folder / name).is_file() and not (folder / f"{name}.gz").is_file():
            raise CalculationError(f"no {name} in {folder}, which is copied with the geometry: start anew")
    written = next((path for path in (folder / "CONTCAR", folder / "CONTCAR.gz") if path.is_file()), None)
    if written is None:
        raise CalculationError(f"no CONTCAR to go on from in {folder}: start anew")
    try:
        structure = Structure.from_file(written)
    except (ValueError, IndexError, OSError, EOFError) as error:
        raise CalculationError(f"no whole CONTCAR to go on from in {folder} ({error}): start anew") from error
    orbitals = [path for path in (folder / "WAVECAR", folder / "WAVECAR.gz") if path.is_file() and path.stat().st_size]
    copied = {"additional_vasp_files": ("WAVECAR",)} if orbitals else {}
    # The structure is given and the previous run did not end: nothing else is to be read from it.
    writing = {**maker.write_input_set_kwargs, "from_prev": False}
    return replace(maker, copy_vasp_kwargs=copied, write_input_set_kwargs=writing), structure


def double_relax_maker(preset: VaspPreset, **options: Any) -> MPGGADoubleRelaxMaker:
    """Build the Materials Project's two relaxations in a row, both with the preset; arguments as `relax_maker`.

    The second one renews the basis set for the changed cell and starts from WAVECAR of the first, which holds its
    density too.
    """
    first = relax_maker(preset, **options)
    second = replace(first, copy_vasp_kwargs={"additional_vasp_files": ("WAVECAR",)})
    return MPGGADoubleRelaxMaker(name=f"{preset.name} double", relax_maker1=first, relax_maker2=second)


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
