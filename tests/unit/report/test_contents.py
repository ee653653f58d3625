"""Orders and selections of the report's contents."""

from __future__ import annotations

from tests.unit.report import factories

from cathodeflow.records.outcomes import Outcome, Target
from cathodeflow.report.contents import ReportContents


def demo() -> ReportContents:
    return factories.campaign_contents(factories.DEMO_ELEMENTS, 15, 2, seeds=2)


def test_the_two_lists_hold_what_passed_in_order_of_rank() -> None:
    contents = demo()
    ranked = [*contents.ranked(noble=True), *contents.ranked(noble=False)]
    assert {v.composition for v in ranked} == {v.composition for v in contents.verdicts if v.passed}
    for noble in (True, False):
        ranks = [verdict.rank for verdict in contents.ranked(noble=noble)]
        assert ranks == list(range(1, len(ranks) + 1))


def test_the_pristine_host_is_not_among_the_substituted() -> None:
    contents = demo()
    assert contents.pristine is not None
    assert contents.pristine not in contents.substituted
    assert len(contents.substituted) + 1 == len(contents.validations)


def test_the_last_ensemble_is_that_of_the_last_round() -> None:
    models = demo().last_models(Target.FORMATION_ENERGY)
    assert [(model.round, model.seed) for model in models] == [(1, 0), (1, 1)]


def test_quarantined_labels_are_those_without_a_result() -> None:
    assert all(label.outcome == Outcome.QUARANTINED for label in demo().quarantined_labels)
    assert len(demo().quarantined_labels) == 3
