"""LOBSTER through custodian, with the stand-in: bonds come back as they were put in, failures with their reason."""

from __future__ import annotations

import gzip
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Structure

from cathodeflow.calculators.lobster.inputs import lobster_basis
from cathodeflow.calculators.lobster.run import KEPT, bring_vasp_files, run_lobster
from cathodeflow.calculators.rehearsal.cohp import SPIN_SHARES, strength
from cathodeflow.errors import CalculationError
from cathodeflow.science.electronic.bonding import contacts_within, polyhedron_bonding

CUTOFF = 2.6
BASIS = lobster_basis({"Na": "Na_pv", "V": "V_pv", "O": "O", "F": "F"})


@pytest.fixture
def run(programs: Path, crystal: Structure) -> Callable[..., Any]:
    def begin(folder: Path, **options: Any) -> Any:
        given = {"command": str(programs / "lobster"), **options}
        return run_lobster(folder, crystal, given.pop("basis", BASIS), cutoff=CUTOFF, **given)

    return begin


@pytest.mark.parametrize("spins", [1, 2])
def test_every_bond_of_the_polyhedra_comes_back_as_it_was_put_in(calculated, crystal, run, spins):
    folder = calculated(ISPIN=str(spins))
    began = time.monotonic()
    found = run(folder)
    took = time.monotonic() - began
    species = [site.specie.symbol for site in crystal]
    contacts = contacts_within(crystal.lattice.matrix, crystal.frac_coords, species, [1, 2], {"O", "F"}, CUTOFF)
    polyhedra = polyhedron_bonding(contacts, species, found.result.bonds)
    assert [polyhedron.centre for polyhedron in polyhedra] == [1, 2]
    compared = 0
    for polyhedron in polyhedra:
        for contact, value in zip(polyhedron.contacts, polyhedron.strengths, strict=True):
            expected = strength("V", species[contact.ligand], contact.length)
            assert value == pytest.approx(expected, abs=1.01e-5 * spins)
            compared += 1
    assert compared == len(contacts) > 6
    for bond in found.result.bonds:
        assert [-value / bond.strength for value in bond.icohp] == pytest.approx(SPIN_SHARES[spins], abs=1e-4)
    assert found.result.quality.charge_spilling == (0.01,) * spins
    assert set(found.result.quality.basis) == {"Na", "V", "O", "F"}
    assert found.version == "v5.1.1-rehearsal"
    assert found.interventions == ()
    assert 0 < found.wall_s <= took


def test_only_results_are_left_and_the_wave_functions_are_the_callers(calculated, run):
    folder = calculated()
    run(folder)
    left = {file.name.removesuffix(".gz") for file in folder.iterdir() if "lobster" in file.name.lower()}
    assert left - {"rehearsal_lobster.json", "std_err_lobster.txt"} == set(KEPT)
    assert (folder / "WAVECAR").exists()


def test_a_second_run_in_the_folder_never_reads_the_first_ones_results(calculated, run, faulty):
    folder = calculated()
    run(folder)
    faulty({"kind": "killed", "times": 9})
    with pytest.raises(CalculationError) as caught:
        run(folder)
    assert caught.value.reason == "killed"
    assert not list(folder.glob("ICOHPLIST*"))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "killed"}, "killed"),
        ({"kind": "out_of_memory"}, "out_of_memory"),
        ({"kind": "disk_full"}, "disk_full"),
        ({"kind": "exit_code", "code": 3}, "exit_code"),
        ({"kind": "unfinished"}, "broken_output"),
        ({"kind": "truncated", "fraction": 0.5}, "broken_output"),
        ({"kind": "charge_spilling"}, "charge_spilling"),
        ({"kind": "frozen"}, "timeout"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_a_fault_ends_with_its_true_reason(calculated, run, faulty, fault, reason):
    faulty(fault)
    with pytest.raises(CalculationError) as caught:
        run(calculated(), wall_time_s=3.0 if fault["kind"] == "frozen" else 600.0)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"NBANDS": "25"}, r"too few bands.*NBANDS is 25, but the basis has 34 functions"),
        ({"LWAVE": ".FALSE."}, "WAVECAR is missing"),
    ],
    ids=["bands", "wave functions"],
)
def test_what_vasp_did_not_give_is_named(calculated, run, tags, said):
    with pytest.raises(CalculationError, match=said):
        run(calculated(**tags))


def test_an_absent_program_is_named_before_anything_is_written(calculated, crystal, tmp_path):
    folder = calculated()
    with pytest.raises(CalculationError, match="ATOMATE2_LOBSTER_CMD") as caught:
        run_lobster(folder, crystal, BASIS, cutoff=CUTOFF, command=str(tmp_path / "no lobster"))
    assert caught.value.reason == "missing_program"
    assert not (folder / "lobsterin").exists()


def test_a_launcher_that_does_not_find_its_program_is_a_missing_program(calculated, run):
    with pytest.raises(CalculationError) as caught:
        run(calculated(), command="env no_such_lobster")
    assert caught.value.reason == "missing_program"


def test_the_command_is_that_of_this_machine(calculated, run, programs, monkeypatch):
    monkeypatch.setenv("ATOMATE2_LOBSTER_CMD", f"env LC_ALL=C {programs / 'lobster'}")
    assert run(calculated(), command=None).result.bonds


@pytest.mark.parametrize(("given", "seen"), [({"threads": 48}, "48"), ({}, "7")])
def test_the_program_has_the_threads_it_is_given(calculated, run, programs, tmp_path, monkeypatch, given, seen):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    script = tmp_path / "wrapped"
    script.write_text(f'#!/bin/sh\necho "$OMP_NUM_THREADS" > {tmp_path}/threads\nexec {programs / "lobster"}\n')
    script.chmod(0o700)
    assert run(calculated(), command=str(script), **given).result.bonds
    assert (tmp_path / "threads").read_text().strip() == seen


def test_files_of_another_folder_are_linked_or_unpacked(static_run, run, tmp_path):
    source, folder = tmp_path / "static", tmp_path / "bonding"
    shutil.copytree(static_run(), source)
    for name in ("WAVECAR", "OUTCAR"):
        (source / f"{name}.gz").write_bytes(gzip.compress((source / name).read_bytes()))
        (source / name).unlink()
    bring_vasp_files(source, folder)
    assert run(folder).result.bonds
    whole = (source / "WAVECAR.gz").read_bytes()
    for damaged in (whole[:-9], whole[:12] + b"\xff\xff" + whole[14:]):
        (source / "WAVECAR.gz").write_bytes(damaged)
        with pytest.raises(CalculationError, match=r"WAVECAR\.gz is damaged") as caught:
            bring_vasp_files(source, folder)
        assert caught.value.reason == "broken_output"
        assert not (folder / "WAVECAR").exists()
    (source / "vasprun.xml").unlink()
    with pytest.raises(CalculationError, match=r"vasprun.xml is missing"):
        bring_vasp_files(source, tmp_path / "other")
