from __future__ import annotations

from pathlib import Path

import pytest

from cathodeflow.campaign.definition import CampaignDefinition, changed_keys
from cathodeflow.campaign.definition_file import load_host, read_definition
from cathodeflow.errors import DefinitionError

GOOD = """\
name: trial
host:
  packaged: nvpf
elements: [V, Mo, Cu]
ratios: [2/6, 4/4]
engine:
  name: pair
labels:
  total: 40
budget:
  core_hours: 2
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "campaign.yaml"
    path.write_text(text)
    return path


def test_a_good_definition_is_read_with_the_papers_defaults(tmp_path: Path) -> None:
    definition = read_definition(write(tmp_path, GOOD)).definition
    assert definition.labels.total == 40
    assert definition.surrogate.held_out_fraction == 0.2
    assert definition.surrogate.batch_size == 128
    assert definition.screening.voltage_windows is None  # the paper's, where the host has them


@pytest.mark.parametrize(
    ("change", "key", "line"),
    [
        (("labels:\n", "labels:\n  colour: red\n"), "labels.colour", 9),
        (("Cu]", "Xx]"), "elements.2", 4),
        (("Cu]", "Mo]"), "elements", 4),
        (("core_hours: 2", "core_hours: -1"), "budget.core_hours", 11),
        (("total: 40", "total: 0"), "labels.total", 9),
        (("name: pair", "name: gpaw"), "engine.name", 7),
        (("2/6", "two/6"), "ratios", 5),
        (("name: trial", "name: a b"), "name", 1),
        (("  packaged: nvpf", "  packaged: nvpf\n  name: x"), "host", 2),
        (("name: trial\n", ""), "name", 1),
        (("elements", "elemnts"), "elemnts", 4),
    ],
)
def test_a_wrong_key_is_refused_with_its_name_and_line(
    tmp_path: Path, change: tuple[str, str], key: str, line: int
) -> None:
    path = write(tmp_path, GOOD.replace(*change))
    with pytest.raises(DefinitionError) as refusal:
        read_definition(path)
    assert f"line {line}: {key}: " in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["a: [1", "- a\n- b\n", "", "name: a\nname: b\n", "\tname: x"])
def test_what_is_no_yaml_mapping_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(DefinitionError, match="line") as refusal:
        read_definition(write(tmp_path, text))
    assert "\n" not in str(refusal.value)


def test_numbers_are_of_pythons_own_types_however_they_are_written(tmp_path: Path) -> None:
    text = "{preset: s0_relax, overrides: {incar.ISYM: 0, incar.NELM: 1_00, incar.SIGMA: 0.010, incar.LASPH: true}}"
    path = tmp_path / "c.yaml"
    path.write_text(
        f"name: c\nhost: {{packaged: nvpf}}\nelements: [V, Mo]\nlabels: {{total: 12}}\n"
        f"engine: {{name: rehearsal, parameters: {text}}}\n"
        "followups: {branches: [pdos], overrides: {static.incar.ISMEAR: 0}}\n"
    )
    loaded = read_definition(path)
    load_host(loaded)  # refused a tag of type int with the value 0
    values = loaded.definition.engine.parameters["overrides"]
    assert {key: type(value) for key, value in values.items()} == {
        "incar.ISYM": int,
        "incar.NELM": int,
        "incar.SIGMA": float,
        "incar.LASPH": bool,
    }


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="cannot read"):
        read_definition(tmp_path / "nowhere.yaml")


def test_a_ratio_that_does_not_fill_the_sites_is_refused_with_its_line(tmp_path: Path) -> None:
    loaded = read_definition(write(tmp_path, GOOD.replace("4/4", "3/4")))
    with pytest.raises(DefinitionError, match=r"line 5: ratios\.1: 3/4 fills 7 sites, but the host has 8"):
        load_host(loaded)


def test_a_voltage_the_levels_do_not_have_is_refused(tmp_path: Path) -> None:
    text = GOOD + "screening:\n  voltage_windows:\n    V54: [1, 2]\n"
    with pytest.raises(DefinitionError, match=r"line 14: .*V54.*only V43, V32, V21"):
        load_host(read_definition(write(tmp_path, text)))


def test_a_missing_crystal_file_is_refused_with_its_line(tmp_path: Path) -> None:
    host = """\
host:
  name: mine
  working_ion: Na
  formula_units: 4
  substitute: V
  levels:
    - {label: Na3, file: here.cif}
    - {label: Na1, file: gone.cif}
"""
    (tmp_path / "here.cif").write_text("data_x\n")
    loaded = read_definition(write(tmp_path, GOOD.replace("host:\n  packaged: nvpf\n", host)))
    with pytest.raises(DefinitionError, match=r"line 9: host\.levels\.1\.file: no such file: gone\.cif"):
        load_host(loaded)


def test_equal_definitions_have_equal_hashes_and_a_change_is_named(tmp_path: Path) -> None:
    one = read_definition(write(tmp_path, GOOD)).definition
    same = CampaignDefinition.model_validate(one.model_dump(mode="json"))
    other = read_definition(write(tmp_path, GOOD.replace("total: 40", "total: 60"))).definition
    assert one.sha256() == same.sha256() != other.sha256()
    assert changed_keys(one.model_dump(mode="json"), other.model_dump(mode="json")) == ["labels.total: 40 → 60"]
