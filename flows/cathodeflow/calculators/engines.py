"""Engines by name: what computes energies, under which provenance."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cathodeflow.calculators.potentials.relaxation import RelaxationSettings, RelaxedStructure
from cathodeflow.errors import CalculationError, DefinitionError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from cathodeflow.records.calculation import Override


@dataclass(frozen=True)
class Engine:
    """An engine, ready to relax.

    Attributes
    ----------
    provenance : str
        What its numbers are labelled with, e.g. ``mlff:chgnet-0.3.0``.
    settings : RelaxationSettings
        When its relaxations end.
    relaxer : callable
        Structure and settings to relaxed structure.
    overrides : tuple of Override
        What the campaign changed of the engine's preset.
    phase_relaxer : callable or None
        The same for a phase of an element, with the name of a folder for it; None where that needs nothing of its own.
    """

    provenance: str
    settings: RelaxationSettings
    relaxer: Callable[[Structure, RelaxationSettings], RelaxedStructure]
    overrides: tuple[Override, ...] = ()
    phase_relaxer: Callable[[Structure, RelaxationSettings, str], RelaxedStructure] | None = None

    def relax(self, structure: Structure, *, relax_cell: bool = True) -> RelaxedStructure:
        """Relax a structure.

        Parameters
        ----------
        structure : Structure
            The start.
        relax_cell : bool
            Whether the lattice may change.

        Returns
        -------
        RelaxedStructure

        Raises
        ------
        CalculationError
            The engine gave nothing usable; its `reason` says what kind.
        """
        return self.relaxer(structure, replace(self.settings, relax_cell=relax_cell))

    def relax_phase(self, structure: Structure, place: str, *, relax_cell: bool = True) -> RelaxedStructure:
        """Relax a phase of an element; `place` names a folder for an engine that writes files, errors as `relax`."""
        if self.phase_relaxer is None:
            return self.relax(structure, relax_cell=relax_cell)
        return self.phase_relaxer(structure, replace(self.settings, relax_cell=relax_cell), place)


def engine(definition: Mapping[str, Any]) -> Engine:
    """Build the engine of a campaign definition.

    Parameters
    ----------
    definition : mapping
        `name` (``mlff``, ``pair``, ``vasp`` or ``rehearsal``), `model`, `max_force` (eV/Å), `max_steps` and
        `parameters`, as the section ``engine`` of a definition; all but `name` may be absent or None. `max_force` and
        `max_steps` are of potentials: VASP's are INCAR's EDIFFG and NSW. Parameters of ``vasp`` and ``rehearsal``:
        `vasp.parameters.read_parameters` and `rehearsal.engine.read_rehearsal`. Parameters of ``mlff``: `optimizer`
        (``BFGS``, ``LBFGS``, ``FIRE``), `device` (``cpu``, ``cuda``; else a GPU where the job sees one).
        Parameters of ``pair``, all for rehearsing:
        `fail_compositions` (list such as ``["Cu2Mo6"]``: a relaxation of a cell that holds just these counts of these
        elements fails), `delay_s` (each relaxation takes so much longer).

    Returns
    -------
    Engine

    Raises
    ------
    DefinitionError
        An engine, model or parameter that does not exist.
    """
    name = str(definition.get("name") or "mlff")
    parameters = dict(definition.get("parameters") or {})
    if name not in _BUILDERS:
        raise DefinitionError(f"there is no engine {name!r}; choose one of {', '.join(sorted(_BUILDERS))}")
    build, known = _BUILDERS[name]
    unknown = sorted(set(parameters) - known)
    if unknown:
        known_elsewhere = name == "vasp" and unknown[0] in ("faults", "step_s")
        hint = " (of engine rehearsal)" if known_elsewhere else ""
        raise DefinitionError(
            f"engine {name} knows no parameter {unknown[0]!r}{hint}; it has {', '.join(sorted(known))}"
        )
    settings = _of_program(name, definition) if name in PROGRAMS else _of_potential(definition)
    return build(str(definition.get("model") or DEFAULT_MODEL), parameters, settings)


def provenance(definition: Mapping[str, Any]) -> str:
    """Return the provenance of an engine definition without loading the engine."""
    return engine(definition).provenance


def relaxation_settings(definition: Mapping[str, Any]) -> RelaxationSettings:
    """Return when the relaxations of an engine definition end, without loading the engine; errors as `engine`."""
    return engine(definition).settings


def _of_potential(definition: Mapping[str, Any]) -> RelaxationSettings:
    force, steps = definition.get("max_force"), definition.get("max_steps")
    return RelaxationSettings(
        max_force=RelaxationSettings.max_force if force is None else float(force),
        max_steps=RelaxationSettings.max_steps if steps is None else int(steps),
    )


def _of_program(name: str, definition: Mapping[str, Any]) -> RelaxationSettings:
    """Refuse what VASP's preset says; its own settings follow from the parameters."""
    for key, tag in (("max_force", "EDIFFG"), ("max_steps", "NSW")):
        if definition.get(key) is not None:
            raise DefinitionError(f"engine {name} takes no {key}: override incar.{tag} in parameters.overrides")
    return RelaxationSettings()


