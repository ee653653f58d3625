"""Predicted against computed voltages of the validated compositions (S0 Table 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from cathodeflow.records.verdict import ValidationRecord
from cathodeflow.report.figures.appearance import AXIS, BLUE, GREEN, ORANGE, PINK, new_figure, plain

_COLOURS = (BLUE, ORANGE, GREEN, PINK)
_SYMBOLS = ("circle", "square", "diamond", "cross")


def voltage_pairs(validations: Sequence[ValidationRecord]) -> list[tuple[str, str, float, float]]:
    """Return (voltage name, composition, computed, predicted), V, where both are known; pristine host included."""
    return [
        (name, record.composition, record.voltages[name], record.predicted_voltages[name])
        for record in validations
        for name in sorted(set(record.voltages) & set(record.predicted_voltages))
        if math.isfinite(record.voltages[name]) and math.isfinite(record.predicted_voltages[name])
    ]


def predicted_voltage(validations: Sequence[ValidationRecord]) -> go.Figure:
    """Draw predicted against computed voltages, V, one symbol per step.

    Parameters
    ----------
    validations : sequence of ValidationRecord
        With at least one voltage both predicted and computed.

    Returns
    -------
    plotly Figure
    """
    pairs = voltage_pairs(validations)
    figure = new_figure(height=400)
    for index, name in enumerate(sorted({pair[0] for pair in pairs}, reverse=True)):
        chosen = [pair for pair in pairs if pair[0] == name]
        figure.add_scatter(
            x=[round(pair[2], 4) for pair in chosen],
            y=[round(pair[3], 4) for pair in chosen],
            mode="markers",
            name=plain(name),
            marker={"color": _COLOURS[index % 4], "symbol": _SYMBOLS[index % 4], "size": 9},
            text=[plain(pair[1]) for pair in chosen],
            hovertemplate=f"%{{text}} {plain(name)}<br>computed %{{x:.2f}} V, predicted %{{y:.2f}} V<extra></extra>",
        )
    values = [value for pair in pairs for value in pair[2:]]
    pad = 0.05 * (max(values, default=1.0) - min(values, default=0.0) or 1.0)
    ends = [min(values, default=0.0) - pad, max(values, default=1.0) + pad]
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"color": AXIS, "dash": "dot", "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_xaxes(title_text="Voltage computed (V)", range=ends)
    figure.update_yaxes(title_text="Voltage predicted (V)", range=ends)
    return figure
