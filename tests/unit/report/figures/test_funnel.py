"""The funnel adds up."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.report import factories

from cathodeflow.report.figures.funnel import funnel_steps, rule_order, screening_funnel


@given(st.integers(0, 2**32), st.integers(2, 40))
def test_what_each_rule_took_and_what_passed_add_up_to_all(seed: int, size: int) -> None:
    noise = random.Random(seed)
    space = factories.compositions(factories.DEMO_ELEMENTS)
    verdicts = [factories.verdict(*space[i], noise) for i in range(size)]
    steps = funnel_steps(verdicts, [])
    assert steps[0].left == size
    assert sum(step.removed for step in steps) + sum(verdict.passed for verdict in verdicts) == size
    assert steps[-1].left == sum(verdict.passed for verdict in verdicts)
    assert [step.left for step in steps] == sorted((step.left for step in steps), reverse=True)


def test_the_pristine_host_is_not_counted_as_computed() -> None:
    contents = factories.campaign_contents(factories.DEMO_ELEMENTS, 5, 1, seeds=1)
    steps = {step.name: step for step in funnel_steps(contents.verdicts, contents.validations)}
    assert steps["Computed by the engine"].left == len(contents.validations) - 1


def test_rules_keep_the_order_in_which_they_judged() -> None:
    verdicts = factories.verdicts(factories.DEMO_ELEMENTS)
    shortened = verdicts[0].model_copy(update={"rules": verdicts[0].rules[1:]})
    assert rule_order([shortened, *verdicts[1:]]) == [name for name, _ in factories.RULES]


def test_the_limit_stands_beside_its_rule() -> None:
    verdicts = factories.verdicts(factories.DEMO_ELEMENTS)
    figure = screening_funnel(verdicts, [], {"step_shape": "V21 > V32"})
    assert "Step shape: V21 &gt; V32" in figure.data[0].y
