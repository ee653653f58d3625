"""Runs of our makers with the rehearsal's vasp_std: custodian, atomate2 and the parsing are the real ones."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from jobflow import Flow, run_locally
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Incar, Kpoints

from cathodeflow.calculators.potentials.pair import PairCalculator
from cathodeflow.calculators.rehearsal.executables import private_bin
from cathodeflow.calculators.rehearsal.faults import VARIABLE as FAULTS
from cathodeflow.calculators.rehearsal.potential import VARIABLE as POTENTIAL
from cathodeflow.calculators.rehearsal.vasp_std import PACE_VARIABLE
from cathodeflow.calculators.vasp import makers
from cathodeflow.calculators.vasp.electronic_outputs import read_eigenvalues
from cathodeflow.calculators.vasp.makers import (
    PresetRelaxMaker,
    PresetStaticMaker,
    last_geometry,
    relax_maker,
    static_maker,
)
from cathodeflow.calculators.vasp.preset import load_preset
from cathodeflow.calculators.vasp.results import (
    Intervention,
    interventions,
    interventions_in,
    interventions_of,
    relaxed_structure,
    require_converged,
    stopped_at_walltime,
)
from cathodeflow.calculators.vasp.run_files import bring_orbitals
from cathodeflow.errors import CalculationError
from cathodeflow.science.electronic.band_edges import band_edges, hybrid_k_points

PRESET = load_preset("s0_relax", {"incar.EDIFFG": -0.05})

# Sites interleaved, so that POSCAR has them in another order.
START = Structure(
    Lattice([[4.3, 0, 0], [0, 4.4, 0], [0, 0.1, 4.5]]),
    ["O", "Fe", "O", "Fe", "O", "Fe", "O", "Fe"],
    [
        [0.50, 0.50, 0.50],
        [0.00, 0.00, 0.02],
        [0.50, 0.00, 0.00],
        [0.00, 0.50, 0.50],
        [0.01, 0.50, 0.00],
        [0.50, 0.00, 0.50],
        [0.00, 0.00, 0.50],
        [0.50, 0.51, 0.00],
    ],
)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    programs = private_bin(tmp_path / "bin")
    monkeypatch.setenv("ATOMATE2_VASP_CMD", str(programs / "vasp_std"))
    monkeypatch.setenv("ATOMATE2_VASP_GAMMA_CMD", str(programs / "vasp_gam"))
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("CUSTODIAN_WALLTIME_START", "")  # restored after the test
    monkeypatch.delenv("CUSTODIAN_WALLTIME_START")
    monkeypatch.setenv(POTENTIAL, "pair")

    def set_faults(*faults: dict[str, Any]) -> None:
        monkeypatch.setenv(FAULTS, json.dumps({"seed": 0, "faults": list(faults)}))

    set_faults()
    return set_faults


MakerT = TypeVar("MakerT", PresetRelaxMaker, PresetStaticMaker)


def quick(maker: MakerT) -> MakerT:
    maker.run_vasp_kwargs["custodian_kwargs"] = {"polling_time_step": 0.25, "monitor_freq": 1}
    return maker


def energy_of(structure: Structure) -> float:
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms = AseAtomsAdaptor.get_atoms(Structure.from_sites(structure.sites), msonable=False)
    atoms.calc = PairCalculator()
    return float(atoms.get_potential_energy())


def test_what_a_stand_in_ran_is_refused_by_engine_vasp(
    machine: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in that was left on the PATH must not become VASP's numbers; POTCARs are licensed, symbols do here."""
    write = makers.write_vasp_input_set
    monkeypatch.setattr(makers, "write_vasp_input_set", lambda *of, **how: write(*of, **{**how, "potcar_spec": True}))
    monkeypatch.chdir(tmp_path)
    make = PresetRelaxMaker.make.original
    make(quick(relax_maker(PRESET, potcar_spec=True)), START)  # engine rehearsal
    with pytest.raises(CalculationError, match="rehearsal pair: a stand-in ran in VASP's place") as caught:
        make(quick(relax_maker(PRESET, potcar_spec=False)), START)  # engine vasp
    assert caught.value.reason == "missing_program"


