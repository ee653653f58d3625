"""The panels, galleries and tables of the electronic structure (S0 Fig. 4 and S10; S3 Fig. 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import plotly.graph_objects as go

from cathodeflow.records.followup import DensityDifferenceResult, EdgePart, FollowUpRecord, PdosResult
from cathodeflow.records.outcomes import Branch
from cathodeflow.report import published
from cathodeflow.report.contents import ReportContents
from cathodeflow.report.electronic import (
    AbsentBranch,
    ElectronicStructure,
    Subject,
    absent_branches,
    oxidation_text,
    why_absent,
)
from cathodeflow.report.figures.band_gap import PublishedGaps, band_gap, functional_below, gaps
from cathodeflow.report.figures.bond_strength import bond_strength, bonding_results, mean_by_ligand
from cathodeflow.report.figures.charge_transfer import charge_transfer, mean_charges
from cathodeflow.report.figures.density_change import colour_range, density_slice, planar_average
from cathodeflow.report.figures.density_of_states import density_of_states, highest_density
from cathodeflow.report.panels import Panel
from cathodeflow.report.wording import number, signed, working_ion

_Result = TypeVar("_Result")

ALL_LEVELS = "all"
"""Level of a gallery's figure that shows all of them."""


@dataclass(frozen=True)
class Gallery:
    """Figures of one kind, of which a reader chooses the composition; the page draws the chosen one only.

    Attributes
    ----------
    name : str
        In the page.
    title, caption : str
        Above and below.
    figures : dict
        Composition to level to figure, or to the sentence that says why there is none.
    """

    name: str
    title: str
    caption: str
    figures: dict[str, dict[str, go.Figure | str]] = field(default_factory=dict)

    @property
    def drawn(self) -> bool:
        """Whether it has any figure."""
        return any(isinstance(item, go.Figure) for levels in self.figures.values() for item in levels.values())

    def levels_of(self, composition: str) -> dict[str, go.Figure | str]:
        """Return the figures of one composition by level."""
        return self.figures.get(composition, {})


def gap_panel(contents: ReportContents, structure: ElectronicStructure) -> Panel:
    """Show the gaps, beside the published ones where these compare."""
    title = "Band gap"
    if not structure.any_done(Branch.GAP):
        return Panel("gaps", title, "No band gap has been computed.")
    beside = published_gaps(contents, structure)
    functional = functional_below(gaps(structure).values())
    caption = (
        f"Gap at each level, eV: HSE06 at the band edges of the {functional} static run (filled), and {functional} "
        f"itself (open); a metal stands at 0 (S0 section 3.5 and Fig. 4c, d). Dashed: pristine host. "
        f"{computed_by(contents)}"
    )
    if beside:
        caption += (
            " Diamonds are the paper's: 2.12 to 3.24 eV for pristine Na1 to Na3 (a range over the three), 0.63 eV for "
            "Na4; for Mo1.25Au0.75 and Cu0.5Mo1.5 it names about 0.5 and 0.2 eV for no level in particular."
        )
    return Panel("gaps", title, caption, band_gap(structure, beside))


def published_gaps(contents: ReportContents, structure: ElectronicStructure) -> PublishedGaps:
    """Return the paper's gaps of the compositions at hand; none beside stand-in numbers or another host."""
    if contents.rehearsed or contents.host != published.NVPF:
        return {}
    found = {
        subject.composition: published.gaps_of(
            dict(zip(subject.elements, subject.counts, strict=True)), structure.levels
        )
        for subject in structure.subjects
    }
    return {composition: levels for composition, levels in found.items() if levels}


def bonding_panel(contents: ReportContents, structure: ElectronicStructure) -> Panel:
    """Show the strength of the polyhedra's bonds."""
    title = "Strength of the bonds in the polyhedra"
    if not structure.any_done(Branch.BONDING):
        return Panel("bonding", title, "No bond strength has been computed.")
    caption = (
        "Mean \N{MINUS SIGN}ICOHP per bond over the metals' polyhedra, eV, both spins added; larger binds stronger "
        "(S0 section 3.5 and Fig. 4e, f, of which the text gives no numbers). Grey lines reach from the weakest to the "
        f"strongest polyhedron; dashed: pristine host. {computed_by(contents)}"
    )
    return Panel("bonding", title, caption, bond_strength(structure))


def computed_by(contents: ReportContents) -> str:
    """Name the engine of the campaign's own numbers."""
    return f"Computed by {contents.campaign.provenance}."


def galleries(contents: ReportContents, structure: ElectronicStructure) -> dict[str, Gallery]:
    """Return the galleries: PDOS, charges, slices of Δρ and its planar averages."""
    absent = absent_branches(contents, structure)
    ion = working_ion(structure.levels)
    charges = {
        subject.composition: {
            ALL_LEVELS: charge_transfer(structure, subject, ion)
            if mean_charges(structure, subject.composition)
            else _no_level(structure, absent, subject, Branch.BADER)
        }
        for subject in structure.subjects
    }
    made = [
        _pdos_gallery(contents, structure, absent),
        Gallery(
            "charges",
            "Bader charge transfer",
            "By how much the mean net charge of each species differs from that at its emptiest level, e per atom: "
            f"below zero it took up electrons; dashed is the pristine host (S3 section 3.1). {computed_by(contents)}",
            charges,
        ),
        *_difference_galleries(contents, structure, absent, ion),
    ]
    return {gallery.name: gallery for gallery in made}


