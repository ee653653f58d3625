from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from cathodeflow.calculators.vasp.input_sets import hubbard_u_of, input_generator, input_set, written_order
from cathodeflow.calculators.vasp.preset import load_preset
from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.science.hosts.candidates import decorate
from cathodeflow.science.hosts.host import load_packaged_host

LEVEL = load_packaged_host("nvpf").level("Na3")
HSE = load_preset("s0_hse_band_edges")


def test_hybrid_run_without_band_edges_is_refused() -> None:
    with pytest.raises(CalculationError, match="run the static step first"):
        input_set(LEVEL.structure, HSE, potcar_spec=True)


def test_band_edges_have_no_place_in_another_preset() -> None:
    with pytest.raises(DefinitionError, match="takes no band edges"):
        input_generator(load_preset("s0_static"), band_edges=[(0, 0, 0)])


@pytest.mark.parametrize("override", [{"kpoints.spacing": 0.5}, {"kpoints.style": "monkhorst-pack"}])
def test_band_edges_need_a_grid_around_gamma(override: dict[str, object]) -> None:
    preset = load_preset("s0_hse_band_edges", override)
    with pytest.raises(DefinitionError, match="a grid centred at Γ"):
        input_generator(preset, band_edges=[(0, 0, 0)])


def test_equal_band_edges_are_one_point() -> None:
    kpoints = input_set(LEVEL.structure, HSE, band_edges=[(0.5, 0, 0), (0.5, 0, 0)], potcar_spec=True).kpoints
    assert kpoints.kpts_weights.count(0) == 1


@pytest.mark.parametrize("gamma", [(0, 0, 0), (1, 0, -1), (1e-9, 0, 0)])
def test_a_band_edge_on_the_mesh_is_not_computed_a_second_time(gamma: tuple[float, float, float]) -> None:
    kpoints = input_set(LEVEL.structure, HSE, band_edges=[gamma, (0.5, 0, 0)], potcar_spec=True).kpoints
    assert [tuple(point) for point in kpoints.kpts] == [(0, 0, 0), (0.5, 0, 0)]
    assert kpoints.kpts_weights == [1, 0]
    assert kpoints.num_kpts == 2


def test_weights_of_a_hybrid_mesh_sum_to_its_points() -> None:
    preset = load_preset("s0_hse_band_edges", {"kpoints.grid": [2, 2, 2]})
    for mask in (0, 0b00000111):
        structure = decorate(LEVEL, ["V", "Mo"], mask)
        kpoints = input_set(structure, preset, band_edges=[(0.5, 0, 0)], potcar_spec=True).kpoints
        assert sum(kpoints.kpts_weights) == 8
        assert kpoints.num_kpts == len(kpoints.kpts) == len(kpoints.kpts_weights)


@pytest.mark.parametrize("anion", ["O", "F", "S", "Se", "Cl"])
def test_an_overridden_u_holds_whatever_the_anion_is(anion: str) -> None:
    structure = Structure(
        Lattice.cubic(5), ["Mg", "V", "Mo", anion], [[0, 0, 0], [0.5] * 3, [0, 0, 0.5], [0.5, 0.5, 0]]
    )
    preset = load_preset("s2_relax", {"hubbard_u.V": 3.1})
    written = input_set(structure, preset, potcar_spec=True)
    order = [site.specie.symbol for site in written.poscar.structure]
    molybdenum = {"Mo": 4.38} if anion in ("O", "F") else {}  # the Materials Project has U with these alone
    assert hubbard_u_of(structure, preset) == {"V": 3.1} | molybdenum
    with_u = {"V", *molybdenum}
    assert written.incar["LDAUL"] == [2 if element in with_u else 0 for element in order]


def test_a_u_that_the_preset_has_anyway_changes_nothing_with_other_anions() -> None:
    structure = Structure(Lattice.cubic(5), ["Mg", "V", "S"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]])
    preset = load_preset("s2_relax", {"hubbard_u.V": 3.25})  # the Materials Project's, with O and F
    assert preset.overrides == ()
    assert hubbard_u_of(structure, preset) == {}


def test_written_order_brings_the_sites_of_a_run_back_to_the_cell() -> None:
    structure = decorate(LEVEL, ["Cu", "Mo"], 0b10100110)
    poscar = input_set(structure, load_preset("s0_relax"), potcar_spec=True).poscar.structure
    order = written_order(structure)
    assert sorted(order) == list(range(len(structure)))
    for site, index in zip(poscar, order, strict=True):
        assert site.specie == structure[index].specie
        assert site.distance(structure[index]) < 1e-6


@pytest.mark.parametrize("pair", [("Ru", "Pd"), ("Tc", "Cu")])
def test_written_order_holds_for_metals_of_one_electronegativity(pair: tuple[str, str]) -> None:
    structure = decorate(LEVEL, sorted(pair), 0b10100110)
    poscar = input_set(structure, load_preset("s0_relax"), potcar_spec=True).poscar.structure
    written = [structure[index] for index in written_order(structure)]
    assert [site.specie for site in poscar] == [site.specie for site in written]
    assert max(site.distance(other) for site, other in zip(poscar, written, strict=True)) < 1e-6


def test_potcar_symbols_stand_in_where_there_is_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "nowhere"))
    input_set(LEVEL.structure, load_preset("s0_relax")).write_input(tmp_path)
    assert (tmp_path / "POTCAR.spec").exists()
    assert not (tmp_path / "POTCAR").exists()