def test_a_relaxation_comes_back_in_the_order_of_the_cell(machine: Callable[..., None], tmp_path: Path) -> None:
    machine({"kind": "zbrent", "step": 2})
    job = quick(relax_maker(PRESET)).make(START)
    document = run_locally(job, create_folders=True, root_dir=tmp_path)[job.uuid][1].output
    found = relaxed_structure(document, START)
    assert [site.specie for site in found.structure] == [site.specie for site in START]
    moved = found.structure.frac_coords - START.frac_coords
    assert np.abs(moved - np.round(moved)).max() < 0.1
    assert found.energy_after == pytest.approx(energy_of(found.structure), abs=1e-4)
    assert found.energy_after < found.energy_before
    assert found.converged
    assert found.largest_force < 0.05
    assert found.forces.shape == (8, 3)
    assert found.steps > 0
    done = interventions_of(document)
    assert [(step.handler, step.errors) for step in done] == [("VaspErrorHandler", ["zbrent"])]
    assert done[0].changes


def test_the_static_run_finds_the_band_edges_and_the_hybrid_run_computes_them(
    machine: Callable[..., None], tmp_path: Path
) -> None:
    machine()
    relax = quick(relax_maker(PRESET)).make(START)
    static = quick(static_maker(load_preset("s0_static"))).make(relax.output.structure, prev_dir=relax.output.dir_name)
    responses = run_locally(Flow([relax, static]), create_folders=True, root_dir=tmp_path, ensure_success=True)
    documents = [responses[job.uuid][1].output for job in (relax, static)]
    folders = [Path(document.dir_name.split(":")[-1]) for document in documents]
    bands = read_eigenvalues(folders[1])
    found = band_edges(bands.energies, bands.occupations, bands.k_points, bands.weights)
    edges = hybrid_k_points([found]).tolist()
    maker = quick(static_maker(load_preset("s0_hse_band_edges"), band_edges=edges))
    hybrid = maker.make(documents[1].structure, prev_dir=folders[1])
    document = run_locally(hybrid, create_folders=True, root_dir=tmp_path, ensure_success=True)[hybrid.uuid][1].output
    folder = Path(document.dir_name.split(":")[-1])
    kpoints = Kpoints.from_file(folder / "KPOINTS.gz")
    points = zip(kpoints.kpts, kpoints.kpts_weights or [], strict=True)
    beside = [edge for edge in edges if any(edge)]  # Γ is the mesh, and is computed with weight
    assert [list(point) for point, weight in points if weight == 0] == beside
    assert len(beside) == len(edges) - 1
    assert document.calcs_reversed[0].output.bandgap > found.gap > 0
    assert (folders[1] / "AECCAR2.gz").exists()
    fresh, carried = (Incar.from_file(one / "INCAR.gz")["MAGMOM"] for one in folders)
    assert sorted(set(fresh)) == [0.6, 5]
    assert carried != fresh  # the moments the relaxation ended with