PROGRAMS = frozenset({"vasp", "rehearsal"})
"""Engines that run programs under custodian, with a preset. They alone have electrons to follow up."""
DEFAULT_MODEL = "chgnet-0.3.0"
CHGNET_MODELS = ("chgnet-0.3.0", "chgnet-0.2.0", "chgnet-r2scan")  # the weights in the chgnet wheel
OPTIMIZERS = ("BFGS", "LBFGS", "FIRE")
_CHGNET = {"@module": "cathodeflow.calculators.potentials.chgnet", "@callable": "CHGNetEnergyCalculator"}
_PAIR = {"@module": "cathodeflow.calculators.potentials.pair", "@callable": "PairCalculator"}


def _mlff(model: str, parameters: dict[str, Any], settings: RelaxationSettings) -> Engine:
    if model not in CHGNET_MODELS:
        raise DefinitionError(f"engine mlff has no model {model!r}; choose one of {', '.join(CHGNET_MODELS)}")
    optimizer = parameters.get("optimizer", "BFGS")
    if optimizer not in OPTIMIZERS:
        raise DefinitionError(f"engine mlff has no optimizer {optimizer!r}; choose one of {', '.join(OPTIMIZERS)}")
    version, device = model.removeprefix("chgnet-"), parameters.get("device")

    def relax(structure: Structure, wanted: RelaxationSettings) -> RelaxedStructure:
        from cathodeflow.calculators.devices import best_device
        from cathodeflow.calculators.potentials.relax import relax_with

        arguments = {"version": version, "device": best_device() if device is None else str(device)}
        return relax_with(_CHGNET, arguments, structure, wanted, optimizer)

    return Engine(f"mlff:{model}", settings, relax)


def _pair(model: str, parameters: dict[str, Any], settings: RelaxationSettings) -> Engine:
    failing = [str(composition) for composition in parameters.get("fail_compositions", [])]
    delay_s = float(parameters.get("delay_s", 0.0))

    def relax(structure: Structure, wanted: RelaxationSettings) -> RelaxedStructure:
        from cathodeflow.calculators.potentials.relax import relax_with

        time.sleep(delay_s)
        for composition in failing:
            if _holds(structure, composition):
                raise CalculationError(f"rehearsed failure of {composition}: remove it from fail_compositions")
        return relax_with(_PAIR, {}, structure, wanted, "LBFGS")

    return Engine("pair", settings, relax)


def _vasp(model: str, parameters: dict[str, Any], settings: RelaxationSettings) -> Engine:
    from cathodeflow.calculators.vasp.parameters import VaspParameters, read_parameters, settings_of

    checked: VaspParameters = read_parameters(parameters)

    def relax(structure: Structure, wanted: RelaxationSettings) -> RelaxedStructure:
        from cathodeflow.calculators.vasp.relaxing import label_request
        from cathodeflow.calculators.vasp.relaxing import relax as relax_by_vasp

        return relax_by_vasp(structure, label_request(checked, wanted))

    def relax_phase(structure: Structure, wanted: RelaxationSettings, place: str) -> RelaxedStructure:
        from cathodeflow.calculators.vasp.relaxing import phase_request
        from cathodeflow.calculators.vasp.relaxing import relax as relax_by_vasp

        return relax_by_vasp(structure, phase_request(checked, structure, wanted), place)

    return Engine(f"vasp:{checked.label}", settings_of(checked.preset), relax, checked.preset.overrides, relax_phase)


def _rehearsal(model: str, parameters: dict[str, Any], settings: RelaxationSettings) -> Engine:
    from cathodeflow.calculators.rehearsal.engine import REHEARSAL_ONLY, read_rehearsal
    from cathodeflow.calculators.vasp.parameters import read_parameters, settings_of

    if model not in (*CHGNET_MODELS, "pair"):
        raise DefinitionError(
            f"engine rehearsal has no model {model!r}; choose one of {', '.join(CHGNET_MODELS)}, pair"
        )
    checked = read_parameters({key: value for key, value in parameters.items() if key not in REHEARSAL_ONLY})
    rehearsed = read_rehearsal(model, parameters)

    def relax(structure: Structure, wanted: RelaxationSettings) -> RelaxedStructure:
        from cathodeflow.calculators.rehearsal.engine import rehearse
        from cathodeflow.calculators.vasp.relaxing import label_request

        return rehearse(structure, label_request(checked, wanted), rehearsed)

    def relax_phase(structure: Structure, wanted: RelaxationSettings, place: str) -> RelaxedStructure:
        from cathodeflow.calculators.rehearsal.engine import rehearse
        from cathodeflow.calculators.vasp.relaxing import phase_request

        return rehearse(structure, phase_request(checked, structure, wanted), rehearsed, place)

    name = f"rehearsal:{model}:{checked.label}"
    return Engine(name, settings_of(checked.preset), relax, checked.preset.overrides, relax_phase)


_VASP_PARAMETERS = {
    *("preset", "overrides", "reference_preset", "high_energy", "double_relax", "wall_time_s", "frozen_s", "cores")
}

_BUILDERS: dict[str, tuple[Callable[[str, dict[str, Any], RelaxationSettings], Engine], set[str]]] = {
    "mlff": (_mlff, {"optimizer", "device"}),
    "pair": (_pair, {"fail_compositions", "delay_s"}),
    "vasp": (_vasp, _VASP_PARAMETERS),
    "rehearsal": (_rehearsal, _VASP_PARAMETERS | {"faults", "step_s"}),
}


def _holds(structure: Structure, composition: str) -> bool:
    from pymatgen.core import Composition

    return all(structure.composition[element] == count for element, count in Composition(composition).items())
