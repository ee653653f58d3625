"""A density file is read whole or not at all."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Chgcar, Poscar
from tests.unit.calculators.bader.densities import TRICLINIC, gaussians

from cathodeflow.calculators.bader.chgcar import DensityFile, read_density, write_density
from cathodeflow.errors import CalculationError
from cathodeflow.science.electronic.density import GridDensity

SHAPE = (6, 5, 4)
VALUES = np.random.default_rng(5).uniform(0.01, 9.0, (2, *SHAPE))
PLACES = np.array([[0.1, 0.2, 0.3], [0.6, 0.7, 0.8], [0.3, 0.6, 0.1]])
SPECIES = ("V", "O", "O")


def spin_polarised_text() -> str:
    """Write what VASP writes with ISPIN = 2: grid, occupancies, moments, grid, occupancies."""
    numbers = "\n".join("".join(f"  {v:.11E}" for v in VALUES[0].ravel(order="F")[k : k + 5]) for k in range(0, 120, 5))
    spin = "\n".join("".join(f"  {v:.11E}" for v in VALUES[1].ravel(order="F")[k : k + 5]) for k in range(0, 120, 5))
    occupancies = "".join(
        f"augmentation occupancies {atom:3d}   7\n" + "  0.1234567E+00" * 5 + "\n" + "  0.7654321E-01" * 2 + "\n"
        for atom in (1, 2, 3)
    )
    lattice = "\n".join("".join(f" {x:11.6f}" for x in row) for row in TRICLINIC)
    atoms = "\n".join("".join(f" {x:9.6f}" for x in row) for row in PLACES)
    grid = "".join(f" {n:4d}" for n in SHAPE)
    moments = "  0.2000000E+01  0.0000000E+00 -0.1000000E+00\n"
    head = f"V O2\n   1.00000000000000\n{lattice}\n   V    O\n     1     2\nDirect\n{atoms}\n \n"
    return f"{head}{grid}\n{numbers}\n{occupancies}{moments}{grid}\n{spin}\n{occupancies}"


TEXT = spin_polarised_text()


def test_a_spin_polarised_file_gives_both_densities(tmp_path):
    path = tmp_path / "CHGCAR"
    path.write_text(TEXT)
    content = read_density(path)
    assert content.species == SPECIES
    assert content.positions == pytest.approx(PLACES)
    volume = abs(np.linalg.det(TRICLINIC))
    assert content.density.values * volume == pytest.approx(VALUES[0], rel=1e-10)
    assert content.magnetisation.values * volume == pytest.approx(VALUES[1], rel=1e-10)
    assert content.density.electrons == pytest.approx(VALUES[0].mean(), rel=1e-9)


def test_pymatgen_and_this_reader_agree_both_ways(tmp_path):
    structure = Structure(Lattice(TRICLINIC), ["V", "O", "O"], PLACES)
    Chgcar(Poscar(structure), {"total": VALUES[0], "diff": VALUES[1]}).write_file(tmp_path / "theirs")
    ours = read_density(tmp_path / "theirs")
    assert ours.density.values * structure.volume == pytest.approx(VALUES[0], rel=1e-9)
    assert ours.magnetisation.values * structure.volume == pytest.approx(VALUES[1], rel=1e-9)

    signed = GridDensity(VALUES[1] - 5.0, TRICLINIC)
    write_density(tmp_path / "CHGCAR", DensityFile(SPECIES, PLACES, signed, ours.magnetisation), "difference")
    theirs = Chgcar.from_file(tmp_path / "CHGCAR")
    assert theirs.data["total"] == pytest.approx(signed.values * structure.volume, rel=1e-9)
    assert theirs.data["diff"] == pytest.approx(VALUES[1], rel=1e-9)
    assert [site.specie.symbol for site in theirs.structure] == list(SPECIES)
    again = read_density(tmp_path / "CHGCAR")
    assert again.density.values == pytest.approx(signed.values, rel=1e-10)


def test_a_gzipped_file_is_read_and_a_cut_one_refused(tmp_path):
    packed = gzip.compress(TEXT.encode())
    path = tmp_path / "CHGCAR.gz"
    path.write_bytes(packed)
    assert read_density(path).density.values.shape == SHAPE
    path.write_bytes(packed[:-20])
    with pytest.raises(CalculationError, match="damaged"):
        read_density(path)


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, len(TEXT) - 1))
def test_a_file_cut_anywhere_is_refused_or_has_lost_only_what_is_not_used(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("chgcar") / "CHGCAR"
    path.write_text(TEXT[:cut])
    try:
        content = read_density(path)
    except CalculationError:
        return
    # Cut at the end of a whole grid or of all its occupancies: the total density is untouched.
    assert content.density.values * abs(np.linalg.det(TRICLINIC)) == pytest.approx(VALUES[0], rel=1e-10)
    first_grid_ends = TEXT.index("augmentation")
    assert cut >= first_grid_ends
    assert content.magnetisation is None or cut >= TEXT.rindex(
        "\n", 0, TEXT.index("augmentation", len(TEXT) // 2 + 500)
    )


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, len(TEXT) - 1), byte=st.integers(0, 255))
def test_a_damaged_byte_is_refused_or_changes_one_number_at_most(tmp_path_factory, place, byte):
    raw = bytearray(TEXT.encode())
    raw[place] = byte
    path = tmp_path_factory.mktemp("chgcar") / "CHGCAR"
    path.write_bytes(bytes(raw))
    try:
        content = read_density(path)
    except CalculationError:
        return
    volume = abs(np.linalg.det(content.density.lattice))
    scale = content.density.lattice[0, 0] / TRICLINIC[0, 0]
    differing = [
        ~np.isclose(content.density.values * volume, VALUES[0], rtol=1e-9),
        ~np.isclose(content.positions, PLACES, atol=1e-12),
        ~np.isclose(content.density.lattice, TRICLINIC) & ~np.isclose(content.density.lattice, TRICLINIC * scale),
    ]
    assert sum(int(changed.sum()) for changed in differing) <= 1


def test_exponents_of_three_digits_are_read_as_fortran_writes_them(tmp_path):
    content = gaussians(TRICLINIC, PLACES, [1.0, 1.0, 1.0], SPECIES, shape=(4, 4, 4))
    path = tmp_path / "CHGCAR"
    write_density(path, content, "small")
    lines = path.read_text().split("\n")
    first = next(k for k, line in enumerate(lines) if line.split() == ["4", "4", "4"]) + 1
    lines[first] = " 0.12345678901-104" + lines[first][19:]
    path.write_text("\n".join(lines))
    assert read_density(path).density.values[0, 0, 0] == pytest.approx(0.0, abs=1e-100)
    assert read_density(path).density.values[1, 0, 0] == pytest.approx(content.density.values[1, 0, 0], rel=1e-9)


def test_a_missing_file_names_itself(tmp_path):
    with pytest.raises(CalculationError, match="AECCAR0 is missing"):
        read_density(tmp_path / "AECCAR0")
