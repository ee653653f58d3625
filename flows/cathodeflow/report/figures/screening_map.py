"""Lowest against highest voltage of all compositions: where the passed ones lie (after S0 Fig. 3c)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from cathodeflow.records.verdict import VerdictRecord
from cathodeflow.report.figures.appearance import BLUE, FAINT, ORANGE, new_figure, plain
from cathodeflow.science.energetics.voltage import fullest_first

_MANY = 100  # passed compositions, from which on their markers are small
_ISO_SCORES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)


def outer_voltages(verdicts: Sequence[VerdictRecord]) -> tuple[str, str]:
    """Return the names of the voltage of the fullest and of the emptiest step, e.g. ``V43`` and ``V21``."""
    names = fullest_first({name for verdict in verdicts for name in verdict.voltages})
    return (names[0], names[-1]) if names else ("", "")


def screening_map(verdicts: Sequence[VerdictRecord]) -> go.Figure:
    """Draw every composition by its two outer voltages, V.

    Parameters
    ----------
    verdicts : sequence of VerdictRecord
        Of one round, with at least one voltage.

    Returns
    -------
    plotly Figure
        Dotted lines join equal scores (V21 − V43)/V43; on the line of zero the two voltages are equal.
    """
    low_name, high_name = outer_voltages(verdicts)
    size = 8 if sum(verdict.passed for verdict in verdicts) < _MANY else 5
    groups = (
        ("rejected", FAINT, "circle", 4, [v for v in verdicts if not v.passed]),
        ("passes, without noble metals", BLUE, "circle", size, [v for v in verdicts if v.passed and not v.noble]),
        ("passes, with a noble metal", ORANGE, "diamond", size, [v for v in verdicts if v.passed and v.noble]),
    )
    figure = new_figure(height=440)
    xs: list[float] = []
    ys: list[float] = []
    for name, colour, symbol, width, group in groups:
        shown = [v for v in group if _finite(v.voltages.get(low_name)) and _finite(v.voltages.get(high_name))]
        x = [round(v.voltages[high_name], 4) for v in shown]
        y = [round(v.voltages[low_name], 4) for v in shown]
        xs += x
        ys += y
        figure.add_scatter(
            x=x,
            y=y,
            mode="markers",
            name=f"{name} ({len(group)})",
            marker={"color": colour, "symbol": symbol, "size": width, "line": {"width": 0}},
            customdata=[plain(v.composition) for v in shown],
            hovertemplate=f"%{{customdata}}<br>{high_name} %{{x:.2f}} V, {low_name} %{{y:.2f}} V<extra></extra>",
        )
    x_range, y_range = _padded(xs), _padded(ys)
    for score in _ISO_SCORES:
        _add_iso_score(figure, score, x_range, y_range)
    figure.update_xaxes(title_text=f"{high_name} predicted (V)", range=x_range)
    figure.update_yaxes(title_text=f"{low_name} predicted (V)", range=y_range)
    return figure


def _padded(values: list[float]) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = 0.05 * (high - low or 1.0)
    return [low - pad, high + pad]


def _add_iso_score(figure: go.Figure, score: float, x_range: list[float], y_range: list[float]) -> None:
    """Draw the line on which the score has one value, where it crosses the window shown; its name at the right end."""
    left = max(x_range[0], y_range[0] * (1 + score))
    right = min(x_range[1], y_range[1] * (1 + score))
    if right <= left:
        return
    ends = [left, right]
    figure.add_scatter(
        x=ends,
        y=[x / (1 + score) for x in ends],
        mode="lines",
        line={"color": FAINT, "dash": "dot", "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_annotation(
        x=right,
        y=right / (1 + score),
        text=f"{score:g}",
        showarrow=False,
        xanchor="right",
        yanchor="bottom",
        font={"size": 11},
    )


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
