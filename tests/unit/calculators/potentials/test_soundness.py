"""What went wrong in a relaxation is found, with the reason that fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Structure

from cathodeflow.calculators.potentials.relaxation import RelaxationSettings, RelaxedStructure
from cathodeflow.calculators.potentials.soundness import coordination_numbers, find_defect
from cathodeflow.records.outcomes import Reason
from cathodeflow.science.hosts.candidates import decorate
from cathodeflow.science.hosts.host import load_packaged_host

SETTINGS = RelaxationSettings(max_force=0.1)


@pytest.fixture(scope="module")
def start():
    return decorate(load_packaged_host("nvpf").level("Na3"), ["Cu", "Mo"], 0x3F)


def outcome(structure, **changes):
    made = RelaxedStructure(structure, -100.0, -101.0, np.full((len(structure), 3), 0.01), 20, True, 1.0)
    return replace(made, **changes)


def judge(start, relaxed, **changes):
    return find_defect(start, relaxed, SETTINGS, "Na", **changes)


def test_a_sound_relaxation_has_no_defect(start):
    end = start.copy()
    end.translate_sites([3, 40], [0.005, 0.0, 0.0])
    assert judge(start, outcome(end)) is None


def test_energies_that_are_not_numbers(start):
    defect = judge(start, outcome(start, energy_after=float("nan")))
    assert defect.reason is Reason.NON_FINITE
    assert "energy" in defect.message


def test_forces_that_are_not_numbers(start):
    forces = np.zeros((len(start), 3))
    forces[0, 0] = np.inf
    assert judge(start, outcome(start, forces=forces)).reason is Reason.NON_FINITE


@pytest.mark.parametrize("factor", [0.5, 1.6])
def test_a_squeezed_or_blown_up_cell(start, factor):
    end = start.copy()
    end.scale_lattice(start.volume * factor)
    defect = judge(start, outcome(end))
    assert defect.reason is Reason.EXPLODED_VOLUME
    assert f"{100 * (factor - 1):+.1f} %" in defect.message


def test_the_volume_limit_is_the_campaigns(start):
    end = start.copy()
    end.scale_lattice(start.volume * 1.1)
    assert judge(start, outcome(end)) is None
    assert judge(start, outcome(end), max_volume_change=5.0).reason is Reason.EXPLODED_VOLUME


def test_two_atoms_on_top_of_each_other(start):
    end = start.copy()
    oxygens = [index for index, site in enumerate(end) if site.specie.symbol == "O"]
    near = end.lattice.get_cartesian_coords(end[oxygens[0]].frac_coords) + np.array([0.4, 0.0, 0.0])
    end.replace(oxygens[1], "O", coords=near, coords_are_cartesian=True)
    defect = judge(start, outcome(end))
    assert defect.reason is Reason.OVERLAPPING_ATOMS
    assert "0.40 Å apart" in defect.message


def test_running_out_of_steps(start):
    defect = judge(start, outcome(start, converged=False, forces=np.full((len(start), 3), 1.0)))
    assert defect.reason is Reason.NOT_CONVERGED
    assert "1.732 eV/Å" in defect.message


def test_a_phosphorus_that_leaves_its_oxygens(start):
    end = start.copy()
    phosphorus = next(index for index, site in enumerate(end) if site.specie.symbol == "P")
    end.translate_sites([phosphorus], [0.0, 0.0, 1.6], frac_coords=False)
    defect = judge(start, outcome(end))
    assert defect.reason in {Reason.BROKEN_POLYHEDRA, Reason.OVERLAPPING_ATOMS}


def test_a_pulled_apart_octahedron(start):
    end = start.copy()
    copper = next(index for index, site in enumerate(end) if site.specie.symbol == "Cu")
    neighbours = sorted(end.get_neighbors(end[copper], 2.4), key=lambda one: one.nn_distance)
    for neighbour in neighbours[:3]:
        away = end.lattice.get_cartesian_coords(neighbour.frac_coords) - end[copper].coords
        end.translate_sites([neighbour.index], 0.9 * away / np.linalg.norm(away), frac_coords=False)
    defect = judge(start, outcome(end))
    assert defect.reason in {Reason.BROKEN_POLYHEDRA, Reason.OVERLAPPING_ATOMS}


def test_the_working_ion_may_move_freely(start):
    end = start.copy()
    sodium = next(index for index, site in enumerate(end) if site.specie.symbol == "Na")
    end.translate_sites([sodium], [0.0, 0.0, 0.3], frac_coords=False)
    assert judge(start, outcome(end)) is None


def test_coordination_of_the_host():
    cell = load_packaged_host("nvpf").level("Na3").structure
    numbers = coordination_numbers(cell, "Na")
    found = {symbol: {numbers[i] for i in numbers if cell[i].specie.symbol == symbol} for symbol in ("V", "P")}
    assert found == {"V": {6}, "P": {4}}


def test_a_lone_cation_has_no_polyhedron_to_break():
    far = Structure(np.eye(3) * 12, ["P", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert coordination_numbers(far, "Na") == {0: 0}
