"""Bader charge transfer: how each species' mean charge changes with the working-ion content (S3 section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from cathodeflow.records.outcomes import Branch
from cathodeflow.report.electronic import ElectronicStructure, Subject
from cathodeflow.report.figures.appearance import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    SKY,
    VERMILION,
    new_figure,
    plain,
)

_KNOWN = {"O": GREEN, "F": PINK, "P": GREY}
_OTHERS = (BLUE, VERMILION, SKY)


def mean_charges(structure: ElectronicStructure, composition: str) -> dict[str, dict[str, tuple[float, float]]]:
    """Return per element and level the mean net charge and its standard deviation, e."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for level in structure.levels:
        record = structure.done(composition, level, Branch.BADER)
        if record is None or record.bader is None:
            continue
        for species in record.bader.species:
            found.setdefault(species.element, {})[level] = (species.mean, species.standard_deviation)
    return found


def charge_transfer(structure: ElectronicStructure, subject: Subject, ion: str) -> go.Figure:
    """Draw by how much mean net charges change from the emptiest level, e per atom; the pristine host is dashed.

    The charges themselves lie between −1.5 (O) and +3.6 e (P): drawn as they are, every change is a flat line.

    Parameters
    ----------
    structure : ElectronicStructure
        The follow-ups.
    subject : Subject
        The composition.
    ion : str
        The working ion.
    """
    figure = new_figure(height=360)
    host = structure.host
    shown = [(subject, "solid")]
    own = mean_charges(structure, subject.composition)
    if host is not None and host != subject:
        shown.insert(0, (host, "dash"))
    colours: dict[str, str] = dict(_KNOWN) | {ion: ORANGE}
    for drawn, dash in shown:
        for element, by_level in mean_charges(structure, drawn.composition).items():
            if element not in colours:
                colours[element] = _OTHERS[(len(colours) - len(_KNOWN) - 1) % len(_OTHERS)]
            _line(figure, structure.levels, element, by_level, drawn, dash, colours[element])
            figure.data[-1].showlegend = drawn is subject or element not in own
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=list(structure.levels), showgrid=False)
    figure.update_yaxes(title_text="Change of net charge (e per atom)", zeroline=True, zerolinecolor=GREY)
    figure.update_layout(margin={"t": 48})
    return figure


def _line(
    figure: go.Figure,
    levels: Sequence[str],
    element: str,
    by_level: dict[str, tuple[float, float]],
    subject: Subject,
    dash: str,
    colour: str,
) -> None:
    drawn = [level for level in levels if level in by_level]
    start = by_level[drawn[0]][0]
    solid = dash == "solid"
    of_what = plain(f"{subject.name}, {element}")
    name = plain(element if solid else f"{element}, pristine")
    figure.add_scatter(
        x=drawn,
        y=[round(by_level[level][0] - start, 4) for level in drawn],
        text=[f"{by_level[level][0]:+.3f} ± {by_level[level][1]:.3f} e" for level in drawn],
        mode="lines+markers",
        name=name,
        line={"color": colour, "dash": dash, "width": 2.4 if solid else 1.6},
        marker={"size": 8 if solid else 6, "symbol": "circle" if solid else "circle-open"},
        hovertemplate=f"{of_what}: %{{text}} at %{{x}}, changed by %{{y:+.3f}} e<extra></extra>",
    )
