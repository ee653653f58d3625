"""Hosts: the packaged ones, a user's own, and the broken ones that are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from cathodeflow.errors import HostError
from cathodeflow.science.hosts.geometry import OVERLAP_RATIO, closest_contact
from cathodeflow.science.hosts.host import (
    PACKAGED_HOSTS,
    Host,
    HostLevel,
    check_host,
    load_packaged_host,
    read_host,
)


@pytest.fixture(scope="module")
def nvpf() -> Host:
    return load_packaged_host("nvpf")


@pytest.fixture
def olivine_files(tmp_path: Path) -> dict[str, Path]:
    """Two levels of a user's own host, lithium in and out, as CIF files."""
    host = load_packaged_host("lifepo4")
    written = {}
    for level in host.levels:
        written[level.label] = tmp_path / f"{level.label}_mine.cif"
        level.structure.to(filename=str(written[level.label]), fmt="cif")
    return written


def with_level(host: Host, number: int, **changes: object) -> Host:
    levels = list(host.levels)
    levels[number] = replace(levels[number], **changes)
    return replace(host, levels=tuple(levels))


@pytest.mark.parametrize("name", PACKAGED_HOSTS)
def test_packaged_hosts_pass_their_own_check(name: str) -> None:
    check_host(load_packaged_host(name))


def test_nvpf_has_eight_vanadium_sites_at_four_sodium_levels(nvpf: Host) -> None:
    assert nvpf.level_labels == ("Na4", "Na3", "Na2", "Na1")
    assert [level.working_ion_count for level in nvpf.levels] == [16, 12, 8, 4]
    assert nvpf.n_sites == 8
    for level in nvpf.levels:
        framework = {k: v for k, v in level.structure.composition.as_dict().items() if k != "Na"}
        assert framework == {"V": 8, "P": 8, "O": 32, "F": 12}
        assert {level.structure[i].specie.symbol for i in level.site_indices} == {"V"}


def test_nvpf_cells_have_the_volumes_of_their_sources(nvpf: Host) -> None:
    volumes = [level.structure.volume for level in nvpf.levels]
    assert volumes == pytest.approx([945.3, 920.3, 898.7, 889.6], abs=0.05)


def test_masks_refer_to_the_same_sites_in_every_version(nvpf: Host) -> None:
    """The meaning of a stored mask hangs on the order in which the cells are read."""
    level = nvpf.level("Na3")
    first, last = (level.structure[level.site_indices[i]].frac_coords for i in (0, -1))
    assert level.site_indices == tuple(range(12, 20))
    assert np.allclose(first, (0.2499, 0.2464, 0.8125), atol=1e-4)
    assert np.allclose(last, (0.7498, 0.7533, 0.8125), atol=1e-4)


def test_a_users_own_two_level_host_is_read(olivine_files: dict[str, Path]) -> None:
    host = read_host("olivine", "Li", 4, dict(reversed(olivine_files.items())), "Fe")
    assert host.level_labels == ("Li1", "Li0")
    assert host.n_sites == 4
    assert host.substituted_element == "Fe"
    by_index = read_host("olivine", "Li", 4, olivine_files, {"Li1": [5, 6], "Li0": [0, 1]})
    assert by_index.n_sites == 2
    assert by_index.level("Li0").site_indices == (0, 1)


def test_oxidation_states_in_a_file_do_no_harm(olivine_files: dict[str, Path]) -> None:
    structure = Structure.from_file(olivine_files["Li1"])
    structure.add_oxidation_state_by_element({"Li": 1, "Fe": 2, "P": 5, "O": -2})
    structure.to(filename=str(olivine_files["Li1"]), fmt="cif")
    host = read_host("olivine", "Li", 4, olivine_files, "Fe")
    assert {site.species_string for site in host.level("Li1").structure} == {"Li", "Fe", "P", "O"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"working_ion": "Na"}, "the level is Na0"),
        ({"formula_units": 2}, "the level is Li2"),
        ({"formula_units": 0}, "whole number"),
        ({"substitution": "Mn"}, "no Mn"),
        ({"substitution": {"Li1": [4]}}, "Li0: no substitution sites"),
        ({"substitution": {"Li1": [4], "Li0": [99]}}, "outside 0 to 23"),
        ({"substitution": {"Li1": [4, 5], "Li0": [0]}}, "1 substitution sites, but 2"),
        ({"substitution": {"Li1": [4, 4], "Li0": [0, 1]}}, "listed twice"),
        ({"substitution": {"Li1": [4, 5], "Li0": [0, 4]}}, "holds P, not Fe"),
        ({"substitution": {"Li1": [0], "Li0": [0]}}, "holds the working ion"),
        ({"name": "my host/1"}, "cannot name files"),
        ({"level_files": {}}, "no levels"),
        ({"level_files": {"Li1": Path("absent.cif")}}, "no file absent.cif"),
    ],
)
def test_a_definition_that_does_not_fit_the_files_is_refused(
    olivine_files: dict[str, Path], arguments: dict[str, object], reason: str
) -> None:
    given = {
        "name": "olivine",
        "working_ion": "Li",
        "formula_units": 4,
        "level_files": olivine_files,
        "substitution": "Fe",
    }
    with pytest.raises(HostError, match=reason):
        read_host(**{**given, **arguments})


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("host.cif", lambda text: ""),
        ("host.cif", lambda text: "data_broken\n_cell_length_a not-a-number\n"),
        ("host.cif", lambda text: text[: len(text) // 2 + 7]),
        ("host.cif", lambda text: text.replace("  Li  Li0", "  X  X0")),
        ("host.pdf", lambda text: text),
    ],
    ids=["empty", "no numbers", "cut off", "placeholder atom", "unknown format"],
)
def test_a_file_that_is_no_whole_crystal_is_refused(
    olivine_files: dict[str, Path], tmp_path: Path, name: str, edit: Callable[[str], str]
) -> None:
    path = tmp_path / name
    path.write_text(edit(olivine_files["Li1"].read_text()))
    with pytest.raises(HostError, match="Host olivine, level Li1"):
        read_host("olivine", "Li", 4, {"Li1": path}, "Fe")