def _pdos_gallery(contents: ReportContents, structure: ElectronicStructure, absent: list[AbsentBranch]) -> Gallery:
    def result_of(record: FollowUpRecord) -> PdosResult | None:
        return record.pdos

    highest = highest_density(
        (record.pdos, record.elements)
        for record in structure.records.values()
        if record.pdos is not None and structure.done(record.composition, record.level, Branch.PDOS) is record
    )

    def draw(subject: Subject, result: PdosResult) -> go.Figure:
        return density_of_states(result, subject.elements, highest)

    caption = (
        "Density of states projected on the metals' d and the ligands' p states, states/eV per cell, against the Fermi "
        "energy (dotted line); spin up above, spin down below; one scale in all figures, averaged over steps of "
        f"0.05 eV (S0 section 2.1 and Fig. S10). {computed_by(contents)}"
    )
    figures = _by_level(structure, absent, Branch.PDOS, result_of, draw)
    return Gallery("pdos", "Projected densities of states", caption, figures)


def _difference_galleries(
    contents: ReportContents, structure: ElectronicStructure, absent: list[AbsentBranch], ion: str
) -> list[Gallery]:
    by_subject = {subject.composition: _differences(structure, subject) for subject in structure.subjects}
    end = colour_range([result for levels in by_subject.values() for result in levels.values()])
    host = by_subject.get(structure.host.composition, {}) if structure.host is not None else {}

    def result_of(record: FollowUpRecord) -> DensityDifferenceResult | None:
        return record.density_difference

    def draw(subject: Subject, result: DensityDifferenceResult) -> go.Figure:
        return density_slice(result, end)

    slices = _by_level(structure, absent, Branch.DENSITY_DIFFERENCE, result_of, draw)
    averages: dict[str, dict[str, go.Figure | str]] = {}
    for subject in structure.subjects:
        own = by_subject[subject.composition]
        beside = {} if subject.pristine else host
        why = _no_level(structure, absent, subject, Branch.DENSITY_DIFFERENCE)
        averages[subject.composition] = {ALL_LEVELS: planar_average(own, beside) if own else why}
    caption = (
        f"Δρ = ρ(crystal) \N{MINUS SIGN} ρ(crystal without {ion}) \N{MINUS SIGN} ρ({ion} alone) in one plane, e/Å³ "
        f"(S3 eq. 4): blue gained electrons, red lost them, white is zero. One colour scale for all pictures, which "
        f"ends at {CLIPPED_TEXT} of |Δρ|; a plane with a slanted angle is drawn as a rectangle. "
        f"Each plane is the one that cuts most {ion}. "
        f"{computed_by(contents)}"
    )
    averaged = (
        f"Δρ averaged over planes, e/Å³, one line per level; dashed is the pristine host. {computed_by(contents)}"
    )
    return [
        Gallery("difference", "Density difference", caption, slices),
        Gallery("planar", "Density difference, averaged over planes", averaged, averages),
    ]


CLIPPED_TEXT = "the 99.5th percentile"


def _differences(structure: ElectronicStructure, subject: Subject) -> dict[str, DensityDifferenceResult]:
    found = {}
    for level in structure.levels:
        record = structure.done(subject.composition, level, Branch.DENSITY_DIFFERENCE)
        if record is not None and record.density_difference is not None:
            found[level] = record.density_difference
    return found


def _by_level(
    structure: ElectronicStructure,
    absent: list[AbsentBranch],
    branch: Branch,
    result_of: Callable[[FollowUpRecord], _Result | None],
    draw: Callable[[Subject, _Result], go.Figure],
) -> dict[str, dict[str, go.Figure | str]]:
    figures: dict[str, dict[str, go.Figure | str]] = {}
    for subject in structure.subjects:
        levels: dict[str, go.Figure | str] = {}
        for level in structure.levels:
            record = structure.done(subject.composition, level, branch)
            result = result_of(record) if record is not None else None
            levels[level] = (
                draw(subject, result)
                if result is not None
                else why_absent(structure, absent, subject.composition, level, branch)
            )
        figures[subject.composition] = levels
    return figures


def _no_level(structure: ElectronicStructure, absent: list[AbsentBranch], subject: Subject, branch: Branch) -> str:
    """Say why no level at all has a result."""
    sentences = dict.fromkeys(
        why_absent(structure, absent, subject.composition, level, branch) for level in structure.levels
    )
    return " ".join(sentences) or "No level has been computed."


# -- tables ------------------------------------------------------------------------------------------------------


