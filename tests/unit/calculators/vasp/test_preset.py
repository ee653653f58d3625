from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from cathodeflow.calculators.vasp.input_sets import input_set
from cathodeflow.calculators.vasp.preset import Setting, load_preset, preset_names
from cathodeflow.errors import DefinitionError
from cathodeflow.science.hosts.host import load_packaged_host

NVPF = load_packaged_host("nvpf").level("Na3").structure


def changed(**overrides: object) -> tuple[tuple[str, object, object], ...]:
    found = load_preset("s0_relax", {key.replace("__", "."): value for key, value in overrides.items()}).overrides
    return tuple((override.key, override.preset_value, override.value) for override in found)


@pytest.mark.parametrize("name", preset_names())
def test_every_value_says_the_paper_it_is_from_or_why_we_chose_it(name: str) -> None:
    preset = load_preset(name)
    settings = [*preset.incar.values(), *preset.kpoints.values(), preset.potcar_functional, preset.hubbard_u]
    assert {setting.paper for setting in settings} <= {None, name.split("_")[0].upper()}
    assert any(setting.paper for setting in settings)
    assert preset.overrides == ()


def test_a_setting_without_source_is_refused() -> None:
    with pytest.raises(ValidationError, match="give a paper and its sentence, or a reason"):
        Setting(value=1)
    with pytest.raises(ValidationError, match="give a paper and its sentence, or a reason"):
        Setting(value=1, paper="S0", sentence="It is 1.", because="we like it")


def test_single_values_can_be_overridden_and_are_listed() -> None:
    assert changed(incar__ENCUT=600) == (("incar.ENCUT", 550.0, 600.0),)
    assert changed(incar__NCORE=4) == (("incar.NCORE", None, 4),)
    assert changed(hubbard_u__V=4.2, potcar_symbols__V="V_sv") == (
        ("hubbard_u.V", 3.25, 4.2),
        ("potcar_symbols.V", "V_pv", "V_sv"),
    )


def test_what_the_preset_says_anyway_is_no_override() -> None:
    assert changed(incar__ENCUT=550, kpoints__grid=[1, 1, 1], potcar_functional="PBE", hubbard_u__V=3.25) == ()


def test_a_spacing_takes_the_place_of_the_grid_and_both_are_listed() -> None:
    assert changed(kpoints__spacing=0.3) == (("kpoints.grid", [1, 1, 1], None), ("kpoints.spacing", None, 0.3))


def test_overrides_reach_the_files() -> None:
    overrides = {
        "incar.ENCUT": 600,
        "kpoints.grid": [2, 2, 2],
        "kpoints.style": "gamma",
        "hubbard_u.V": 4.2,
        "magnetic_moments.V": 2,
        "potcar_symbols.V": "V_sv",
    }
    inputs = input_set(NVPF, load_preset("s0_relax", overrides), potcar_spec=True)
    assert inputs.incar["ENCUT"] == 600
    assert inputs.incar["LDAUU"] == [0, 4.2, 0, 0, 0]
    assert sorted(set(inputs.incar["MAGMOM"])) == [0.6, 2]
    assert inputs.kpoints.kpts == [(2, 2, 2)]
    assert inputs.potcar.split() == ["Na_pv", "V_sv", "P", "O", "F"]


def test_overrides_leave_the_preset_as_it_was() -> None:
    load_preset("s0_relax", {"incar.ENCUT": 600, "hubbard_u.V": 4.2})
    again = input_set(NVPF, load_preset("s0_relax"), potcar_spec=True)
    assert again.incar["ENCUT"] == 550
    assert again.incar["LDAUU"] == [0, 3.25, 0, 0, 0]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("ENCUT", 600, "no key 'ENCUT'"),
        ("incar", {}, "no key 'incar'"),
        ("incar.ENCUTT", 600, "no INCAR tag 'ENCUTT'"),
        ("incar.ENCUT", "high", "must be of type float"),
        ("incar.ENCUT", True, "must be of type float"),
        ("incar.ALGO", "Quick", "must be one of"),
        ("incar.MAGMOM", [1], "is set by magnetic_moments.<element>"),
        ("incar.LDAUU", [1], "is set by hubbard_u.<element>"),
        ("incar.KSPACING", 0.2, "is set by kpoints.spacing"),
        ("kpoints.grid", [2, 2], "three positive whole numbers"),
        ("kpoints.grid", [2, 2, 0], "three positive whole numbers"),
        ("kpoints.spacing", -1, "must be positive"),
        ("kpoints.style", "random", "must be gamma or monkhorst-pack"),
        ("kpoints.zero_weight", "none", "kpoints has grid, spacing and style"),
        ("hubbard_u.Vv", 3, "Vv"),
        ("hubbard_u.V", "3", "must be a number"),
        ("potcar_symbols.V", "Fe_pv", "must name a POTCAR of V"),
        ("potcar_functional", "PBEsol", "potcar_functional must be one of"),
        ("potcar_functional", "Perdew_Zunger81", "potcar_functional must be one of"),
        ("corrections", "mine", "corrections must be one of"),
    ],
)
def test_unknown_keys_and_wrong_values_are_refused(key: str, value: object, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        load_preset("s0_relax", {key: value})


def test_a_mesh_is_given_once() -> None:
    with pytest.raises(DefinitionError, match="exclude each other"):
        load_preset("s0_relax", {"kpoints.grid": [2, 2, 2], "kpoints.spacing": 0.2})


def test_u_has_no_place_in_a_preset_without() -> None:
    with pytest.raises(DefinitionError, match="runs without U"):
        load_preset("s0_hse_band_edges", {"hubbard_u.V": 3.0})


def test_unknown_presets_are_refused_with_the_known_ones() -> None:
    with pytest.raises(DefinitionError, match="s0_relax"):
        load_preset("s9")


@pytest.mark.parametrize("name", preset_names())
def test_the_page_on_settings_shows_every_value(name: str) -> None:
    page = (Path(__file__).parents[4] / "docs" / "science" / "vasp_settings.md").read_text(encoding="utf-8")
    section = page.split(f"### `{name}`", 1)[1].split("###", 1)[0]
    preset = load_preset(name)
    settings = [(f"incar.{tag}", setting) for tag, setting in preset.incar.items()]
    settings += [(f"kpoints.{key}", setting) for key, setting in preset.kpoints.items()]
    for key, setting in settings:
        (row,) = [line for line in section.splitlines() if line.startswith(f"| `{key}` |")]
        _, _, shown, source, said, _ = (cell.strip() for cell in row.split("|"))
        assert (source, said) == (setting.paper or "us", setting.sentence or setting.because)
        assert shown == as_shown(setting.value)


def as_shown(value: object) -> str:
    if isinstance(value, bool):
        return ".TRUE." if value else ".FALSE."
    if isinstance(value, list):
        return "×".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
