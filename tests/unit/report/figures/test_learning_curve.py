"""Errors by round and loss by epoch."""

from __future__ import annotations

import pytest
from tests.unit.report import factories

from cathodeflow.records.model import CurvePoint
from cathodeflow.report.figures.learning_curve import learning_curve
from cathodeflow.report.figures.training_curve import training_curve


def models(seeds: int = 2):
    return factories.campaign_contents(factories.DEMO_ELEMENTS, 30, 0, seeds=seeds).models


def test_each_round_is_one_point_at_the_mean_of_its_members() -> None:
    chosen = [model for model in models() if model.target == "formation_energy"]
    line = next(trace for trace in learning_curve(chosen, "mae").data if trace.mode == "lines+markers")
    expected = [sum(model.metrics.mae for model in chosen if model.round == number) / 2 for number in (0, 1)]
    assert line.y == pytest.approx(expected)
    assert line.x == pytest.approx([12, 24])


def test_an_r2_that_is_not_defined_is_left_out() -> None:
    broken = [m.model_copy(update={"metrics": m.metrics.model_copy(update={"r2": None})}) for m in models()]
    lines = [trace for trace in learning_curve(broken, "r2").data if trace.mode == "lines+markers"]
    assert all(len(trace.y) == 0 for trace in lines)


def test_a_long_training_is_thinned_and_a_zero_loss_is_no_point() -> None:
    curve = [CurvePoint(epoch=e, train=0.0 if e == 1 else 1.0 / e, validation=None) for e in range(1, 5001)]
    model = models(1)[0].model_copy(update={"curve": curve})
    train, validation = training_curve([model]).data
    assert len(train.x) <= 400
    assert train.y[0] is None
    assert set(validation.y) == {None}
