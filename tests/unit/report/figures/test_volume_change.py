"""Volume changes beside the published ones."""

from __future__ import annotations

from tests.unit.report import factories

from cathodeflow.report import published
from cathodeflow.report.figures.volume_change import volume_change

INTERVALS = ["Na1-Na3", "Na1-Na4"]


def test_published_lines_are_drawn_where_given_only() -> None:
    validations = factories.campaign_contents(factories.DEMO_ELEMENTS, 5, 1, seeds=1).validations
    own = volume_change(validations, INTERVALS, {}, {})
    beside = volume_change(validations, INTERVALS, published.VOLUME_CHANGES, published.MEASURED_VOLUME_CHANGES)
    assert len(own.layout.shapes) == 0
    assert sorted(shape.x0 for shape in beside.layout.shapes) == [2.63, 2.85, 5.69]
    assert [trace.name for trace in beside.data] == ["Na1↔Na3", "Na1↔Na4"]
