"""Wall time per stage and round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import plotly.graph_objects as go

from cathodeflow.records.campaign import CampaignRecord
from cathodeflow.records.outcomes import Stage
from cathodeflow.report.figures.appearance import BLUE, GREEN, GREY, ORANGE, PINK, SKY, VERMILION, new_figure
from cathodeflow.report.wording import duration

_COLOURS = {
    Stage.ENUMERATE: GREY,
    Stage.REFERENCE: SKY,
    Stage.LABEL: BLUE,
    Stage.TRAIN: ORANGE,
    Stage.PREDICT: GREEN,
    Stage.SCREEN: PINK,
    Stage.VALIDATE: VERMILION,
}


@dataclass(frozen=True)
class StageSpan:
    """How long one stage of one round took, s; still running where `open`."""

    stage: Stage
    round: int
    seconds: float
    open: bool


def stage_spans(campaign: CampaignRecord, until: datetime) -> list[StageSpan]:
    """Return how long each stage took; the present one is counted up to `until`.

    Time during which the campaign was paused or nobody ran it counts: it is wall time.
    """
    times = sorted(campaign.stage_times, key=lambda time: time.entered_at)
    end = campaign.finished_at or until
    spans = []
    for index, entered in enumerate(times):
        if entered.stage == Stage.DONE:
            continue
        last = index + 1 == len(times)
        left = end if last else times[index + 1].entered_at
        seconds = max(0.0, (left - entered.entered_at).total_seconds())
        spans.append(StageSpan(entered.stage, entered.round, seconds, last and campaign.finished_at is None))
    return spans


def stage_time(spans: Sequence[StageSpan]) -> go.Figure:
    """Draw the wall time of each stage, minutes.

    Parameters
    ----------
    spans : sequence of StageSpan
        In the order in which they ran.

    Returns
    -------
    plotly Figure
    """
    figure = new_figure(height=80 + 32 * len(spans))
    names = [f"{span.stage.value}, round {span.round + 1}" for span in spans]
    figure.add_bar(
        y=names,
        x=[round(span.seconds / 60, 3) for span in spans],
        orientation="h",
        marker={"color": [_COLOURS.get(span.stage, GREY) for span in spans]},
        text=[duration(span.seconds) + (" so far" if span.open else "") for span in spans],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    longest = max((span.seconds for span in spans), default=1.0) / 60
    figure.update_xaxes(title_text="Wall time (min)", range=[0, longest * 1.2 or 1])
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="", type="category")
    figure.update_layout(showlegend=False, margin={"l": 20, "r": 20, "t": 10, "b": 50})
    return figure
