"""What the campaign cost: wall time, core-hours of labels and labels per hour."""

from __future__ import annotations

from dataclasses import dataclass

from cathodeflow.records.outcomes import Outcome, Stage
from cathodeflow.report.contents import ReportContents
from cathodeflow.report.figures.stage_time import stage_spans


@dataclass(frozen=True)
class LabelCost:
    """What the labels cost.

    Attributes
    ----------
    done, quarantined : int
        Labels by outcome, training and validation together.
    relaxation_s : float
        Wall time of all relaxations, one after the other, s.
    mean_s, mean_steps : float or None
        Per relaxation.
    per_hour : float or None
        Labels ended per hour of the labelling and validating stages.
    training_s : float
        Wall time of all trainings, s.
    """

    done: int
    quarantined: int
    relaxation_s: float
    mean_s: float | None
    mean_steps: float | None
    per_hour: float | None
    training_s: float


def label_cost(contents: ReportContents) -> LabelCost:
    """Add up what the labels and trainings of a campaign cost."""
    relaxations = [label.relaxation for label in contents.labels if label.relaxation is not None]
    total = sum(relaxation.wall_s for relaxation in relaxations)
    spans = stage_spans(contents.campaign, contents.made_at)
    working = sum(span.seconds for span in spans if span.stage in (Stage.LABEL, Stage.VALIDATE))
    return LabelCost(
        done=sum(label.outcome == Outcome.DONE for label in contents.labels),
        quarantined=len(contents.quarantined_labels),
        relaxation_s=total,
        mean_s=total / len(relaxations) if relaxations else None,
        mean_steps=sum(r.steps for r in relaxations) / len(relaxations) if relaxations else None,
        per_hour=3600 * len(contents.labels) / working if working > 0 and contents.labels else None,
        training_s=sum(model.wall_s for model in contents.models),
    )
