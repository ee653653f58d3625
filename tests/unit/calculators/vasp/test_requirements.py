from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import pytest

from cathodeflow.calculators.rehearsal.executables import private_bin
from cathodeflow.calculators.vasp.preset import load_preset
from cathodeflow.calculators.vasp.requirements import (
    EVERYTHING,
    check_bader,
    check_lobster,
    check_potcars,
    check_requirements,
    check_vasp,
)

RELAX = load_preset("s0_relax")


def program(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


def potcar(library: Path, symbol: str, exchange: str, functional: str = "POT_GGA_PAW_PBE") -> None:
    """Lay down the header that names a POTCAR's functional; nothing licensed is needed for that."""
    folder = library / functional
    folder.mkdir(parents=True, exist_ok=True)
    header = f"  PAW_PBE {symbol} 08Apr2002\n   LEXCH  = {exchange}\n   EATOM  =  6.5\n"
    with gzip.open(folder / f"POTCAR.{symbol}.gz", "wt") as file:
        file.write(header)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "library"))
    (tmp_path / "library").mkdir()
    return tmp_path / "library"


def test_vasp_and_its_launcher_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    program(tmp_path / "bin", "srun")
    (finding,) = check_vasp("srun -n 68 vasp_std")
    assert finding.problem == "there is no vasp_std on the path"
    assert finding.stops == EVERYTHING
    program(tmp_path / "bin", "vasp_std")
    assert list(check_vasp("srun -n 68 vasp_std")) == []
    assert [finding.problem for finding in check_vasp("")] == ["the command is empty"]


def test_a_stand_in_on_the_path_is_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private_bin(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (of_vasp,), (of_lobster,), (of_bader,) = check_vasp("vasp_std"), check_lobster(), check_bader()
    assert [finding.stops for finding in (of_vasp, of_lobster, of_bader)] == [EVERYTHING, ("cohp",), ("bader",)]
    for finding in (of_vasp, of_lobster, of_bader):
        assert "stand-in" in finding.problem
    assert list(check_vasp("vasp_std", stand_in=True)) == []


def test_a_missing_library_is_one_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "nowhere"))
    (finding,) = check_potcars(RELAX, ["Na", "V"])
    assert "PMG_VASP_PSP_DIR" in finding.remedy


def test_a_library_of_another_functional_is_found(library: Path) -> None:
    potcar(library, "V_pv", "PE", "POT_GGA_PAW_PBE_54")
    (finding,) = check_potcars(RELAX, ["V"])
    assert finding.problem == "it holds no POTCARs of PBE"


def test_each_missing_potcar_is_named(library: Path) -> None:
    potcar(library, "V_pv", "PE")
    assert [finding.subject for finding in check_potcars(RELAX, ["V", "Na", "O"])] == ["POTCAR Na_pv", "POTCAR O"]
    assert list(check_potcars(RELAX, ["V"])) == []


def test_a_potcar_of_the_wrong_functional_is_found(library: Path) -> None:
    potcar(library, "V_pv", "CA")
    (finding,) = check_potcars(RELAX, ["V"])
    assert finding.problem == "its functional is CA, not PE"


def test_a_potcar_that_is_cut_off_is_found(library: Path) -> None:
    potcar(library, "V_pv", "PE")
    path = library / "POT_GGA_PAW_PBE" / "POTCAR.V_pv.gz"
    path.write_bytes(path.read_bytes()[:20])
    (finding,) = check_potcars(RELAX, ["V"])
    assert finding.subject == "POTCAR V_pv"
    assert "cannot be read" in finding.problem


def test_overridden_potcars_are_the_ones_looked_for(library: Path) -> None:
    potcar(library, "V_sv", "PE")
    assert list(check_potcars(load_preset("s0_relax", {"potcar_symbols.V": "V_sv"}), ["V"])) == []


def test_missing_follow_up_programs_stop_their_branch_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert {branch for finding in check_lobster() for branch in finding.stops} == {"cohp"}
    program(tmp_path / "bin", "lobster")
    assert "there is no lobster on the path" not in [finding.problem for finding in check_lobster()]
    program(tmp_path / "bin", "bader")
    assert list(check_bader()) == []


def test_the_command_of_another_pybader_is_no_bader_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)  # of another environment, not of this one
    program(tmp_path / "bin", "bader")
    assert list(check_bader()) == []
    (tmp_path / "bin" / "bader").write_text("#!/usr/bin/env python\nfrom pybader.entry_points import bader\n")
    (finding,) = check_bader()
    assert finding.stops == ("bader",)


def test_all_is_looked_at_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    subjects = {finding.subject for finding in check_requirements(RELAX, ["V"], "vasp_std")}
    assert {"VASP", "POTCAR library", "LOBSTER"} <= subjects
