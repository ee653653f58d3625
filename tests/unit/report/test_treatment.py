"""Presets, overrides, corrections and custodian's part, summed up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.report import factories, followup_factories

from cathodeflow.records.calculation import Intervention, Override
from cathodeflow.records.outcomes import Outcome
from cathodeflow.report.contents import ReportContents
from cathodeflow.report.treatment import Treatment, treatment

TIGHTER = Override(key="incar.EDIFF", preset_value=1e-6, value=1e-7)


@pytest.fixture(scope="module")
def contents() -> ReportContents:
    return followup_factories.followed_contents()


def summed(contents: ReportContents) -> Treatment:
    found = treatment(contents)
    assert found is not None
    return found


def test_an_engine_that_runs_no_program_has_nothing_to_tell() -> None:
    assert treatment(factories.demo_contents()) is None


def test_every_override_is_listed_with_both_values_and_where_it_holds(contents: ReportContents) -> None:
    labels = [label.model_copy(update={"overrides": [TIGHTER]}) for label in contents.labels[:3]]
    rows = summed(replace(contents, labels=labels)).overrides
    assert [(row.key, row.preset_value, row.value) for row in rows] == [
        ("incar.EDIFF", "1e-06", "1e-07"),
        ("incar.NCORE", "the Materials Project set's", "4"),
    ]
    assert rows[0].where == "3 labels"
    assert rows[1].where == f"{len(contents.follow_ups)} follow-ups"


def test_presets_and_correction_terms_are_named(contents: ReportContents) -> None:
    found = summed(contents)
    assert found.presets == ["labels and references: s0_relax", "follow-ups: s0_static, s0_hse_band_edges"]
    corrected = [label for label in contents.labels if label.relaxation and label.relaxation.correction]
    assert found.schemes == [f"materials-project-2020 ({len(corrected)} labels)"]
    oxide = next(row for row in found.corrections if "oxide" in row.name)
    assert oxide.labels == len(corrected)
    assert oxide.mean == "\N{MINUS SIGN}21.984"


def test_handlers_are_counted_by_time_and_by_run(contents: ReportContents) -> None:
    twice = Intervention(handler="VaspErrorHandler", errors=["edddav"], changes=["INCAR ALGO = Normal"])
    clean = [record.model_copy(update={"interventions": []}) for record in contents.follow_ups]
    clean[0] = clean[0].model_copy(update={"interventions": [twice, twice, followup_factories.ZRBENT]})
    clean[1] = clean[1].model_copy(
        update={"interventions": [followup_factories.WALLTIME], "outcome": Outcome.QUARANTINED}
    )
    found = summed(replace(contents, labels=[], references=[], follow_ups=clean))
    by_handler = {row.handler: row for row in found.handlers}
    assert (by_handler["VaspErrorHandler"].times, by_handler["VaspErrorHandler"].runs) == (3, 1)
    assert by_handler["VaspErrorHandler"].errors == "edddav × 2; zbrent × 1"
    assert by_handler["WalltimeHandler"].changes == "the run was ended × 1"
    ended = sum(record.outcome == Outcome.DONE for record in clean)
    assert ended == len(clean) - 4
    assert found.repaired == (
        f"custodian acted in 2 of {len(clean)} runs; 1 ({100 / len(clean):.1f} %) ended well, 1 did not."
    )


def test_a_quiet_custodian_is_said_to_be_quiet(contents: ReportContents) -> None:
    quiet = [record.model_copy(update={"interventions": []}) for record in contents.follow_ups]
    found = summed(replace(contents, labels=[], references=[], follow_ups=quiet))
    assert found.repaired == f"custodian did not have to act in any of {len(quiet)} runs."
    assert found.handlers == []
    assert summed(replace(contents, labels=[], references=[], follow_ups=[])).repaired == "No run has ended yet."
