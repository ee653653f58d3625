from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure
from tests.stand_in_runs import finish_run, quick_preset, unrelaxed

from cathodeflow.calculators.vasp.compatibility import differences
from cathodeflow.calculators.vasp.finished_runs import find_runs, read_run, require_usable
from cathodeflow.calculators.vasp.preset import load_preset
from cathodeflow.errors import CalculationError

KEY = "lifepo4-Li0-Mn4-0"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish_run(tmp_path_factory.mktemp("finished") / "run", unrelaxed(KEY), quick_preset())


@pytest.fixture(scope="module")
def second(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The relaxation that goes on from the first one's end."""
    relaxed = Structure.from_file(run / "CONTCAR")
    return finish_run(tmp_path_factory.mktemp("second") / "run", relaxed, quick_preset())


def test_what_a_run_says_is_what_its_files_say(run: Path):
    found = read_run(run)
    assert found.stand_in == "rehearsal pair"
    assert found.potcar_symbols == {"Mn": "Mn_pv", "P": "P", "O": "O"}
    assert found.hubbard_u == {"Mn": 3.9}
    assert found.divisions == (1, 1, 1)
    assert found.converged
    assert found.start_converged
    assert found.energy_after < found.energy_before
    assert found.end.lattice.matrix == pytest.approx(Structure.from_file(run / "CONTCAR").lattice.matrix, abs=1e-6)
    assert found.wall_s > 0
    require_usable(found, 0.9)
    assert differences(found, quick_preset(), unrelaxed(KEY)) == []


def test_a_zipped_run_is_the_same_run(run: Path, tmp_path: Path):
    for file in run.iterdir():
        (tmp_path / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    zipped, plain = read_run(tmp_path), read_run(run)
    assert (zipped.sha256, zipped.energy_after, zipped.wall_s) == (plain.sha256, plain.energy_after, plain.wall_s)


@pytest.mark.parametrize("layout", ["relax1 and relax2", "a folder for the second"])
def test_two_relaxations_in_a_row_are_one_run(run: Path, second: Path, tmp_path: Path, layout: str):
    if layout == "relax1 and relax2":
        for name in ("vasprun.xml", "OUTCAR"):
            shutil.copy(run / name, tmp_path / f"{name}.relax1")
            (tmp_path / f"{name}.relax2.gz").write_bytes(gzip.compress((second / name).read_bytes()))
    else:
        shutil.copytree(run, tmp_path, dirs_exist_ok=True)
        shutil.copytree(second, tmp_path / "second")
    assert list(find_runs([tmp_path])) == [tmp_path]
    both, first, last = read_run(tmp_path), read_run(run), read_run(second)
    assert both.relaxations == 2
    assert (both.energy_before, both.energy_after) == (pytest.approx(first.energy_before), last.energy_after)
    assert both.wall_s == pytest.approx(first.wall_s + last.wall_s)
    assert np.array_equal(both.forces, last.forces)


def test_a_second_relaxation_that_starts_elsewhere_is_refused(run: Path, tmp_path: Path):
    for number in (1, 2):
        shutil.copy(run / "vasprun.xml", tmp_path / f"vasprun.xml.relax{number}")
    with pytest.raises(CalculationError, match="does not start where the first ended"):
        read_run(tmp_path)
    (tmp_path / "vasprun.xml.relax2").unlink()
    with pytest.raises(CalculationError, match=r"only vasprun.xml.relax1 are there"):
        read_run(tmp_path)


def test_runs_are_found_once_wherever_they_lie(run: Path, tmp_path: Path):
    for place in ("a/1", "a/2", "b"):
        shutil.copytree(run, tmp_path / place)
    (tmp_path / "b" / "vasprun.xml").unlink()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("nothing of VASP")
    found = list(find_runs([tmp_path / "a" / "2", tmp_path, tmp_path / "a", tmp_path / "notes", tmp_path / "nowhere"]))
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a/2", "a/1", "b", "notes", "nowhere"]


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0.0, 0.9999))
def test_a_run_cut_at_any_byte_is_refused(run: Path, tmp_path_factory: pytest.TempPathFactory, share: float):
    folder = tmp_path_factory.mktemp("cut")
    content = (run / "vasprun.xml").read_bytes().rstrip()
    (folder / "vasprun.xml").write_bytes(content[: int(share * len(content))])
    with pytest.raises(CalculationError) as refused:
        read_run(folder)
    assert refused.value.reason == "broken_output"


@settings(max_examples=40, deadline=None)
@given(at=st.floats(0.0, 0.999), length=st.integers(1, 4000))
def test_a_run_with_a_hole_is_refused_or_whole(
    run: Path, tmp_path_factory: pytest.TempPathFactory, at: float, length: int
):
    """What is cut out may be of no consequence; what is read is whole all the same."""
    folder = tmp_path_factory.mktemp("hole")
    content = (run / "vasprun.xml").read_bytes()
    place = int(at * len(content))
    (folder / "vasprun.xml").write_bytes(content[:place] + content[place + length :])
    try:
        found = read_run(folder)
    except CalculationError:
        return
    whole = read_run(run)
    assert found.sha256 != whole.sha256
    assert len(found.end) == len(found.forces) == len(whole.end)
    assert np.isfinite([found.energy_before, found.energy_after]).all()


def test_the_stages_of_not_converging_have_their_reasons(run: Path, tmp_path: Path):
    found = read_run(run)
    with pytest.raises(CalculationError) as refused:
        require_usable(found, 1e-4)
    assert refused.value.reason == "not_converged"
    shutil.copy(run / "vasprun.xml", tmp_path)
    done = {"errors": ["Walltime reached"], "actions": None, "handler": {"@class": "WalltimeHandler"}}
    (tmp_path / "custodian.json").write_text(json.dumps([{"corrections": [done]}]))
    with pytest.raises(CalculationError) as refused:
        require_usable(read_run(tmp_path), 0.9)
    assert refused.value.reason == "walltime"


def test_a_coarser_mesh_is_named_and_a_finer_one_is_not(run: Path):
    found, start = read_run(run), unrelaxed(KEY)
    fine = load_preset("s0_relax", {"incar.EDIFFG": -0.9, "kpoints.spacing": 0.5})
    assert [why for why in differences(found, fine, start) if "mesh" in why] == ["k-mesh 1×1×1, coarser than 2×3×3"]
    coarse = load_preset("s0_relax", {"incar.EDIFFG": -0.9, "kpoints.spacing": 2.0})
    assert [why for why in differences(found, coarse, start) if "mesh" in why] == []


def test_other_potcars_are_named(run: Path):
    found, start = read_run(run), unrelaxed(KEY)
    other = load_preset("s0_relax", {"incar.EDIFFG": -0.9, "potcar_symbols.Mn": "Mn_sv", "potcar_functional": "LDA"})
    assert differences(found, other, start) == ["POTCAR of Mn Mn_pv, not Mn_sv", "POTCARs of PAW_PBE, not PAW"]


def test_a_run_of_another_paper_differs_as_the_papers_do(run: Path):
    found = differences(read_run(run), load_preset("s2_relax"), unrelaxed(KEY))
    assert "ENCUT 550 eV, not 520" in found
    assert "IVDW 0 (no dispersion), not 11 (D3 with zero damping)" in found
