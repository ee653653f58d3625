"""What is read of the electrons equals what the stand-in put in, and damaged files are refused."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from tests.stand_in_runs import finish_run

from cathodeflow.calculators.rehearsal import electrons, tables
from cathodeflow.calculators.rehearsal.densities import grid_of
from cathodeflow.calculators.rehearsal.inputs import VaspInputs, read_inputs
from cathodeflow.calculators.vasp.electronic_outputs import (
    read_density_grid,
    read_eigenvalues,
    read_fermi_energy,
    read_partial_dos,
    read_valences,
)
from cathodeflow.calculators.vasp.input_sets import written_order
from cathodeflow.calculators.vasp.preset import load_preset
from cathodeflow.errors import CalculationError
from cathodeflow.science.electronic.pdos import sum_by_element_and_shell

OXIDE = Structure(
    Lattice.orthorhombic(4.3, 4.4, 4.5),
    ["O", "Fe", "O", "V"],
    [[0.5, 0.5, 0.5], [0, 0, 0.02], [0.5, 0, 0], [0, 0.5, 0.5]],
)
SPECIES = [OXIDE[index].specie.symbol for index in written_order(OXIDE)]
QUICK = {"kpoints.grid": [2, 2, 2], "incar.NEDOS": 301}


def finished(folder: Path, spins: int) -> tuple[Path, VaspInputs]:
    finish_run(folder, OXIDE, load_preset("s0_static", QUICK | {"incar.ISPIN": spins}))
    return folder, read_inputs(folder)


@pytest.fixture(scope="module", params=[1, 2], ids=["unpolarised", "polarised"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, VaspInputs]:
    return finished(tmp_path_factory.mktemp("runs") / "static", request.param)


def copy_of(folder: Path, target: Path, *names: str, zipped: bool = False) -> Path:
    target.mkdir(exist_ok=True)
    for name in names:
        if zipped:
            (target / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        else:
            shutil.copy(folder / name, target / name)
    return target


def test_eigenvalues_are_those_of_the_model(run: tuple[Path, VaspInputs]) -> None:
    folder, inputs = run
    found, true = read_eigenvalues(folder), electrons.bands(inputs, electrons.moments(inputs))
    assert found.energies.shape == true.energies.shape
    assert np.abs(found.energies - true.energies).max() < 1e-6
    assert np.abs(found.occupations - true.occupations).max() < 1e-6
    assert np.abs(found.k_points - inputs.kpoints.points).max() < 1e-6
    assert np.abs(found.weights - inputs.kpoints.weights).max() < 1e-6
    assert found.electrons == inputs.electrons
    assert read_fermi_energy(folder) == pytest.approx(true.fermi)


def test_partial_densities_are_those_of_the_model(run: tuple[Path, VaspInputs]) -> None:
    folder, inputs = run
    true = tables.state_density(inputs, electrons.bands(inputs, electrons.moments(inputs)))
    found = read_partial_dos(folder, SPECIES)
    assert np.abs(found.energies - true.energies).max() < 1e-6
    assert found.densities == pytest.approx(true.partial, rel=1e-3, abs=1e-6)
    spacing = found.energies[1] - found.energies[0]
    p_states = sum_by_element_and_shell(found)["O", "p"].sum() * spacing
    assert p_states == pytest.approx(12 * 0.9, abs=0.01)  # of two oxygen atoms, projected with 0.9


def test_valences_and_grid_are_those_of_the_run(run: tuple[Path, VaspInputs]) -> None:
    folder, inputs = run
    assert read_valences(folder, SPECIES) == tuple(inputs.valences)
    assert read_density_grid(folder) == grid_of(inputs, inputs.cell)


def test_zirconium_is_known_by_what_vasp_calls_it(run: tuple[Path, VaspInputs], tmp_path: Path) -> None:
    folder, inputs = run
    head = (folder / "vasprun.xml").read_text().replace("<c>Fe</c>", "<c>r </c>")  # of the POTCAR Zr_sv of 2000
    (tmp_path / "vasprun.xml").write_text(head)
    of_zirconium = ["Zr" if element == "Fe" else element for element in SPECIES]
    assert read_valences(tmp_path, of_zirconium) == tuple(inputs.valences)
    with pytest.raises(CalculationError, match="atoms are not those"):
        read_valences(tmp_path, SPECIES)


def test_gzipped_files_say_the_same(run: tuple[Path, VaspInputs], tmp_path: Path) -> None:
    folder, _ = run
    zipped = copy_of(folder, tmp_path / "z", "EIGENVAL", "DOSCAR", "vasprun.xml", "CHGCAR", zipped=True)
    assert (read_eigenvalues(zipped).energies == read_eigenvalues(folder).energies).all()
    assert (read_partial_dos(zipped, SPECIES).densities == read_partial_dos(folder, SPECIES).densities).all()
    assert read_valences(zipped, SPECIES) == read_valences(folder, SPECIES)
    assert read_density_grid(zipped) == read_density_grid(folder)


def test_files_of_other_atoms_are_refused(run: tuple[Path, VaspInputs]) -> None:
    folder, _ = run
    with pytest.raises(CalculationError, match="atoms are not those") as other:
        read_valences(folder, [*SPECIES[:-1], "F"])
    assert other.value.reason == "broken_output"
    with pytest.raises(CalculationError, match="lines instead of"):
        read_partial_dos(folder, SPECIES[:-1])


def test_missing_files_are_named(tmp_path: Path) -> None:
    for name, read in (("EIGENVAL", read_eigenvalues), ("DOSCAR", read_fermi_energy), ("CHGCAR", read_density_grid)):
        with pytest.raises(CalculationError, match=f"{name}.*missing") as missing:
            read(tmp_path)
        assert missing.value.reason == "broken_output"


def test_densities_of_states_without_projections_are_refused(run: tuple[Path, VaspInputs], tmp_path: Path) -> None:
    folder, _ = run
    lines = (folder / "DOSCAR").read_text().splitlines(keepends=True)
    (tmp_path / "DOSCAR").write_text("".join(lines[: 6 + 301]))
    with pytest.raises(CalculationError, match="lines instead of"):
        read_partial_dos(tmp_path, SPECIES)
    assert np.isfinite(read_fermi_energy(tmp_path))


def test_exponents_of_three_digits_are_read(run: tuple[Path, VaspInputs], tmp_path: Path) -> None:
    folder, _ = run
    text = (folder / "DOSCAR").read_text()
    (tmp_path / "DOSCAR").write_text(text.replace("0.0000E+00", "0.1234-104"))
    assert (
        np.abs(read_partial_dos(tmp_path, SPECIES).densities - read_partial_dos(folder, SPECIES).densities).max()
        < 1e-90
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_files_cut_anywhere_are_refused_and_never_read_as_far_as_they_go(
    data: st.DataObject, run: tuple[Path, VaspInputs]
) -> None:
    folder, _ = run
    name = data.draw(st.sampled_from(["EIGENVAL", "DOSCAR"]))
    content = (folder / name).read_bytes()
    cut = folder.parent / "cut"
    cut.mkdir(exist_ok=True)
    (cut / name).write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(CalculationError) as broken:
        read_eigenvalues(cut) if name == "EIGENVAL" else read_partial_dos(cut, SPECIES)
    assert broken.value.reason == "broken_output"
