from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.electronic_structure.core import OrbitalType, Spin
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.vasp.inputs import Poscar
from pymatgen.io.vasp.outputs import Chgcar, Eigenval, Oszicar, Outcar, Procar, Vasprun, Xdatcar

from cathodeflow.calculators.potentials.pair import PairCalculator
from cathodeflow.calculators.rehearsal.electrons import PROJECTED, TRANSFER
from cathodeflow.calculators.rehearsal.vasp_std import PACE_VARIABLE, RANKS

GAP = 1.6 * (3.44 - 1.83) - 1.2 * 0.5  # FeO: Pauling's numbers, half of the atoms with an open d shell
ELECTRONS = 4 * 14 + 4 * 6  # Fe_pv and O
CHARGE = TRANSFER * (3.44 - 1.83) / 2  # what iron gives and oxygen takes, e

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def finished(write_run: Callable[..., Path], environment: Callable[..., Any], run_here: Callable[[Path], int]) -> Path:
    environment()
    folder = write_run()
    assert run_here(folder) == 0
    return folder


def evaluate(structure: Structure) -> tuple[float, np.ndarray, np.ndarray]:
    atoms = AseAtomsAdaptor.get_atoms(Structure.from_sites(structure.sites), msonable=False)
    atoms.calc = PairCalculator()
    return atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)


def test_every_ionic_step_in_vasprun_is_what_the_potential_says_of_its_geometry(finished: Path) -> None:
    run = Vasprun(finished / "vasprun.xml", parse_potcar_file=False)
    assert 3 < run.nionic_steps < 99
    for step in (run.ionic_steps[0], run.ionic_steps[-1]):
        energy, forces, stress = evaluate(step["structure"])
        assert step["e_0_energy"] == pytest.approx(energy, abs=1e-6)
        np.testing.assert_allclose(step["forces"], forces, atol=1e-6)
        np.testing.assert_allclose(step["stress"], -stress * 1602.1766208, atol=1e-3)
    assert np.linalg.norm(run.ionic_steps[-1]["forces"], axis=1).max() < 0.02
    assert run.converged


def test_all_files_tell_the_same_energy_and_crystal(finished: Path) -> None:
    run = Vasprun(finished / "vasprun.xml", parse_potcar_file=False)
    energy = float(run.final_energy)
    outcar = Outcar(finished / "OUTCAR")
    assert outcar.final_energy == pytest.approx(energy, abs=1e-6)
    assert outcar.final_fr_energy == pytest.approx(energy, abs=1e-6)
    oszicar = Oszicar(finished / "OSZICAR")
    assert float(oszicar.final_energy) == pytest.approx(energy, rel=1e-7)
    assert len(oszicar.ionic_steps) == len(Xdatcar(finished / "XDATCAR").structures) == run.nionic_steps
    contcar = Poscar.from_file(finished / "CONTCAR", check_for_potcar=False).structure
    np.testing.assert_allclose(contcar.lattice.matrix, run.final_structure.lattice.matrix, atol=1e-8)
    np.testing.assert_allclose(contcar.frac_coords, run.final_structure.frac_coords, atol=1e-8)
    assert not outcar.is_stopped
    assert outcar.run_stats["Elapsed time (sec)"] > 0


def test_the_gap_that_was_put_in_is_found_in_vasprun_and_eigenval(finished: Path) -> None:
    run = Vasprun(finished / "vasprun.xml", parse_potcar_file=False)
    for found in (run.eigenvalue_band_properties, Eigenval(finished / "EIGENVAL").eigenvalue_band_properties):
        gap, cbm, vbm, direct = found
        assert gap == pytest.approx(GAP, abs=2e-4)  # VASP's files have four decimals
        assert (vbm, cbm) == (pytest.approx(0, abs=1e-4), pytest.approx(GAP, abs=1e-4))
        assert not direct
    structure = run.get_band_structure(efermi="smart")
    np.testing.assert_allclose(structure.get_vbm()["kpoint"].frac_coords, 0, atol=1e-9)
    assert structure.get_cbm()["kpoint"].frac_coords[0] == pytest.approx(0.5)
    assert not structure.is_metal()


