"""Charges given are charges kept, and oxidation states follow them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.science.electronic.charges import (
    AtomicCharges,
    assign_oxidation_states,
    charge_groups,
    charge_transfer,
    transfer_by_species,
)

V3_V4 = {3: 1.75, 4: 2.00}  # 0.25 e apart, as in S4


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["Na", "V", "O"]), st.floats(0, 12)), min_size=1, max_size=20))
def test_transfer_of_a_neutral_cell_adds_up_to_zero_over_species(atoms):
    species = [element for element, _ in atoms]
    held = np.array([electrons for _, electrons in atoms])
    neutral = np.roll(held, 1)  # the same electrons, on other atoms
    summaries = transfer_by_species(charge_transfer(held, neutral), species)
    assert sum(s.mean * s.count for s in summaries) == pytest.approx(0, abs=1e-9)
    assert [s.element for s in summaries] == list(dict.fromkeys(species))
    assert all(s.minimum - 1e-12 <= s.mean <= s.maximum + 1e-12 for s in summaries)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([3, 4]), st.floats(-0.099, 0.099)), min_size=1, max_size=12))
def test_states_are_found_within_the_tolerance(atoms):
    charges = [V3_V4[state] + noise for state, noise in atoms]
    assert assign_oxidation_states(charges, V3_V4).states == tuple(state for state, _ in atoms)


def test_a_charge_between_two_states_stays_open():
    found = assign_oxidation_states([1.75, 1.875, 2.0, 2.5, 1.2], V3_V4)
    assert found.states == (3, None, 4, None, None)
    assert found.tolerance == pytest.approx(0.1)
    assert assign_oxidation_states([1.8, 2.0], {3: 1.75}).states == (3, None)


@settings(max_examples=60, deadline=None)
@given(st.permutations([1.74, 1.76, 1.75, 2.0, 2.01]))
def test_groups_of_charges_do_not_depend_on_the_order_of_atoms(charges):
    assert charge_groups(charges).tolist() == [int(charge > 1.9) for charge in charges]


def test_a_uniform_charge_is_one_group():
    assert charge_groups([1.7, 1.75, 1.8]).tolist() == [0, 0, 0]
    assert charge_groups([1.7]).tolist() == [0]
    assert charge_groups([]).tolist() == []


def test_what_makes_no_sense_is_refused():
    with pytest.raises(CalculationError, match="same atoms"):
        charge_transfer([1.0, 2.0], [1.0])
    with pytest.raises(CalculationError, match="3 charges for 2 atoms"):
        transfer_by_species([1.0, 2.0, 3.0], ["V", "O"])
    for references, tolerance in (({}, None), ({3: 2.0, 4: 1.75}, None), (V3_V4, 0.2), (V3_V4, -1.0)):
        with pytest.raises(DefinitionError):
            assign_oxidation_states([1.8], references, tolerance)
    with pytest.raises(CalculationError, match="no number"):
        assign_oxidation_states([np.nan], V3_V4)
    with pytest.raises(CalculationError, match="no numbers"):
        AtomicCharges(np.array([np.nan]), np.array([1.0]), np.array([1.0]))
