"""The follow-ups of a small cell with the stand-ins: every number recovered equals what they put in."""

from __future__ import annotations

import gzip
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobflow import run_locally
from jobflow.core.reference import OutputReference
from pymatgen.core import Lattice, Structure

from cathodeflow.calculators.bader.chgcar import read_density
from cathodeflow.calculators.rehearsal import cohp, electrons, tables
from cathodeflow.calculators.rehearsal.inputs import VaspInputs, read_inputs
from cathodeflow.calculators.vasp.input_sets import written_order
from cathodeflow.jobs.followups.branch import preset_for
from cathodeflow.recipes.followups import follow_up_flow
from cathodeflow.records.crystal import Crystal
from cathodeflow.records.followup import FollowUpRecord
from cathodeflow.science.hosts.candidates import decorate
from cathodeflow.science.hosts.host import load_packaged_host

# Rock salt a little off its sites, sites interleaved, so that POSCAR has them in another order.
CELL = Structure(
    Lattice.orthorhombic(4.3, 4.4, 4.5),
    ["O", "Fe", "O", "Na", "F", "V", "O", "Na"],
    [
        [0.5, 0.5, 0.5],
        [0, 0, 0.02],
        [0.5, 0, 0],
        [0, 0.5, 0.5],
        [0, 0.5, 0],
        [0.5, 0, 0.5],
        [0, 0, 0.5],
        [0.5, 0.51, 0],
    ],
)
METAL = Structure(Lattice.cubic(3.0), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
# The model's bands overlap by 1.2 * 3/4 - 1.6 (3.04 - 2.54) = 0.1 eV, and its hybrid opens them by 0.5 eV.
OPENED = Structure(
    Lattice.cubic(3.2), ["Au", "N", "Au", "Au"], [[0.5, 0.5, 0], [0, 0, 0.02], [0.5, 0, 0.5], [0, 0.5, 0.5]]
)
BRANCHES = ["pdos", "gap", "bonding", "bader", "density_difference"]
ENGINE = {"name": "rehearsal", "model": "pair", "parameters": {}}
OVERRIDES = {"static.kpoints.grid": [2, 2, 2], "static.incar.NEDOS": 801}


def flow_of(structure: Structure, branches: list[str], **followups: Any):
    section = {
        "branches": branches,
        "static_preset": "s0_static",
        "hybrid_preset": "s0_hse_band_edges",
        "overrides": OVERRIDES,
        "working_ion": "Na",
    } | followups
    uuids = {branch: f"uuid-{branch}" for branch in ["static", *branches]}
    return follow_up_flow("c", "k", Crystal.from_structure(structure).model_dump(), ENGINE, section, uuids)


def outputs_of(flow, folder: Path) -> dict[str, Any]:
    """Run a workflow in this process; what each branch that did not raise gave, as a record's fields."""
    folder.mkdir()
    responses = run_locally(flow, create_folders=True, root_dir=folder, log=False)
    return {job.uuid.removeprefix("uuid-"): responses[job.uuid][1].output for job in flow.jobs if job.uuid in responses}


def record(branch: str, output: dict[str, Any]) -> FollowUpRecord:
    fields = {"_id": f"c/k/{branch}", "campaign": "c", "key": "k", "branch": branch, "level": "Na3"}
    return FollowUpRecord.model_validate(
        fields | {"composition": "Fe1V1", "elements": ["Fe", "V"], "counts": [1, 1]} | output
    )


def inputs_of(folder: Path, target: Path) -> VaspInputs:
    """Read the inputs of a finished run as the stand-in read them."""
    target.mkdir()
    for name in ("INCAR", "POSCAR", "KPOINTS"):
        (target / name).write_bytes(gzip.decompress((folder / f"{name}.gz").read_bytes()))
    shutil.copy(folder / "POTCAR.spec", target)
    return read_inputs(target)


@dataclass(frozen=True)
class Followed:
    """Records of all branches, and the inputs of the runs behind them."""

    records: dict[str, FollowUpRecord]
    static: VaspInputs
    hybrid: VaspInputs


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    folder = tmp_path_factory.mktemp("followed")
    outputs = outputs_of(flow_of(CELL, BRANCHES), folder / "jobs")
    records = {branch: record(branch, output) for branch, output in outputs.items()}
    assert set(records) == {"static", *BRANCHES}
    return Followed(
        records,
        inputs_of(Path(records["static"].folder) / "static", folder / "static"),
        inputs_of(Path(records["gap"].folder) / "hybrid", folder / "hybrid"),
    )


def by_site(values: Any) -> np.ndarray:
    """Put what the run has in POSCAR's order into that of the cell."""
    restored = np.empty(len(CELL))
    restored[written_order(CELL)] = values
    return restored


def test_each_branch_waits_for_the_static_run_and_for_nothing_else() -> None:
    flow = flow_of(CELL, BRANCHES)
    assert flow.name == "c/follow_up/k"
    assert [job.uuid for job in flow.jobs] == [f"uuid-{branch}" for branch in ["static", *BRANCHES]]
    first, *others = flow.jobs
    assert first.input_uuids == ()
    for job in others:
        assert set(job.input_uuids) == {"uuid-static"}
        assert any(argument == OutputReference("uuid-static") for argument in job.function_args)
    for job, branch in zip(flow.jobs, ["static", *BRANCHES], strict=True):
        assert job.name == f"c/follow_up/k/{branch}"
        assert job.metadata == {"campaign": "c", "kind": "follow_up", "key": f"k/{branch}"}
        marks = {"_category": "cpu", "_kind": "follow_up", "_key": f"k/{branch}"}
        assert job.config.manager_config == marks


def test_follow_ups_have_the_u_the_potcars_and_the_moments_of_the_labels_unless_they_say_otherwise() -> None:
    labels = {"hubbard_u.V": 4.2, "hubbard_u.Fe": 4.0, "potcar_symbols.Na": "Na_sv", "corrections": "none"}
    labels |= {"magnetic_moments.V": 2.0}
    engine = ENGINE | {"parameters": {"overrides": labels | {"incar.EDIFFG": -0.02, "kpoints.grid": [2, 2, 2]}}}
    section = {
        "branches": ["gap"],
        "static_preset": "s0_static",
        "hybrid_preset": "s0_hse_band_edges",
        "overrides": {"static.kpoints.grid": [3, 3, 3], "static.hubbard_u.Fe": 5.0},
    }
    flow = follow_up_flow(
        "c", "k", Crystal.from_structure(CELL).model_dump(), engine, section, {"static": "s", "gap": "g"}
    )
    expected = {
        "static.hubbard_u.V": 4.2,
        "static.hubbard_u.Fe": 5.0,  # its own
        "static.potcar_symbols.Na": "Na_sv",
        "static.magnetic_moments.V": 2.0,
        "hybrid.potcar_symbols.Na": "Na_sv",  # which runs without U
        "hybrid.magnetic_moments.V": 2.0,
        "static.kpoints.grid": [3, 3, 3],
    }
    for job in flow.jobs:
        assert job.function_args[-1]["overrides"] == expected
        for role in ("static", "hybrid"):
            preset_for(role, job.function_args[-1])


@pytest.mark.slow
def test_every_branch_is_done_and_says_how(followed: Followed) -> None:
    for branch, one in followed.records.items():
        assert (one.outcome, one.reason) == ("done", None), one.message
        assert re.fullmatch(r"rehearsal:pair:s0_static\+[0-9a-f]{8}", one.origin.provenance)  # of what is overridden
        assert one.wall_s > 0
        results = [name for name in ("static", *BRANCHES) if getattr(one, name) is not None]
        assert results == [branch]
    presets = {branch: one.presets for branch, one in followed.records.items() if one.presets}
    assert presets == {
        "static": ["s0_static"],
        "gap": ["s0_hse_band_edges"],
        "density_difference": ["s0_static", "s0_static"],
    }


@pytest.mark.slow
def test_what_the_campaign_and_the_branches_change_of_a_preset_is_listed(followed: Followed) -> None:
    changed = {override.key: override.value for override in followed.records["static"].overrides}
    assert changed["static.kpoints.grid"] == [2, 2, 2]
    assert changed["static.incar.ISYM"] == 0
    assert changed["static.incar.NBANDS"] == followed.records["static"].static.n_bands
    parts = {override.key: override.value for override in followed.records["density_difference"].overrides}
    grid = followed.records["static"].static.density_grid
    for run in ("framework", "ions"):
        assert [parts[f"{run}.incar.NG{axis}F"] for axis in "XYZ"] == grid
    assert parts["framework.kpoints.grid"] == [2, 2, 2]


@pytest.mark.slow
def test_static_run_gives_moments_in_the_order_of_the_cell(followed: Followed) -> None:
    found = followed.records["static"].static
    assert found.magnetic_moments == pytest.approx(by_site(electrons.moments(followed.static)), abs=1e-3)
    assert found.total_magnetization == pytest.approx(sum(found.magnetic_moments), abs=1e-3)
    assert [found.magnetic_moments[index] > 3 for index in (1, 5)] == [True, True]
    assert found.volume == pytest.approx(CELL.volume)


@pytest.mark.slow
def test_gap_is_that_of_the_stated_formula_with_both_functionals(followed: Followed) -> None:
    found = followed.records["gap"].gap
    chi = electrons.electronegativities(followed.static)
    negative = chi > electrons.ELECTRONEGATIVE
    bare = 1.6 * (chi[negative].mean() - chi[~negative].mean()) - 1.2 * 2 / 8  # iron and vanadium of eight atoms
    assert found.pbe.functional == "PBE+U"
    assert found.pbe.gap == pytest.approx(bare + 0.05 * 5.3, abs=2e-6)
    assert found.hybrid.functional == "HSE06"
    assert found.hybrid.gap == pytest.approx(1.35 * bare + 0.5, abs=2e-6)
    assert not found.hybrid.is_direct
    assert found.hybrid.vbm.k_points[0] == pytest.approx([0, 0, 0])
    assert abs(found.hybrid.cbm.k_points[0][0]) == pytest.approx(0.5)
    assert found.hybrid.channel_gaps == pytest.approx([found.hybrid.gap] * 2)


@pytest.mark.slow
def test_hybrid_run_has_the_edges_without_weight_and_none_of_the_static_files_left(followed: Followed) -> None:
    weights = followed.hybrid.kpoints.weights
    assert np.abs(followed.hybrid.kpoints.points) == pytest.approx(np.array([[0, 0, 0], [0.5, 0, 0]]))
    assert (weights == 0).tolist() == [False, True]  # the valence edge is the mesh's own Γ
    assert followed.hybrid.incar.integer("ICHARG") == 1
    folder = Path(followed.records["gap"].folder) / "hybrid"
    assert not list(folder.glob("CHGCAR*")) + list(folder.glob("WAVECAR*"))


@pytest.mark.slow
def test_densities_of_states_are_those_of_the_model(followed: Followed) -> None:
    found = followed.records["pdos"].pdos
    true = tables.state_density(followed.static, electrons.bands(followed.static, electrons.moments(followed.static)))
    fermi = electrons.FERMI_SHARE * electrons.gap(followed.static)
    assert found.fermi_energy == pytest.approx(fermi, abs=1e-6)
    inside = (true.energies - fermi >= -10) & (true.energies - fermi <= 8)
    assert found.energies == pytest.approx((true.energies - fermi)[inside], abs=1e-4)
    names = np.array(followed.static.elements)
    for curve in found.curves:
        orbitals = {"s": [0], "p": [1, 2, 3], "d": [4, 5, 6, 7, 8]}[curve.shell]
        expected = true.partial[:, names == curve.element][:, :, orbitals].sum(axis=(1, 2))[:, inside]
        assert curve.up == pytest.approx(expected[0], rel=2e-3, abs=2e-4)
        assert curve.down == pytest.approx(expected[1], rel=2e-3, abs=2e-4)
    assert {(centre.element, centre.shell) for centre in found.centres} == {
        ("Fe", "d"),
        ("V", "d"),
        ("O", "p"),
        ("F", "p"),
    }
    oxygen = next(centre for centre in found.centres if centre.element == "O")
    assert oxygen.states == pytest.approx(3 * 3 * 2 * 0.9, rel=0.01)  # three atoms' p states, projected with 0.9
    assert oxygen.centre < 0


@pytest.mark.slow
def test_bonds_are_as_strong_as_the_stand_in_made_them(followed: Followed) -> None:
    found = followed.records["bonding"].bonding
    assert {bond.centre for bond in found.bonds} == {1, 5}
    for bond in found.bonds:
        assert bond.elements == [CELL[bond.centre].specie.symbol, CELL[bond.ligand].specie.symbol]
        assert bond.strength == pytest.approx(cohp.strength(*bond.elements, bond.length), abs=2e-4)
        assert min(
            abs(bond.length - neighbour.nn_distance)
            for neighbour in CELL.get_neighbors(CELL[bond.centre], 2.8)
            if neighbour.index == bond.ligand
        ) == pytest.approx(0, abs=1e-6)
    assert [one.n_bonds for one in found.polyhedra] == [6, 6]
    iron = [bond.strength for bond in found.bonds if bond.elements == ["Fe", "O"]]
    assert found.mean_by_pair["Fe-O"] == pytest.approx(np.mean(iron))
    assert found.mean_strength == pytest.approx(np.mean([one.mean_strength for one in found.polyhedra]))
    assert max(found.charge_spilling) < 0.05
    assert set(found.basis) == {"Fe", "V", "O", "F", "Na"}


@pytest.mark.slow
def test_orbitals_are_deleted_once_the_bonds_are_known(followed: Followed) -> None:
    static = Path(followed.records["static"].folder) / "static"
    lobster = Path(followed.records["bonding"].folder) / "lobster"
    assert not list(static.glob("WAVECAR*")) + list(lobster.glob("WAVECAR*"))
    assert (static / "CHGCAR.gz").is_file()
    assert list(lobster.glob("ICOHPLIST.lobster*"))


@pytest.mark.slow
def test_bader_charges_are_those_of_the_density_within_a_thousandth(followed: Followed) -> None:
    found = followed.records["bader"].bader
    true = by_site(followed.static.valences - electrons.charges(followed.static))
    assert np.abs(np.array(found.net_charges) - true).max() < 1e-3
    assert sum(found.net_charges) == pytest.approx(0, abs=1e-3)
    assert found.oxidation_states == [None] * 8
    assert "no reference charges" in followed.records["bader"].message
    assert found.valence_electrons == dict(zip(followed.static.elements, followed.static.valences, strict=True))
    assert {one.element: one.count for one in found.species} == {"O": 3, "Fe": 1, "Na": 2, "F": 1, "V": 1}


@pytest.mark.slow
def test_density_difference_integrates_to_zero_and_is_written(followed: Followed) -> None:
    found = followed.records["density_difference"].density_difference
    assert abs(found.integral) < 1e-6
    assert found.parts == ["V1 Fe1 O3 F1", "Na2"]
    written = read_density(Path(found.volumetric_file))
    assert abs(written.density.electrons) < 1e-6
    assert np.abs(written.density.values).sum() * written.density.voxel_volume / 2 == pytest.approx(
        found.displaced_charge, rel=1e-6
    )
    assert list(written.density.values.shape) == followed.records["static"].static.density_grid
    assert len(found.positions) == len(found.planar_average) == written.density.values.shape[2]
    assert max(len(found.slice), len(found.slice[0])) <= 96
    # Na of charge +0.61 e gives that much to the framework in the model, less what its own Gaussian keeps.
    assert found.displaced_charge == pytest.approx(2 * 0.609, rel=0.01)


@pytest.mark.slow
def test_a_cell_of_the_host_goes_through_all_branches(tmp_path: Path) -> None:
    level = load_packaged_host("nvpf").level("Na3")
    structure = decorate(level, ["V", "Mo"], 0b00000111)
    quick = {"static.kpoints.grid": [2, 2, 2], "static.incar.NEDOS": 301}
    outputs = outputs_of(flow_of(structure, BRANCHES, overrides=quick), tmp_path / "jobs")
    records = {branch: record(branch, output) for branch, output in outputs.items()}
    assert {branch: one.outcome for branch, one in records.items()} == dict.fromkeys(["static", *BRANCHES], "done")
    inputs = inputs_of(Path(records["static"].folder) / "static", tmp_path / "static")
    assert records["gap"].gap.pbe.gap == pytest.approx(electrons.gap(inputs), abs=2e-6)
    order = written_order(structure)
    true = np.empty(len(structure))
    true[order] = inputs.valences - electrons.charges(inputs)
    error = np.array(records["bader"].bader.net_charges) - true
    # The model's Gaussians of P and O, 1.5 Å apart, overlap: what a surface between them gives is not their own charge.
    phosphate = np.array([site.specie.symbol in ("P", "O") for site in structure])
    assert np.abs(error[~phosphate]).max() < 1e-3
    assert np.abs(error[phosphate]).max() < 1e-2
    assert abs(error[phosphate].mean()) < 1e-4
    bonding = records["bonding"].bonding
    assert [one.element for one in bonding.polyhedra] == [
        structure[index].specie.symbol for index in level.site_indices
    ]
    assert {one.n_bonds for one in bonding.polyhedra} == {6}
    for bond in bonding.bonds:
        assert bond.strength == pytest.approx(cohp.strength(*bond.elements, bond.length), abs=2e-4)
    assert abs(records["density_difference"].density_difference.integral) < 1e-6


def test_only_bonding_fails_without_lobster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cathodeflow.calculators.rehearsal import executables

    monkeypatch.setattr(executables, "PROGRAMS", {k: v for k, v in executables.PROGRAMS.items() if k != "lobster"})
    outputs = outputs_of(flow_of(CELL, ["bonding", "pdos"]), tmp_path / "jobs")
    bonding, pdos = record("bonding", outputs["bonding"]), record("pdos", outputs["pdos"])
    assert (bonding.outcome, bonding.reason, bonding.bonding) == ("quarantined", "missing_program", None)
    assert "LOBSTER" in bonding.message
    assert pdos.outcome == "done"
    assert list((Path(outputs["static"]["folder"]) / "static").glob("WAVECAR*"))  # for when LOBSTER is there


def test_a_metal_has_no_hybrid_gap_and_no_working_ions(tmp_path: Path) -> None:
    outputs = outputs_of(flow_of(METAL, ["gap", "bonding", "density_difference"]), tmp_path / "jobs")
    gap = record("gap", outputs["gap"])
    assert gap.outcome == "done"
    assert gap.gap.pbe.is_metal
    assert (gap.gap.pbe.gap, gap.gap.hybrid, gap.presets) == (0, None, [])
    assert "overlap by 2.00 eV, not by less than 1 eV: no hybrid run was made" in gap.message
    assert not (Path(gap.folder) / "hybrid").exists()
    for branch, words in (("bonding", "no bonds"), ("density_difference", "no two parts")):
        lost = record(branch, outputs[branch])
        assert (lost.outcome, lost.reason) == ("quarantined", "prerequisite_failed")
        assert words in lost.message


def test_the_hybrid_opens_a_gap_where_bands_overlap_by_little(tmp_path: Path) -> None:
    outputs = outputs_of(flow_of(OPENED, ["gap"]), tmp_path / "jobs")
    gap = record("gap", outputs["gap"])
    assert (gap.outcome, gap.presets) == ("done", ["s0_hse_band_edges"]), gap.message
    assert (gap.gap.pbe.functional, gap.gap.pbe.is_metal, gap.gap.pbe.gap) == ("PBE", True, 0)
    assert gap.gap.hybrid.gap == pytest.approx(0.5 - 0.1, abs=2e-6)
    assert not gap.gap.hybrid.is_metal
    assert not gap.gap.hybrid.is_direct
    assert gap.message.startswith("PBE finds a metal whose bands overlap by 0.10 eV; HSE06 finds a gap of 0.40 eV")
    ran = inputs_of(Path(gap.folder) / "hybrid", tmp_path / "hybrid")
    assert (ran.incar.integer("ISMEAR"), ran.incar.switch("LHFCALC")) == (0, True)  # tetrahedra take no such points
    # The mesh alone has weight, and so makes the density and the Fermi level; both edges of the metal are looked at.
    assert np.abs(ran.kpoints.points) == pytest.approx(np.array([[0, 0, 0], [0.5, 0, 0]]))
    assert (ran.kpoints.weights > 0).tolist() == [True, False]


def test_a_metal_whose_hybrid_run_does_not_converge_keeps_what_the_static_run_found(tmp_path: Path) -> None:
    # Each time that custodian starts the hybrid run anew NELM is too small again; the static run converges in as many.
    never = {"static.incar.NELM": 60, "hybrid.incar.NELM": 2}
    outputs = outputs_of(flow_of(OPENED, ["gap"], overrides=OVERRIDES | never), tmp_path / "jobs")
    gap = record("gap", outputs["gap"])
    assert (gap.outcome, gap.reason, gap.presets) == ("done", None, ["s0_hse_band_edges"]), gap.message
    assert gap.gap.pbe.is_metal
    assert (gap.gap.hybrid, gap.gap.no_hybrid) == (None, "not converged")
    assert gap.message.startswith("PBE finds a metal whose bands overlap by 0.10 eV, and the hybrid run")
    assert "did not converge" in gap.message
    assert any("Unconverged" in done.errors for done in gap.interventions)
    assert {override.key: override.value for override in gap.overrides}["hybrid.incar.NELM"] == 2
    folder = Path(gap.folder) / "hybrid"
    assert not list(folder.glob("CHGCAR*")) + list(folder.glob("WAVECAR*"))
