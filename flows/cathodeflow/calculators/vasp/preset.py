"""Presets: the settings of a paper, each value beside the sentence it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal, Self

from pydantic import model_validator

from cathodeflow.errors import DefinitionError
from cathodeflow.records.calculation import Override
from cathodeflow.records.document import Part

Stage = Literal["relax", "static", "hse"]
"""What a run is for; decides the maker and the handlers that watch it."""


class Setting(Part):
    """A value and why it is so.

    Attributes
    ----------
    value : object
        As VASP or the preset reads it.
    paper : str or None
        Key of the paper that states it: S0, S2, S3.
    sentence : str or None
        Where the paper does.
    because : str or None
        Our reason, where no paper states the value.
    """

    value: Any
    paper: str | None = None
    sentence: str | None = None
    because: str | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.paper is None) != (self.sentence is None) or (self.paper is None) == (self.because is None):
            raise ValueError("give a paper and its sentence, or a reason, not both")
        return self


class VaspPreset(Part):
    """Settings of one kind of VASP run.

    Attributes
    ----------
    name : str
        Such as ``s0_relax``.
    title : str
        In words.
    stage : {"relax", "static", "hse"}
        What the run is for.
    incar : dict of str to Setting
        INCAR tags beyond the Materials Project's set.
    kpoints : dict of str to Setting
        `grid` (three integers) or `spacing` (Å⁻¹, 2π included, as VASP's KSPACING); `style`, ``gamma`` or
        ``monkhorst-pack``; `zero_weight`, ``band-edges`` where these are added without weight.
    potcar_functional : Setting
        pymatgen's name of the POTCAR library, such as ``PBE``.
    hubbard_u : Setting
        ``materials-project`` or ``none``.
    magnetic_moments : Setting
        ``materials-project``: its starting moments per element.
    corrections : Setting
        ``materials-project-2020`` or ``none``: what is added to the energies of this run.
    hubbard_u_values : dict of str to float
        Overridden U per element, eV.
    magnetic_moment_values : dict of str to float
        Overridden starting moments per element, Bohr magnetons.
    potcar_symbols : dict of str to str
        Overridden POTCAR per element, such as ``V: V_sv``.
    overrides : tuple of Override
        Everything a campaign changed.
    """

    name: str
    title: str
    stage: Stage
    incar: dict[str, Setting]
    kpoints: dict[str, Setting]
    potcar_functional: Setting
    hubbard_u: Setting
    magnetic_moments: Setting
    corrections: Setting
    hubbard_u_values: dict[str, float] = {}
    magnetic_moment_values: dict[str, float] = {}
    potcar_symbols: dict[str, str] = {}
    overrides: tuple[Override, ...] = ()

    @model_validator(mode="after")
    def _has_one_mesh(self) -> Self:
        if ("grid" in self.kpoints) == ("spacing" in self.kpoints) or "style" not in self.kpoints:
            raise ValueError("kpoints needs a style and either a grid or a spacing")
        return self

    @property
    def incar_values(self) -> dict[str, Any]:
        """INCAR tags without their sources."""
        return {tag: setting.value for tag, setting in self.incar.items()}

    def kpoints_value(self, key: str) -> Any:
        """Return a value of `kpoints`, None where the preset has none."""
        setting = self.kpoints.get(key)
        return None if setting is None else setting.value


@cache
def preset_names() -> tuple[str, ...]:
    """Return the names `load_preset` knows, sorted."""
    folder = resources.files(__package__) / "presets"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_preset(name: str, overrides: Mapping[str, Any] | None = None) -> VaspPreset:
    """Load a preset and change single values of it.

    Parameters
    ----------
    name : str
        One of `preset_names`.
    overrides : mapping of str to object, optional
        Dotted key to value: ``incar.<tag>``, ``kpoints.grid``, ``kpoints.spacing``, ``kpoints.style``,
        ``hubbard_u.<element>`` (eV), ``magnetic_moments.<element>``, ``potcar_symbols.<element>``,
        ``potcar_functional``, ``corrections``. A key that says what the preset says anyway is no override.

    Returns
    -------
    VaspPreset
        Its `overrides` hold what was changed, sorted by key.

    Raises
    ------
    DefinitionError
        No such preset or key, or a value of the wrong kind.
    """
    if name not in preset_names():
        raise DefinitionError(f"there is no VASP preset {name!r}; choose one of {', '.join(preset_names())}")
    preset = _packaged(name)
    if not overrides:
        return preset
    from cathodeflow.calculators.vasp.overrides import overridden

    return overridden(preset, overrides)


@cache
def _packaged(name: str) -> VaspPreset:
    from ruamel.yaml import YAML

    text = (resources.files(__package__) / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return VaspPreset.model_validate({"name": name, **YAML(typ="safe", pure=True).load(text)})
