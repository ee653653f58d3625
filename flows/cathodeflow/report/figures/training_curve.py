"""Loss of the last round's networks, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from cathodeflow.records.model import ModelRecord
from cathodeflow.report.figures.appearance import BLUE, ORANGE, new_figure

_MOST_POINTS = 400  # per curve; more cannot be told apart


def training_curve(models: Sequence[ModelRecord]) -> go.Figure:
    """Draw the mean squared error of training and validation against the epoch, (eV/atom)², logarithmic.

    Parameters
    ----------
    models : sequence of ModelRecord
        The members of one ensemble.

    Returns
    -------
    plotly Figure
    """
    figure = new_figure(height=360)
    for index, model in enumerate(models):
        stride = max(1, -(-len(model.curve) // _MOST_POINTS))
        curve = model.curve[::stride]
        for name, colour, values in (
            ("training", BLUE, [point.train for point in curve]),
            ("validation", ORANGE, [point.validation for point in curve]),
        ):
            figure.add_scatter(
                x=[point.epoch for point in curve],
                y=[_positive(value) for value in values],
                mode="lines",
                line={"color": colour, "width": 1.5, "dash": ("solid", "dash", "dot", "dashdot")[index % 4]},
                name=name,
                legendgroup=name,
                showlegend=index == 0,
                hovertemplate=f"{name}, seed {model.seed}, epoch %{{x}}: %{{y:.3g}} (eV/atom)²<extra></extra>",
            )
    figure.update_xaxes(title_text="Epoch")
    figure.update_yaxes(title_text="Mean squared error ((eV/atom)²)", type="log", exponentformat="power", dtick=1)
    return figure


def _positive(value: float | None) -> float | None:
    return float(f"{value:.4g}") if value is not None and value > 0 else None
