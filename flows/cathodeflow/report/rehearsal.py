"""Marks every part of a rehearsal's report: its numbers are of stand-in programs, not of any material."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from cathodeflow.report.panels import Panel

if TYPE_CHECKING:
    from cathodeflow.report.electronic_panels import Gallery

WORD = "REHEARSAL"
BANNER = (
    "stand-in programs made these numbers from the real inputs. They prove the path and say nothing about materials."
)
_COLOUR = "rgba(213,94,0,0.24)"


def stamp_figure(figure: go.Figure) -> go.Figure:
    """Write the word across a figure; the mouse reaches what lies below."""
    height = figure.layout.height or 300
    figure.add_annotation(
        text=WORD,
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        showarrow=False,
        textangle=-16,
        captureevents=False,
        font={"size": 46 if height > 320 else 32, "color": _COLOUR},
    )
    return figure


def stamp_panel(panel: Panel) -> Panel:
    """Mark a panel's figure and begin its caption with the word."""
    if panel.figure is None:
        return panel
    return replace(panel, caption=f"{WORD}. {panel.caption}".strip(), figure=stamp_figure(panel.figure))


def stamp_gallery(gallery: Gallery) -> Gallery:
    """Mark every figure of a gallery and its caption."""
    for levels in gallery.figures.values():
        for item in levels.values():
            if isinstance(item, go.Figure):
                stamp_figure(item)
    return replace(gallery, caption=f"{WORD}. {gallery.caption}")


def stamp_panels(panels: dict[str, Any]) -> dict[str, Any]:
    """Mark panels, alone and in lists."""
    return {
        name: [stamp_panel(item) for item in value] if isinstance(value, list) else stamp_panel(value)
        for name, value in panels.items()
    }
