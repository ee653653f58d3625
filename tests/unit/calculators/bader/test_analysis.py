"""Bader charges of densities whose charges are known, by both programs, and how a program may fail."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tests.unit.calculators.bader.densities import CUBIC, TRICLINIC, gaussians

from cathodeflow.calculators.bader import analysis
from cathodeflow.calculators.bader.chgcar import write_density
from cathodeflow.errors import CalculationError, MissingDependencyError
from cathodeflow.science.electronic.density import GridDensity

needs_pybader = pytest.mark.skipif(find_spec("pybader") is None, reason="pybader is not installed")

# Writes the file that the real program writes, from the two files that it is given.
STAND_IN = """#!{python}
import sys
import numpy as np
from pathlib import Path
from cathodeflow.calculators.bader.chgcar import read_density
from cathodeflow.calculators.bader.partition import partition
assert sys.argv[1] == "CHGCAR" and sys.argv[2] == "-ref"
given, reference = read_density(Path("CHGCAR")), read_density(Path(sys.argv[3]))
found = partition(
    *(np.ascontiguousarray(a) for a in (given.density.values, reference.density.values)), given.density.lattice,
    given.positions)
rule = " " + 80 * "-" + chr(10)
lines = ["    #   X   Y   Z   CHARGE   MIN DIST   ATOMIC VOL" + chr(10), rule]
places = given.positions @ given.density.lattice
for k, (place, q, d, v) in enumerate(
    zip(places, found["electrons"], found["min_distances"], found["volumes"], strict=True)):
    lines.append(f"{{k + 1:5d}}" + "".join(f"{{x:13.6f}}" for x in (*place, q, d, v)) + chr(10))
lines += [rule, "    VACUUM CHARGE:     0.0000" + chr(10), "    VACUUM VOLUME:     0.0000" + chr(10),
          f"    NUMBER OF ELECTRONS:   {{found['electrons'].sum():12.5f}}" + chr(10)]
