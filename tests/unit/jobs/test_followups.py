"""The branches on their own: what is read and summed up, whose failures end them, and what another attempt may mend."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from tests.stand_in_runs import finish_run

from cathodeflow.calculators.attempt import Attempt, write_attempt
from cathodeflow.calculators.bader.chgcar import DensityFile
from cathodeflow.calculators.lobster.outputs import LobsterResult, ProjectionQuality
from cathodeflow.calculators.lobster.run import LobsterRun
from cathodeflow.calculators.rehearsal import electrons
from cathodeflow.calculators.rehearsal.inputs import read_inputs
from cathodeflow.calculators.vasp.input_sets import written_order
from cathodeflow.calculators.vasp.preset import VaspPreset
from cathodeflow.calculators.vasp.static import StaticRun
from cathodeflow.errors import CalculationError, DefinitionError, MissingDependencyError
from cathodeflow.jobs.followups import bader as bader_room
from cathodeflow.jobs.followups import density_difference as difference_room
from cathodeflow.jobs.followups.bader import bader, bader_result, reference_charges
from cathodeflow.jobs.followups.bonding import bonding, bonding_result
from cathodeflow.jobs.followups.branch import Found, branch_output, preset_for
from cathodeflow.jobs.followups.density_difference import density_difference, difference_result
from cathodeflow.jobs.followups.gap import edges_part, gap
from cathodeflow.jobs.followups.pdos import MAX_POINTS, WINDOW, pdos, pdos_result
from cathodeflow.jobs.followups.static import bands_for_lobster, needed_overrides, static
from cathodeflow.records.crystal import Crystal
from cathodeflow.records.followup import PdosResult
from cathodeflow.records.outcomes import Branch
from cathodeflow.science.electronic.bonding import BondIcohp, contacts_within
from cathodeflow.science.electronic.charges import AtomicCharges
from cathodeflow.science.electronic.density import GridDensity
from cathodeflow.science.electronic.pdos import PartialDos

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
CRYSTAL = Crystal.from_structure(CELL).model_dump()
ENGINE = {"name": "rehearsal", "model": "pair", "parameters": {}}
FOLLOWUPS = {
    "branches": [],
    "static_preset": "s0_static",
    "hybrid_preset": "s0_hse_band_edges",
    "overrides": {"static.kpoints.grid": [2, 2, 2], "static.incar.NEDOS": 301},
    "working_ion": "Na",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The launch folder of a static run that is done."""
    launch = tmp_path_factory.mktemp("launches") / "1"
    finish_run(launch / "static", CELL, preset_for("static", FOLLOWUPS))
    return launch


@pytest.fixture
def static_output(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the job of that run put out; its files are this test's own."""
    shutil.copytree(finished, tmp_path / "static_job")
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path / "job")
    folder = tmp_path / "static_job"
    edges = edges_part(folder / "static", "PBE+U").model_dump()
    return {"outcome": "done", "folder": str(folder), "static": {"edges": edges}}


def run(job: Any, static: dict[str, Any], **followups: Any) -> dict[str, Any]:
    return job.original(static, CRYSTAL, ENGINE, FOLLOWUPS | followups)


def ended(output: dict[str, Any]) -> tuple[str, str | None]:
    return output["outcome"], output["reason"]


# Failures


