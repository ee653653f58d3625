"""Training: one network per target and seed, on all labels so far."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions
from cathodeflow.campaign.stages.work import StageWork, job_uuid
from cathodeflow.errors import ModelError
from cathodeflow.records.model import ModelRecord
from cathodeflow.records.outcomes import JobKind, Outcome, Target

if TYPE_CHECKING:
    from jobflow import Flow

    from cathodeflow.campaign.policy import JobView


def train_key(round_number: int, target: Target, seed: int) -> str:
    """Return the key of a training job."""
    return f"r{round_number}-{target.value}-s{seed}"


@dataclass(frozen=True)
class TrainStage(StageWork):
    """Every member of the ensemble is needed."""

    @property
    def kind(self) -> JobKind:
        """What its jobs make."""
        return JobKind.TRAIN

    def wanted(self) -> tuple[str, ...]:
        """Return the keys of the round's networks."""
        return tuple(train_key(self.context.round, target, seed) for target, seed in self._members())

    def settled(self) -> dict[str, Outcome]:
        """Return the networks that are written."""
        found = self.context.project.database["models"].find(
            {"campaign": self.context.campaign.id, "round": self.context.round}, {"target": 1, "seed": 1}
        )
        keys = (train_key(self.context.round, Target(entry["target"]), entry["seed"]) for entry in found)
        return dict.fromkeys(keys, Outcome.DONE)

    def flow(self, key: str) -> Flow:
        """Return the workflow that trains one network."""
        target, seed = self._member(key)
        return self.context.recipes.train(
            self.context.campaign.id,
            self.context.round,
            target.value,
            seed,
            self.context.campaign.host.model_dump(),
            self._rows(target),
            self.context.definition.surrogate.model_dump(),
            category=self.category,
        )

    def record(self, job: JobView, output: Any) -> None:
        """Write the model, its weights into GridFS."""
        target, seed = self._member(job.key)
        campaign, project = self.context.campaign, self.context.project
        identity = f"{campaign.id}/r{campaign.round}/{target.value}/s{seed}"
        fields = {name: value for name, value in output.items() if name != "weights"}
        weights = base64.b64decode(output["weights"])
        if hashlib.sha256(weights).hexdigest() != fields["weights_sha256"]:
            raise ModelError(f"the weights of {identity} arrived damaged: resubmit {job.key}")
        record = ModelRecord.model_validate(
            {
                "_id": identity,
                "campaign": campaign.id,
                "round": campaign.round,
                "weights_blob": project.blobs.put(weights, filename=identity),
                "provenance": campaign.provenance,
                "job_uuid": job_uuid(campaign.id, self.kind, job.key),
                **fields,
            }
        )
        transitions.record_once(project, "models", record)

    def _members(self) -> list[tuple[Target, int]]:
        return [(target, seed) for target in Target for seed in range(self.context.definition.surrogate.seeds)]

    def _member(self, key: str) -> tuple[Target, int]:
        return next(member for member in self._members() if train_key(self.context.round, *member) == key)

    def _rows(self, target: Target) -> list[dict[str, Any]]:
        return [self._row(label, target) for label in self._labels]

    @cached_property
    def _labels(self) -> list[dict[str, Any]]:
        """The usable labels of this and earlier rounds, in the order they were chosen."""
        campaign = self.context.campaign
        chosen = [key for number in range(campaign.round + 1) for key in campaign.selections[str(number)]]
        found = self.context.project.database["labels"].find(
            {"campaign": campaign.id, "outcome": Outcome.DONE.value, "key": {"$in": chosen}},
            {"relaxation.forces": 0},
        )
        labels = {document["key"]: document for document in found}
        return [labels[key] for key in chosen if key in labels]

    def _row(self, label: dict[str, Any], target: Target) -> dict[str, Any]:
        row = {name: label[name] for name in ("key", "level", "elements", "mask")}
        row["value"] = label["relaxation"][target.value]
        if target == Target.RELAXATION_ENERGY:
            row["crystal"] = label["relaxation"]["crystal"]  # what the un-retrained network needs for this target
        return row
