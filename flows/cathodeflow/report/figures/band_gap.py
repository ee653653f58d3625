"""Band gaps per composition and level, HSE06 beside the functional of the labels (S0 Fig. 4c, d)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import plotly.graph_objects as go

from cathodeflow.records.followup import EdgesPart, GapResult
from cathodeflow.records.outcomes import Branch
from cathodeflow.report.electronic import ElectronicStructure, Subject
from cathodeflow.report.figures.appearance import BLUE, FAINT, ORANGE, VERMILION, plain
from cathodeflow.report.figures.facets import axis_name, faceted, host_line

PublishedGaps = Mapping[str, Mapping[str, tuple[float, float]]]
"""Composition to level to lowest and highest published gap, eV."""


def gaps(structure: ElectronicStructure) -> dict[tuple[str, str], GapResult]:
    """Return the gaps by composition and level."""
    found = {}
    for subject in structure.subjects:
        for level in structure.levels:
            record = structure.done(subject.composition, level, Branch.GAP)
            if record is not None and record.gap is not None:
                found[subject.composition, level] = record.gap
    return found


def functional_below(computed: Iterable[GapResult]) -> str:
    """Return what the static runs computed with: ``PBE(+U)`` where the metals of only some crystals have a U."""
    names = {gap.pbe.functional for gap in computed}
    return "PBE(+U)" if len(names) > 1 else next(iter(names), "PBE")


def band_gap(structure: ElectronicStructure, published: PublishedGaps) -> go.Figure:
    """Draw the gaps, eV: filled HSE06, open the functional of the labels; metals stand at zero.

    Parameters
    ----------
    structure : ElectronicStructure
        The follow-ups.
    published : mapping
        What the paper gives, per composition and level; empty where it does not compare.
    """
    computed = gaps(structure)
    functional = plain(functional_below(computed.values()))
    figure = faceted([plain(subject.name) for subject in structure.subjects], structure.levels, "Band gap (eV)")
    for column, level in enumerate(structure.levels):
        axes = {"xaxis": axis_name("x", column), "yaxis": axis_name("y", column), "showlegend": column == 0}
        of_level = [
            (s, computed[s.composition, level]) for s in structure.subjects if (s.composition, level) in computed
        ]
        _joints(figure, column, of_level)
        _published(figure, structure, level, published, axes)
        labels = [(plain(s.name), gap.pbe) for s, gap in of_level]
        _points(figure, labels, functional, {"symbol": "circle-open", "color": ORANGE, "size": 9}, axes)
        hybrids = [(plain(s.name), gap.hybrid) for s, gap in of_level if gap.hybrid is not None]
        _points(figure, hybrids, "HSE06 at the band edges", {"symbol": "circle", "color": BLUE, "size": 10}, axes)
        host = structure.host
        known = computed.get((host.composition, level)) if host is not None else None
        if known is not None and known.hybrid is not None:
            host_line(figure, column, known.hybrid.gap)
    largest = max((edges.gap for gap in computed.values() for edges in (gap.pbe, gap.hybrid) if edges), default=1.0)
    largest = max([largest, *(high for levels in published.values() for _, high in levels.values())])
    figure.update_xaxes(range=[-0.06 * largest, 1.1 * largest], autorange=False)
    return figure


def _points(
    figure: go.Figure,
    points: list[tuple[str, EdgesPart]],
    name: str,
    marker: dict[str, object],
    axes: dict[str, object],
) -> None:
    figure.add_scatter(
        x=[round(edges.gap, 4) for _, edges in points],
        y=[line for line, _ in points],
        text=[plain(f"{edges.functional}, {_kind(edges)}") for _, edges in points],
        mode="markers",
        name=name,
        legendgroup=name,
        marker={**marker, "line": {"width": 2}} if marker["symbol"] == "circle-open" else marker,
        hovertemplate="%{y}: %{x:.2f} eV, %{text}<extra></extra>",
        cliponaxis=False,
        **axes,
    )


def _kind(edges: EdgesPart) -> str:
    return "metal" if edges.is_metal else "direct" if edges.is_direct else "indirect"


def _joints(figure: go.Figure, column: int, of_level: list[tuple[Subject, GapResult]]) -> None:
    """Join the two gaps of one crystal by a thin line."""
    x: list[float | None] = []
    y: list[str | None] = []
    for subject, gap in of_level:
        if gap.hybrid is not None:
            name = plain(subject.name)
            x += [gap.pbe.gap, gap.hybrid.gap, None]
            y += [name, name, None]
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": FAINT, "width": 2},
        hoverinfo="skip",
        showlegend=False,
        xaxis=axis_name("x", column),
        yaxis=axis_name("y", column),
    )


def _published(
    figure: go.Figure,
    structure: ElectronicStructure,
    level: str,
    published: PublishedGaps,
    axes: dict[str, object],
) -> None:
    """Mark what the paper gives; a range is its middle with bars."""
    if not published:
        return
    known = [
        (plain(subject.name), published[subject.composition][level])
        for subject in structure.subjects
        if level in published.get(subject.composition, {})
    ]
    figure.add_scatter(
        x=[(low + high) / 2 for _, (low, high) in known],
        y=[name for name, _ in known],
        error_x={
            "type": "data",
            "array": [(high - low) / 2 for _, (low, high) in known],
            "color": VERMILION,
            "thickness": 2,
            "width": 5,
        },
        mode="markers",
        name="published, S0 (HSE06)",
        legendgroup="published",
        marker={"symbol": "diamond-open", "color": VERMILION, "size": 11, "line": {"width": 2}},
        text=[f"{low:g} to {high:g}" if low != high else f"{low:g}" for _, (low, high) in known],
        hovertemplate="%{y}, S0: %{text} eV<extra></extra>",
        **axes,
    )
