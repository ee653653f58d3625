"""What a person gets wrong in campaign.yaml: refused by `plan` and `launch` before anything is written."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest
from pymatgen.core import Structure
from pymatgen.io.cif import CifWriter

from cathodeflow.cli.app import main

GOOD = """\
name: trial
host:
  packaged: nvpf
elements: [V, Mo]
ratios: [2/6, 4/4]
engine:
  name: pair
labels:
  total: 12
budget:
  core_hours: 2
"""

OWN = """\
name: trial
host:
  name: olivine
  working_ion: Li
  formula_units: 4
  substitute: Fe
  levels:
    - {label: Li1, file: Li1.cif}
    - {label: Li0, file: Li0.cif}
elements: [Fe, Mn]
engine:
  name: pair
labels:
  total: 10
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    error: str
    output: str


Cflow = Callable[..., Ended]


@pytest.fixture
def cflow(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cflow:
    """Run a command as the shell would, in this process, beside the definition."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CATHODEFLOW_PROJECT", raising=False)
    monkeypatch.delenv("CATHODEFLOW_DEBUG", raising=False)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["cflow", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return Ended(int(end.value.code or 0), printed.err, printed.out)

    return run


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its bytes."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def put_crystals(folder: Path) -> None:
    for name in ("Li1.cif", "Li0.cif"):
        packaged = files("cathodeflow.science.hosts") / "data" / "lifepo4" / name
        (folder / name).write_text(packaged.read_text())


def refused_alike(cflow: Cflow, folder: Path, text: str, *, code: int = 2) -> str:
    """Both commands refuse the definition in one sentence, and neither leaves anything behind; return the sentence."""
    (folder / "campaign.yaml").write_text(text)
    before = contents(folder)
    planned = cflow("plan", "campaign.yaml")
    launched = cflow("launch", "campaign.yaml", "--project", "project")
    assert (planned.code, launched.code) == (code, code), planned.error + launched.error
    assert planned.error == launched.error
    assert planned.error.startswith("Error: ")
    assert planned.error.count("\n") == 1
    assert contents(folder) == before
    assert not (folder / "project").exists()
    return planned.error


WRONG = {
    "unknown key": ("budget:", "colour: red\nbudget:", "colour", 10, "unknown key"),
    "unknown key in a section": ("total: 12", "total: 12\n  colour: red", "labels.colour", 10, "unknown key"),
    "no such element": ("Mo]", "Qq]", "elements.1", 4, "'Qq' is not a chemical element"),
    "element that nothing here knows": ("Mo]", "No]", "elements.1", 4, "heavier than plutonium"),
    "element without a reference": ("Mo]", "He]", "elements.1", 4, "no elemental phase of He"),
    "no elements": ("[V, Mo]", "[]", "elements", 4, "at least one"),
    "element twice": ("[V, Mo]", "[V, V]", "elements", 4, "listed twice: V"),
    "ratio that does not fill": ("4/4", "4/5", "ratios.1", 5, "fills 9 sites, but the host has 8"),
    "ratio that is none": ("4/4", "half", "ratios", 5, "is not a ratio"),
    "negative budget": ("core_hours: 2", "core_hours: -2", "budget.core_hours", 11, "greater than 0, not -2"),
    "endless budget": ("core_hours: 2", "core_hours: .inf", "budget.core_hours", 11, "finite"),
    "zero labels": ("total: 12", "total: 0", "labels.total", 9, "not 0"),
    "negative labels": ("total: 12", "total: -3", "labels.total", 9, "not -3"),
    "labels in words": ("total: 12", "total: many", "labels.total", 9, "'many'"),
    "more labels than candidates": ("total: 12", "total: 9999", "labels.total", 9, "the space has only"),
    "too few labels to hold any out": ("total: 12", "total: 8", "labels.total", 9, "give at least 10"),
    "uncertainty without an ensemble": (
        *("total: 12", "total: 40\n  rounds: 2\n  acquisition: uncertainty\nsurrogate:\n  seeds: 1"),
        *("surrogate.seeds", 13, "two seeds or more"),
    ),
    "unknown pretrained network": (
        *("budget:", "surrogate:\n  pretrained: megnet-2091\nbudget:"),
        *("surrogate.pretrained", 11, "no network 'megnet-2091'; megnet-201"),
    ),
    "absent file of a network": (
        *("budget:", "surrogate:\n  pretrained: /nowhere/weights.npz\nbudget:"),
        *("surrogate.pretrained", 11, "no such file"),
    ),
    "relative path of a network": (
        *("budget:", "surrogate:\n  pretrained: campaign.yaml\nbudget:"),
        *("surrogate.pretrained", 11, "give the absolute"),
    ),
    "unknown engine": ("name: pair", "name: vaps", "engine.name", 7, "'vaps'"),
    "unknown model": ("name: pair", "name: mlff\n  model: chgnet-9", "engine", 6, "choose one of chgnet-0.3.0"),
    "unknown engine parameter": ("name: pair", "name: pair\n  parameters: {warp: 9}", "engine", 6, "'warp'"),
    "follow-ups of a potential": (
        *("budget:", "followups:\n  branches: [gap]\nbudget:"),
        *("followups.branches", 11, "engine pair is a potential and has no electrons"),
    ),
    "unknown preset of a follow-up": (
        *("budget:", "followups:\n  static_preset: s9_static\nbudget:"),
        *("followups.static_preset", 11, "no VASP preset 's9_static'"),
    ),
    "preset of another stage": (
        *("budget:", "followups:\n  hybrid_preset: s0_static\nbudget:"),
        *("followups.hybrid_preset", 11, "is of stage static; this run needs one of hse"),
    ),
    "unknown override of a follow-up": (
        *("budget:", "followups:\n  overrides:\n    static.incar.ENCUTT: 600\nbudget:"),
        *("followups.overrides.static.incar.ENCUTT", 12, "no INCAR tag 'ENCUTT'"),
    ),
    "override of no run": (
        *("budget:", "followups:\n  overrides: {incar.ENCUT: 600}\nbudget:"),
        *("followups.overrides.incar.ENCUT", 11, "keys begin with static or hybrid"),
    ),
    "overrides that exclude each other": (
        *(
            "budget:",
            "followups:\n  overrides: {static.kpoints.grid: [2, 2, 2], static.kpoints.spacing: 0.2}\nbudget:",
        ),
        *("followups.overrides", 11, "exclude each other"),
    ),
    "unknown packaged host": ("nvpf", "nvfp", "host", 2, "choose from nvpf"),
    "host twice": ("  packaged: nvpf", "  packaged: nvpf\n  name: own", "host", 2, "not both"),
    "name with a space": ("name: trial", "name: my trial", "name", 1, "'my trial'"),
    "voltage the host has not": (
        *("budget:", "screening:\n  voltage_windows:\n    V10: [1, 2]\nbudget:"),
        *("screening.voltage_windows.V10", 12, "only V43, V32, V21"),
    ),
    "window the wrong way round": (
        *("budget:", "screening:\n  voltage_windows:\n    V21: [4, 3]\nbudget:"),
        *("screening.voltage_windows", 11, "not below"),
    ),
}


@pytest.mark.parametrize(("old", "new", "key", "line", "why"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_definition_is_refused_by_key_and_line(
    cflow: Cflow, tmp_path: Path, old: str, new: str, key: str, line: int, why: str
):
    assert GOOD.count(old) == 1
    error = refused_alike(cflow, tmp_path, GOOD.replace(old, new))
    assert error.startswith(f"Error: campaign.yaml, line {line}: {key}: ")
    assert why in error


@pytest.mark.parametrize(
    ("text", "line"),
    [("", 1), ("- name\n", 1), ("name: a\nname: b\n", 2), ("name: [a\n", 2), ("host:\n\tpackaged: nvpf\n", 2)],
    ids=["empty", "a list", "key twice", "open bracket", "tab"],
)
def test_what_is_no_definition_at_all_is_refused_by_line(cflow: Cflow, tmp_path: Path, text: str, line: int):
    assert f"campaign.yaml, line {line}: " in refused_alike(cflow, tmp_path, text)


def test_an_absent_definition_is_refused(cflow: Cflow):
    ended = cflow("plan", "nowhere.yaml")
    assert ended.code == 2
    assert "nowhere.yaml" in ended.error


OWN_WRONG = {
    "missing file": ("file: Li0.cif", "file: Li0.vasp", "host.levels.1.file", 9, "no such file: Li0.vasp"),
    "ratio that does not fill": ("engine:", "ratios: [4/4]\nengine:", "ratios.0", 11, "the host has 4"),
    "formula units": ("formula_units: 4", "formula_units: 3", "host", 2, "the level is Li1.333"),
    "no such element to substitute": ("substitute: Fe", "substitute: V", "host", 2, "no V in Li4 Fe4 P4 O16"),
    "one level": ("    - {label: Li0, file: Li0.cif}\n", "", "host", 2, "two or more levels"),
    "sites of one level only": ("file: Li0.cif", "file: Li0.cif, sites: [0, 1, 2, 3]", "host.levels", 7, "every level"),
    "label of another ion": ("label: Li0", "label: Na0", "host", 2, "the level is Li0"),
}


@pytest.mark.parametrize(("old", "new", "key", "line", "why"), OWN_WRONG.values(), ids=OWN_WRONG.keys())
def test_a_wrong_host_is_refused_by_key_and_line(
    cflow: Cflow, tmp_path: Path, old: str, new: str, key: str, line: int, why: str
):
    put_crystals(tmp_path)
    assert OWN.count(old) == 1
    error = refused_alike(cflow, tmp_path, OWN.replace(old, new))
    assert error.startswith(f"Error: campaign.yaml, line {line}: {key}: ")
    assert why in error


def disorder(cif: str) -> str:
    return re.sub(r"^(\s*Fe\S*\s+Fe\S*\s.*?)1(\.0)?\s*$", r"\g<1>0.5", cif, count=1, flags=re.MULTILINE)


def overlap(cif: str) -> str:
    structure = Structure.from_str(cif, "cif")
    first, second = structure.indices_from_symbol("O")[:2]
    structure.translate_sites([first], structure[second].frac_coords - structure[first].frac_coords + 0.01)
    return str(CifWriter(structure))


def fewer_iron(cif: str) -> str:
    structure = Structure.from_str(cif, "cif")
    structure.remove_sites(structure.indices_from_symbol("Fe")[:1])
    return str(CifWriter(structure))


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (disorder, "disordered"),
        (overlap, "apart"),
        (fewer_iron, "substitution sites"),
        (lambda _: "not a crystal\n", "cannot be read as a crystal"),
        (lambda _: "", "cannot be read as a crystal"),
    ],
    ids=["disorder", "overlap", "fewer sites", "text", "empty"],
)
def test_a_broken_crystal_is_refused_with_its_reason(
    cflow: Cflow, tmp_path: Path, broken: Callable[[str], str], why: str
):
    put_crystals(tmp_path)
    cif = (tmp_path / "Li1.cif").read_text()
    (tmp_path / "Li1.cif").write_text(broken(cif))
    error = refused_alike(cflow, tmp_path, OWN)
    assert error.startswith("Error: campaign.yaml, line 2: host: ")
    assert "level Li1" in error
    assert why in error


def test_what_both_templates_of_this_test_say_is_accepted(cflow: Cflow, tmp_path: Path):
    """Else the refusals above would prove nothing."""
    put_crystals(tmp_path)
    for number, text in enumerate((GOOD, OWN)):
        (tmp_path / "campaign.yaml").write_text(text)
        assert cflow("plan", "campaign.yaml").code == 0
        assert cflow("launch", "campaign.yaml", "--project", f"project-{number}").code == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", "launched already with this very definition"),
        ("total: 12", "total: 14", "labels.total: 12 → 14"),
        ("[V, Mo]", "[V, Cr]", "elements: ['V', 'Mo'] → ['V', 'Cr']"),
        ("core_hours: 2", "core_hours: 3", "budget.core_hours: 2.0 → 3.0"),
    ],
    ids=["same", "labels", "elements", "budget"],
)
def test_a_taken_name_is_refused_with_what_differs(cflow: Cflow, tmp_path: Path, old: str, new: str, said: str):
    definition = tmp_path / "campaign.yaml"
    definition.write_text(GOOD)
    assert cflow("launch", "campaign.yaml", "--project", "project").code == 0
    status = cflow("status", "--project", "project", "--json").output
    definition.write_text(GOOD.replace(old, new) if old else GOOD)
    ended = cflow("launch", "campaign.yaml", "--project", "project")
    assert ended.code == 4
    assert ended.error.startswith("Error: campaign 'trial' was launched ")
    assert said in ended.error
    after = cflow("status", "--project", "project", "--json").output
    assert without_clock(after) == without_clock(status)


def without_clock(status: str) -> str:
    return re.sub(r'"elapsed_s": [\d.]+', "", status)