@pytest.mark.parametrize("job", [pdos, gap, bader, density_difference])
def test_a_branch_of_a_quarantined_static_run_has_nothing_to_build_on(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = run(job, {"outcome": "quarantined", "folder": str(tmp_path), "static": None})
    assert ended(output) == ("quarantined", "prerequisite_failed")


@pytest.mark.parametrize(
    ("job", "file"), [(pdos, "DOSCAR"), (gap, "EIGENVAL"), (bader, "AECCAR0"), (density_difference, "CHGCAR")]
)
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_file_of_the_static_run_ends_the_branch_for_good(
    job: Any, file: str, damage: str, static_output: dict[str, Any]
) -> None:
    path = Path(static_output["folder"]) / "static" / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    output = run(job, static_output)
    assert ended(output) == ("quarantined", "broken_output")
    assert file in output["message"]


def test_a_static_run_whose_files_are_gone_is_named(static_output: dict[str, Any]) -> None:
    shutil.rmtree(static_output["folder"])
    output = run(pdos, static_output)
    assert ended(output) == ("quarantined", "broken_output")
    assert output["message"].endswith("`cflow resubmit --key CANDIDATE/static` runs that one again")
    assert "run it again" in output["message"]


def test_densities_that_lost_electrons_give_no_charges(static_output: dict[str, Any]) -> None:
    path = Path(static_output["folder"]) / "static" / "vasprun.xml"
    text = path.read_text()
    path.write_text(re.sub(r"(<c>Fe</c>.*?)14\.0000", r"\g<1>13.0000", text, count=1))  # its ZVAL
    output = run(bader, static_output)
    assert path.read_text() != text
    assert ended(output) == ("quarantined", "broken_output")
    assert "electrons instead of" in output["message"]


@pytest.mark.slow
def test_a_table_of_charges_that_was_cut_is_made_again(
    static_output: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = {"seed": 1, "faults": [{"kind": "truncated", "program": "bader", "probability": 1, "fraction": 0.5}]}
    engine = ENGINE | {"parameters": {"faults": cut}}
    with pytest.raises(CalculationError, match=r"ACF\.dat") as raised:  # and not quarantined at once
        bader.original(static_output, CRYSTAL, engine, FOLLOWUPS)
    assert raised.value.reason == "broken_output"


@pytest.mark.parametrize("reason", ["timeout", "killed", "exit_code"])
def test_a_program_that_failed_by_itself_is_tried_again(
    reason: str, static_output: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise CalculationError("the program ended", reason)

    monkeypatch.setattr(bader_room, "_analyse", failing)
    with pytest.raises(CalculationError) as raised:
        run(bader, static_output)
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MissingDependencyError("there is no bader"), "missing_program"),
        (CalculationError("the basis misses 9 %", "charge_spilling"), "charge_spilling"),
        (CalculationError("not a number", "non_finite"), "non_finite"),
        (CalculationError("no LOBSTER", "missing_program"), "missing_program"),
    ],
)
def test_what_another_attempt_would_repeat_is_quarantined(
    error: Exception, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: None) -> Found:
        raise error

    monkeypatch.chdir(tmp_path)
    output = branch_output(Branch.BONDING, ENGINE, FOLLOWUPS, lambda: None, failing)
    assert ended(output) == ("quarantined", reason)
    assert output["message"] == str(error)
    assert output["bonding"] is None


@pytest.mark.parametrize("reason", ["not_converged", "walltime", "out_of_memory", "broken_output", "calculation_error"])
def test_what_another_attempt_may_mend_is_raised(reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: None) -> Found:
        raise CalculationError("it stopped", reason)

    monkeypatch.chdir(tmp_path)
    with pytest.raises(CalculationError) as raised:
        branch_output(Branch.GAP, ENGINE, FOLLOWUPS, lambda: None, failing)
    assert raised.value.reason == reason


def test_an_engine_without_electrons_is_refused() -> None:
    with pytest.raises(DefinitionError, match="need electrons"):
        static.original(CRYSTAL, {"name": "mlff"}, FOLLOWUPS)


# Presets


def test_overrides_go_to_the_run_they_name() -> None:
    section = FOLLOWUPS | {"overrides": {"static.incar.ENCUT": 400.0, "hybrid.incar.NELM": 40}}
    assert preset_for("static", section).incar_values["ENCUT"] == 400
    assert "NELM" not in preset_for("static", section).incar_values
    assert preset_for("hybrid", section).incar_values["NELM"] == 40


@pytest.mark.parametrize("key", ["incar.ENCUT", "relax.incar.ENCUT", "static", "static."])
def test_an_override_of_no_run_is_refused(key: str) -> None:
    with pytest.raises(DefinitionError, match="keys begin with static or hybrid"):
        preset_for("static", FOLLOWUPS | {"overrides": {key: 1}})


def provenance(branch: Branch, overrides: dict[str, Any]) -> str:
    section = FOLLOWUPS | {"overrides": overrides}
    output = branch_output(branch, ENGINE, section, lambda: None, lambda _: Found(PdosResult.model_construct()))
    return str(output["origin"]["provenance"])


