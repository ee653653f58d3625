"""S0 section 2.1: the files VASP would read against the paper's numbers, key by key, without VASP or POTCARs."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar

from cathodeflow.calculators.vasp.input_sets import hubbard_u_of, input_set, written_order
from cathodeflow.calculators.vasp.preset import load_preset
from cathodeflow.science.hosts.candidates import decorate
from cathodeflow.science.hosts.host import load_packaged_host

EDGES = [(0.0, 0.0, 0.0), (0.5, 0.25, 0.0)]
MATERIALS_PROJECT_U = {"Co": 3.32, "Cr": 3.7, "Fe": 5.3, "Mn": 3.9, "Mo": 4.38, "Ni": 6.2, "V": 3.25, "W": 6.2}
MATERIALS_PROJECT_MOMENTS = {"Co": 0.6, "Cr": 5, "Fe": 5, "Mn": 5, "Mo": 5, "Ni": 5, "V": 5, "W": 5}
POTCARS = {"Na": "Na_pv", "V": "V_pv", "P": "P", "O": "O", "F": "F", "Mo": "Mo_pv", "Au": "Au"}

# Key by key what S0 states; the same for every one of its runs.
EVERY_RUN = {"ENCUT": 550.0, "EDIFF": 1e-6, "ISPIN": 2}


def cell(name: str) -> Structure:
    level = load_packaged_host("nvpf").level("Na3")
    return level.structure if name == "pristine" else decorate(level, ["Mo", "Au"], 0b00000111)


@pytest.fixture(params=["pristine", "decorated"])
def structure(request: pytest.FixtureRequest) -> Structure:
    return cell(request.param)


def written(folder: Path, structure: Structure, preset: str) -> tuple[Incar, Kpoints, list[str]]:
    edges = EDGES if preset == "s0_hse_band_edges" else ()
    input_set(structure, load_preset(preset), band_edges=edges, potcar_spec=True).write_input(folder)
    assert not (folder / "POTCAR").exists()
    symbols = (folder / "POTCAR.spec").read_text().split()
    return Incar.from_file(folder / "INCAR"), Kpoints.from_file(folder / "KPOINTS"), symbols


@pytest.mark.parametrize("preset", ["s0_relax", "s0_static", "s0_pdos", "s0_hse_band_edges"])
def test_every_run_has_the_papers_cutoff_convergence_and_spin(
    tmp_path: Path, structure: Structure, preset: str
) -> None:
    incar, _, symbols = written(tmp_path, structure, preset)
    assert {key: incar[key] for key in EVERY_RUN} == EVERY_RUN
    assert "GGA" not in incar  # the POTCARs' own PBE
    assert "METAGGA" not in incar
    order = Poscar.from_file(tmp_path / "POSCAR").site_symbols
    assert symbols == [POTCARS[element] for element in order]


def test_relaxation_has_the_papers_forces_and_mesh(tmp_path: Path, structure: Structure) -> None:
    incar, kpoints, _ = written(tmp_path, structure, "s0_relax")
    assert incar["EDIFFG"] == -0.01
    assert (incar["IBRION"], incar["ISIF"]) == (2, 3)
    assert incar["NSW"] > 0
    assert kpoints.style is Kpoints.supported_modes.Monkhorst
    assert list(kpoints.kpts) == [(1, 1, 1)]
    assert "KSPACING" not in incar
    assert incar["ISMEAR"] == 0  # the tetrahedron method needs four k-points


def test_u_of_each_metal_is_the_materials_projects(tmp_path: Path) -> None:
    level = load_packaged_host("nvpf").level("Na3")
    for metal in ("V", "Mo", "Fe", "Mn", "Co", "Ni", "Cr", "W", "Ti", "Cu", "Au", "Ru"):
        structure = decorate(level, ["V", metal], 0b10000001) if metal != "V" else level.structure
        folder = tmp_path / metal
        incar, _, _ = written(folder, structure, "s0_relax")
        order = Poscar.from_file(folder / "POSCAR").site_symbols
        expected = {element: MATERIALS_PROJECT_U.get(element, 0.0) for element in order}
        assert dict(zip(order, incar["LDAUU"], strict=True)) == expected
        assert dict(zip(order, incar["LDAUL"], strict=True)) == {e: 2 if u else 0 for e, u in expected.items()}
        assert set(incar["LDAUJ"]) == {0}
        assert (incar["LDAU"], incar["LDAUTYPE"]) == (True, 2)
        assert hubbard_u_of(structure, load_preset("s0_relax")) == {e: u for e, u in expected.items() if u}


def test_moments_start_at_the_materials_projects_value_of_each_element(tmp_path: Path, structure: Structure) -> None:
    moved = structure.copy(site_properties={"magmom": [0.1] * len(structure)})  # as a relaxed crystal carries them
    incar, _, _ = written(tmp_path, moved, "s0_relax")
    sites = [structure[index].specie.symbol for index in written_order(structure)]
    assert [site.specie.symbol for site in Poscar.from_file(tmp_path / "POSCAR").structure] == sites
    assert incar["MAGMOM"] == [MATERIALS_PROJECT_MOMENTS.get(element, 0.6) for element in sites]


@pytest.mark.parametrize("preset", ["s0_pdos", "s0_static"])  # the follow-ups read the latter
def test_pdos_has_the_papers_mesh_and_orbitals(tmp_path: Path, structure: Structure, preset: str) -> None:
    incar, kpoints, _ = written(tmp_path, structure, preset)
    assert list(kpoints.kpts) == [(4, 4, 4)]
    assert (incar["NSW"], incar["LORBIT"]) == (0, 11)


def test_static_run_writes_what_bader_needs(tmp_path: Path, structure: Structure) -> None:
    incar, kpoints, _ = written(tmp_path, structure, "s0_static")
    assert incar["LAECHG"] is True
    assert incar["LCHARG"] is True
    assert incar["NSW"] == 0
    assert list(kpoints.kpts) == [(4, 4, 4)]


def test_hybrid_run_is_hse06_at_the_band_edges_without_weight(tmp_path: Path, structure: Structure) -> None:
    incar, kpoints, _ = written(tmp_path, structure, "s0_hse_band_edges")
    assert (incar["LHFCALC"], incar["HFSCREEN"], incar["AEXX"]) == (True, 0.2, 0.25)
    assert incar["NSW"] == 0
    assert incar.get("LDAU", False) is False
    assert "LDAUU" not in incar
    weights = kpoints.kpts_weights
    assert weights is not None
    assert [tuple(point) for point in kpoints.kpts] == EDGES  # Γ is the mesh itself
    assert list(weights) == [1, 0]
    assert sum(weights) == 1  # of the 1×1×1 mesh
    assert incar["ISMEAR"] == 0
