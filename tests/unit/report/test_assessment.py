"""What the report says about its own worth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.report import factories

from cathodeflow.records.label import LostPhase
from cathodeflow.records.outcomes import Reason, Target
from cathodeflow.report.assessment import caveats, ensemble_metrics, voltage_error, volts_per_energy
from cathodeflow.report.contents import ReportContents


@pytest.fixture(scope="module")
def contents() -> ReportContents:
    return factories.campaign_contents(factories.DEMO_ELEMENTS, 30, 2)


def test_metrics_are_means_over_the_members(contents: ReportContents) -> None:
    members = contents.last_models(Target.FORMATION_ENERGY)
    metrics = ensemble_metrics(members)
    assert metrics is not None
    assert metrics.retrained.mae == pytest.approx(sum(m.metrics.mae for m in members) / len(members))
    assert ensemble_metrics([]) is None


def test_a_formation_energy_error_is_turned_into_volts_by_atoms_per_transferred_ion(contents: ReportContents) -> None:
    """Na4 of NVPF has 76 atoms and four ions more than Na3: 19 V per eV/atom."""
    assert volts_per_energy(contents) == pytest.approx(19.0)
    assert volts_per_energy(replace(contents, labels=[])) is None
    doubly = [label.model_copy(update={"level": label.level.replace("Na", "Mg")}) for label in contents.labels]
    assert volts_per_energy(replace(contents, labels=doubly)) == pytest.approx(9.5)


def test_the_voltage_error_is_over_substituted_compositions_only(contents: ReportContents) -> None:
    error = voltage_error(contents)
    assert error is not None
    assert error[1] == sum(len(record.voltages) for record in contents.substituted)
    pristine_only = [record for record in contents.validations if record.pristine]
    assert voltage_error(replace(contents, validations=pristine_only)) is None


def test_a_poor_surrogate_is_called_poor(contents: ReportContents) -> None:
    poor = [m.model_copy(update={"metrics": m.metrics.model_copy(update={"r2": 0.6})}) for m in contents.models]
    assert any("too low to rank" in line for line in caveats(replace(contents, models=poor)))
    assert not any("too low to rank" in line for line in caveats(contents))


def test_few_held_out_labels_are_called_few(contents: ReportContents) -> None:
    assert any("so few held-out" in line for line in caveats(contents))
    many = [model.model_copy(update={"n_held_out": 200}) for model in contents.models]
    assert not any("so few held-out" in line for line in caveats(replace(contents, models=many)))


@pytest.mark.parametrize(
    ("provenance", "windows", "said"),
    [
        ("mlff:chgnet-0.3.0", None, True),
        ("mlff:chgnet-0.3.0", {"V43": [2.0, None]}, True),
        ("mlff:chgnet-0.3.0", {"V43": [1.0, None]}, False),
        ("vasp", None, False),
    ],
)
def test_dft_limits_on_a_potential_are_pointed_out(
    contents: ReportContents, provenance: str, windows: dict | None, said: bool
) -> None:
    definition = contents.campaign.definition | {"screening": {"voltage_windows": windows}}
    campaign = contents.campaign.model_copy(update={"provenance": provenance, "definition": definition})
    assert any("made for DFT" in line for line in caveats(replace(contents, campaign=campaign))) == said


@pytest.mark.parametrize("provenance", ["pair:lj", "rehearsal"])
def test_a_test_engine_is_called_one(contents: ReportContents, provenance: str) -> None:
    campaign = contents.campaign.model_copy(update={"provenance": provenance})
    assert "not physics" in caveats(replace(contents, campaign=campaign))[0]


def test_a_reference_whose_lowest_phase_may_be_missing_is_named(contents: ReportContents) -> None:
    assert not [said for said in caveats(contents) if said.startswith("Elemental references")]
    lost = [LostPhase(phase="hcp", hypothetical=True, reason=Reason.CALCULATION_ERROR)]
    references = [
        one.model_copy(update={"lost_phases": lost}) if one.element == "Na" else one for one in contents.references
    ]
    (said,) = [said for said in caveats(replace(contents, references=references)) if "Elemental references" in said]
    assert "Na without hcp (calculation_error)." in said
