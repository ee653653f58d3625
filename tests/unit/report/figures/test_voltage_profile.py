"""Step profiles as they are drawn."""

from __future__ import annotations

import random

from tests.unit.report import factories

from cathodeflow.report.figures.voltage_profile import common_voltage_range, step_line, voltage_profile


def test_a_plateau_spans_its_two_levels() -> None:
    x, y = step_line(factories.LEVELS, {"V43": 2.0, "V32": 3.0, "V21": 3.5})
    assert x == [1, 2, 2, 3, 3, 4]
    assert y == [3.5, 3.5, 3.0, 3.0, 2.0, 2.0]


def test_a_missing_plateau_is_a_gap_and_not_a_line_across() -> None:
    x, y = step_line(factories.LEVELS, {"V43": 2.0, "V21": 3.5})
    assert x == [1, 2, None, 3, 4]
    assert y == [3.5, 3.5, None, 2.0, 2.0]


def test_computed_predicted_and_pristine_are_told_apart() -> None:
    noise = random.Random(0)
    pristine = factories.validation(None, noise)
    record = factories.validation(factories.verdict(["Cu", "Mo"], [2, 6], noise), noise)
    ends = common_voltage_range([pristine, record])
    figure = voltage_profile(record, pristine, factories.LEVELS, ends)
    assert [trace.name for trace in figure.data] == ["pristine host, computed", "predicted", "computed"]
    assert len({trace.line.dash for trace in figure.data}) == 3
    assert ends[0] < min(record.voltages.values()) <= max(record.voltages.values()) < ends[1]
    assert [trace.name for trace in voltage_profile(pristine, pristine, factories.LEVELS, ends).data] == [
        "predicted",
        "computed",
    ]
