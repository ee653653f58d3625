"""The reasons that the table of all compositions gives."""

from __future__ import annotations

import random

from tests.unit.report import factories

from cathodeflow.records.verdict import RuleResult
from cathodeflow.report.compositions import composition_columns, composition_rows, reason_of


def judged(rules: list[RuleResult], rejected_by: str | None):
    base = factories.verdict(["Cu", "Mo"], [2, 6], random.Random(0))
    return base.model_copy(update={"rules": rules, "passed": rejected_by is None, "rejected_by": rejected_by})


def rule(name: str, margin: float | None, unit: str = "V") -> RuleResult:
    return RuleResult(rule=name, passed=margin is not None and margin > 0, margin=margin, unit=unit)


def test_the_rejecting_rule_comes_first_with_its_shortfall() -> None:
    verdict = judged([rule("V43_window", -0.3), rule("step_shape", 0.2), rule("V21_window", -0.12)], "V21_window")
    assert reason_of(verdict) == "V21 window missed by 0.12 V; also V43 window missed by 0.30 V"


def test_energies_have_four_decimals() -> None:
    verdict = judged([rule("relaxation_energy_variation", -0.0123, "eV/atom")], "relaxation_energy_variation")
    assert reason_of(verdict) == "E_relax variation missed by 0.0123 eV/atom"


def test_a_missing_value_is_no_shortfall() -> None:
    assert reason_of(judged([rule("step_shape", None)], "step_shape")) == "Step shape: a value is missing"


def test_what_passed_says_so() -> None:
    assert reason_of(judged([rule("step_shape", 0.1)], None)) == "passes every rule"


def test_passed_compositions_come_first_and_then_the_better_score() -> None:
    verdicts = factories.verdicts(factories.DEMO_ELEMENTS)
    rows = composition_rows(verdicts)
    titles = [column["title"] for column in composition_columns(verdicts)]
    passed = [row[-1] == "" for row in rows]
    assert passed == sorted(passed, reverse=True)
    scores = [row[titles.index("Score")] for row in rows if row[-1] == ""]
    assert scores == sorted(scores)
    assert titles[4:7] == ["V43 (V)", "V32 (V)", "V21 (V)"]
