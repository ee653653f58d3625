"""Bader charge transfer against the pristine host's."""

from __future__ import annotations

import pytest
from tests.unit.report import followup_factories

from cathodeflow.report.electronic import ElectronicStructure, electronic_structure
from cathodeflow.report.figures.charge_transfer import charge_transfer, mean_charges


@pytest.fixture(scope="module")
def structure() -> ElectronicStructure:
    found = electronic_structure(followup_factories.followed_contents())
    assert found is not None
    return found


def test_changes_are_counted_from_the_emptiest_level(structure: ElectronicStructure) -> None:
    subject = structure.candidates[0]
    charges = mean_charges(structure, subject.composition)
    figure = charge_transfer(structure, subject, "Na")
    for element, by_level in charges.items():
        line = next(trace for trace in figure.data if trace.name == element)
        assert list(line.x) == ["Na1", "Na2", "Na3", "Na4"]
        assert line.y[0] == 0
        assert line.y[3] == pytest.approx(by_level["Na4"][0] - by_level["Na1"][0], abs=1e-4)
        assert f"{by_level['Na4'][0]:+.3f}" in line.text[3]


def test_the_pristine_host_is_dashed_and_named_only_where_the_candidate_lacks_the_element(
    structure: ElectronicStructure,
) -> None:
    figure = charge_transfer(structure, structure.candidates[0], "Na")
    dashed = {trace.name: trace for trace in figure.data if trace.line.dash == "dash"}
    assert set(dashed) == {f"{element}, pristine" for element in ("V", "Na", "P", "O", "F")}
    assert {name for name, trace in dashed.items() if trace.showlegend} == {"V, pristine"}
    host = structure.host
    assert host is not None
    assert not [trace for trace in charge_transfer(structure, host, "Na").data if trace.line.dash == "dash"]