def test_numbers_of_a_changed_preset_are_told_from_those_of_the_preset() -> None:
    coarse, of_hybrid = {"static.kpoints.grid": [2, 2, 2]}, {"hybrid.incar.ENCUT": 400.0}
    assert provenance(Branch.PDOS, {}) == "rehearsal:pair:s0_static"
    assert provenance(Branch.PDOS, coarse).startswith("rehearsal:pair:s0_static+")
    assert provenance(Branch.PDOS, coarse) != provenance(Branch.PDOS, {"static.kpoints.grid": [3, 3, 3]})
    assert provenance(Branch.PDOS, coarse | of_hybrid) == provenance(Branch.PDOS, coarse)  # it has no hybrid run
    assert provenance(Branch.GAP, of_hybrid) != provenance(Branch.GAP, {})
    for silent in ({"static.incar.KPAR": 2}, {"static.kpoints.grid": [4, 4, 4]}):  # as the preset has it
        assert provenance(Branch.GAP, silent) == provenance(Branch.GAP, {})


def test_static_run_is_prepared_for_the_branches_that_are_asked() -> None:
    assert needed_overrides(CELL, FOLLOWUPS) == {}
    light = FOLLOWUPS | {"branches": ["bader"], "static_preset": "s0_pdos"}
    assert preset_for("static", light, needed_overrides(CELL, light)).incar_values["LAECHG"] is True
    wanted = FOLLOWUPS | {"branches": ["bonding"]}
    changed = needed_overrides(CELL, wanted)
    assert (changed["incar.ISYM"], changed["incar.LWAVE"]) == (0, True)
    assert changed["incar.NBANDS"] == bands_for_lobster(CELL, wanted)
    # Na_pv 3s 2p, V_pv and Fe_pv 4s 3p 3d, O and F 2s 2p: LOBSTER wants a band for each.
    assert changed["incar.NBANDS"] >= 2 * 4 + 2 * 9 + 4 * 4


def test_the_campaigns_own_word_wins_over_what_a_branch_needs() -> None:
    section = FOLLOWUPS | {"branches": ["bonding"], "overrides": {"static.incar.NBANDS": 99}}
    assert preset_for("static", section, needed_overrides(CELL, section)).incar_values["NBANDS"] == 99


def test_a_potcar_without_a_lobster_basis_costs_the_bonds_alone(static_output: dict[str, Any]) -> None:
    overrides = FOLLOWUPS["overrides"] | {"static.potcar_symbols.Na": "Na_GW"}
    section = FOLLOWUPS | {"branches": ["bonding"], "overrides": overrides}
    assert needed_overrides(CELL, section) == {}
    output = run(bonding, static_output, **section)
    assert ended(output) == ("quarantined", "prerequisite_failed")
    assert "Na_GW" in output["message"]


# Gap


