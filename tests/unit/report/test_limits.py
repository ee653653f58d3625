"""The rules' limits in words."""

from __future__ import annotations

from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.report.limits import rule_limits

VOLTAGES = ("V43", "V32", "V21")


def definition(**screening: object) -> dict:
    fields = {"name": "x", "host": {"packaged": "nvpf"}, "screening": screening}
    return CampaignDefinition.model_validate(fields).model_dump(mode="json")


def test_the_papers_limits_are_the_defaults() -> None:
    assert rule_limits(definition(), VOLTAGES) == {
        "relaxation_energy_variation": "below 0.05 eV/atom",
        "step_shape": "V21 > V32 > V43",
        "V21_window": "3.49 to 3.9 V",
        "V43_window": "above 2 V",
    }


def test_what_is_switched_off_is_left_out() -> None:
    limits = rule_limits(
        definition(relaxation_energy_variation=None, step_shape=False, voltage_windows={"V21": [None, 4.0]}), VOLTAGES
    )
    assert limits == {"V21_window": "below 4 V"}


def test_windows_of_voltages_that_the_host_lacks_are_left_out() -> None:
    assert "V43_window" not in rule_limits(definition(), ("V10",))
