"""Errors on the held-out fifth, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import plotly.graph_objects as go

from cathodeflow.records.model import Metrics, ModelRecord
from cathodeflow.records.outcomes import Target
from cathodeflow.report.figures.appearance import BLUE, ORANGE, VERMILION, new_figure

_NAMES = {Target.FORMATION_ENERGY: "E_form", Target.RELAXATION_ENERGY: "E_relax"}
_COLOURS = {Target.FORMATION_ENERGY: BLUE, Target.RELAXATION_ENERGY: ORANGE}
_SYMBOLS = {Target.FORMATION_ENERGY: "circle", Target.RELAXATION_ENERGY: "diamond"}


def learning_curve(models: Sequence[ModelRecord], metric: str) -> go.Figure:
    """Draw a metric on held-out labels against the number of training labels.

    Parameters
    ----------
    models : sequence of ModelRecord
        Of all rounds and targets.
    metric : {"mae", "r2"}
        Mean absolute error (eV/atom) or coefficient of determination.

    Returns
    -------
    plotly Figure
        One small marker per member, a line through the means of each round; the un-retrained network on the same
        labels as crosses for E_form.
    """
    figure = new_figure(height=360)
    for target in Target:
        chosen = sorted((m for m in models if m.target == target), key=lambda m: (m.round, m.seed))
        if chosen:
            _add_members(figure, chosen, metric)
            _add_means(figure, chosen, metric)
    pretrained = [m for m in models if m.target == Target.FORMATION_ENERGY]
    points = _means(pretrained, metric, pretrained=True)
    if points:
        figure.add_scatter(
            x=[x for _, x, _ in points],
            y=[y for _, _, y in points],
            mode="markers",
            marker={"symbol": "x", "size": 9, "color": VERMILION},
            name="E_form, un-retrained",
            hovertemplate="un-retrained: %{y:.4f}<extra></extra>",
        )
    figure.update_xaxes(title_text="Labels trained on")
    if metric == "mae":
        figure.update_yaxes(title_text="MAE on held-out labels (eV/atom)", rangemode="tozero")
    else:
        figure.update_yaxes(title_text="R² on held-out labels")
    return figure


def _value(metrics: Metrics, metric: str) -> float | None:
    value: float | None = getattr(metrics, metric)
    return value


def _means(models: Sequence[ModelRecord], metric: str, *, pretrained: bool = False) -> list[tuple[int, float, float]]:
    points = []
    for number in sorted({model.round for model in models}):
        members = [model for model in models if model.round == number]
        values = [_value(m.pretrained_metrics if pretrained else m.metrics, metric) for m in members]
        known = [value for value in values if value is not None]
        if known:
            points.append((number, fmean(m.n_train for m in members), fmean(known)))
    return points


def _add_members(figure: go.Figure, models: Sequence[ModelRecord], metric: str) -> None:
    target = models[0].target
    known = [(model, value) for model in models if (value := _value(model.metrics, metric)) is not None]
    figure.add_scatter(
        x=[model.n_train for model, _ in known],
        y=[value for _, value in known],
        mode="markers",
        marker={"color": _COLOURS[target], "symbol": _SYMBOLS[target], "size": 6, "opacity": 0.5},
        text=[f"round {model.round + 1}, seed {model.seed}" for model, _ in known],
        hovertemplate=f"{_NAMES[target]}, %{{text}}: %{{y:.4f}}<extra></extra>",
        showlegend=False,
    )


def _add_means(figure: go.Figure, models: Sequence[ModelRecord], metric: str) -> None:
    target = models[0].target
    points = _means(models, metric)
    figure.add_scatter(
        x=[x for _, x, _ in points],
        y=[y for _, _, y in points],
        mode="lines+markers",
        line={"color": _COLOURS[target], "width": 2},
        marker={"symbol": _SYMBOLS[target], "size": 10},
        text=[f"round {number + 1}" for number, _, _ in points],
        hovertemplate=f"{_NAMES[target]}, %{{text}}, mean of members: %{{y:.4f}}<extra></extra>",
        name=_NAMES[target],
    )