@pytest.mark.parametrize(("moment", "said"), [(12.0, ""), (-12.0, ""), (8.0, "two magnetic states"), (None, "")])
def test_a_hybrid_run_in_another_magnetic_state_is_told(
    moment: float | None, said: str, static_output: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(static_output["folder"]) / "static"
    ran = StaticRun(folder, -1.0, None, moment, (), 0.0)  # the gap itself is read from the static run's files here
    monkeypatch.setattr("cathodeflow.calculators.vasp.static.run_static", lambda *_args, **_options: ran)
    output = run(gap, static_output | {"static": static_output["static"] | {"total_magnetization": 12.02}})
    assert ended(output) == ("done", None), output["message"]
    assert (said in output["message"]) if said else output["message"] == ""
    if said:
        assert "12.0 µB with PBE+U" in output["message"]
        assert "8.0 µB with HSE06" in output["message"]


# Density of states


@settings(max_examples=30, deadline=None)
@given(points=st.integers(50, 6000), seed=st.integers(0, 2**32 - 1))
def test_thinned_curves_keep_their_states_and_stay_short(points: int, seed: int) -> None:
    energies = np.linspace(-12.0, 10.0, points)
    smooth = 1 + np.random.default_rng(seed).random() + np.sin(energies)
    densities = np.zeros((1, 2, 9, points))
    densities[0, 1, 4] = smooth
    densities[0, 0, 0] = 1.0
    found = pdos_result(PartialDos(energies, densities, ("O", "Fe"), ORBITALS, 0.5))
    assert len(found.energies) <= MAX_POINTS
    assert found.energies[0] >= WINDOW[0] - 1e-4
    assert found.energies[-1] <= WINDOW[1] + 1e-4
    curves = {(curve.element, curve.shell): curve.up for curve in found.curves}
    assert set(curves) == {("O", "s"), ("Fe", "d")}  # shells without states are left out
    inside = (energies - 0.5 >= WINDOW[0]) & (energies - 0.5 <= WINDOW[1])
    spacing, thinned = energies[1] - energies[0], np.diff(found.energies).mean()
    # What a remainder at the end of the window leaves out is less than one group of points.
    lost = 3.5 * thinned + 1e-3
    assert abs(sum(curves["Fe", "d"]) * thinned - smooth[inside].sum() * spacing) < lost


ORBITALS = ("s", "py", "pz", "px", "dxy", "dyz", "dz2", "dxz", "x2-y2")


def test_centres_are_those_of_all_points_and_not_of_the_thinned_ones() -> None:
    energies = np.linspace(-9.0, 7.0, 5001)
    densities = np.zeros((2, 1, 9, 5001))
    densities[:, 0, 4] = np.exp(-(((energies + 3) / 0.3) ** 2) / 2) / (0.3 * np.sqrt(2 * np.pi))
    found = pdos_result(PartialDos(energies, densities, ("Mo",), ORBITALS, 0.0))
    (centre,) = found.centres
    assert (centre.centre, centre.width, centre.states) == pytest.approx((-3.0, 0.3, 2.0), abs=1e-6)
    (curve,) = found.curves
    assert curve.up == curve.down


def test_pdos_of_a_finished_run_is_a_record(static_output: dict[str, Any]) -> None:
    output = run(pdos, static_output)
    found = PdosResult.model_validate(output["pdos"])
    assert ended(output) == ("done", None)
    assert output["presets"] == []
    assert {curve.element for curve in found.curves} == {"Na", "V", "Fe", "O", "F"}


# Charges


def charges_in_written_order(net: list[float], valences: list[float]) -> AtomicCharges:
    order = written_order(CELL)
    electrons_held = np.array([valences[index] - net[index] for index in order])
    return AtomicCharges(electrons_held, np.arange(8.0) + 1, np.ones(8))


def test_charges_come_back_in_the_order_of_the_cell() -> None:
    net = [-1.1, 1.6, -1.2, 0.9, -0.8, 1.9, -1.3, 0.8]
    valences = [6.0, 14.0, 6.0, 7.0, 7.0, 11.0, 6.0, 7.0]
    in_poscar = [valences[index] for index in written_order(CELL)]
    found = bader_result(CELL, charges_in_written_order(net, valences), in_poscar, "bader", {}).result
    assert found.net_charges == pytest.approx(net)
    assert found.valence_electrons == {"O": 6, "Fe": 14, "Na": 7, "F": 7, "V": 11}
    oxygen = next(one for one in found.species if one.element == "O")
    assert (oxygen.count, oxygen.mean) == (3, pytest.approx(-1.2))
    assert found.volumes[written_order(CELL)[0]] == 1


def test_states_are_assigned_where_reference_charges_are_known_and_never_else() -> None:
    net = [-1.1, 1.6, -1.2, 0.9, -0.8, 1.9, -1.3, 0.8]
    valences = [6.0, 14.0, 6.0, 7.0, 7.0, 11.0, 6.0, 7.0]
    in_poscar = [valences[index] for index in written_order(CELL)]
    known = {"V": reference_charges({4: [1.95, 1.93], 3: [1.70, 1.68]})}
    assert known == {"V": {"3": pytest.approx(1.69), "4": pytest.approx(1.94)}}
    found = bader_result(CELL, charges_in_written_order(net, valences), in_poscar, "bader", known)
    assert found.result.oxidation_states == [None, None, None, None, None, 4, None, None]
    assert found.result.oxidation_references == known
    assert "Fe: no reference charges" in found.message
    assert "V:" not in found.message


@pytest.mark.slow
def test_bader_of_a_finished_run_is_that_of_its_density(static_output: dict[str, Any]) -> None:
    output = run(bader, static_output)
    assert ended(output) == ("done", None), output["message"]
    inputs = read_inputs(Path(static_output["folder"]) / "static")
    true = inputs.valences - electrons.charges(inputs)
    found = np.array(output["bader"]["net_charges"])[written_order(CELL)]
    assert np.abs(found - true).max() < 1e-3
    assert output["bader"]["program"] == "bader"  # the rehearsal's own


# Bonds


def test_bonds_keep_the_order_of_the_cell_and_their_images() -> None:
    order = written_order(CELL)
    place = {index: run_index for run_index, index in enumerate(order)}
    species = [site.specie.symbol for site in CELL]
    contacts = contacts_within(CELL.lattice.matrix, CELL.frac_coords, species, [1, 5], {"O", "F"}, 2.8)
    bonds = tuple(
        BondIcohp(
            str(number + 1),
            (place[one.centre], place[one.ligand]),
            one.length,
            one.translation,
            (-0.1 * number, -0.2),
        )
        for number, one in enumerate(contacts)
    )
    quality = ProjectionQuality("5.1.0", (0.01, 0.02), (0.03, 0.04), {"V": ("3d", "4s")}, ())
    found = bonding_result(CELL, LobsterResult(bonds, quality))
    assert [bond.strength for bond in found.bonds] == pytest.approx([0.1 * n + 0.2 for n in range(12)])
    assert [(bond.centre, bond.ligand) for bond in found.bonds] == [(one.centre, one.ligand) for one in contacts]
    assert [(one.element, one.n_bonds) for one in found.polyhedra] == [("Fe", 6), ("V", 6)]
    by_pair = {pair: [] for pair in found.mean_by_pair}
    for bond in found.bonds:
        by_pair["-".join(bond.elements)].append(bond.strength)
    assert found.mean_by_pair == pytest.approx({pair: np.mean(values) for pair, values in by_pair.items()})
    assert found.program == "LOBSTER 5.1.0"
    with pytest.raises(CalculationError, match="lacks the bond"):
        bonding_result(CELL, LobsterResult(bonds[:-1], quality))


def change_smearing(static_output: dict[str, Any], lines: str) -> None:
    """Change INCAR as custodian does for a run that does not converge with the tetrahedron method."""
    incar = Path(static_output["folder"]) / "static" / "INCAR"
    assert "ISMEAR = -5" in incar.read_text()
    kept = [line for line in incar.read_text().splitlines() if line.split()[0] not in ("ISMEAR", "SIGMA")]
    incar.write_text("\n".join(kept) + "\n" + lines)


@pytest.mark.parametrize(("custodian", "width"), [("", None), ("ISMEAR = 0\nSIGMA = 0.05\n", 0.05)])
def test_lobster_is_told_the_smearing_of_the_run_and_not_of_its_preset(
    custodian: str, width: float | None, static_output: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float | None] = []

    def not_run(*_args: Any, gaussian_width: float | None, **_options: Any) -> None:
        asked.append(gaussian_width)
        raise CalculationError("that is all", "charge_spilling")

    if custodian:
        change_smearing(static_output, custodian)
    monkeypatch.setattr("cathodeflow.calculators.lobster.run.run_lobster", not_run)
    run(bonding, static_output)
    assert asked == [width]


def test_orbitals_outlive_a_list_of_bonds_that_cannot_be_used(
    static_output: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    quality = ProjectionQuality("5.1.0", (0.01,), (0.03,), {}, ())
    too_few = LobsterRun(LobsterResult((), quality), (), 0.0, "5.1.0")
    monkeypatch.setattr("cathodeflow.calculators.lobster.run.run_lobster", lambda *_args, **_options: too_few)
    with pytest.raises(CalculationError, match="lacks the bond"):
        run(bonding, static_output)
    assert (Path(static_output["folder"]) / "static" / "WAVECAR").is_file()  # or the next attempt would have nothing


# Density difference


@pytest.mark.parametrize(("custodian", "scheme", "width"), [("", -5, 0.05), ("ISMEAR = 0\nSIGMA = 0.1\n", 0, 0.1)])
def test_the_framework_is_smeared_as_the_whole_was_in_the_end(
    custodian: str, scheme: int, width: float, static_output: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[VaspPreset] = []

    def not_run(_: Structure, preset: VaspPreset, *_args: Any, **_options: Any) -> None:
        asked.append(preset)
        raise CalculationError("that is all", "charge_spilling")

    if custodian:
        change_smearing(static_output, custodian)
    monkeypatch.setattr("cathodeflow.calculators.vasp.static.run_static", not_run)
    run(density_difference, static_output)
    (framework,) = asked
    assert framework.incar_values["ISMEAR"] == scheme
    if custodian:
        assert framework.incar_values["SIGMA"] == width
        assert {"incar.ISMEAR", "incar.SIGMA"} <= {override.key for override in framework.overrides}


def grid(values: np.ndarray) -> GridDensity:
    return GridDensity(values, np.array(CELL.lattice.matrix))


def whole(values: np.ndarray) -> Any:
    order = written_order(CELL)
    file = DensityFile(tuple(CELL[index].specie.symbol for index in order), CELL.frac_coords[order], grid(values))
    return difference_room._Whole(CELL, file, (0, 1, 2, 4, 5, 6), (3, 7))


def test_difference_is_summed_up_and_its_slice_is_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    framework, ions = rng.random((8, 200, 12)), rng.random((8, 200, 12))
    moved = rng.random((8, 200, 12))
    moved -= moved.mean()
    found = difference_result(whole(framework + ions + moved), grid(framework), grid(ions), tmp_path / "d.vasp")
    volume_element = CELL.volume / moved.size
    assert found.integral == pytest.approx(0, abs=1e-9)
    assert found.displaced_charge == pytest.approx(np.abs(moved).sum() * volume_element / 2)
    assert found.planar_average == pytest.approx(moved.mean(axis=(0, 1)), abs=1e-12)
    assert (len(found.slice), len(found.slice[0])) == (8, 67)  # 200 points are more than 96
    assert found.slice_extent == pytest.approx([4.3, 4.4])
    assert found.slice_fraction in (pytest.approx(0.0), pytest.approx(0.5))  # a plane of working ions
    assert found.parts == ["V1 Fe1 O3 F1", "Na2"]


def test_parts_that_lack_electrons_of_the_whole_are_refused(tmp_path: Path) -> None:
    flat = np.ones((4, 4, 4))
    with pytest.raises(CalculationError, match="instead of zero") as refused:
        difference_result(whole(2.001 * flat), grid(flat), grid(flat), tmp_path / "d.vasp")
    assert refused.value.reason == "broken_output"
    assert not (tmp_path / "d.vasp").exists()


# Attempts


def test_a_stopped_static_run_goes_on_from_its_orbitals_and_keeps_what_custodian_did(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = tmp_path / "first" / "static"
    stopped.mkdir(parents=True)
    (stopped / "WAVECAR.gz").write_bytes(gzip.compress(b"orbitals of the first attempt"))
    log = b'[{"corrections": [{"handler": {"@class": "WalltimeHandler"}, "errors": ["Walltime reached"]}]}]'
    (stopped / "custodian.json").write_bytes(log)
    (stopped / "run_time.json").write_text('{"began": 1.0, "wall_s": 5000.0, "done": false}')
    launch = tmp_path / "second"
    launch.mkdir()
    write_attempt(launch, Attempt("c", "follow_up", "k/static", 2, continue_from=tmp_path / "first"))
    monkeypatch.chdir(launch)
    seen: list[bytes] = []
    from cathodeflow.calculators.vasp import makers

    as_it_is = makers._run

    def looking(*arguments: Any) -> Any:
        seen.append(Path("WAVECAR").read_bytes())
        return as_it_is(*arguments)

    monkeypatch.setattr(makers, "_run", looking)
    output = static.original(CRYSTAL, ENGINE, FOLLOWUPS)
    assert seen == [b"orbitals of the first attempt"]
    assert ended(output) == ("done", None)
    assert [one["handler"] for one in output["interventions"]] == ["WalltimeHandler"]
    assert 5000 < output["wall_s"] < 5600, "the first attempt was paid for, too"
    assert not list(launch.rglob("WAVECAR*"))  # LOBSTER is not asked for
    assert not (launch / "rehearsal_bin").exists()


def test_a_run_that_the_allocation_has_no_time_for_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_attempt(tmp_path, Attempt(number=1, seconds_left=0.5))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CalculationError, match="allocation ends") as raised:
        static.original(CRYSTAL, ENGINE, FOLLOWUPS)
    assert raised.value.reason == "walltime"


def test_without_vasp_the_static_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATOMATE2_VASP_CMD", str(tmp_path / "no_vasp_here"))
    output = static.original(CRYSTAL, {"name": "vasp", "parameters": {}}, FOLLOWUPS)
    assert ended(output) == ("quarantined", "missing_program")
    assert "no_vasp_here" in output["message"]


def test_a_fault_of_vasp_is_raised_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    faults = {"seed": 1, "faults": [{"kind": "killed", "step": 1, "times": 9}]}
    engine = ENGINE | {"parameters": {"faults": faults}}
    with pytest.raises(CalculationError) as raised:
        static.original(CRYSTAL, engine, FOLLOWUPS)
    assert raised.value.reason == "killed"
