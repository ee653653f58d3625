"""What a parity plot may call held out."""

from __future__ import annotations

import pytest
from tests.unit.report import factories

from cathodeflow.records.model import ParityPoint
from cathodeflow.records.outcomes import Target
from cathodeflow.report.figures.parity import ensemble_points, parity


def member(seed: int, points: list[ParityPoint]):
    contents = factories.campaign_contents(factories.DEMO_ELEMENTS, 10, 0, seeds=1)
    model = contents.last_models(Target.FORMATION_ENERGY)[0]
    return model.model_copy(update={"seed": seed, "parity": points})


def point(key: str, predicted: float, *, held_out: bool) -> ParityPoint:
    return ParityPoint(key=key, true=-2.7, predicted=predicted, pretrained=-2.5, held_out=held_out)


def test_a_held_out_point_stands_only_for_members_that_never_saw_it() -> None:
    members = [
        member(0, [point("a", -2.6, held_out=True), point("b", -2.0, held_out=False)]),
        member(1, [point("a", -2.7, held_out=False), point("b", -3.0, held_out=False)]),
    ]
    a, b = ensemble_points(members)
    assert (a.key, a.held_out, a.predicted) == ("a", True, -2.6)
    assert (b.held_out, b.predicted) == (False, pytest.approx(-2.5))


def test_the_two_plots_differ_in_what_was_predicted_only() -> None:
    models = [member(0, [point("a", -2.6, held_out=True), point("b", -2.7, held_out=False)])]
    before, after = parity(models, retrained=False), parity(models, retrained=True)
    assert before.data[1].x == after.data[1].x == (-2.7,)
    assert (before.data[1].y, after.data[1].y) == ((-2.5,), (-2.6,))
    assert "eV/atom" in after.layout.xaxis.title.text
