"""Elements are computed with the labels' basis set, functional and POTCARs: key by key in the written inputs."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from cathodeflow.calculators.vasp.input_sets import input_set
from cathodeflow.calculators.vasp.parameters import read_parameters
from cathodeflow.calculators.vasp.preset import load_preset
from cathodeflow.calculators.vasp.reference_settings import SHARED_TAGS, preset_of_phase, reference_preset

COBALT = Structure(Lattice.cubic(3.5), ["Co"] * 4, [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
OXYGEN = Structure(Lattice.cubic(12), ["O", "O"], [[0, 0, 0], [0, 0, 0.1]])
SILICON = Structure(Lattice.cubic(5.43), ["Si"] * 2, [[0, 0, 0], [0.25, 0.25, 0.25]])


@pytest.mark.parametrize("name", ["s0_relax", "s2_relax", "s3_movo_relax", "s3_nto_relax"])
def test_what_an_energy_means_is_as_in_the_labels(name: str) -> None:
    labels = load_preset(name)
    reference = reference_preset(labels, load_preset("s0_reference"))
    written = input_set(COBALT, preset_of_phase(reference, COBALT, is_molecule=False), potcar_spec=True)
    of_label = input_set(COBALT, labels, potcar_spec=True)
    for tag in SHARED_TAGS:
        assert written.incar.get(tag) == of_label.incar.get(tag), tag
    assert written.incar["ENCUT"] == labels.incar["ENCUT"].value
    assert written.incar.get("IVDW") == (11 if name == "s2_relax" else None)
    assert reference.corrections == labels.corrections
    assert not written.incar.get("LDAU")


def test_overrides_of_the_labels_reach_the_references() -> None:
    overrides = {"incar.ENCUT": 600, "incar.IVDW": 12, "potcar_symbols.Co": "Co_pv", "corrections": "none"}
    reference = read_parameters({"overrides": overrides}).reference
    written = input_set(COBALT, reference, potcar_spec=True)
    assert (written.incar["ENCUT"], written.incar["IVDW"]) == (600, 12)
    assert str(written.potcar).split() == ["Co_pv"]
    assert reference.corrections.value == "none"


def test_a_metal_is_smeared_on_a_dense_mesh_and_starts_ferromagnetic() -> None:
    preset = load_preset("s0_reference")
    written = input_set(COBALT, preset_of_phase(preset, COBALT, is_molecule=False), potcar_spec=True)
    incar = written.incar
    assert (incar["ISMEAR"], incar["SIGMA"], incar["KSPACING"], incar["ISIF"]) == (1, 0.2, 0.15, 3)
    assert incar["MAGMOM"] == [2.0] * 4


def test_an_element_with_a_gap_is_not_smeared_as_a_metal() -> None:
    incar = input_set(
        SILICON, preset_of_phase(load_preset("s0_reference"), SILICON, is_molecule=False), potcar_spec=True
    ).incar
    assert (incar["ISMEAR"], incar["SIGMA"]) == (0, 0.05)


def test_a_molecule_keeps_its_box_has_one_k_point_and_starts_as_a_triplet() -> None:
    written = input_set(
        OXYGEN, preset_of_phase(load_preset("s0_reference"), OXYGEN, is_molecule=True), potcar_spec=True
    )
    incar = written.incar
    assert (incar["ISIF"], incar["ISMEAR"], incar["SIGMA"]) == (2, 0, 0.05)
    assert "KSPACING" not in incar
    assert list(written.kpoints.kpts) == [(1, 1, 1)]
    assert incar["MAGMOM"] == [1.0, 1.0]
