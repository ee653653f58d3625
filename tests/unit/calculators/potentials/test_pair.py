"""The pair potential is smooth, consistent, and quick."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.io.ase import AseAtomsAdaptor

from cathodeflow.calculators.engines import engine
from cathodeflow.calculators.potentials.pair import PairCalculator
from cathodeflow.science.hosts.candidates import decorate
from cathodeflow.science.hosts.host import load_packaged_host

HOST = load_packaged_host("lifepo4")


def crystal(elements, mask):
    return AseAtomsAdaptor.get_atoms(decorate(HOST.level("Li1"), elements, mask))


@settings(max_examples=20, deadline=None)
@given(site=st.integers(0, 27), axis=st.integers(0, 2), mask=st.integers(0, 15))
def test_forces_are_the_slope_of_the_energy(site, axis, mask):
    atoms = crystal(["Fe", "Au"], mask)
    atoms.calc = PairCalculator()
    force = atoms.get_forces()[site, axis]
    start = atoms.positions[site, axis]
    energies = []
    for shift in (1e-4, -1e-4):
        atoms.positions[site, axis] = start + shift
        energies.append(atoms.get_potential_energy())
    assert -(energies[0] - energies[1]) / 2e-4 == pytest.approx(force, rel=1e-4, abs=1e-5)


def test_stress_is_the_slope_of_the_energy_by_strain():
    atoms = crystal(["Fe", "La"], 3)
    atoms.calc = PairCalculator()
    stress = atoms.get_stress(voigt=False)
    cell, volume = atoms.cell.array.copy(), atoms.get_volume()
    energies = []
    for size in (1e-5, -1e-5):
        strain = np.eye(3)
        strain[0, 0] += size
        atoms.set_cell(cell @ strain, scale_atoms=True)
        energies.append(atoms.get_potential_energy())
    assert (energies[0] - energies[1]) / 2e-5 / volume == pytest.approx(stress[0, 0], rel=1e-4)


def test_arrangements_of_one_composition_differ():
    energies = {round(energy_of(mask), 6) for mask in (0b0011, 0b0101, 0b1001)}
    assert len(energies) > 1


def energy_of(mask):
    atoms = crystal(["Fe", "Mo"], mask)
    atoms.calc = PairCalculator()
    return atoms.get_potential_energy()


def test_a_relaxation_of_nvpf_converges():
    start = decorate(load_packaged_host("nvpf").level("Na3"), ["Cu", "Mo"], 0x3F)
    relaxed = engine({"name": "pair", "max_force": 0.2}).relax(start)
    assert relaxed.converged
    assert relaxed.energy_after < relaxed.energy_before
    assert relaxed.largest_force <= 0.2
