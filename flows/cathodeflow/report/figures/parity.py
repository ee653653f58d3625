"""Computed against predicted, before and after retraining (S0 Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import plotly.graph_objects as go

from cathodeflow.records.model import ModelRecord, ParityPoint
from cathodeflow.records.outcomes import Target
from cathodeflow.report.figures.appearance import AXIS, BLUE, FAINT, VERMILION, new_figure, plain
from cathodeflow.report.wording import number

SYMBOLS = {Target.FORMATION_ENERGY: "E_form", Target.RELAXATION_ENERGY: "E_relax"}


@dataclass(frozen=True)
class EnsemblePoint:
    """One label with what the ensemble says of it, eV/atom.

    A label that some members held out is averaged over those members only, so that no point shown as held out was seen
    in training by a member it stands for.
    """

    key: str
    true: float
    predicted: float
    pretrained: float
    held_out: bool


def ensemble_points(models: Sequence[ModelRecord]) -> list[EnsemblePoint]:
    """Average the parity points of the members of one ensemble, label by label."""
    by_key: dict[str, list[ParityPoint]] = {}
    for model in models:
        for point in model.parity:
            by_key.setdefault(point.key, []).append(point)
    points = []
    for key, members in sorted(by_key.items()):
        held_out = [point for point in members if point.held_out]
        shown = held_out or members
        points.append(
            EnsemblePoint(
                key=key,
                true=shown[0].true,
                predicted=fmean(point.predicted for point in shown),
                pretrained=fmean(point.pretrained for point in shown),
                held_out=bool(held_out),
            )
        )
    return points


def parity(models: Sequence[ModelRecord], *, retrained: bool) -> go.Figure:
    """Draw predicted against computed energies of the labels, eV/atom.

    Parameters
    ----------
    models : sequence of ModelRecord
        The ensemble of one round and one target; at least one.
    retrained : bool
        The retrained ensemble, or the published network as it was.

    Returns
    -------
    plotly Figure
    """
    points = ensemble_points(models)
    symbol = SYMBOLS[models[0].target]
    figure = new_figure(height=400)
    values: list[float] = []
    for held_out, name, colour, shape in (
        (False, "not held out", FAINT, "circle"),
        (True, "held out", VERMILION, "diamond"),
    ):
        chosen = [point for point in points if point.held_out == held_out]
        predicted = [round(point.predicted if retrained else point.pretrained, 5) for point in chosen]
        true = [round(point.true, 5) for point in chosen]
        values += predicted + true
        figure.add_scatter(
            x=true,
            y=predicted,
            mode="markers",
            name=name,
            marker={"color": BLUE if held_out and retrained else colour, "size": 6 if held_out else 5, "symbol": shape},
            text=[plain(point.key) for point in chosen],
            hovertemplate="%{text}<br>computed %{x:.4f}<br>predicted %{y:.4f} eV/atom<extra></extra>",
        )
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = 0.04 * (high - low or 1.0)
    ends = [low - pad, high + pad]
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"color": AXIS, "width": 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_annotation(
        text=_metrics_text(models, retrained=retrained),
        x=0.98,
        y=0.04,
        xref="paper",
        yref="paper",
        xanchor="right",
        yanchor="bottom",
        showarrow=False,
        align="right",
    )
    figure.update_xaxes(title_text=f"{symbol} computed (eV/atom)", range=ends)
    figure.update_yaxes(title_text=f"{symbol} predicted (eV/atom)", range=ends)
    return figure


def _metrics_text(models: Sequence[ModelRecord], *, retrained: bool) -> str:
    """Say the members' mean metrics on what each held out."""
    metrics = [model.metrics if retrained else model.pretrained_metrics for model in models]
    known = [m.r2 for m in metrics if m.r2 is not None]
    r2 = number(fmean(known), 3) if known else "–"
    return f"held out: R² {r2}<br>MAE {number(fmean(m.mae for m in metrics), 4)} eV/atom"
