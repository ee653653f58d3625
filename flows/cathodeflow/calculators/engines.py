"""Engines by name: what computes energies, under which provenance."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cathodeflow.calculators.potentials.relaxation import RelaxationSettings, RelaxedStructure
from cathodeflow.calculators.threads import limit_threads
from cathodeflow.errors import CalculationError, DefinitionError

if TYPE_CHECKING:
    from pymatgen.core import Structure


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
    """

    provenance: str
    settings: RelaxationSettings
    relaxer: Callable[[Structure, RelaxationSettings], RelaxedStructure]

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
        limit_threads()
        return self.relaxer(structure, replace(self.settings, relax_cell=relax_cell))


def engine(definition: Mapping[str, Any]) -> Engine:
    """Build the engine of a campaign definition.

    Parameters
    ----------
    definition : mapping
        `name` (``mlff`` or ``pair``), `model`, `max_force` (eV/Å), `max_steps` and `parameters`, as the section
        ``engine`` of a definition; all but `name` may be absent. Parameters of ``mlff``: `optimizer` (``BFGS``,
        ``LBFGS``, ``FIRE``), `device` (``cpu``, ``cuda``). Parameters of ``pair``, all for rehearsing:
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
    name = str(definition.get("name", "mlff"))
    parameters = dict(definition.get("parameters", {}))
    if name not in _BUILDERS:
        raise DefinitionError(f"there is no engine {name!r}; choose one of {', '.join(sorted(_BUILDERS))}")
    build, known = _BUILDERS[name]
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise DefinitionError(f"engine {name} knows no parameter {unknown[0]!r}; it has {', '.join(sorted(known))}")
    settings = RelaxationSettings(
        max_force=float(definition.get("max_force", RelaxationSettings.max_force)),
        max_steps=int(definition.get("max_steps", RelaxationSettings.max_steps)),
    )
    return build(str(definition.get("model", DEFAULT_MODEL)), parameters, settings)


def provenance(definition: Mapping[str, Any]) -> str:
    """Return the provenance of an engine definition without loading the engine."""
    return engine(definition).provenance


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
    arguments = {"version": model.removeprefix("chgnet-"), "device": str(parameters.get("device", "cpu"))}

    def relax(structure: Structure, wanted: RelaxationSettings) -> RelaxedStructure:
        from cathodeflow.calculators.potentials.relax import relax_with

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


_BUILDERS: dict[str, tuple[Callable[[str, dict[str, Any], RelaxationSettings], Engine], set[str]]] = {
    "mlff": (_mlff, {"optimizer", "device"}),
    "pair": (_pair, {"fail_compositions", "delay_s"}),
}


def _holds(structure: Structure, composition: str) -> bool:
    from pymatgen.core import Composition

    return all(structure.composition[element] == count for element, count in Composition(composition).items())
