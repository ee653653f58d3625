"""Screening: one job judges every composition of the round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions
from cathodeflow.campaign.stages.predict import PredictStage
from cathodeflow.campaign.stages.work import StageWork, job_uuid
from cathodeflow.records.outcomes import JobKind, Outcome
from cathodeflow.records.verdict import VerdictRecord

if TYPE_CHECKING:
    from jobflow import Flow

    from cathodeflow.campaign.policy import JobView


@dataclass(frozen=True)
class ScreenStage(StageWork):
    """One job, and it is needed."""

    @property
    def kind(self) -> JobKind:
        """What its jobs make."""
        return JobKind.SCREEN

    def wanted(self) -> tuple[str, ...]:
        """Return the key of the round's screening."""
        return (f"r{self.context.round}",)

    def settled(self) -> dict[str, Outcome]:
        """Return the screening if its verdicts are all written."""
        return dict.fromkeys(self.context.harvested(self.kind), Outcome.DONE)

    def flow(self, key: str) -> Flow:
        """Return the workflow that judges the round's predictions."""
        from jobflow import OutputReference

        campaign, definition = self.context.campaign, self.context.definition
        shards = [
            OutputReference(job_uuid(campaign.id, JobKind.PREDICT, shard))
            for shard in PredictStage(self.context).wanted()
        ]
        return self.context.recipes.screen(
            campaign.id,
            campaign.round,
            shards,
            campaign.host.model_dump(),
            definition.screening.model_dump(),
            category=self.category,
        )

    def record(self, job: JobView, output: Any) -> None:
        """Write the verdicts, and that they are whole."""
        campaign = self.context.campaign
        verdicts = (
            VerdictRecord.model_validate(
                {
                    "_id": f"{campaign.id}/r{campaign.round}/{fields['composition']}",
                    "campaign": campaign.id,
                    "round": campaign.round,
                    **fields,
                }
            )
            for fields in output["verdicts"]
        )
        with self.context.project.transaction():
            written = transitions.record_many_once(self.context.project, "verdicts", verdicts)
            transitions.mark_harvested(self.context.project, campaign.id, self.kind, job.key, written)
