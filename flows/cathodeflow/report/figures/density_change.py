"""Δρ: a slice as a picture, and its average over planes (S3 eq. 4 and Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from cathodeflow.records.followup import DensityDifferenceResult
from cathodeflow.report.figures.appearance import BLUE, GREEN, GREY, ORANGE, PINK, VERMILION, new_figure, plain

STEPS = 100
"""Colours on either side of zero; a slice is kept as that many steps, a byte per point."""
CLIPPED = 99.5
"""Percentile of |Δρ| at which the colours end: the points beside the nuclei would leave the rest white."""
# Blue-white-red, the two ends equally dark (Crameri's rule for diverging maps; Moreland's cool-warm).
_COLOURS = [(0.0, "#b2182b"), (0.25, "#ef8a62"), (0.5, "#f7f7f7"), (0.75, "#67a9cf"), (1.0, "#2166ac")]
_LINES = (BLUE, GREEN, ORANGE, VERMILION, PINK)


def colour_range(results: Sequence[DensityDifferenceResult]) -> float:
    """Return where the colours of all pictures end, e/Å^3."""
    values = [np.abs(np.asarray(result.slice, float)).ravel() for result in results if result.slice]
    if not values:
        return 1.0
    return float(np.percentile(np.concatenate(values), CLIPPED)) or 1.0


def colour_steps(values: Sequence[Sequence[float]], end: float) -> NDArray[np.int8]:
    """Round values to the nearest of `STEPS` steps on either side of zero; what lies beyond `end` is cut off."""
    return np.clip(np.rint(np.asarray(values, float) / end * STEPS), -STEPS, STEPS).astype(np.int8)


def density_slice(result: DensityDifferenceResult, end: float) -> go.Figure:
    """Draw one plane of Δρ, zero white, electrons gained blue and lost red.

    Parameters
    ----------
    result : DensityDifferenceResult
        With the slice; its rows follow the first of the plane's two lattice vectors.
    end : float
        Where the colours end, e/Å^3.
    """
    steps = colour_steps(result.slice, end)
    rows, columns = steps.shape
    height, width = result.slice_extent
    down, across = ("abc"[axis] for axis in range(3) if axis != result.slice_axis)
    figure = new_figure(height=340)
    figure.add_heatmap(
        z=steps,
        x0=0,
        dx=width / max(columns, 1),
        y0=0,
        dy=height / max(rows, 1),
        zmin=-STEPS,
        zmax=STEPS,
        colorscale=_COLOURS,
        colorbar={
            "title": {"text": "e/Å<sup>3</sup>", "font": {"size": 11}},
            "tickvals": [-STEPS, -STEPS // 2, 0, STEPS // 2, STEPS],
            "ticktext": [_short(part * end) for part in (-1, -0.5, 0, 0.5, 1)],
            "tickfont": {"size": 11},
            "thickness": 10,
            "len": 0.9,
            "outlinewidth": 0,
        },
        hovertemplate=f"%{{x:.1f}}, %{{y:.1f}} Å: %{{z}} % of {_short(end)} e/Å<sup>3</sup><extra></extra>",
    )
    place = f"{round(result.slice_fraction, 2) % 1:g} {'abc'[result.slice_axis]}"
    figure.update_xaxes(
        title_text=f"along {across} (Å), at {place}", showgrid=False, constrain="domain", constraintoward="right"
    )
    figure.update_yaxes(title_text=f"along {down} (Å)", showgrid=False, scaleanchor="x", constrain="domain")
    figure.update_layout(margin={"l": 48, "r": 8, "t": 8, "b": 44})
    return figure


def planar_average(
    results: Mapping[str, DensityDifferenceResult], host: Mapping[str, DensityDifferenceResult]
) -> go.Figure:
    """Draw the average of Δρ over planes, one line per level; the pristine host's are dashed.

    Parameters
    ----------
    results, host : mapping of str to DensityDifferenceResult
        By level.
    """
    figure = new_figure(height=340)
    levels = list(dict.fromkeys([*results, *host]))
    for source, dash, suffix in ((host, "dash", ", pristine"), (results, "solid", "")):
        for level, result in source.items():
            figure.add_scatter(
                x=[round(position, 3) for position in result.positions],
                y=[float(f"{value:.4g}") for value in result.planar_average],
                mode="lines",
                name=plain(level + suffix),
                showlegend=not suffix or level not in results,
                line={
                    "color": _LINES[levels.index(level) % len(_LINES)],
                    "dash": dash,
                    "width": 1.3 if suffix else 2.2,
                },
                hovertemplate=f"{plain(level)}{suffix}: %{{y:.4f}} e/Å<sup>3</sup> at %{{x:.1f}} Å<extra></extra>",
            )
    shown = next(iter([*results.values(), *host.values()]), None)
    axis = "abc"[shown.axis] if shown is not None else "c"
    figure.update_xaxes(title_text=f"Along {axis}, across the planes (Å)")
    figure.update_yaxes(title_text="Mean Δρ (e/Å<sup>3</sup>)", zeroline=True, zerolinecolor=GREY)
    figure.update_layout(margin={"t": 36})
    return figure


def _short(value: float) -> str:
    return f"{value:.2g}".replace("-", "\N{MINUS SIGN}")
