"""Property maps over all compositions (S0 Fig. 3a, b): an element across, an element and a ratio down."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from cathodeflow.records.verdict import VerdictRecord
from cathodeflow.report.figures.appearance import AXIS, new_figure, plain

_MARK = {"symbol": "circle-open", "size": 6, "color": "white", "line": {"width": 1.2}}
_SMALL_MARK = {"symbol": "circle", "size": 2.5, "color": "white"}
_MANY_ROWS = 80
ROW_GAP = 1  # an empty row between the blocks of two elements
LARGEST_RELAXATION = "E_relax"


@dataclass(frozen=True)
class MapGrid:
    """Where each composition sits in the map.

    Attributes
    ----------
    elements : list of str
        Columns, and blocks of rows from the top down.
    ratios : list of int
        Site counts of the row's element, the rows of a block.
    rows : list of (str, int) or None
        Element and its site count per row; None for a gap.
    cells : list of lists of VerdictRecord or None
        Row by row.
    """

    elements: list[str]
    ratios: list[int]
    rows: list[tuple[str, int] | None]
    cells: list[list[VerdictRecord | None]]


def element_order(verdicts: Sequence[VerdictRecord]) -> list[str]:
    """Return the elements in the order of their atomic numbers, as a periodic table has them."""
    from pymatgen.core.periodic_table import Element

    found = {element for verdict in verdicts for element in verdict.elements}
    known = {element for element in found if Element.is_valid_symbol(element)}
    return sorted(known, key=lambda symbol: Element(symbol).Z) + sorted(found - known)


def map_grid(verdicts: Sequence[VerdictRecord]) -> MapGrid:
    """Lay the compositions out: each binary is shown twice, once in either element's column.

    A pure compound fills its own block of its own column.
    """
    elements = element_order(verdicts)
    by_counts: dict[tuple[tuple[str, int], ...], VerdictRecord] = {}
    ratios: set[int] = set()
    sites = 0
    for verdict in verdicts:
        counts = tuple(sorted((e, n) for e, n in zip(verdict.elements, verdict.counts, strict=False) if n))
        by_counts[counts] = verdict
        sites = max(sites, sum(n for _, n in counts))
        if len(counts) > 1:
            ratios.update(n for _, n in counts)
    steps = sorted(ratios) or [sites]
    rows: list[tuple[str, int] | None] = []
    cells: list[list[VerdictRecord | None]] = []
    for element in elements:
        if rows:
            rows += [None] * ROW_GAP
            cells += [[None] * len(elements)] * ROW_GAP
        for count in steps:
            rows.append((element, count))
            cells.append([by_counts.get(_counts(other, element, count, sites)) for other in elements])
    return MapGrid(elements, steps, rows, cells)


def _counts(column: str, row: str, count: int, sites: int) -> tuple[tuple[str, int], ...]:
    if column == row:
        return ((row, sites),)
    return tuple(sorted(((column, sites - count), (row, count))))


def property_map(verdicts: Sequence[VerdictRecord], quantity: str) -> go.Figure:
    """Draw one quantity over all compositions.

    Parameters
    ----------
    verdicts : sequence of VerdictRecord
        One per composition, of one round; at least one.
    quantity : str
        A voltage such as ``V21`` (V), or ``E_relax``: the largest over the working-ion levels (eV/atom).

    Returns
    -------
    plotly Figure
        A heat map whose hover names the composition and the value; the colours span the 1st to 99th percentile. The
        page shows all other values of the composition pointed at.
    """
    grid = map_grid(verdicts)
    value_of, unit = _reader(quantity)
    values = [[None if cell is None else value_of(cell) for cell in row] for row in grid.cells]
    low, high = _central_range([value for row in values for value in row if value is not None])
    figure = new_figure(height=max(360, min(1100, 90 + 12 * len(grid.rows))))
    figure.add_heatmap(
        z=values,
        x=grid.elements,
        y=list(range(len(grid.rows))),
        zmin=low,
        zmax=high,
        colorscale="Cividis" if unit == "V" else "Viridis",
        hoverongaps=False,
        text=[[plain(cell.composition) if cell else "" for cell in row] for row in grid.cells],
        hovertemplate=f"%{{text}}<br>{quantity} %{{z:.3f}} {unit}<extra></extra>",
        colorbar={"title": {"text": unit, "side": "top"}, "thickness": 12, "outlinewidth": 0, "len": 0.9, "x": 1.01},
    )
    middles = [
        (element, fmiddle)
        for element in grid.elements
        for fmiddle in [_middle([i for i, row in enumerate(grid.rows) if row is not None and row[0] == element])]
    ]
    figure.update_yaxes(
        range=[len(grid.rows) - 0.5, -0.5],
        tickvals=[middle for _, middle in middles],
        ticktext=[plain(element) for element, _ in middles],
        title_text=f"Element, on {grid.ratios[0]} to {grid.ratios[-1]} sites (downward)",
        showgrid=False,
        tickfont={"size": 11 if len(grid.elements) > 15 else 13},
    )
    figure.update_xaxes(
        title_text="The other element",
        range=[-0.5, len(grid.elements) - 0.5],
        showgrid=False,
        type="category",
        tickangle=0 if len(grid.elements) <= 15 else -90,
        tickvals=grid.elements,
        tickfont={"size": 10 if len(grid.elements) > 15 else 13},
    )
    _mark_passed(figure, grid)
    return figure


def _reader(quantity: str) -> tuple[Callable[[VerdictRecord], float | None], str]:
    if quantity == LARGEST_RELAXATION:
        return lambda verdict: _rounded(max(verdict.relaxation_energies.values(), default=None)), "eV/atom"
    return lambda verdict: _rounded(verdict.voltages.get(quantity)), "V"


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _central_range(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values) or [0.0, 1.0]
    last = len(ordered) - 1
    low, high = ordered[round(0.01 * last)], ordered[round(0.99 * last)]
    if high > low:
        return low, high
    pad = max(0.05 * abs(low), 1e-3)
    return low - pad, high + pad


def _middle(positions: list[int]) -> float:
    return sum(positions) / len(positions)


def _is_first_showing(grid: MapGrid, row: int, column: int) -> bool:
    """Tell whether a cell is to be marked: a pure compound fills a block and is marked in its middle row only."""
    owner = grid.rows[row]
    if owner is None or owner[0] != grid.elements[column]:
        return True
    return owner[1] == grid.ratios[len(grid.ratios) // 2]


def _mark_passed(figure: go.Figure, grid: MapGrid) -> None:
    passed = [
        (grid.elements[column], row)
        for row, cells in enumerate(grid.cells)
        for column, cell in enumerate(cells)
        if cell is not None and cell.passed and _is_first_showing(grid, row, column)
    ]
    figure.add_scatter(
        x=[column for column, _ in passed],
        y=[row for _, row in passed],
        mode="markers",
        marker=_SMALL_MARK if len(grid.rows) > _MANY_ROWS else _MARK,
        name="passes every rule",
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_layout(margin={"l": 60, "r": 10, "t": 32, "b": 50}, plot_bgcolor="rgba(0,0,0,0)")
    figure.update_xaxes(linecolor=AXIS)