Path("ACF.dat").write_text("".join(lines))
"""


def program(folder: Path, monkeypatch, text: str) -> None:
    """Put a `bader` that runs this Python text in front of everything on PATH."""
    path = folder / "bader"
    path.write_text(text.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


FACES = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
CASES = {
    "four charges in a cubic cell": (
        CUBIC,
        [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
        [7.2, 0.8, 5.0, 3.0],
    ),
    "two charges in a triclinic cell": (TRICLINIC, [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]], [6.5, 1.5]),
    "across the cell's faces": (TRICLINIC, [[0.98, 0.01, 0.99], [0.5, 0.5, 0.5]], [4.0, 2.0]),
    "given outside the cell": (CUBIC, [[-0.02, 1.01, 2.0], [1.5, -0.5, 0.5]], [4.0, 2.5]),
}


@needs_pybader
@pytest.mark.parametrize("case", CASES)
def test_charges_of_gaussians_are_found_within_a_thousandth_of_an_electron(case):
    lattice, positions, electrons = CASES[case]
    content = gaussians(lattice, positions, electrons, ["V"] * len(electrons))
    charges = analysis.analyse_density(content, program="pybader")
    assert charges.electrons == pytest.approx(electrons, abs=1e-3)
    assert charges.volumes.sum() == pytest.approx(content.density.volume, rel=1e-9)
    assert (charges.min_distances > 1.0).all()
    assert (charges.min_distances < 3.3).all()


@needs_pybader
def test_both_programs_give_the_same_result(tmp_path, monkeypatch):
    content = gaussians(TRICLINIC, [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]], [6.5, 1.5], ["V", "O"], shape=(30, 28, 32))
    with monkeypatch.context() as patched:
        program(tmp_path, patched, STAND_IN)
        assert analysis.available_program() == "bader"
        by_program = analysis.analyse_density(content)
    by_package = analysis.analyse_density(content, program="pybader")
    assert type(by_program) is type(by_package)
    for name in ("electrons", "volumes", "min_distances"):
        assert getattr(by_program, name) == pytest.approx(getattr(by_package, name), abs=2e-6)


@needs_pybader
def test_pybaders_own_command_does_not_count_as_the_bader_program(tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "#!{python}\nfrom pybader.entry_points import bader\nbader()\n")
    assert analysis.bader_program() is None
    assert analysis.available_program() == "pybader"


def test_without_any_program_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(analysis.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError, match="pip install pybader"):
        analysis.available_program()


@needs_pybader
def test_surfaces_come_from_the_reference_and_electrons_from_the_density():
    reference = gaussians(TRICLINIC, [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]], [6.5, 1.5], ["V", "O"], shape=(30, 28, 32))
    even = replace(reference, density=GridDensity(np.full((30, 28, 32), 0.1), TRICLINIC))
    charges = analysis.analyse_density(even, reference, program="pybader")
    assert charges.electrons == pytest.approx(0.1 * charges.volumes, rel=1e-9)


@needs_pybader
def test_moments_are_summed_in_the_same_volumes():
    places = [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]]
    reference = gaussians(TRICLINIC, places, [6.5, 1.5], ["V", "O"], shape=(30, 28, 32))
    moments = analysis.analyse_density(
        gaussians(TRICLINIC, places, [2.0, -0.1], ["V", "O"], shape=(30, 28, 32)), reference, program="pybader"
    )
    assert moments.electrons == pytest.approx([2.0, -0.1], abs=1e-3)


@needs_pybader
def test_a_finished_calculation_gives_its_valence_electrons_only(tmp_path):
    places = [[0, 0, 0], [0.5, 0.5, 0.5]]
    valence = gaussians(CUBIC, places, [5.0, 6.0], ["V", "O"])
    core = gaussians(CUBIC, places, [18.0, 2.0], ["V", "O"], width=0.25)
    for name, content in (("CHGCAR", valence), ("AECCAR0", core), ("AECCAR2", valence)):
        write_density(tmp_path / name, content, name)
    charges = analysis.analyse_folder(tmp_path, [5.0, 6.0], program="pybader")
    assert charges.electrons == pytest.approx([5.0, 6.0], abs=1e-3)
    with pytest.raises(CalculationError, match="instead of 12"):
        analysis.analyse_folder(tmp_path, [6.0, 6.0], program="pybader")


def test_a_digit_that_changed_is_seen_by_the_electrons(tmp_path):
    content = gaussians(CUBIC, [[0, 0, 0], [0.5, 0.5, 0.5]], [5.0, 6.0], ["V", "O"], shape=(12, 12, 12))
    for name in ("CHGCAR", "AECCAR0", "AECCAR2"):
        write_density(tmp_path / name, content, name)
    total = content.density.electrons
    text = (tmp_path / "CHGCAR").read_text()
    (tmp_path / "CHGCAR").write_text(text.replace("E+02", "E+01", 1))
    with pytest.raises(CalculationError, match="values of CHGCAR add up to"):
        analysis.analyse_folder(tmp_path, [total - 6.0, 6.0])


@needs_pybader
def test_empty_space_does_not_disturb_the_charges():
    content = gaussians(
        np.diag([14.0, 6.0, 6.0]), [[0, 0, 0], [0.2, 0.1, 0]], [5.0, 3.0], ["V", "O"], shape=(72, 30, 30)
    )
    values = content.density.values
    rough = np.where(values < 1e-6, np.random.default_rng(2).choice([0.0, 1e-9, -1e-9], values.shape), values)
    emptied = replace(content, density=GridDensity(rough, content.density.lattice))
    charges = analysis.analyse_density(emptied, program="pybader")
    assert charges.electrons == pytest.approx([5.0, 3.0], abs=1e-3)


def test_files_of_other_atoms_or_grids_are_refused(tmp_path):
    places = [[0, 0, 0], [0.5, 0.5, 0.5]]
    valence = gaussians(CUBIC, places, [5.0, 6.0], ["V", "O"], shape=(12, 12, 12))
    moved = replace(valence, positions=valence.positions + 0.01)
    finer = gaussians(CUBIC, places, [5.0, 6.0], ["V", "O"], shape=(12, 12, 14))
    for other, reason in ((moved, "different atoms"), (finer, "cannot be combined")):
        for name, content in (("CHGCAR", valence), ("AECCAR0", other), ("AECCAR2", valence)):
            write_density(tmp_path / name, content, name)
        with pytest.raises(CalculationError, match=reason):
            analysis.analyse_folder(tmp_path)
    (tmp_path / "AECCAR2").unlink()
    with pytest.raises(CalculationError, match="AECCAR2 is missing"):
        analysis.analyse_folder(tmp_path)


def test_a_flat_density_is_refused():
    content = gaussians(CUBIC, [[0, 0, 0]], [1.0], ["V"], shape=(8, 8, 8))
    flat = replace(content, density=GridDensity(np.ones((8, 8, 8)), CUBIC))
    with pytest.raises(CalculationError, match="constant"):
        analysis.analyse_density(flat)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#!{python}\nimport time\ntime.sleep(600)\n", "stopped after"),
        ("#!{python}\nraise SystemExit('no licence')\n", "no licence"),
        ("#!{python}\n", "no readable ACF.dat"),
        ("#!/no/such/interpreter\n", "cannot be started"),
    ],
    ids=["hangs", "fails", "writes nothing", "cannot start"],
)
def test_a_program_that_does_not_do_its_work_is_a_calculation_error(tmp_path, monkeypatch, text, reason):
    program(tmp_path, monkeypatch, text)
    content = gaussians(CUBIC, [[0, 0, 0]], [1.0], ["V"], shape=(8, 8, 8))
    with pytest.raises(CalculationError, match=reason):
        analysis.analyse_density(content, program="bader", timeout_s=2.0 if "sleep" in text else 600.0)