def test_a_walltime_stop_has_its_own_reason_and_the_next_attempt_goes_on(
    machine: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine()
    folder = tmp_path / "stopped"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv(PACE_VARIABLE, "0.1")
    maker = quick(relax_maker(PRESET, wall_time_s=302))  # two seconds before the buffer of 300 s
    with pytest.raises(CalculationError, match="CONTCAR and WAVECAR") as stopped:
        PresetRelaxMaker.make.original(maker, START)
    assert stopped.value.reason == "walltime"
    monkeypatch.delenv(PACE_VARIABLE)
    monkeypatch.chdir(tmp_path)
    assert (folder / "WAVECAR").is_file()  # not zipped, which would take longer than the time left
    assert (folder / "OUTCAR.gz").is_file()
    structure = last_geometry(folder)
    assert energy_of(structure) < energy_of(START)
    following = tmp_path / "following"
    following.mkdir()
    assert bring_orbitals(folder, following)
    monkeypatch.chdir(following)
    document = PresetRelaxMaker.make.original(quick(relax_maker(PRESET)), structure).output
    found = relaxed_structure(document, START, energy_before=energy_of(START))
    assert found.converged
    assert [site.specie for site in found.structure] == [site.specie for site in START]
    moved = found.structure.frac_coords - START.frac_coords
    assert np.abs(moved - np.round(moved)).max() < 0.1
    assert found.energy_after < energy_of(structure)


def test_a_run_that_leaves_broken_files_is_an_error_and_no_label(
    machine: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine({"kind": "truncated_xml", "fraction": 0.99, "times": 99})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CalculationError, match="nothing usable") as failed:
        PresetRelaxMaker.make.original(quick(relax_maker(PRESET)), START)
    assert failed.value.reason == "broken_output"


def test_interventions_are_told_in_words() -> None:
    corrections = [
        {
            "handler": {"@class": "UnconvergedErrorHandler"},
            "errors": ["Unconverged"],
            "actions": [
                {"dict": "INCAR", "action": {"_set": {"ALGO": "Normal"}}},
                {"file": "CONTCAR", "action": {"_file_copy": {"dest": "POSCAR"}}},
            ],
        },
        {"handler": {"@class": "WalltimeHandler"}, "errors": ["Walltime reached"], "actions": None},
        {"handler": {"@class": "WalltimeHandler"}, "errors": ["Walltime reached"], "actions": None},
    ]
    found = interventions(corrections)
    assert found == (
        Intervention(
            handler="UnconvergedErrorHandler",
            errors=["Unconverged"],
            changes=["INCAR ALGO = Normal", "CONTCAR file_copy dest POSCAR"],
        ),
        Intervention(handler="WalltimeHandler", errors=["Walltime reached"]),
    )
    assert stopped_at_walltime(found)
    assert not stopped_at_walltime(found[:1])


def test_an_unconverged_run_names_what_custodian_met(tmp_path: Path) -> None:
    with pytest.raises(CalculationError, match="custodian met Unconverged") as failed:
        require_converged(False, [Intervention(handler="UnconvergedErrorHandler", errors=["Unconverged"])], tmp_path)
    assert failed.value.reason == "not_converged"
    require_converged(True, [], tmp_path)


def test_fewer_steps_than_nsw_are_not_convergence(tmp_path: Path) -> None:
    with pytest.raises(CalculationError, match=r"largest force 0\.300 of 0\.010") as failed:
        require_converged(True, [], tmp_path, largest_force=0.3, max_force=0.01)
    assert failed.value.reason == "not_converged"
    require_converged(True, [], tmp_path, largest_force=0.009, max_force=0.01)
    require_converged(True, [], tmp_path, largest_force=0.3)  # a static run has forces left


def test_a_folder_without_a_whole_log_tells_of_no_interventions(tmp_path: Path) -> None:
    assert interventions_in(tmp_path) == ()
    (tmp_path / "custodian.json").write_text('[{"corrections": [')
    assert interventions_in(tmp_path) == ()
    (tmp_path / "custodian.json").unlink()
    whole = gzip.compress(b'[{"corrections": []}]' * 99)
    for damaged in (whole[:-9], whole[:12] + b"\xff\xff" + whole[14:]):
        (tmp_path / "custodian.json.gz").write_bytes(damaged)
        assert interventions_in(tmp_path) == ()


@pytest.mark.parametrize("zipped", [False, True])
def test_a_log_is_read_before_and_after_the_folder_is_zipped(tmp_path: Path, zipped: bool) -> None:
    log = b'[{"corrections": [{"handler": {"@class": "StdErrHandler"}, "errors": ["kpoints_trans"], "actions": []}]}]'
    name = "custodian.json.gz" if zipped else "custodian.json"
    (tmp_path / name).write_bytes(gzip.compress(log) if zipped else log)
    assert interventions_in(tmp_path) == (Intervention(handler="StdErrHandler", errors=["kpoints_trans"]),)
    if zipped:
        (tmp_path / name).write_bytes(gzip.compress(log)[:-9])
        assert interventions_in(tmp_path) == ()


def test_there_is_no_going_on_without_a_whole_contcar(tmp_path: Path) -> None:
    with pytest.raises(CalculationError, match="start anew"):
        last_geometry(tmp_path)
    (tmp_path / "CONTCAR").write_text("cut\n1.0\n4.3 0.0")
    with pytest.raises(CalculationError, match="start anew"):
        last_geometry(tmp_path)


def test_a_document_that_lacks_a_part_or_is_of_another_cell_is_refused(
    machine: Callable[..., None], tmp_path: Path
) -> None:
    machine()
    job = quick(relax_maker(PRESET)).make(START)
    document = run_locally(job, create_folders=True, root_dir=tmp_path)[job.uuid][1].output
    with pytest.raises(CalculationError, match="of another run"):
        relaxed_structure(document, START.copy().replace(0, "S"))
    document.output.forces[0] = [float("nan")] * 3
    with pytest.raises(CalculationError, match="no numbers") as failed:
        relaxed_structure(document, START)
    assert failed.value.reason == "non_finite"
    document.output.forces = None
    with pytest.raises(CalculationError, match="lack"):
        relaxed_structure(document, START)
    document.calcs_reversed = None
    with pytest.raises(CalculationError, match="lack"):
        relaxed_structure(document, START)
