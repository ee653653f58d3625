"""The lean CHGNet calculator gives the numbers of chgnet's own."""

from __future__ import annotations

import numpy as np
import pytest
from chgnet.model.dynamics import CHGNetCalculator
from pymatgen.io.ase import AseAtomsAdaptor

from cathodeflow.calculators.potentials.chgnet import CHGNetEnergyCalculator, load_chgnet
from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.science.hosts.candidates import decorate
from cathodeflow.science.hosts.host import load_packaged_host


@pytest.fixture(scope="module")
def atoms():
    host = load_packaged_host("lifepo4")
    structure = decorate(host.level("Li1"), ["Mn", "Mo"], 0b0101)
    structure.translate_sites([0, 5], [0.01, 0.0, -0.02])
    return AseAtomsAdaptor.get_atoms(structure)


def test_numbers_are_those_of_chgnets_own_calculator(atoms):
    ours, theirs = atoms.copy(), atoms.copy()
    ours.calc = CHGNetEnergyCalculator()
    theirs.calc = CHGNetCalculator(use_device="cpu")
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=2e-4)
    assert np.abs(ours.get_forces() - theirs.get_forces()).max() < 1e-4
    assert np.abs(ours.get_stress() - theirs.get_stress()).max() < 1e-6


def test_forces_are_the_slope_of_the_energy(atoms):
    calculator = CHGNetEnergyCalculator()
    moved = atoms.copy()
    moved.calc = calculator
    force = moved.get_forces()[3, 1]
    energies = []
    for shift in (0.02, -0.02):
        moved.positions[3, 1] = atoms.positions[3, 1] + shift
        energies.append(moved.get_potential_energy())
    assert -(energies[0] - energies[1]) / 0.04 == pytest.approx(force, abs=0.05)


def test_each_process_loads_the_network_once():
    assert load_chgnet("0.3.0", "cpu")[0] is load_chgnet("0.3.0", "cpu")[0]
    assert not any(parameter.requires_grad for parameter in load_chgnet("0.3.0", "cpu")[0].parameters())


def test_isolated_atoms_have_a_finite_energy():
    from cathodeflow.calculators.potentials.elements import elemental_phases

    dimer = AseAtomsAdaptor.get_atoms(elemental_phases("O")[0].structure)
    dimer.calc = CHGNetEnergyCalculator()
    assert np.isfinite(dimer.get_potential_energy())


def test_positions_that_are_not_numbers_are_refused(atoms):
    broken = atoms.copy()
    broken.positions[0, 0] = np.nan
    broken.calc = CHGNetEnergyCalculator()
    with pytest.raises(CalculationError, match="out of all bounds") as caught:
        broken.get_potential_energy()
    assert caught.value.reason == "non_finite"


def test_weights_that_do_not_exist_are_refused():
    with pytest.raises(DefinitionError, match=r"chgnet-0\.3\.0"):
        load_chgnet("0.4.0", "cpu")
