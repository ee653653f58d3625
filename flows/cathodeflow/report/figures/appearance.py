"""The look that all figures share: a colour-blind-safe palette and quiet axes."""

from __future__ import annotations

import html
from typing import Any

import plotly.graph_objects as go

# Okabe and Ito's palette: told apart with every common colour-vision deficiency.
BLUE = "#0072B2"
SKY = "#56B4E9"
ORANGE = "#E69F00"
VERMILION = "#D55E00"
GREEN = "#009E73"
PINK = "#CC79A7"
GREY = "#8A8F98"
FAINT = "rgba(138,143,152,0.45)"

GRID = "rgba(128,134,145,0.22)"
AXIS = "rgba(128,134,145,0.65)"
INK = "#333a44"  # the page's script replaces it where the reader prefers a dark page
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', Arial, sans-serif"


def new_figure(height: int = 420) -> go.Figure:
    """Return an empty figure with the report's look, `height` pixels high."""
    layout = {
        "template": "none",
        "height": height,
        "margin": {"l": 64, "r": 20, "t": 24, "b": 56},
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": FAINT, "activecolor": BLUE},
        "hoverlabel": {"font": {"family": FONT, "size": 12}, "align": "left"},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "xanchor": "left",
            "yanchor": "bottom",
            "bgcolor": "rgba(0,0,0,0)",
        },
        "xaxis": axis_look(),
        "yaxis": axis_look(),
    }
    return go.Figure(layout=layout)  # in one go: updating a figure piece by piece takes ten times as long


def axis_look() -> dict[str, Any]:
    """Return the settings of a quiet axis."""
    return {
        "gridcolor": GRID,
        "linecolor": AXIS,
        "showline": True,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": AXIS,
        "ticklen": 4,
        "title": {"font": {"size": 13}, "standoff": 8},
        "automargin": True,
    }


def plain(text: str) -> str:
    """Return text from a record so that plotly shows it as it is: it reads tags and entities otherwise."""
    return html.escape(text, quote=False)
