"""The stand-in bader: its command line and files, under our own analysis and under pymatgen's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cathodeflow.calculators.bader.acf import read_acf
from cathodeflow.calculators.bader.analysis import analyse_folder, bader_program
from cathodeflow.calculators.rehearsal import bader
from cathodeflow.calculators.rehearsal.electrons import TRANSFER
from cathodeflow.calculators.rehearsal.faults import VARIABLE as FAULTS
from cathodeflow.calculators.rehearsal.potential import VARIABLE as POTENTIAL
from cathodeflow.errors import CalculationError

pytestmark = pytest.mark.filterwarnings("ignore")

CHARGE = TRANSFER * (3.44 - 1.83) / 2  # what the model lets iron give and oxygen take, e
ELECTRONS = [14 - CHARGE] * 4 + [6 + CHARGE] * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run vasp_std once, for its densities."""
    from tests.unit.calculators.rehearsal.conftest import IRON_OXIDE, RELAXATION

    from cathodeflow.calculators.rehearsal import vasp_std

    place = tmp_path_factory.mktemp("densities")
    tags = {**RELAXATION, "NSW": "0", "IBRION": "-1"}
    (place / "INCAR").write_text("".join(f"{tag} = {value}\n" for tag, value in tags.items()))
    (place / "POSCAR").write_text(IRON_OXIDE)
    (place / "KPOINTS").write_text("mesh\n0\nGamma\n1 1 1\n0 0 0\n")
    (place / "POTCAR.spec").write_text("Fe_pv\nO")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        patched.setenv(POTENTIAL, "pair")
        patched.delenv(FAULTS, raising=False)
        assert vasp_std.main() == 0
    return place


@pytest.fixture
def on_path(programs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(FAULTS, raising=False)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return programs / "bader"


@pytest.fixture
def here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with CHGCAR and the all-electron density."""
    shutil.copy(folder / "CHGCAR", tmp_path / "CHGCAR")
    shutil.copy(folder / "AECCAR2", tmp_path / "CHGCAR_sum")
    monkeypatch.delenv(FAULTS, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_counts_as_the_bader_program(on_path):
    assert bader_program() == on_path


def test_our_analysis_finds_the_charges_of_the_model_through_it(folder, on_path):
    # What divides the density is the same code as pybader's part of ours: that the two agree would show nothing. The
    # charges were put in by the model, and tests/unit/calculators/bader compares with analytic densities.
    charges = analyse_folder(folder, [14] * 4 + [6] * 4)
    assert charges.electrons == pytest.approx(ELECTRONS, abs=1e-3)
    assert charges.vacuum_electrons == 0.0
    assert (charges.min_distances > 0.9).all()


def test_pymatgens_analysis_reads_it(folder, on_path, tmp_path, monkeypatch):
    from pymatgen.command_line.bader_caller import BaderAnalysis

    monkeypatch.chdir(tmp_path)
    found = BaderAnalysis(
        chgcar_filename=str(folder / "CHGCAR"), chgref_filename=str(folder / "AECCAR2"), bader_path=str(on_path)
    )
    assert [atom["charge"] for atom in found.data] == pytest.approx(ELECTRONS, abs=1e-3)
    assert found.version == float(bader.VERSION)
    assert found.nelectrons == pytest.approx(80, abs=1e-4)
    assert found.vacuum_charge == 0.0


def test_its_tables_tell_the_same(here):
    assert bader.main(["CHGCAR", "-ref", "CHGCAR_sum", "-vac", "off"]) == 0
    charges = read_acf(here / "ACF.dat")
    volumes = np.loadtxt(here / "BCF.dat", skiprows=2, comments=" -")
    assert volumes[:, 4] == pytest.approx(charges.electrons, abs=1e-6)
    assert volumes[:, 5].tolist() == list(range(1, 9))
    assert (here / "AVF.dat").read_text().count("...") == 8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Did not read a charge density file name"),
        (["CHGCAR", "-ref", "absent"], "absent does not exist"),
        (["CHGCAR", "-x"], "Unknown option flag -x"),
    ],
)
def test_it_refuses_what_it_cannot_divide(here, capsys, arguments, said):
    assert bader.main(arguments) == 1
    assert said in capsys.readouterr().err
    assert not (here / "ACF.dat").exists()


def test_a_cut_density_is_refused(here, capsys):
    (here / "CHGCAR").write_bytes((here / "CHGCAR").read_bytes()[:-5000])
    assert bader.main(["CHGCAR"]) == 1
    assert "CHGCAR" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "killed"}, "killed"),
        ({"kind": "out_of_memory"}, "out_of_memory"),
        ({"kind": "disk_full"}, "disk_full"),
        ({"kind": "exit_code", "code": 5}, "exit_code"),
        ({"kind": "truncated", "fraction": 0.6}, "broken_output"),
        ({"kind": "frozen"}, "timeout"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_a_fault_ends_with_its_true_reason(folder, on_path, monkeypatch, fault, reason):
    monkeypatch.setenv(FAULTS, json.dumps({"faults": [{"program": "bader", **fault}]}))
    with pytest.raises(CalculationError) as caught:
        analyse_folder(folder, timeout_s=3.0 if fault["kind"] == "frozen" else 600.0)
    assert caught.value.reason == reason


def test_faults_are_drawn_by_the_density(here, monkeypatch):
    def came(seed: int) -> bool:
        fault: dict[str, Any] = {"kind": "exit_code", "program": "bader", "probability": 0.5}
        monkeypatch.setenv(FAULTS, json.dumps({"seed": seed, "faults": [fault]}))
        from cathodeflow.calculators.rehearsal.faults import faults_of_run

        (here / "rehearsal_bader.json").unlink(missing_ok=True)
        return bool(faults_of_run(here, "bader", ("CHGCAR",)))

    drawn = [came(seed) for seed in range(40)]
    assert 8 < sum(drawn) < 32
    assert drawn == [came(seed) for seed in range(40)]


def test_the_program_itself_runs(here, programs: Path):
    done = subprocess.run(
        [programs / "bader", "CHGCAR", "-ref", "CHGCAR_sum"], cwd=here, capture_output=True, text=True, check=True
    )
    assert "GRID BASED BADER ANALYSIS" in done.stdout
