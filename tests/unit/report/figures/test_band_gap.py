"""Band gaps: HSE06 beside the functional of the labels, the pristine host and the paper's values."""

from __future__ import annotations

from dataclasses import replace

import plotly.graph_objects as go
import pytest
from tests.unit.report import followup_factories

from cathodeflow.records.followup import GapResult
from cathodeflow.records.outcomes import Branch
from cathodeflow.report.contents import ReportContents
from cathodeflow.report.electronic import ElectronicStructure, electronic_structure
from cathodeflow.report.electronic_panels import gap_panel, gap_rows
from cathodeflow.report.figures.band_gap import band_gap, gaps


@pytest.fixture(scope="module")
def contents() -> ReportContents:
    return followup_factories.followed_contents()


@pytest.fixture(scope="module")
def structure(contents: ReportContents) -> ElectronicStructure:
    found = electronic_structure(contents)
    assert found is not None
    return found


def points(figure: go.Figure, name: str, column: int) -> dict[str, float]:
    axis = "x" if column == 0 else f"x{column + 1}"
    trace = next(t for t in figure.data if t.name == name and (t.xaxis or "x") == axis)
    return dict(zip(trace.y, trace.x, strict=True))


def test_both_functionals_of_every_crystal_are_drawn_in_the_column_of_its_level(structure: ElectronicStructure) -> None:
    figure = band_gap(structure, {})
    assert [a.text for a in figure.layout.annotations[:4]] == ["<b>Na1</b>", "<b>Na2</b>", "<b>Na3</b>", "<b>Na4</b>"]
    computed = gaps(structure)
    for column, level in enumerate(structure.levels):
        hybrids = points(figure, "HSE06 at the band edges", column)
        below = points(figure, "PBE+U", column)
        for subject in structure.subjects:
            gap = computed.get((subject.composition, level))
            assert below.get(subject.name) == (None if gap is None else gap.pbe.gap)
            assert hybrids.get(subject.name) == (None if gap is None or gap.hybrid is None else gap.hybrid.gap)
    assert hybrids["V8 (pristine)"] == followup_factories.PRISTINE_GAPS["Na4"]


def test_the_quarantined_gap_is_missing_and_nothing_else(structure: ElectronicStructure) -> None:
    figure = band_gap(structure, {})
    lost = structure.subjects[-1].name
    assert [lost in points(figure, "PBE+U", column) for column in range(4)] == [True, True, False, True]


def test_the_pristine_host_stands_first_and_its_gap_is_a_line_through_each_column(
    structure: ElectronicStructure,
) -> None:
    figure = band_gap(structure, {})
    assert figure.layout.yaxis.categoryarray[0] == "V8 (pristine)"
    dashed = [shape for shape in figure.layout.shapes if shape.line.dash == "dash"]
    assert [shape.x0 for shape in dashed] == list(followup_factories.PRISTINE_GAPS.values())


def test_compositions_without_u_are_not_said_to_have_one(contents: ReportContents) -> None:
    last = next(record.composition for record in reversed(contents.follow_ups) if record.branch == Branch.GAP)
    changed = []
    for record in contents.follow_ups:
        if record.gap is not None and record.composition == last:  # such as Ru4Pd4, of which neither metal has a U
            plain = record.gap.pbe.model_copy(update={"functional": "PBE"})
            changed.append(record.model_copy(update={"gap": record.gap.model_copy(update={"pbe": plain})}))
        else:
            changed.append(record)
    mixed = replace(contents, follow_ups=changed)
    found = electronic_structure(mixed)
    assert found is not None
    assert {trace.name for trace in band_gap(found, {}).data if trace.name} == {"PBE(+U)", "HSE06 at the band edges"}
    trace = next(trace for trace in band_gap(found, {}).data if trace.name == "PBE(+U)")
    hovered = dict(zip(trace.y, trace.text, strict=True))
    assert {text.split(",")[0] for name, text in hovered.items() if name.startswith(last)} == {"PBE"}
    assert {text.split(",")[0] for name, text in hovered.items() if not name.startswith(last)} == {"PBE+U"}
    caption = gap_panel(mixed, found).caption
    assert "PBE(+U) static run" in caption
    rows = gap_rows(found)
    assert {row["functional"] for row in rows} == {"PBE(+U)"}
    assert all(row["pbe"].endswith("(PBE)" if row["composition"] == last else "(PBE+U)") for row in rows)
    assert not any("(" in row["pbe"] for row in gap_rows(electronic_structure(contents)))


@pytest.mark.parametrize(
    ("kept", "told"), [("not converged", "not converged"), ("", "not run: a metal")], ids=["new", "older record"]
)
def test_a_metal_stands_at_zero_without_a_hybrid(kept: str, told: str, contents: ReportContents) -> None:
    metal = GapResult(pbe=followup_factories.edges("PBE+U", 0.0), hybrid=None, no_hybrid=kept)
    changed = [
        record.model_copy(update={"gap": metal}) if record.branch == Branch.GAP and record.level == "Na1" else record
        for record in contents.follow_ups
    ]
    found = electronic_structure(
        ReportContents(campaign=contents.campaign, validations=contents.validations, follow_ups=changed)
    )
    assert found is not None
    figure = band_gap(found, {})
    assert set(points(figure, "PBE+U", 0).values()) == {0.0}
    assert points(figure, "HSE06 at the band edges", 0) == {}
    assert {row["hybrid"] for row in gap_rows(found) if row["level"] == "Na1"} == {told}


def test_published_gaps_are_marked_with_their_range(structure: ElectronicStructure) -> None:
    figure = band_gap(structure, {"V8": {"Na1": (2.12, 3.24), "Na4": (0.63, 0.63)}})
    marks = [trace for trace in figure.data if trace.name == "published, S0 (HSE06)"]
    assert [list(mark.x) for mark in marks] == [[pytest.approx(2.68)], [], [], [0.63]]
    assert list(marks[0].error_x.array) == [pytest.approx(0.56)]
    assert not [trace for trace in band_gap(structure, {}).data if (trace.name or "").startswith("published")]
