"""S3 section 2.1: the files VASP would read, against the paper's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.io.vasp.inputs import Incar, Kpoints

from cathodeflow.calculators.vasp.input_sets import input_set
from cathodeflow.calculators.vasp.preset import load_preset
from cathodeflow.science.hosts.host import load_packaged_host


@pytest.mark.parametrize(("preset", "mesh"), [("s3_movo_relax", (4, 4, 1)), ("s3_nto_relax", (1, 4, 5))])
def test_relaxation_has_the_papers_settings(tmp_path: Path, preset: str, mesh: tuple[int, int, int]) -> None:
    structure = load_packaged_host("nvpf").level("Na3").structure
    input_set(structure, load_preset(preset), potcar_spec=True).write_input(tmp_path)
    incar = Incar.from_file(tmp_path / "INCAR")
    stated = {"ENCUT": 520.0, "EDIFF": 1e-6, "EDIFFG": -0.02}
    assert {key: incar[key] for key in stated} == stated
    assert incar.get("LDAU", False) is False
    assert "IVDW" not in incar
    assert list(Kpoints.from_file(tmp_path / "KPOINTS").kpts) == [mesh]
    assert (tmp_path / "POTCAR.spec").read_text().split() == ["Na_pv", "V_pv", "P", "O", "F"]