def test_a_hybrid_has_the_wider_gap_of_the_model_at_zero_weight_points_too(
    write_run: Callable[..., Path], environment: Callable[..., Any], run_here: Callable[[Path], int]
) -> None:
    environment()
    folder = write_run(LHFCALC=".TRUE.", HFSCREEN="0.2", AEXX="0.25", IBRION=None, NSW=None, ISIF=None)
    points = ["0 0 0 1", "0.25 0.25 0.25 1", "0.5 0 0 0"]
    (folder / "KPOINTS").write_text("\n".join(["points", "3", "Reciprocal", *points]) + "\n")
    assert run_here(folder) == 0
    run = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    assert run.eigenvalue_band_properties[0] == pytest.approx(1.35 * GAP + 0.5, abs=2e-4)
    assert list(run.actual_kpoints_weights) == [0.5, 0.5, 0.0]
    assert run.run_type.startswith("HSE06")


def test_projections_sum_to_the_share_that_the_model_gives(finished: Path) -> None:
    run = Vasprun(finished / "vasprun.xml", parse_potcar_file=False, parse_projected_eigen=True)
    procar = Procar(finished / "PROCAR")
    for spin in (Spin.up, Spin.down):
        np.testing.assert_allclose(run.projected_eigenvalues[spin].sum(axis=(2, 3)), PROJECTED, atol=1e-6)
        np.testing.assert_allclose(procar.data[spin], run.projected_eigenvalues[spin], atol=1e-3)
    # Below the Fermi level oxygen has its four s and p states a spin, and nothing of d.
    dos = run.complete_dos
    filled = dos.energies < run.efermi
    oxygen = dos.get_element_spd_dos("O")
    for orbital, states in ((OrbitalType.s, 4), (OrbitalType.p, 12), (OrbitalType.d, 0)):
        held = np.trapezoid(oxygen[orbital].densities[Spin.up][filled], dos.energies[filled])
        assert held == pytest.approx(PROJECTED * states, abs=0.02)
    total = sum(np.trapezoid(dos.densities[spin][filled], dos.energies[filled]) for spin in dos.densities)
    assert total == pytest.approx(ELECTRONS, abs=0.1)


def test_the_densities_hold_the_stated_charges_around_each_atom(finished: Path) -> None:
    valence, core = (Chgcar.from_file(finished / name) for name in ("AECCAR2", "AECCAR0"))
    total = Chgcar.from_file(finished / "CHGCAR")
    assert total.data["total"].mean() == pytest.approx(ELECTRONS, abs=1e-6)
    assert core.data["total"].mean() == pytest.approx(4 * (26 - 14) + 4 * (8 - 6), abs=1e-6)
    np.testing.assert_allclose(valence.data["total"], total.data["total"], atol=1e-9)
    assert total.data["total"].min() >= 0
    structure = valence.structure
    grid = np.stack(np.meshgrid(*(np.arange(n) / n for n in valence.dim), indexing="ij"), axis=-1).reshape(-1, 3)
    distances = structure.lattice.get_all_distances(grid, structure.frac_coords)
    owner = distances.argmin(axis=1)  # equal Gaussians part in the middle: Voronoi cells are Bader's
    held = np.bincount(owner, valence.data["total"].ravel()) / len(grid)
    np.testing.assert_allclose(held, [14 - CHARGE] * 4 + [6 + CHARGE] * 4, atol=1e-3)


def test_moments_are_unpaired_electrons_and_stand_on_iron(finished: Path) -> None:
    outcar = Outcar(finished / "OUTCAR")
    assert outcar.total_mag == pytest.approx(14.0)  # 0.9 x 4 x 4 = 14.4, and 80 electrons want an even number
    assert [atom["tot"] for atom in outcar.magnetization] == [3.5] * 4 + [0.0] * 4
    run = Vasprun(finished / "vasprun.xml", parse_potcar_file=False)
    weights = np.array(run.actual_kpoints_weights)
    up, down = (float((run.eigenvalues[spin][:, :, 1].sum(axis=1) * weights).sum()) for spin in (Spin.up, Spin.down))
    assert (up + down, up - down) == (pytest.approx(ELECTRONS), pytest.approx(14.0))


def test_chgnet_gives_energy_and_moments(
    write_run: Callable[..., Path], environment: Callable[..., Any], run_here: Callable[[Path], int]
) -> None:
    environment(potential="chgnet-0.3.0")
    folder = write_run(IBRION="-1", NSW=None, MAGMOM="2*4.0 2*-4.0 4*0.6")
    assert run_here(folder) == 0
    from chgnet.model.model import CHGNet

    structure = Poscar.from_file(folder / "POSCAR", check_for_potcar=False).structure
    wanted = CHGNet.load(verbose=False, use_device="cpu").predict_structure(structure, task="em")
    run = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    assert float(run.final_energy) == pytest.approx(8 * float(wanted["e"]), abs=1e-4)
    moments = [atom["tot"] for atom in Outcar(folder / "OUTCAR").magnetization]
    assert np.sign(moments[:4]).tolist() == [1, 1, -1, -1]
    # Antiferromagnetic: as a whole number of electrons the sum is zero, the rest is spread evenly.
    np.testing.assert_allclose(np.abs(moments[:4]), np.abs(wanted["m"][:4]), atol=0.3)


