"""What a campaign says of engine ``vasp`` (and ``rehearsal``), checked before anything runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cathodeflow.calculators.potentials.relaxation import RelaxationSettings
from cathodeflow.calculators.vasp.preset import VaspPreset, load_preset
from cathodeflow.calculators.vasp.reference_settings import reference_preset
from cathodeflow.errors import DefinitionError

DEFAULT_PRESET, DEFAULT_REFERENCE = "s0_relax", "s0_reference"
PARALLEL_TAGS = ("NCORE", "NPAR", "KPAR", "NSIM", "LPLANE", "NCSHMEM", "LSCALAPACK")
"""INCAR tags a site may set for itself (atomate2's VASP_INCAR_UPDATES): they change the speed, not the numbers."""
SILENT_KEYS = frozenset(f"incar.{tag}" for tag in (*PARALLEL_TAGS, "LWAVE", "LCHARG"))
"""Overrides that leave every energy as it is, and so the provenance."""
DEFAULT_NSW = 99
"""Ionic steps of the Materials Project's set, where a preset has no NSW."""


def telling(preset: VaspPreset) -> dict[str, Any]:
    """Return the overrides of a preset that change numbers."""
    return {override.key: override.value for override in preset.overrides if override.key not in SILENT_KEYS}


def with_digest(name: str, changed: Mapping[str, Any]) -> str:
    """Return a preset's name, and 8 hexadecimal digits of what is changed of it, if anything."""
    if not changed:
        return name
    digest = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()
    return f"{name}+{digest[:8]}"


@dataclass(frozen=True)
class VaspParameters:
    """The checked parameters.

    Attributes
    ----------
    preset, reference : VaspPreset
        Of labels and of elements; both of stage ``relax``.
    reference_name : str
        The preset `reference` was made from.
    high_energy : bool
        Labels start far from equilibrium; chooses the handlers.
    double_relax : bool
        Relax twice, the second time with the basis set of the changed cell.
    wall_time_s : int or None
        Limit of each run, s; None: what is left of the allocation.
    frozen_s : int or None
        A run without output for so long is dead, s; None: the handlers' own.
    cores : int or None
        Processors of a run; None: what Slurm gives this job, else 1.
    """

    preset: VaspPreset
    reference: VaspPreset
    reference_name: str
    high_energy: bool = False
    double_relax: bool = False
    wall_time_s: int | None = None
    frozen_s: int | None = None
    cores: int | None = None

    @property
    def label(self) -> str:
        """The preset's name, and 8 hexadecimal digits of all that changes energies beside it."""
        changed = telling(self.preset)
        if self.reference_name != DEFAULT_REFERENCE:
            changed["reference_preset"] = self.reference_name
        if self.double_relax:
            changed["double_relax"] = True
        return with_digest(self.preset.name, changed)

    @property
    def cores_now(self) -> int:
        """Processors of a run that starts now: of an allocation on one node those that this job is bound to."""
        if self.cores is not None:
            return self.cores
        asked = _whole("SLURM_NTASKS") * _whole("SLURM_CPUS_PER_TASK")
        on_one_node = os.environ.get("SLURM_JOB_NUM_NODES") == "1"
        return min(asked, len(os.sched_getaffinity(0))) if on_one_node else asked


def read_parameters(parameters: Mapping[str, Any]) -> VaspParameters:
    """Check the parameters of a campaign definition.

    Parameters
    ----------
    parameters : mapping
        `preset`, `overrides` (dotted key to value, `preset.load_preset`), `reference_preset`, `high_energy`,
        `double_relax`, `wall_time_s`, `frozen_s`, `cores`; all may be absent. Others are not looked at.

    Returns
    -------
    VaspParameters

    Raises
    ------
    DefinitionError
        A value of the wrong kind, an unknown preset or key, or settings that make no label.
    """
    overrides = parameters.get("overrides") or {}
    if not isinstance(overrides, Mapping):
        raise DefinitionError("overrides must map keys to values, such as {incar.ENCUT: 600}")
    preset = _relaxing(load_preset(str(parameters.get("preset") or DEFAULT_PRESET), overrides))
    _require_fitting_corrections(preset)
    reference_name = str(parameters.get("reference_preset") or DEFAULT_REFERENCE)
    return VaspParameters(
        preset=preset,
        reference=reference_preset(preset, _relaxing(load_preset(reference_name))),
        reference_name=reference_name,
        high_energy=_switch(parameters, "high_energy"),
        double_relax=_switch(parameters, "double_relax"),
        wall_time_s=_count(parameters, "wall_time_s"),
        frozen_s=_count(parameters, "frozen_s"),
        cores=_count(parameters, "cores"),
    )


def settings_of(preset: VaspPreset) -> RelaxationSettings:
    """Return when a relaxation of a preset ends."""
    values = preset.incar_values
    return RelaxationSettings(max_force=-float(values["EDIFFG"]), max_steps=int(values.get("NSW", DEFAULT_NSW)))


def _relaxing(preset: VaspPreset) -> VaspPreset:
    if preset.stage != "relax":
        raise DefinitionError(f"preset {preset.name} is of stage {preset.stage}; a label needs one of stage relax")
    values = preset.incar_values
    if float(values.get("EDIFFG", 0.0)) >= 0:
        raise DefinitionError(
            "incar.EDIFFG must be negative, a force in eV/Å: labels are relaxed until forces are small"
        )
    if int(values.get("NSW", DEFAULT_NSW)) < 1:
        raise DefinitionError("incar.NSW must be at least 1: a label is a relaxation")
    return preset


def _require_fitting_corrections(preset: VaspPreset) -> None:
    if preset.corrections.value == "none":
        return
    foreign = [o.key for o in preset.overrides if o.key.partition(".")[0] in ("hubbard_u", "potcar_symbols")]
    foreign += [o.key for o in preset.overrides if o.key == "potcar_functional"]
    if foreign:
        raise DefinitionError(
            f"the Materials Project's corrections were fitted with its own U and POTCARs: with {', '.join(foreign)} "
            "overridden, override corrections to none as well"
        )


def _switch(parameters: Mapping[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise DefinitionError(f"{name} must be true or false, not {value!r}")
    return value


def _count(parameters: Mapping[str, Any], name: str) -> int | None:
    value = parameters.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise DefinitionError(f"{name} must be a positive whole number, not {value!r}")
    return value


def _whole(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() and int(text) > 0 else 1
