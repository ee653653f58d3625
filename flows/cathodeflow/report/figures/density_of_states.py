"""Projected densities of states: metals' d, O p and F p, spin up above and spin down below (S0 section 3.5)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from cathodeflow.records.followup import PdosCurve, PdosResult
from cathodeflow.report.figures.appearance import AXIS, BLUE, GREEN, PINK, SKY, VERMILION, new_figure, plain

WINDOW = (-8.0, 6.0)
"""Of the figure, eV against the Fermi energy."""
STEP = 0.05
"""Of the figure, eV; a record may be finer."""
_METALS = (BLUE, VERMILION, SKY)
_LIGANDS = {"O": GREEN, "F": PINK}


def coarsened(energies: Sequence[float], values: Sequence[float]) -> tuple[float, NDArray[np.float64]]:
    """Average a curve over bins of `STEP`, so that the number of states in the window is kept.

    Parameters
    ----------
    energies : sequence of float
        Ascending, eV.
    values : sequence of float
        States/eV.

    Returns
    -------
    first : float
        Middle of the first bin, eV.
    means : (n,) array
        Mean of the curve in each bin, states/eV.
    """
    points, curve = np.asarray(energies, float), np.asarray(values, float)
    low = max(WINDOW[0], float(points[0]))
    count = max(int((min(WINDOW[1], float(points[-1])) - low) / STEP + 1e-6), 1)
    edges = low + STEP * np.arange(count + 1)
    inside = (points > edges[0]) & (points < edges[-1])
    grid = np.union1d(points[inside], edges)
    on_grid = np.interp(grid, points, curve)
    integral = np.concatenate([[0.0], np.cumsum(np.diff(grid) * (on_grid[1:] + on_grid[:-1]) / 2)])
    return low + STEP / 2, np.diff(np.interp(edges, grid, integral)) / STEP


def shown_curves(result: PdosResult, metals: Collection[str]) -> list[tuple[PdosCurve, str]]:
    """Return the curves to draw with their colours: d of the substituted metals, p of O and of F."""
    chosen = [curve for curve in result.curves if curve.element in metals and curve.shell == "d"]
    coloured = [(curve, _METALS[index % len(_METALS)]) for index, curve in enumerate(chosen)]
    return coloured + [
        (curve, _LIGANDS[curve.element])
        for curve in result.curves
        if curve.element in _LIGANDS and curve.element not in metals and curve.shell == "p"
    ]


def highest_density(results: Iterable[tuple[PdosResult, Collection[str]]]) -> float:
    """Return the highest point of all curves as they are drawn, so that all figures share one scale, states/eV."""
    peaks = [
        float(coarsened(result.energies, channel)[1].max())
        for result, metals in results
        for curve, _ in shown_curves(result, metals)
        for channel in (curve.up, curve.down)
        if channel
    ]
    return max(peaks, default=1.0)


def density_of_states(result: PdosResult, metals: Collection[str], highest: float) -> go.Figure:
    """Draw one crystal's projected densities of states.

    Parameters
    ----------
    result : PdosResult
        The curves.
    metals : collection of str
        Elements on the substitution sites.
    highest : float
        End of the axis of densities, states/eV per cell.
    """
    figure = new_figure(height=230)
    polarised = any(curve.down for curve, _ in shown_curves(result, metals))
    for curve, colour in shown_curves(result, metals):
        name = plain(f"{curve.element} {curve.shell}")
        for sign, channel, spin in ((1, curve.up, "up"), (-1, curve.down, "down")):
            if not channel:
                continue
            first, means = coarsened(result.energies, channel)
            which = f"{name}, spin {spin}" if polarised else name
            figure.add_scatter(
                x0=round(first, 4),
                dx=STEP,
                y=[round(sign * value, 2) + 0.0 for value in means.tolist()],
                mode="lines",
                name=name,
                legendgroup=name,
                showlegend=sign > 0,
                line={"color": colour, "width": 1.5},
                hovertemplate=f"{which}: %{{y:.1f}} states/eV at %{{x:.2f}} eV<extra></extra>",
            )
    figure.add_vline(x=0, line={"color": AXIS, "dash": "dot", "width": 1.2})
    figure.add_hline(y=0, line={"color": AXIS, "width": 1})
    figure.update_xaxes(title_text="E \N{MINUS SIGN} E<sub>F</sub> (eV)", range=list(WINDOW), dtick=2)
    end = 1.06 * (highest or 1.0)
    figure.update_yaxes(title_text="States/eV", range=[-end if polarised else 0, end], nticks=5)
    figure.update_layout(margin={"l": 52, "r": 8, "t": 30, "b": 44}, legend={"y": 1.0})
    return figure