def test_too_few_ionic_steps_are_not_converged(
    write_run: Callable[..., Path], environment: Callable[..., Any], run_here: Callable[[Path], int]
) -> None:
    environment()
    folder = write_run(NSW="3")
    assert run_here(folder) == 0
    run = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    assert run.nionic_steps == 3
    assert not run.converged_ionic
    assert run.converged_electronic


def test_too_few_electronic_steps_are_not_converged(
    write_run: Callable[..., Path], environment: Callable[..., Any], run_here: Callable[[Path], int]
) -> None:
    environment()
    folder = write_run(NELM="4", IBRION="-1", NSW=None)
    assert run_here(folder) == 0
    run = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    assert not run.converged
    energy = evaluate(run.final_structure)[0]
    assert abs(float(run.final_energy) - energy) > 1e-3  # nor is its energy the potential's


def test_the_cell_stays_where_isif_says_so(
    write_run: Callable[..., Path], environment: Callable[..., Any], run_here: Callable[[Path], int]
) -> None:
    environment()
    folder = write_run(ISIF="2")
    assert run_here(folder) == 0
    run = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    np.testing.assert_allclose(run.final_structure.lattice.matrix, run.initial_structure.lattice.matrix, atol=1e-9)
    assert run.nionic_steps > 1


@pytest.mark.parametrize("tag", ["LSTOP", "LABORT"])
def test_stopcar_ends_the_run_with_complete_files(
    write_run: Callable[..., Path],
    environment: Callable[..., Any],
    start: Callable[..., subprocess.Popen[str]],
    tag: str,
) -> None:
    folder = write_run()
    process = start(folder, {**environment(), PACE_VARIABLE: "0.1"})  # ten seconds and more to its end
    _wait_for_steps(folder, 2)
    (folder / "STOPCAR").write_text(f"{tag} = .TRUE.\n")
    _, errors = process.communicate(timeout=600)
    assert (process.returncode, errors) == (0, "")
    run, outcar = Vasprun(folder / "vasprun.xml", parse_potcar_file=False), Outcar(folder / "OUTCAR")
    assert not (folder / "STOPCAR").exists()
    assert np.linalg.norm(run.ionic_steps[-1]["forces"], axis=1).max() > 0.02
    word = "soft" if tag == "LSTOP" else "hard"
    assert f"{word} stop encountered!  aborting job" in (folder / "OUTCAR").read_text()
    assert outcar.is_stopped == (tag == "LSTOP")
    # pymatgen counts steps, so a stopped run looks converged to it, as with VASP: who records it must look here too.
    assert run.converged


def test_sigterm_ends_the_run_at_once_and_leaves_a_cut_file(
    write_run: Callable[..., Path], environment: Callable[..., Any], start: Callable[..., subprocess.Popen[str]]
) -> None:
    folder = write_run()
    process = start(folder, {**environment(), PACE_VARIABLE: "0.2"})
    _wait_for_steps(folder, 1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 143
    assert "SIGTERM" in errors
    with pytest.raises(SyntaxError):  # lxml's XMLSyntaxError
        Vasprun(folder / "vasprun.xml", parse_potcar_file=False)


def _wait_for_steps(folder: Path, number: int) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        file = folder / "OSZICAR"
        if file.is_file() and file.read_text().count(" F= ") >= number:
            return
        time.sleep(0.02)
    raise AssertionError("no ionic step was written")


def test_other_ranks_of_a_parallel_run_write_nothing(
    write_run: Callable[..., Path],
    environment: Callable[..., Any],
    run_here: Callable[[Path], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment()
    folder = write_run()
    before = sorted(folder.iterdir())
    monkeypatch.setenv(RANKS[0], "3")
    assert run_here(folder) == 0
    assert sorted(folder.iterdir()) == before


def test_the_diary_counts_attempts(finished: Path, run_here: Callable[[Path], int]) -> None:
    assert json.loads((finished / "rehearsal.json").read_text())["attempts"] == 1
    assert run_here(finished) == 0
    assert json.loads((finished / "rehearsal.json").read_text())["attempts"] == 2
