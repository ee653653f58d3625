from __future__ import annotations

import pytest

from cathodeflow.calculators.rehearsal.inputs import valence_of
from cathodeflow.calculators.vasp.materials_project import potcar_symbol
from cathodeflow.calculators.vasp.valences import valence_electrons
from cathodeflow.errors import DefinitionError
from cathodeflow.science.hosts.compositions import D_BLOCK_30


@pytest.mark.parametrize(
    ("symbol", "electrons"), [("Na_pv", 7), ("V_pv", 11), ("P", 5), ("O", 6), ("F", 7), ("Fe_pv", 14), ("Mo_pv", 12)]
)
def test_valences_are_those_of_the_potcars(symbol: str, electrons: float):
    assert valence_electrons(symbol) == electrons


def test_the_stand_in_counts_the_same_electrons_for_every_metal_of_the_paper():
    symbols = [potcar_symbol(element) for element in D_BLOCK_30 if element != "La"]
    assert {symbol: valence_of(symbol) for symbol in symbols} == {s: valence_electrons(s) for s in symbols}


def test_what_pymatgen_does_not_list_is_refused():
    with pytest.raises(DefinitionError, match="V_xx"):
        valence_electrons("V_xx")
    with pytest.raises(DefinitionError, match="library 'NONE'"):
        valence_electrons("V_pv", "NONE")
