"""One column per working-ion level, one line per composition: S0 Fig. 4, readable with twenty compositions."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from cathodeflow.report.figures.appearance import AXIS, FAINT, axis_look, new_figure, plain

ROW_HEIGHT = 26  # pixels


def faceted(names: Sequence[str], levels: Sequence[str], axis_title: str) -> go.Figure:
    """Return an empty figure with a column per level and a line per name, the first on top.

    Parameters
    ----------
    names : sequence of str
        Of the lines, as plain text.
    levels : sequence of str
        Of the columns.
    axis_title : str
        Below the columns, with the unit.

    Returns
    -------
    plotly Figure
        Column i has the axes `axes_of(i)`.
    """
    from plotly.subplots import make_subplots

    columns = max(len(levels), 1)
    figure = make_subplots(rows=1, cols=columns, shared_yaxes=True, horizontal_spacing=0.025)
    look = new_figure(height=150 + ROW_HEIGHT * len(names))
    figure.update_layout(look.layout)
    figure.update_xaxes(**axis_look(), rangemode="tozero", nticks=5)
    figure.update_yaxes(
        **axis_look(),
        type="category",
        categoryorder="array",
        categoryarray=list(names),
        range=[len(names) - 0.4, -0.6],
        tickmode="array",
        tickvals=list(names),
    )
    figure.update_yaxes(tickfont={"size": 12})
    for index, level in enumerate(levels):
        _head(figure, index, level)
    for index in range(columns) if len(names) > 1 else ():
        _line_below_the_first(figure, index)
    figure.add_annotation(
        text=axis_title, x=0.5, xref="paper", y=0, yref="paper", yanchor="top", yshift=-26, showarrow=False
    )
    figure.update_layout(
        legend={"yref": "container", "y": 1, "yanchor": "top"}, margin={"t": 74, "b": 56, "l": 20, "r": 14}
    )
    return figure


def _head(figure: go.Figure, column: int, level: str) -> None:
    figure.add_annotation(
        text=f"<b>{plain(level)}</b>",
        x=0.5,
        xref=f"{axis_name('x', column)} domain",
        y=1,
        yref="paper",
        yanchor="bottom",
        yshift=2,
        showarrow=False,
    )


def _line_below_the_first(figure: go.Figure, column: int) -> None:
    """Set the pristine host apart from the candidates."""
    figure.add_shape(
        type="line",
        x0=0,
        x1=1,
        xref=f"{axis_name('x', column)} domain",
        y0=0.5,
        y1=0.5,
        yref=axis_name("y", column),
        line={"color": AXIS, "width": 1},
    )


def axis_name(letter: str, column: int) -> str:
    """Return plotly's name of a column's axis, such as ``x`` of the first and ``x2`` of the second."""
    return letter if column == 0 else f"{letter}{column + 1}"


def host_line(figure: go.Figure, column: int, value: float) -> None:
    """Draw the pristine host's value through all lines of one column."""
    figure.add_shape(
        type="line",
        x0=value,
        x1=value,
        xref=axis_name("x", column),
        y0=0,
        y1=1,
        yref=f"{axis_name('y', column)} domain",
        line={"color": FAINT, "width": 1.5, "dash": "dash"},
        layer="below",
    )
