"""S2, Methods (first-principles validation): the files VASP would read, against the paper's numbers."""

from __future__ import annotations

from pathlib import Path

from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Incar, Poscar

from cathodeflow.calculators.vasp.input_sets import input_set
from cathodeflow.calculators.vasp.preset import load_preset
from cathodeflow.science.hosts.host import load_packaged_host


def test_relaxation_has_the_papers_settings(tmp_path: Path) -> None:
    structure = load_packaged_host("nvpf").level("Na3").structure
    input_set(structure, load_preset("s2_relax"), potcar_spec=True).write_input(tmp_path)
    incar = Incar.from_file(tmp_path / "INCAR")
    stated = {"ENCUT": 520.0, "EDIFF": 1e-6, "EDIFFG": -0.01, "KSPACING": 0.2, "IVDW": 11, "ISIF": 3, "LDAU": True}
    assert {key: incar[key] for key in stated} == stated
    assert not (tmp_path / "KPOINTS").exists()  # VASP would read it in place of KSPACING
    order = Poscar.from_file(tmp_path / "POSCAR").site_symbols
    assert dict(zip(order, incar["LDAUU"], strict=True)) == {"Na": 0.0, "V": 3.25, "P": 0.0, "O": 0.0, "F": 0.0}
    assert (tmp_path / "POTCAR.spec").read_text().split() == ["Na_pv", "V_pv", "P", "O", "F"]


def test_sulfides_have_no_u_as_in_the_materials_project(tmp_path: Path) -> None:
    spinel_like = Structure(Lattice.cubic(4.2), ["Mg", "Mn", "S"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]])
    input_set(spinel_like, load_preset("s2_relax"), potcar_spec=True).write_input(tmp_path)
    incar = Incar.from_file(tmp_path / "INCAR")
    assert "LDAUU" not in incar
    assert (tmp_path / "POTCAR.spec").read_text().split() == ["Mg_pv", "Mn_pv", "S"]