def gap_rows(structure: ElectronicStructure) -> list[dict[str, Any]]:
    """Return one row per gap: both functionals, kind, edges and their channels."""
    rows = []
    computed = gaps(structure)
    functional = functional_below(computed.values())
    for (composition, level), gap in computed.items():
        edges = gap.hybrid or gap.pbe
        own = "" if gap.pbe.functional == functional else f" ({gap.pbe.functional})"
        rows.append(
            {
                "composition": composition,
                "level": level,
                "functional": functional,
                "pbe": f"{number(gap.pbe.gap)}{own}",
                "hybrid": number(gap.hybrid.gap) if gap.hybrid is not None else gap.no_hybrid or "not run: a metal",
                "kind": "metal" if edges.is_metal else "direct" if edges.is_direct else "indirect",
                "vbm": _edge_text(edges.vbm),
                "cbm": _edge_text(edges.cbm),
            }
        )
    return rows


def _edge_text(edge: EdgePart | None) -> str:
    if edge is None:
        return "–"
    told = ("(" + ", ".join(f"{c:g}".replace("-", "\N{MINUS SIGN}") for c in k) + ")" for k in edge.k_points)
    points = "; ".join(dict.fromkeys(told))  # a hybrid run may have a point of its mesh once more without weight
    return f"{number(edge.energy)} eV, {'down' if edge.spin else 'up'}, at {points}"


def bonding_rows(structure: ElectronicStructure) -> list[dict[str, str]]:
    """Return one row per composition and level: means to each ligand and per kind of bond, spilling."""
    rows = []
    for (composition, level), result in bonding_results(structure).items():
        pairs = ", ".join(f"{pair} {number(value, 3)}" for pair, value in sorted(result.mean_by_pair.items()))
        ligands = ", ".join(f"{ligand} {number(value, 3)}" for ligand, value in mean_by_ligand(result).items())
        spilling = max(result.charge_spilling, default=None)
        rows.append(
            {
                "composition": composition,
                "level": level,
                "mean": number(result.mean_strength, 3),
                "ligands": ligands,
                "pairs": pairs,
                "polyhedra": str(len(result.polyhedra)),
                "spilling": "–" if spilling is None else f"{number(100 * spilling, 1)} %",
                "program": result.program,
            }
        )
    return rows


def centre_rows(structure: ElectronicStructure) -> list[dict[str, str]]:
    """Return one row per composition and level: centres of the metals' d, of O p and of F p."""
    rows = []
    for subject in structure.subjects:
        for level in structure.levels:
            record = structure.done(subject.composition, level, Branch.PDOS)
            if record is None or record.pdos is None:
                continue
            texts = {
                (part.element, part.shell): f"{signed(part.centre)} ({number(part.width)})"
                for part in record.pdos.centres
            }
            metals = [f"{element} {text}" for (element, shell), text in texts.items() if shell == "d"]
            rows.append(
                {
                    "composition": subject.composition,
                    "level": level,
                    "d": ", ".join(metals) or "–",
                    "O": texts.get(("O", "p"), "–"),
                    "F": texts.get(("F", "p"), "–"),
                }
            )
    return rows


def charge_rows(contents: ReportContents, structure: ElectronicStructure) -> list[dict[str, Any]]:
    """Return one row per composition and species: mean charge at each level, electrons taken up, oxidation states."""
    species_of = {
        label.key: tuple(label.relaxation.crystal.species) for label in contents.labels if label.relaxation is not None
    }
    rows = []
    for subject in structure.subjects:
        charges = mean_charges(structure, subject.composition)
        states = _oxidation_by_level(structure, subject, species_of)
        for index, (element, by_level) in enumerate(charges.items()):
            taken = _taken_up(by_level, structure.levels)
            rows.append(
                {
                    "composition": subject.composition,
                    "element": element,
                    "charges": [
                        f"{signed(by_level[level][0], 3)} ± {number(by_level[level][1], 3)}"
                        if level in by_level
                        else "–"
                        for level in structure.levels
                    ],
                    "taken": "–" if taken is None else signed(taken, 3),
                    "oxidation": states if index == 0 else "",
                }
            )
    return rows


def _taken_up(by_level: Mapping[str, tuple[float, float]], levels: Sequence[str]) -> float | None:
    """Return the electrons per atom taken up from the emptiest to the fullest level; None where one of them lacks."""
    if len(levels) < 2 or levels[0] not in by_level or levels[-1] not in by_level:
        return None
    return by_level[levels[0]][0] - by_level[levels[-1]][0]


def volumetric_files(structure: ElectronicStructure) -> list[str]:
    """Return the paths of the files that hold Δρ in full."""
    found = []
    for subject in structure.subjects:
        found += [
            result.volumetric_file for result in _differences(structure, subject).values() if result.volumetric_file
        ]
    return found


def _oxidation_by_level(
    structure: ElectronicStructure, subject: Subject, species_of: Mapping[str, tuple[str, ...]]
) -> str:
    parts = []
    for level in structure.levels:
        record = structure.done(subject.composition, level, Branch.BADER)
        if record is None or record.bader is None:
            continue
        text = oxidation_text(record.bader, species_of.get(record.key, ()))
        if text:
            parts.append(f"{level}: {text}")
    return "; ".join(parts)
