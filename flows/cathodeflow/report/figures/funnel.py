"""How many compositions each rule leaves (S0 section 3.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from cathodeflow.records.verdict import ValidationRecord, VerdictRecord
from cathodeflow.report.figures.appearance import BLUE, GREEN, ORANGE, new_figure, plain
from cathodeflow.report.wording import integer, rule_title


@dataclass(frozen=True)
class FunnelStep:
    """One step: how many compositions are left after it, and how many it took out."""

    name: str
    left: int
    removed: int


def rule_order(verdicts: Sequence[VerdictRecord]) -> list[str]:
    """Return the names of the rules in the order in which they judged.

    A rule that some verdicts lack (a value it needs was missing) keeps its place.
    """
    order: list[str] = []
    for verdict in sorted(verdicts, key=lambda verdict: -len(verdict.rules)):
        for result in verdict.rules:
            if result.rule not in order:
                order.append(result.rule)
    for verdict in verdicts:
        if verdict.rejected_by is not None and verdict.rejected_by not in order:
            order.append(verdict.rejected_by)
    return order


def funnel_steps(
    verdicts: Sequence[VerdictRecord],
    validations: Sequence[ValidationRecord],
    limits: Mapping[str, str] | None = None,
) -> list[FunnelStep]:
    """Count what is left after each rule, and of the passed what was computed and held.

    Parameters
    ----------
    verdicts : sequence of VerdictRecord
        One per composition, of one round.
    validations : sequence of ValidationRecord
        The pristine host is not counted.
    limits : mapping of str to str, optional
        What each rule asks, in words, to stand beside its name.

    Returns
    -------
    list of FunnelStep
        What each rule took out and what passed add up to the number of verdicts.
    """
    removed = Counter(verdict.rejected_by for verdict in verdicts if verdict.rejected_by is not None)
    steps = [FunnelStep("Compositions judged", len(verdicts), 0)]
    left = len(verdicts)
    for rule in rule_order(verdicts):
        left -= removed[rule]
        limit = (limits or {}).get(rule)
        steps.append(FunnelStep(rule_title(rule) + (f": {limit}" if limit else ""), left, removed[rule]))
    substituted = [record for record in validations if not record.pristine]
    if substituted:
        holding = sum(record.profile_holds is True for record in substituted)
        steps.append(FunnelStep("Computed by the engine", len(substituted), 0))
        steps.append(FunnelStep("Computed profile holds", holding, len(substituted) - holding))
    return steps


def screening_funnel(
    verdicts: Sequence[VerdictRecord],
    validations: Sequence[ValidationRecord],
    limits: Mapping[str, str] | None = None,
) -> go.Figure:
    """Draw how many compositions are left after each rule (counts, on a square-root scale).

    Parameters
    ----------
    verdicts, validations, limits
        See `funnel_steps`.

    Returns
    -------
    plotly Figure
    """
    steps = funnel_steps(verdicts, validations, limits)
    rules = len(rule_order(verdicts))
    colours = [BLUE] * (rules + 1) + [ORANGE, GREEN]
    figure = new_figure(height=70 + 46 * len(steps))
    figure.add_bar(
        y=[plain(step.name) for step in steps],
        x=[step.left**0.5 for step in steps],
        orientation="h",
        marker={"color": colours[: len(steps)]},
        width=0.72,
        text=[_bar_text(step) for step in steps],
        textposition="outside",
        cliponaxis=False,
        hovertext=[
            f"{plain(step.name)}: {integer(step.left)} left, {integer(step.removed)} taken out" for step in steps
        ],
        hoverinfo="text",
    )
    figure.update_xaxes(visible=False, range=[0, max(1.0, steps[0].left ** 0.5) * 1.3])
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="", showline=False)
    figure.update_layout(showlegend=False, margin={"l": 20, "r": 20, "t": 10, "b": 10})
    return figure


def _bar_text(step: FunnelStep) -> str:
    if not step.removed:
        return f"<b>{integer(step.left)}</b>"
    return f"<b>{integer(step.left)}</b>  (\N{MINUS SIGN}{integer(step.removed)})"
