"""Which follow-ups are there and which are missing, with the reason."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.unit.report import factories, followup_factories

from cathodeflow.records.outcomes import Branch, Outcome
from cathodeflow.report import published
from cathodeflow.report.contents import ReportContents
from cathodeflow.report.electronic import (
    AbsentBranch,
    ElectronicStructure,
    absent_branches,
    branch_counts,
    electronic_structure,
    oxidation_text,
    remarks,
    why_absent,
)
from cathodeflow.report.electronic_panels import (
    bonding_rows,
    centre_rows,
    charge_rows,
    galleries,
    gap_rows,
    published_gaps,
)


@pytest.fixture(scope="module")
def contents() -> ReportContents:
    return followup_factories.followed_contents(factories.DEMO_ELEMENTS, 4)


@pytest.fixture(scope="module")
def structure(contents: ReportContents) -> ElectronicStructure:
    found = electronic_structure(contents)
    assert found is not None
    return found


def test_a_campaign_without_follow_ups_has_no_electronic_structure() -> None:
    assert electronic_structure(factories.demo_contents()) is None
    assert electronic_structure(factories.launched_contents()) is None


def test_a_campaign_that_asked_and_has_none_yet_lists_what_is_to_come(contents: ReportContents) -> None:
    waiting = replace(contents, follow_ups=[])
    found = electronic_structure(waiting)
    assert found is not None
    absent = absent_branches(waiting, found)
    assert {line.reason for line in absent if line.branch != "all"} == {"not computed yet"}
    assert len([line for line in absent if line.composition == "V8"]) == 4 * len(Branch)
    assert not any(gallery.drawn for gallery in galleries(waiting, found).values())


def test_what_failed_is_listed_with_its_reason_and_nothing_else_is(
    contents: ReportContents, structure: ElectronicStructure
) -> None:
    absent = absent_branches(contents, structure)
    second, last = structure.subjects[1].composition, structure.subjects[-1].composition
    assert (
        AbsentBranch(second, "Na4", "bonding", "charge spilling", "absolute charge spilling 8.1 %", quarantined=True)
        in absent
    )
    assert (
        AbsentBranch(last, "Na3", "band gap", "walltime", "stopped three times at the walltime", quarantined=True)
        in absent
    )
    missing = {(record.composition, level) for record in contents.validations for level in record.missing}
    assert {(line.composition, line.level) for line in absent if line.branch == "all"} == missing
    assert len(absent) == 3 + len(missing)
    done = sum(counts[1] for counts in branch_counts(structure))
    assert done == sum(record.outcome == Outcome.DONE for record in contents.follow_ups)
    assert sum(counts[2] for counts in branch_counts(structure)) == 3


def test_what_a_branch_remarks_on_its_result_is_listed(contents: ReportContents) -> None:
    remark = "V: no reference charges, so no oxidation states"
    told = [
        record.model_copy(update={"message": remark}) if record.branch == Branch.BADER else record
        for record in contents.follow_ups
    ]
    found = electronic_structure(replace(contents, follow_ups=told))
    assert found is not None
    assert remarks(found)[0] == ("V8", "Na1", "Bader charges", remark)
    assert len(remarks(found)) == sum(record.branch == Branch.BADER for record in told)


def test_a_quarantined_branch_is_never_drawn(contents: ReportContents, structure: ElectronicStructure) -> None:
    second = structure.subjects[1].composition
    figures = galleries(contents, structure)["pdos"].figures[second]
    assert figures["Na2"] == "No PDOS: broken output."
    assert not isinstance(figures["Na1"], str)
    assert structure.done(second, "Na2", Branch.PDOS) is None


def test_why_a_branch_is_absent_names_what_was_not_asked_for(structure: ElectronicStructure) -> None:
    few = ElectronicStructure(structure.subjects, structure.levels, [Branch.STATIC, Branch.GAP], {})
    assert why_absent(few, [], "V8", "Na1", Branch.BADER) == "Not asked for: Bader charges."
    assert why_absent(few, [], "V8", "Na1", Branch.GAP) == "No band gap."


def test_of_two_records_of_one_place_that_of_the_validated_cell_is_shown(contents: ReportContents) -> None:
    first = next(record for record in contents.follow_ups if record.branch == Branch.GAP)
    other = first.model_copy(update={"id": "other", "key": "another-arrangement", "gap": None})
    found = electronic_structure(replace(contents, follow_ups=[first, other]))
    assert found is not None
    assert found.done(first.composition, first.level, Branch.GAP) is first


def test_oxidation_states_are_counted_by_element() -> None:
    bader = followup_factories.bader(["V"], [8], "Na3", random.Random(1)).model_copy(
        update={"oxidation_states": [3] * 5 + [4] * 2 + [None] + [None] * 64}
    )
    species = ["V"] * 8 + ["O"] * 64
    assert oxidation_text(bader, species) == "V3+ × 5, V4+ × 2, not assigned × 1"
    assert oxidation_text(bader, []) == "3+ × 5, 4+ × 2"
    none = bader.model_copy(update={"oxidation_states": [None] * 72})
    assert oxidation_text(none, species) == "not assigned × 8"  # the references are there, the charges lie between them
    assert oxidation_text(none.model_copy(update={"oxidation_references": {}}), species) == ""


def test_a_k_point_that_is_there_twice_is_told_once(contents: ReportContents) -> None:
    def twice(record):
        hybrid = record.gap.hybrid
        edge = hybrid.vbm.model_copy(update={"k_points": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]})
        gap = record.gap.model_copy(update={"hybrid": hybrid.model_copy(update={"vbm": edge})})
        return record.model_copy(update={"gap": gap})

    changed = [
        twice(record) if record.gap is not None and record.gap.hybrid is not None else record
        for record in contents.follow_ups
    ]
    found = electronic_structure(replace(contents, follow_ups=changed))
    assert found is not None
    assert gap_rows(found)[0]["vbm"].endswith("at (0, 0, 0); (0.5, 0, 0)")


def test_each_slice_says_where_it_cuts_its_own_crystal(contents: ReportContents) -> None:
    heights = iter([0.25, 0.999975] * 100)
    changed = []
    for record in contents.follow_ups:
        if record.density_difference is not None:
            own = record.density_difference.model_copy(update={"slice_fraction": next(heights)})
            changed.append(record.model_copy(update={"density_difference": own}))
        else:
            changed.append(record)
    moved = replace(contents, follow_ups=changed)
    found = electronic_structure(moved)
    assert found is not None
    gallery = galleries(moved, found)["difference"]
    titles = {
        figure.layout.xaxis.title.text
        for levels in gallery.figures.values()
        for figure in levels.values()
        if not isinstance(figure, str)
    }
    assert titles == {"along c (Å), at 0.25 a", "along c (Å), at 0 a"}
    assert "0.25" not in gallery.caption


def test_every_result_has_its_row(contents: ReportContents, structure: ElectronicStructure) -> None:
    crystals = len({(r.composition, r.level) for r in contents.follow_ups})
    assert len(gap_rows(structure)) == len(bonding_rows(structure)) == len(centre_rows(structure)) == crystals - 1
    first = gap_rows(structure)[0]
    assert (first["composition"], first["level"], first["pbe"], first["hybrid"]) == ("V8", "Na1", "1.26", "2.30")
    assert first["kind"] == "direct"
    assert first["vbm"] == "2.85 eV, up, at (0, 0, 0)"
    rows = charge_rows(contents, structure)
    vanadium = rows[0]
    assert vanadium["oxidation"].startswith("Na1: V3+ × 2, V4+ × 6; Na2: V3+ × 4, V4+ × 4")
    assert len(vanadium["charges"]) == 4
    assert vanadium["taken"].startswith("+0.3")
    without = {place: record for place, record in structure.records.items() if place != ("V8", "Na1", Branch.BADER)}
    cut = charge_rows(contents, replace(structure, records=without))[0]
    assert cut["charges"][0] == cut["taken"] == "–", "the column is from the emptiest level to the fullest"


def test_published_gaps_are_the_papers_and_only_beside_numbers_that_compare(
    contents: ReportContents, structure: ElectronicStructure
) -> None:
    beside = published_gaps(contents, structure)
    assert beside["V8"] == {"Na1": (2.12, 3.24), "Na2": (2.12, 3.24), "Na3": (2.12, 3.24), "Na4": (0.63, 0.63)}
    assert beside["Mo5Au3"]["Na2"] == (0.5, 0.5)
    assert beside["Cu2Mo6"]["Na2"] == (0.2, 0.2)
    assert set(beside) == {"V8", "Mo5Au3", "Cu2Mo6"}
    rehearsed = followup_factories.followed_contents(provenance=followup_factories.REHEARSAL)
    assert published_gaps(rehearsed, structure) == {}
    assert published.gaps_of({"Mo": 3, "Au": 5}, ["Na1"]) == {}
