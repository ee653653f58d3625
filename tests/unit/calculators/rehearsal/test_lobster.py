"""The stand-in lobster: files that pymatgen reads, what it refuses, and the stated model."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.lobster import Charge, Cohpcar, Icohplist, Lobsterout

from cathodeflow.calculators.rehearsal import lobster
from cathodeflow.calculators.rehearsal.cohp import CENTRE, Generator, curve, held, interactions, strength
from cathodeflow.errors import CalculationError

LOBSTERIN = """! every bond of iron to oxygen
COHPstartEnergy -35  # eV
COHPendEnergy 5
basisSet pbeVaspFit2015
basisfunctions Fe 3d 3p 4s
basisfunctions O 2p 2s
cohpGenerator from 0.1 to 2.6 type Fe type O
"""
FUNCTIONS = 4 * 9 + 4 * 4


@pytest.fixture
def calculated(
    write_run: Callable[..., Path], environment: Callable[..., Any], run_here: Callable[[Path], int]
) -> Callable[..., Path]:
    """Return the folder of a static run that is ready for lobster."""

    def make(lobsterin: str = LOBSTERIN, **tags: str | None) -> Path:
        environment()
        static = {"NSW": None, "IBRION": None, "ISIF": None, "ISYM": "0", "NBANDS": "60"}
        folder = write_run(**{**static, **tags})
        assert run_here(folder) == 0
        (folder / "lobsterin").write_text(lobsterin)
        return folder

    return make


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spins", [1, 2])
def test_pymatgen_reads_the_bonds_that_were_put_in(calculated, spins):
    folder = calculated(ISPIN=str(spins))
    assert lobster.main() == 0
    crystal = Structure.from_file(folder / "CONTCAR")
    bonds = Icohplist(filename=folder / "ICOHPLIST.lobster").icohpcollection
    curves = Cohpcar(filename=folder / "COHPCAR.lobster")
    assert curves.is_spin_polarized == (spins == 2)
    assert len(curves.cohp_data) == len(bonds._list_labels) + 1 > 12
    for label in bonds._list_labels:
        data = curves.cohp_data[label]
        first, second = (crystal[atom] for atom in data["sites"])
        assert {first.specie.symbol, second.specie.symbol} == {"Fe", "O"}
        expected = strength("Fe", "O", data["length"])
        assert -bonds.get_icohp_by_label(label) == pytest.approx(expected, abs=1.01e-5 * spins)
        at_fermi = sum(np.interp(0.0, curves.energies, values) for values in data["ICOHP"].values())
        assert -at_fermi == pytest.approx(expected, abs=1e-4)
    near = [len([n for n in crystal.get_neighbors(site, 2.6) if n.specie.symbol == "O"]) for site in crystal[:4]]
    assert sum(near) == len(bonds._list_labels)


@pytest.mark.filterwarnings("ignore")
def test_pymatgen_reads_the_protocol_and_the_charges(calculated):
    folder = calculated()
    assert lobster.main() == 0
    protocol = Lobsterout(folder / "lobsterout")
    assert protocol.lobster_version == lobster.VERSION
    assert protocol.charge_spilling == [0.01, 0.01]
    assert protocol.total_spilling == []  # as of version 5, where nothing asks for it
    assert protocol.elements == ["Fe", "O"]
    assert sum(len(functions) for functions in protocol.basis_functions) * 4 == FUNCTIONS
    assert protocol.has_cohpcar
    assert protocol.has_coopcar
    charges = Charge(folder / "CHARGE.lobster")
    assert charges.mulliken == pytest.approx([0.4 * (3.44 - 1.83) / 2] * 4 + [-0.4 * (3.44 - 1.83) / 2] * 4)
    overlap = Icohplist(filename=folder / "ICOOPLIST.lobster", are_coops=True).icohpcollection
    assert overlap.get_icohp_by_label("1") > 0


@pytest.mark.filterwarnings("ignore")
def test_total_spilling_is_told_where_it_is_asked_for(calculated):
    folder = calculated(LOBSTERIN + "printTotalSpilling\n")
    assert lobster.main() == 0
    assert Lobsterout(folder / "lobsterout").total_spilling == [0.025, 0.025]


def test_what_is_skipped_is_not_written(calculated):
    folder = calculated(LOBSTERIN + "skipcoop\nSKIPCOBI\nskipPopulationAnalysis\n")
    assert lobster.main() == 0
    written = {file.name for file in folder.glob("*.lobster")}
    assert written == {"COHPCAR.lobster", "ICOHPLIST.lobster"}


@pytest.mark.parametrize(
    ("text", "tags", "missing", "said"),
    [
        (None, {}, "", "lobsterin"),
        (LOBSTERIN, {"LWAVE": ".FALSE."}, "", "WAVECAR"),
        (LOBSTERIN, {}, "CONTCAR", "CONTCAR"),
        (LOBSTERIN, {}, "POTCAR.spec", "POTCAR"),
        (LOBSTERIN, {}, "KPOINTS", "KPOINTS"),
        (LOBSTERIN.replace("basisfunctions O 2p 2s\n", ""), {}, "", "no basis functions for O"),
        (LOBSTERIN.replace("2p 2s", "2x"), {}, "", "no element with its functions"),
        (LOBSTERIN, {"NBANDS": "51"}, "", "You are employing too few bands in your PAW calculation."),
        (LOBSTERIN, {"ISYM": "2"}, "", "Switch the symmetry off"),
        (LOBSTERIN.replace("from 0.1", "form 0.1"), {}, "", "cannot be read"),
        (LOBSTERIN + "cohpgenerators\n", {}, "", "unknown"),
        (LOBSTERIN.replace("-35", "low"), {}, "", "a number was expected"),
    ],
)
def test_it_refuses_what_lobster_refuses(calculated, capsys, monkeypatch, text, tags, missing, said):
    symmetric = "2" in tags.get("ISYM", "")
    if symmetric:  # a crystal that has some
        monkeypatch.setattr(
            "tests.unit.calculators.rehearsal.conftest.IRON_OXIDE",
            "rock salt\n4.3\n1 0 0\n0 1 0\n0 0 1\nFe O\n4 4\nDirect\n"
            "0 0 0\n0 0.5 0.5\n0.5 0 0.5\n0.5 0.5 0\n0.5 0.5 0.5\n0.5 0 0\n0 0.5 0\n0 0 0.5\n",
        )
    folder = calculated(text or "", **tags)
    for name in ["lobsterin"] * (text is None) + [missing] * bool(missing):
        (folder / name).unlink()
    assert lobster.main() == 1
    protocol = (folder / "lobsterout").read_text()
    assert said in protocol
    assert said in capsys.readouterr().out
    assert "finished" not in protocol
    assert not (folder / "ICOHPLIST.lobster").exists()


def test_as_many_bands_as_functions_and_no_symmetry_to_use_are_enough(calculated):
    calculated(NBANDS=str(FUNCTIONS), ISYM="2")  # this crystal's atoms are a little off: nothing to reduce by
    assert lobster.main() == 0


def test_a_range_that_begins_too_high_loses_what_lies_below(calculated):
    folder = calculated(LOBSTERIN.replace("-35", f"-{CENTRE}"))
    assert lobster.main() == 0
    row = (folder / "ICOHPLIST.lobster").read_text().splitlines()[2].split()
    assert -float(row[7]) - float(row[8]) == pytest.approx(strength("Fe", "O", float(row[3])) / 2, abs=3e-5)


def test_its_program_writes_the_same_to_its_output_and_to_lobsterout(calculated, programs, environment):
    folder = calculated()
    with (folder / "lobsterout").open("w") as stream:  # as custodian starts it
        assert subprocess.run([programs / "lobster"], cwd=folder, stdout=stream, check=False).returncode == 0
    text = (folder / "lobsterout").read_text()
    assert text.count("finished in") == text.count("LOBSTER v") == 1


def test_a_fault_of_another_program_does_not_come(calculated, environment):
    folder = calculated()
    environment({"kind": "killed"}, {"kind": "exit_code", "program": "bader"})
    assert lobster.main() == 0
    environment({"kind": "exit_code", "code": 9, "program": "lobster", "times": 2})
    assert lobster.main() == 9
    assert (folder / "rehearsal.json").read_text().count("kind") == 0
    assert '"kind": "exit_code"' in (folder / "rehearsal_lobster.json").read_text()
    environment({"kind": "zbrent", "program": "lobster"})
    assert lobster.main() == 1
    assert "no fault 'zbrent'" in (folder / "lobsterout").read_text()


@given(
    lengths=st.tuples(*[st.floats(2.0, 6.0)] * 3),
    angle=st.floats(60, 120),
    places=st.lists(st.tuples(*[st.floats(-1, 2)] * 3), min_size=2, max_size=3),
)
def test_every_pair_is_found_once_over_periodic_images(lengths, angle, places):
    lattice = Lattice.from_parameters(*lengths, angle, 90, 90)
    crystal = Structure(lattice, ["V", "O", "O"][: len(places)], places)
    assume(crystal.distance_matrix[np.triu_indices(len(places), 1)].min() >= 0.1)
    inner, outer = (sum(map(len, crystal.get_all_neighbors(3.0 + margin))) for margin in (-1e-6, 1e-6))
    assume(inner == outer)  # on the very limit rounding decides
    found = interactions(lattice.matrix, np.array(places), [s.specie.symbol for s in crystal], [Generator(0.0, 3.0)])
    assert 2 * len(found) == inner
    for bond in found:
        vector = np.array(places[bond.atoms[1]]) + bond.translation - places[bond.atoms[0]]
        assert np.linalg.norm(vector @ lattice.matrix) == pytest.approx(bond.length)


@given(start=st.floats(-40, -0.1), end=st.floats(0.1, 20))
def test_a_curve_integrates_to_what_its_range_holds(start, end):
    energies = np.linspace(start, end, 4001)
    values, integral = curve(energies)
    assert -np.trapezoid(values, energies) == pytest.approx(held(start, end), abs=1e-4)
    assert -integral[-1] == pytest.approx(held(start, end), abs=1e-12)
    assert held(-40.0, 0.0) == pytest.approx(1.0, abs=1e-8)


def test_a_definition_for_an_unknown_program_is_refused(environment, tmp_path):
    from cathodeflow.calculators.rehearsal.faults import faults_of_run

    environment({"kind": "killed", "program": "gulp"})
    with pytest.raises(CalculationError, match="no program 'gulp'"):
        faults_of_run(tmp_path, "lobster")