def test_a_site_with_partial_occupancy_is_refused(nvpf: Host, tmp_path: Path) -> None:
    structure = nvpf.level("Na3").structure.copy()
    structure.replace(0, {"Na": 0.5})
    path = tmp_path / "disordered.cif"
    structure.to(filename=str(path), fmt="cif")
    with pytest.raises(HostError, match="disordered"):
        read_host("nvpf", "Na", 4, {"Na3": path}, "V")


def test_two_atoms_on_alternative_positions_overlap(nvpf: Host) -> None:
    level = nvpf.level("Na3")
    crowded = level.structure.copy()
    crowded.translate_sites([0], level.structure[1].frac_coords - level.structure[0].frac_coords + [1.95 / 9.2, 0, 0])
    with pytest.raises(HostError, match="overlap"):
        check_host(with_level(nvpf, 1, structure=crowded))


def test_sound_cells_keep_clear_of_the_overlap_limit(nvpf: Host) -> None:
    for level in (*nvpf.levels, *load_packaged_host("lifepo4").levels):
        assert closest_contact(level.structure)[0] > OVERLAP_RATIO + 0.15


def test_a_lattice_that_is_not_finite_or_collapsed_is_refused(nvpf: Host) -> None:
    level = nvpf.level("Na3")
    for matrix in (np.diag([9.0, 9.0, np.nan]), np.diag([9.0, 9.0, 1e-3])):
        bad = Structure(Lattice(matrix), level.structure.species, level.structure.frac_coords)
        with pytest.raises(HostError, match="not finite or has less"):
            check_host(with_level(nvpf, 1, structure=bad))


def test_levels_whose_frameworks_differ_are_refused(nvpf: Host) -> None:
    structure = nvpf.level("Na1").structure.copy()
    oxygen = next(i for i, site in enumerate(structure) if site.specie.symbol == "O")
    structure.replace(oxygen, "F")
    with pytest.raises(HostError, match="framework of level Na1"):
        check_host(with_level(nvpf, 3, structure=structure))


def test_equal_missing_and_misordered_levels_are_refused(nvpf: Host) -> None:
    first, second = nvpf.levels[:2]
    with pytest.raises(HostError, match="same number of Na"):
        check_host(replace(nvpf, levels=(first, first)))
    with pytest.raises(HostError, match="most to the fewest"):
        check_host(replace(nvpf, levels=(second, first)))
    with pytest.raises(HostError, match="no levels"):
        check_host(replace(nvpf, levels=()))
    with pytest.raises(HostError, match="holds 16 Na, not 12"):
        check_host(with_level(nvpf, 0, working_ion_count=12))
    with pytest.raises(HostError, match="has no level Na9"):
        nvpf.level("Na9")


def test_a_host_without_its_working_ion_is_refused(nvpf: Host) -> None:
    bare = nvpf.level("Na1").structure.copy()
    bare.remove_species(["Na"])
    sites = tuple(i for i, site in enumerate(bare) if site.specie.symbol == "V")
    with pytest.raises(HostError, match="no level holds the working ion"):
        check_host(replace(nvpf, levels=(HostLevel("Na0", 0.0, 0, bare, sites),)))


def test_formula_units_that_do_not_divide_the_framework_are_refused(nvpf: Host) -> None:
    sevenfold = HostLevel("Na1.5", 1.5, 12, nvpf.level("Na3").structure, nvpf.level("Na3").site_indices)
    with pytest.raises(HostError, match="divide"):
        check_host(replace(nvpf, formula_units=8, levels=(sevenfold,)))


def test_an_unknown_packaged_host_is_refused() -> None:
    with pytest.raises(HostError, match="nvpf"):
        load_packaged_host("nothing")
