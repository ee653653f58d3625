"""Voltages: against pymatgen's electrodes, against the stored CHGNet energies, and the laws they obey."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PDEntry
from pymatgen.apps.battery.insertion_battery import InsertionElectrode
from pymatgen.core import Composition, Lattice, Structure
from pymatgen.entries.computed_entries import ComputedEntry, ComputedStructureEntry

from cathodeflow.errors import DefinitionError
from cathodeflow.science.energetics.formation_energy import formation_energy_per_atom
from cathodeflow.science.energetics.voltage import (
    VALENCE,
    LevelContent,
    fullest_first,
    level_contents,
    valence,
    voltage_from_formation_energies,
    voltage_from_total_energies,
    voltage_name,
    voltage_names,
    voltage_profile,
)
from cathodeflow.science.hosts.host import load_packaged_host

ion_names = st.sampled_from(["Li", "Na", "K", "Mg", "Ca", "Zn", "Al"])
# At least 0.05 V apart and rising on extraction: every level then lies on the hull, where pymatgen steps.
rising = st.lists(st.floats(0.05, 1.5), min_size=1, max_size=4).map(lambda steps: np.cumsum(steps)[::-1])


@settings(max_examples=40, deadline=None)
@given(ion=ion_names, falling_with_content=rising, per_step=st.integers(1, 4), ion_energy=st.floats(-5, -0.5))
def test_voltages_are_those_of_pymatgens_insertion_electrode(
    ion: str, falling_with_content: np.ndarray, per_step: int, ion_energy: float
) -> None:
    z = VALENCE[ion]
    framework, contents = {"V": 4, "O": 10}, [per_step * i for i in range(len(falling_with_content) + 1)]
    energies = [-100.0]
    for voltage in falling_with_content:  # from the empty level up
        energies.append(energies[-1] + per_step * (ion_energy - z * voltage))
    entries = [
        ComputedStructureEntry(cell_of({**framework, ion: n}), energy)
        for n, energy in zip(contents, energies, strict=True)
    ]
    electrode = InsertionElectrode.from_entries(entries, ComputedEntry(Composition({ion: 1}), ion_energy))
    theirs = [pair.voltage for pair in electrode.voltage_pairs]

    counts = [{"V": 4, "O": 10, ion: n} for n in contents]
    mu = {ion: ion_energy, "V": -9.0, "O": -4.9}
    levels = [LevelContent(f"{ion}{n}", n, 14 + n) for n in contents]
    formation = {
        level.label: formation_energy_per_atom(energy, count, mu)
        for level, energy, count in zip(levels, energies, counts, strict=True)
    }
    ours = [float(value) for value in voltage_profile(levels, formation, z).values()][::-1]
    direct = [
        float(voltage_from_total_energies(energies[i + 1], energies[i], contents[i + 1], contents[i], ion_energy, z))
        for i in range(len(falling_with_content))
    ]
    assert ours == pytest.approx(theirs, abs=1e-8)
    assert direct == pytest.approx(theirs, abs=1e-8)
    assert ours == pytest.approx(list(falling_with_content), abs=1e-8)


def cell_of(counts: dict[str, int]) -> Structure:
    species = [symbol for symbol, count in counts.items() for _ in range(count)]
    coords = [[i / len(species), 0.5, 0.5] for i in range(len(species))]
    return Structure(Lattice.orthorhombic(3.0 * len(species), 5, 5), species, coords)


@given(
    energies=st.lists(st.floats(-600, 0), min_size=2, max_size=2),
    n_fewer=st.integers(0, 12),
    inserted=st.integers(1, 8),
    ion_energy=st.floats(-5, 0),
    framework_energy=st.floats(-500, 0),
    z=st.integers(1, 3),
)
def test_total_and_formation_energies_give_the_same_voltage(
    energies: list[float], n_fewer: int, inserted: int, ion_energy: float, framework_energy: float, z: int
) -> None:
    n_more = n_fewer + inserted
    more, fewer = (
        energy - framework_energy - n * ion_energy for energy, n in zip(energies, (n_more, n_fewer), strict=True)
    )
    assert voltage_from_formation_energies(more, fewer, n_more, n_fewer, z) == pytest.approx(
        voltage_from_total_energies(*energies, n_more, n_fewer, ion_energy, z), abs=1e-9
    )


def test_stored_chgnet_energies_of_nvpf_give_the_stated_voltages() -> None:
    """Energies in data/SOURCES.md, sodium metal at -1.289 eV: 1.98, 2.94 and 3.49 V (CHGNet 0.3.0, not experiment)."""
    totals = {"Na4": -528.042, "Na3": -514.967, "Na2": -498.046, "Na1": -478.917}
    levels = level_contents(load_packaged_host("nvpf"))
    per_atom = {level.label: (totals[level.label] - level.n_ions * -1.289) / level.n_atoms for level in levels}
    profile = voltage_profile(levels, per_atom)
    assert list(profile) == ["V43", "V32", "V21"]
    assert [round(float(value), 2) for value in profile.values()] == [1.98, 2.94, 3.49]


def test_the_sum_of_the_steps_is_the_whole_difference() -> None:
    levels = level_contents(load_packaged_host("nvpf"))
    per_atom = {"Na4": -2.0, "Na3": -2.1, "Na2": -2.05, "Na1": -2.0}
    profile = voltage_profile(levels, per_atom)
    whole = voltage_from_formation_energies(per_atom["Na4"] * 76, per_atom["Na1"] * 64, 16, 4)
    assert np.mean(list(profile.values())) == pytest.approx(float(whole))


def test_a_hundred_thousand_rows_at_once() -> None:
    levels = level_contents(load_packaged_host("nvpf"))
    rng = np.random.default_rng(0)
    rows = {level.label: rng.normal(-2.5, 0.1, 100_000) for level in levels}
    together = voltage_profile(levels, rows)
    one = voltage_profile(levels, {label: float(values[777]) for label, values in rows.items()})
    assert {name: float(values[777]) for name, values in together.items()} == pytest.approx(
        {name: float(value) for name, value in one.items()}
    )


def test_a_missing_level_is_not_bridged() -> None:
    levels = level_contents(load_packaged_host("nvpf"))
    assert list(voltage_profile(levels, {"Na4": -2.0, "Na3": -2.0, "Na1": -2.0})) == ["V43"]


def test_names_follow_the_levels() -> None:
    assert voltage_names(["Na1", "Na4", "Na3", "Na2"]) == ("V43", "V32", "V21")
    assert voltage_names(["Li0", "Li1"]) == ("V10",)
    assert voltage_names(["Na3"]) == ()
    assert voltage_names(["Na3", "Na2.5", "Na2"]) == ("V3-2.5", "V2.5-2")
    assert voltage_names(["Na12", "Na10", "Na9"]) == ("V12-10", "V10-9")


@given(st.lists(st.sampled_from([0, 0.5, 1, 2, 2.5, 3, 9, 10, 12]), min_size=2, max_size=6, unique=True))
def test_names_sort_back_into_the_order_of_the_levels(contents: list[float]) -> None:
    names = voltage_names([f"Na{content:g}" for content in contents])
    assert fullest_first(reversed(names)) == names


def test_what_has_no_voltage_is_refused() -> None:
    with pytest.raises(DefinitionError, match="more ions"):
        voltage_from_formation_energies(0.0, 0.0, 4, 4)
    with pytest.raises(DefinitionError, match="carries no current"):
        voltage_from_formation_energies(0.0, 0.0, 4, 3, 0)
    with pytest.raises(DefinitionError, match="not a level"):
        voltage_name("charged", "Na1")
    with pytest.raises(DefinitionError, match="not a voltage"):
        fullest_first(["V4"])
    with pytest.raises(DefinitionError, match="valence"):
        valence("Fe")


def test_valences_are_those_of_the_electrodes_of_pymatgen() -> None:
    for ion, z in VALENCE.items():
        pair = InsertionElectrode.from_entries(
            [
                ComputedStructureEntry(cell_of({"V": 2, "O": 4}), -30),
                ComputedStructureEntry(cell_of({"V": 2, "O": 4, ion: 1}), -36),
            ],
            PDEntry(Composition({ion: 1}), -1.0),
        ).voltage_pairs[0]
        assert pair.voltage == pytest.approx(5 / z)
