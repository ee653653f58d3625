"""−ICOHP of the metals' polyhedra per composition and level (S0 Fig. 4e, f)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import plotly.graph_objects as go

from cathodeflow.records.followup import BondingResult
from cathodeflow.records.outcomes import Branch
from cathodeflow.report.electronic import ElectronicStructure
from cathodeflow.report.figures.appearance import BLUE, GREEN, GREY, PINK, plain
from cathodeflow.report.figures.facets import axis_name, faceted, host_line

_SYMBOLS = (("circle", BLUE), ("square", PINK), ("triangle-up", GREEN))


def bonding_results(structure: ElectronicStructure) -> dict[tuple[str, str], BondingResult]:
    """Return the bonding results by composition and level."""
    found = {}
    for subject in structure.subjects:
        for level in structure.levels:
            record = structure.done(subject.composition, level, Branch.BONDING)
            if record is not None and record.bonding is not None:
                found[subject.composition, level] = record.bonding
    return found


def mean_by_ligand(result: BondingResult) -> dict[str, float]:
    """Return the mean −ICOHP over all bonds to each ligand element, eV per bond."""
    ligands = sorted({ligand for polyhedron in result.polyhedra for ligand in polyhedron.mean_by_ligand}, reverse=True)
    means = {}
    for ligand in ligands:
        strengths = [bond.strength for bond in result.bonds if bond.elements and bond.elements[-1] == ligand]
        of_polyhedra = [p.mean_by_ligand[ligand] for p in result.polyhedra if ligand in p.mean_by_ligand]
        means[ligand] = fmean(strengths or of_polyhedra)
    return means


def bond_strength(structure: ElectronicStructure) -> go.Figure:
    """Draw −ICOHP, eV per bond: the mean over the polyhedra with their spread, and the means to O and to F."""
    results = bonding_results(structure)
    names = [plain(subject.name) for subject in structure.subjects]
    figure = faceted(names, structure.levels, "\N{MINUS SIGN}ICOHP (eV per bond)")
    ligands = sorted({ligand for result in results.values() for ligand in mean_by_ligand(result)}, reverse=True)
    for column, level in enumerate(structure.levels):
        of_level = [
            (plain(subject.name), results[subject.composition, level])
            for subject in structure.subjects
            if (subject.composition, level) in results
        ]
        _polyhedra(figure, column, of_level)
        for index, ligand in enumerate(ligands):
            _ligand(figure, column, of_level, ligand, _SYMBOLS[index % len(_SYMBOLS)])
        host = structure.host
        if host is not None and (host.composition, level) in results:
            host_line(figure, column, results[host.composition, level].mean_strength)
    return figure


def _polyhedra(figure: go.Figure, column: int, results: Sequence[tuple[str, BondingResult]]) -> None:
    means = [result.mean_strength for _, result in results]
    lowest = [min((p.mean_strength for p in result.polyhedra), default=result.mean_strength) for _, result in results]
    highest = [max((p.mean_strength for p in result.polyhedra), default=result.mean_strength) for _, result in results]
    figure.add_scatter(
        x=[round(mean, 4) for mean in means],
        y=[name for name, _ in results],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [round(high - mean, 4) for high, mean in zip(highest, means, strict=True)],
            "arrayminus": [round(mean - low, 4) for low, mean in zip(lowest, means, strict=True)],
            "color": GREY,
            "thickness": 2,
            "width": 0,
        },
        mode="markers",
        name="polyhedra, mean and spread",
        legendgroup="polyhedra",
        showlegend=column == 0,
        marker={"symbol": "diamond", "color": GREY, "size": 10},
        hovertemplate="%{y}, all polyhedra: %{x:.3f} eV per bond<extra></extra>",
        xaxis=axis_name("x", column),
        yaxis=axis_name("y", column),
    )


def _ligand(
    figure: go.Figure,
    column: int,
    results: Sequence[tuple[str, BondingResult]],
    ligand: str,
    look: tuple[str, str],
) -> None:
    known = [(name, means[ligand]) for name, result in results if ligand in (means := mean_by_ligand(result))]
    symbol, colour = look
    figure.add_scatter(
        x=[round(value, 4) for _, value in known],
        y=[name for name, _ in known],
        mode="markers",
        name=f"metal\N{EN DASH}{plain(ligand)}",
        legendgroup=ligand,
        showlegend=column == 0,
        marker={"symbol": symbol, "color": colour, "size": 9},
        hovertemplate=f"%{{y}}, metal\N{EN DASH}{plain(ligand)}: %{{x:.3f}} eV per bond<extra></extra>",
        xaxis=axis_name("x", column),
        yaxis=axis_name("y", column),
    )
