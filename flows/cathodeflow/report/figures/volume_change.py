"""Volume change over the normal and the sodium-excess cycle (S0 Fig. 4a, b)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from cathodeflow.records.verdict import ValidationRecord
from cathodeflow.report.figures.appearance import BLUE, GREY, ORANGE, PINK, new_figure, plain

_COLOURS = (BLUE, ORANGE, PINK, GREY)
_SYMBOLS = ("circle", "diamond", "square", "cross")


def volume_change(
    validations: Sequence[ValidationRecord],
    intervals: Sequence[str],
    published: Mapping[str, float],
    measured: Mapping[str, float],
) -> go.Figure:
    """Draw the volume change of each validated composition, percent.

    Parameters
    ----------
    validations : sequence of ValidationRecord
        Pristine host included.
    intervals : sequence of str
        Which to draw, e.g. ``Na1-Na3``.
    published, measured : mapping of str to float
        Percent per interval (``Na1-Na3``) of the pristine host in the paper and in experiment; empty for other hosts.

    Returns
    -------
    plotly Figure
    """
    shown = [record for record in validations if record.volume_changes]
    figure = new_figure(height=max(230, 130 + 30 * len(shown)))
    for index, interval in enumerate(intervals):
        colour = _COLOURS[index % 4]
        chosen = [record for record in shown if interval in record.volume_changes]
        figure.add_scatter(
            x=[round(record.volume_changes[interval], 3) for record in chosen],
            y=[_name(record) for record in chosen],
            mode="markers",
            name=plain(interval.replace("-", "↔")),
            marker={"color": colour, "symbol": _SYMBOLS[index % 4], "size": 10},
            hovertemplate=f"%{{y}} {plain(interval)}: %{{x:.2f}} %<extra></extra>",
        )
        for values, dash in ((published, "dash"), (measured, "dot")):
            if interval in values:
                figure.add_vline(x=values[interval], line={"color": colour, "dash": dash, "width": 1.4})
    figure.update_xaxes(title_text="Volume change (%)", zeroline=True, zerolinecolor=GREY)
    figure.update_yaxes(autorange="reversed", type="category", categoryarray=[_name(record) for record in shown])
    return figure


def _name(record: ValidationRecord) -> str:
    return plain(record.composition) + (" (pristine)" if record.pristine else "")
