"""The published network of 2019, which paper S0 retrains, gives its authors' own test value."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure
from tests.published_weights import megnet_2019


def li2o() -> Structure:
    """The primitive cell the `megnet` package tests with, as pymatgen ships it (Li2O.json)."""
    lattice = Lattice(
        [
            [2.91738857, 0.09789437, 1.52000466],
            [0.96463406, 2.75503561, 1.52000466],
            [0.13320635, 0.09789443, 3.28691771],
        ]
    )
    return Structure(lattice, ["O", "Li", "Li"], [[0.0] * 3, [0.75017829] * 3, [0.24982171] * 3])


def test_li2o_has_the_formation_energy_its_authors_publish():
    assert megnet_2019().predict_structure(li2o()) == pytest.approx(-2.0152957439422607, abs=5e-5)
