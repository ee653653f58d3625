"""Formats are counted; the stand-in writes VASP's formats, so its files have to have the sizes counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.io.vasp.outputs import Vasprun
from tests.unit.calculators.rehearsal import conftest as rehearsing

from cathodeflow.calculators.vasp.file_sizes import RunSize, file_sizes, wavecar_bytes, zipped

write_run, environment, run_here = rehearsing.write_run, rehearsing.environment, rehearsing.run_here

FACTOR = {"CHGCAR": 1.15, "AECCAR0": 1.15, "AECCAR2": 1.15, "PROCAR": 1.3, "vasprun.xml": 1.5, "DOSCAR": 1.5}
"""What docs/science/costs.md states for each file."""

SIZE = RunSize(
    atoms=72, species=5, bands=293, plane_waves=26954, k_points=36, spins=2, ionic_steps=1, electronic_steps=30,
    density_grid=(140, 140, 164), core_density=True,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_a_stand_ins_files_have_the_sizes_that_are_counted(
    write_run: Callable[..., Path], environment: Callable[..., Any], run_here: Callable[[Path], int]
):
    environment()
    folder = write_run()
    assert run_here(folder) == 0
    run = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    lines = (folder / "CHGCAR").read_text().splitlines()
    grid = next(line.split() for line in lines[10:] if len(line.split()) == 3 and all(map(str.isdigit, line.split())))
    expected = file_sizes(
        RunSize(
            atoms=8,
            species=2,
            bands=run.parameters["NBANDS"],
            plane_waves=1.0,
            k_points=len(run.actual_kpoints),
            spins=2,
            ionic_steps=run.nionic_steps,
            electronic_steps=sum(len(step["electronic_steps"]) for step in run.ionic_steps),
            density_grid=(int(grid[0]), int(grid[1]), int(grid[2])),
            dos_energies=len(run.tdos.energies),
            core_density=True,
        )
    )
    for name, factor in FACTOR.items():
        found = (folder / name).stat().st_size
        assert found / factor < expected[name] < found * factor, (name, found, expected[name])


def test_wavecar_is_a_record_a_band_of_eight_bytes_a_plane_wave():
    assert wavecar_bytes(SIZE) == 26954 * 8 * (2 + 2 * 36 * 294)
    halved = replace(SIZE, plane_waves=26954 / 2)
    assert wavecar_bytes(halved) == wavecar_bytes(SIZE) / 2  # the Γ-only program keeps half


def test_files_that_are_switched_off_are_not_there():
    off = replace(SIZE, density=False, core_density=False, orbitals=False, projections=False)
    assert set(file_sizes(SIZE)) - set(file_sizes(off)) == {
        *("CHGCAR", "CHG", "AECCAR0", "AECCAR1", "AECCAR2", "WAVECAR", "PROCAR"),
    }


@given(
    st.sampled_from(["bands", "k_points", "atoms", "ionic_steps", "electronic_steps", "plane_waves"]),
    st.floats(1.1, 10),
)
def test_more_of_anything_makes_no_file_smaller(what: str, factor: float):
    larger = file_sizes(replace(SIZE, **{what: getattr(SIZE, what) * factor}))
    assert all(larger[name] >= size for name, size in file_sizes(SIZE).items())
    assert sum(larger.values()) > sum(file_sizes(SIZE).values())


def test_compression_helps_every_file_and_wave_functions_least():
    left = {name: zipped(name, size) / size for name, size in file_sizes(SIZE).items()}
    assert all(0 < share < 1 for share in left.values())
    assert max(left, key=left.__getitem__) == "WAVECAR"
