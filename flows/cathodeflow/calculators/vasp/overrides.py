"""Single values of a preset that a campaign changes: which are allowed, and what they were before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from cathodeflow.calculators.vasp.materials_project import hubbard_u, magnetic_moment, potcar_symbol
from cathodeflow.calculators.vasp.potcar_library import EXCHANGE
from cathodeflow.calculators.vasp.preset import Setting, VaspPreset
from cathodeflow.errors import DefinitionError
from cathodeflow.records.calculation import Override
from cathodeflow.science.hosts.compositions import atomic_number

SECTIONS = ("incar", "kpoints", "hubbard_u", "magnetic_moments", "potcar_symbols", "potcar_functional", "corrections")
WHOLE = ("potcar_functional", "corrections")
"""Sections that are one value."""
ELSEWHERE = {
    "MAGMOM": "magnetic_moments.<element>",
    "LDAU": "hubbard_u.<element>",
    "LDAUU": "hubbard_u.<element>",
    "LDAUJ": "hubbard_u.<element>",
    "LDAUL": "hubbard_u.<element>",
    "LDAUTYPE": "hubbard_u.<element>",
    "KSPACING": "kpoints.spacing",
    "KGAMMA": "kpoints.style",
    "SYSTEM": "no key: it is a comment",
}
"""INCAR tags that the preset writes by another key."""
STYLES = ("gamma", "monkhorst-pack")
MESHES = ("grid", "spacing")


def overridden(preset: VaspPreset, overrides: Mapping[str, Any]) -> VaspPreset:
    """Change single values of a preset; arguments, result and errors as `preset.load_preset`."""
    if set(overrides) >= {"kpoints.grid", "kpoints.spacing"}:
        raise DefinitionError("kpoints.grid and kpoints.spacing exclude each other: give one")
    changed = preset.model_dump()
    found = []
    for key, value in sorted(overrides.items()):
        before, parsed = _apply(changed, key, value)
        if before != parsed:
            found.append(Override(key=key, preset_value=before, value=parsed))
    gone = sorted(set(preset.kpoints) - set(changed["kpoints"]))
    found += [Override(key=f"kpoints.{name}", preset_value=preset.kpoints_value(name), value=None) for name in gone]
    changed["overrides"] = sorted(found, key=lambda override: override.key)
    return VaspPreset.model_validate(changed)


def _apply(changed: dict[str, Any], key: str, value: Any) -> tuple[Any, Any]:
    """Write one override into the dumped preset; returns the value before and the value now."""
    section, _, name = key.partition(".")
    if section not in SECTIONS or bool(name) == (section in WHOLE):
        raise DefinitionError(f"a VASP preset has no key {key!r}; its sections are {', '.join(SECTIONS)}")
    if section == "incar":
        parsed = _incar_value(key, name, value)
        return _replace(changed["incar"], name, parsed), parsed
    if section == "kpoints":
        parsed = _kpoints_value(key, name, value)
        for other in set(MESHES) - {name} if name in MESHES else ():
            changed["kpoints"].pop(other, None)
        return _replace(changed["kpoints"], name, parsed), parsed
    if section in WHOLE:
        parsed = _functional(value) if section == "potcar_functional" else _scheme(value)
        before = changed[section]["value"]
        if before != parsed:
            changed[section] = _setting(parsed).model_dump()
        return before, parsed
    return _replace_of_element(changed, section, name, value)


def _replace(section: dict[str, Any], name: str, value: Any) -> Any:
    before = section.get(name)
    if before is None or before["value"] != value:
        section[name] = _setting(value).model_dump()
    return None if before is None else before["value"]


def _setting(value: Any) -> Setting:
    return Setting(value=value, because="The campaign says so.")


def _replace_of_element(changed: dict[str, Any], section: str, element: str, value: Any) -> tuple[Any, Any]:
    key = f"{section}.{element}"
    atomic_number(element)
    if section == "potcar_symbols":
        if not isinstance(value, str) or value.split("_")[0].split(".")[0] != element:
            raise DefinitionError(f"{key} must name a POTCAR of {element}, such as {element} or {element}_pv")
        changed["potcar_symbols"][element] = value
        return potcar_symbol(element), value
    number = _number(key, value)
    if section == "hubbard_u":
        if changed["hubbard_u"]["value"] == "none":
            raise DefinitionError(f"preset {changed['name']} runs without U: {key} has no place in it")
        if number != hubbard_u(element):  # otherwise it would bring U to compounds that the preset runs without
            changed["hubbard_u_values"][element] = number
        return hubbard_u(element), number
    changed["magnetic_moment_values"][element] = number
    return magnetic_moment(element), number


def _kpoints_value(key: str, name: str, value: Any) -> Any:
    if name == "grid":
        whole = isinstance(value, list | tuple) and len(value) == 3
        if not whole or not all(type(count) is int and count > 0 for count in value):
            raise DefinitionError(f"{key} must be three positive whole numbers, such as [4, 4, 4]")
        return list(value)
    if name == "spacing":
        number = _number(key, value)
        if number <= 0:
            raise DefinitionError(f"{key} must be positive, in Å⁻¹ with 2π included")
        return number
    if name == "style":
        if value not in STYLES:
            raise DefinitionError(f"{key} must be {' or '.join(STYLES)}")
        return value
    raise DefinitionError(f"a VASP preset has no key {key!r}; kpoints has grid, spacing and style")


def _functional(value: Any) -> str:
    from pymatgen.io.vasp.inputs import PotcarSingle

    # Of others a POTCAR's LEXCH could not be checked.
    known = sorted(name for name in PotcarSingle.functional_dir if name.startswith(tuple(EXCHANGE)))
    if value not in known:
        raise DefinitionError(f"potcar_functional must be one of {', '.join(known)}")
    return str(value)


def _scheme(value: Any) -> str:
    from cathodeflow.calculators.vasp.corrections import SCHEMES

    if value not in SCHEMES:
        raise DefinitionError(f"corrections must be one of {', '.join(SCHEMES)}")
    return str(value)


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DefinitionError(f"{key} must be a number, not {value!r}")
    return float(value)


@cache
def _known_tags() -> dict[str, dict[str, Any]]:
    """INCAR tags with their types and values, as pymatgen lists them from the VASP manual."""
    from importlib import resources

    text = (resources.files("pymatgen.io.vasp") / "incar_parameters.json").read_text(encoding="utf-8")
    known: dict[str, dict[str, Any]] = json.loads(text)
    return known


def _incar_value(key: str, tag: str, value: Any) -> Any:
    if tag in ELSEWHERE:
        raise DefinitionError(f"{key} is set by {ELSEWHERE[tag]}")
    known = _known_tags().get(tag)
    if known is None:
        raise DefinitionError(f"VASP has no INCAR tag {tag!r}")
    kinds = str(known.get("type", "")).split(" | ")
    if not any(_is_of_kind(value, kind) for kind in kinds):
        raise DefinitionError(f"{key} must be of type {' or '.join(kinds)}, not {value!r}")
    allowed = known.get("values")
    if allowed and str(value).capitalize() not in {str(entry).capitalize() for entry in allowed}:
        raise DefinitionError(f"{key} must be one of {', '.join(map(str, allowed))}, not {value!r}")
    return float(value) if kinds == ["float"] else value


def _is_of_kind(value: Any, kind: str) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "int":
        return type(value) is int
    if kind == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "str":
        return isinstance(value, str)
    return isinstance(value, list)
