"""−ICOHP of the polyhedra."""

from __future__ import annotations

from statistics import fmean

import pytest
from tests.unit.report import followup_factories

from cathodeflow.report.electronic import electronic_structure
from cathodeflow.report.figures.bond_strength import bond_strength, bonding_results, mean_by_ligand


def test_the_mean_to_a_ligand_is_over_bonds_and_the_spread_over_polyhedra() -> None:
    structure = electronic_structure(followup_factories.followed_contents())
    assert structure is not None
    results = bonding_results(structure)
    result = results["V8", "Na3"]
    oxygen = [bond.strength for bond in result.bonds if bond.elements == ["V", "O"]]
    assert len(oxygen) == 32
    assert mean_by_ligand(result) == {
        "O": pytest.approx(fmean(oxygen)),
        "F": pytest.approx(result.mean_by_pair["V-F"]),
    }
    figure = bond_strength(structure)
    polyhedra = [trace for trace in figure.data if trace.name == "polyhedra, mean and spread"]
    assert len(polyhedra) == len(structure.levels) == 4
    in_na3 = polyhedra[2]
    place = list(in_na3.y).index("V8 (pristine)")
    strengths = [polyhedron.mean_strength for polyhedron in result.polyhedra]
    assert in_na3.x[place] == pytest.approx(result.mean_strength, abs=1e-4)
    assert in_na3.x[place] + in_na3.error_x.array[place] == pytest.approx(max(strengths), abs=2e-4)
    assert in_na3.x[place] - in_na3.error_x.arrayminus[place] == pytest.approx(min(strengths), abs=2e-4)
    quarantined = structure.subjects[1].name
    assert quarantined not in list(polyhedra[3].y)
    assert quarantined in list(in_na3.y)
