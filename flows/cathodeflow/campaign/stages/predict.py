"""Prediction of the whole space, in shards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions
from cathodeflow.campaign.definition_file import substituents
from cathodeflow.campaign.stages.train import train_key
from cathodeflow.campaign.stages.work import StageWork, job_uuid
from cathodeflow.records.model import PredictionRecord
from cathodeflow.records.outcomes import JobKind, Outcome, Target

if TYPE_CHECKING:
    from jobflow import Flow

    from cathodeflow.campaign.policy import JobView
    from cathodeflow.jobs.predict import Shard


@dataclass(frozen=True)
class PredictStage(StageWork):
    """Every shard is needed."""

    @property
    def kind(self) -> JobKind:
        """What its jobs make."""
        return JobKind.PREDICT

    @cached_property
    def shards(self) -> dict[str, Shard]:
        """The round's shards by key."""
        from cathodeflow.jobs.predict import shards

        definition, ratios = self.context.definition, self.context.definition.ratio_counts()
        made = shards(
            self.context.host,
            list(substituents(definition)),
            None if ratios is None else sorted(ratios),
            definition.prediction.shard_size,
        )
        return {f"r{self.context.round}-{shard.number}": shard for shard in made}

    def wanted(self) -> tuple[str, ...]:
        """Return the keys of the shards."""
        return tuple(self.shards)

    def settled(self) -> dict[str, Outcome]:
        """Return the shards whose predictions are all written."""
        return dict.fromkeys(self.context.harvested(self.kind), Outcome.DONE)

    def flow(self, key: str) -> Flow:
        """Return the workflow that predicts one shard with the round's ensemble."""
        from jobflow import OutputReference

        campaign, definition = self.context.campaign, self.context.definition
        weights = {
            target.value: [
                OutputReference(job_uuid(campaign.id, JobKind.TRAIN, train_key(campaign.round, target, seed)))[
                    "weights"
                ]
                for seed in range(definition.surrogate.seeds)
            ]
            for target in Target
        }
        ratios = definition.ratio_counts()
        return self.context.recipes.predict(
            campaign.id,
            campaign.round,
            self.shards[key],
            campaign.host.model_dump(),
            list(substituents(definition)),
            None if ratios is None else sorted(list(ratio) for ratio in ratios),
            weights,
            category=self.category,
        )

    def record(self, job: JobView, output: Any) -> None:
        """Write a shard's predictions, and that they are whole."""
        with self.context.project.transaction():
            written = transitions.record_many_once(self.context.project, "predictions", self._records(output))
            transitions.mark_harvested(self.context.project, self.context.campaign.id, self.kind, job.key, written)

    def _records(self, output: Any) -> list[PredictionRecord]:
        campaign = self.context.campaign
        formation, relaxation = Target.FORMATION_ENERGY.value, Target.RELAXATION_ENERGY.value
        return [
            PredictionRecord(
                id=f"{campaign.id}/r{campaign.round}/{key}",
                campaign=campaign.id,
                round=campaign.round,
                key=key,
                level=output["level"],
                composition=output["compositions"][row],
                formation_energy=output["means"][formation][row],
                formation_energy_std=output["stds"][formation][row],
                relaxation_energy=output["means"][relaxation][row],
                relaxation_energy_std=output["stds"][relaxation][row],
            )
            for row, key in enumerate(output["keys"])
        ]
