"""Labels: the chosen candidates of a round, relaxed by the engine; also those of the validation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions
from cathodeflow.campaign.stages.reference import reference_energies
from cathodeflow.campaign.stages.selection import pristine_composition
from cathodeflow.campaign.stages.work import StageWork
from cathodeflow.records.candidate import candidate_id
from cathodeflow.records.label import LabelRecord
from cathodeflow.records.outcomes import JobKind, Outcome, Purpose
from cathodeflow.science.hosts.candidates import candidate_key, parse_candidate_key

if TYPE_CHECKING:
    from jobflow import Flow

    from cathodeflow.campaign.policy import Failure, JobView


@dataclass(frozen=True)
class LabelStage(StageWork):
    """The chosen candidates of the campaign's round."""

    @property
    def kind(self) -> JobKind:
        """What its jobs make."""
        return JobKind.LABEL

    @property
    def purpose(self) -> Purpose:
        """Why they are computed."""
        return Purpose.TRAINING

    @property
    def tolerated_fraction(self) -> float | None:
        """Share of the round's labels that may be quarantined."""
        return self.context.definition.failures.tolerated_fraction

    def wanted(self) -> tuple[str, ...]:
        """Return the keys chosen for this round."""
        return tuple(self.context.campaign.selections[str(self.context.round)])

    def settled(self) -> dict[str, Outcome]:
        """Return the labels that are written."""
        ids = [candidate_id(self.context.campaign.id, key) for key in self.wanted()]
        found = self.context.project.database["labels"].find({"_id": {"$in": ids}}, {"key": 1, "outcome": 1})
        return {document["key"]: Outcome(document["outcome"]) for document in found}

    def flow(self, key: str) -> Flow:
        """Return the workflow that relaxes a candidate."""
        candidate, definition = parse_candidate_key(key), self.context.definition
        return self.context.recipes.label(
            self.context.campaign.id,
            key,
            self.context.campaign.host.model_dump(),
            candidate.level,
            list(candidate.composition.elements),
            candidate.mask,
            definition.engine.model_dump(),
            self._references,
            max_volume_change=definition.labels.max_volume_change,
            category=self.category,
        )

    @cached_property
    def _references(self) -> dict[str, float]:
        return reference_energies(self.context)

    def record(self, job: JobView, output: Any) -> None:
        """Write the label, done or quarantined."""
        folder = self.context.relative(output.get("folder", ""))
        self._write(job.key, {**output, "folder": folder, "origin": self.context.origin(self.kind, job, output)})

    def give_up(self, failure: Failure, message: str) -> None:
        """Quarantine a label whose job failed at every attempt."""
        candidate = parse_candidate_key(failure.job.key)
        fields = {
            "key": failure.job.key,
            "level": candidate.level,
            "composition": candidate.composition.key,
            "elements": list(candidate.composition.elements),
            "counts": list(candidate.composition.counts),
            "mask": candidate.mask,
            "outcome": Outcome.QUARANTINED,
            "reason": failure.job.reason,
            "message": f"given up after {failure.attempt} attempts: {message}",
            "origin": self.context.origin(self.kind, failure.job),
        }
        self._write(failure.job.key, fields)

    def _write(self, key: str, fields: dict[str, Any]) -> None:
        campaign = self.context.campaign
        record = LabelRecord.model_validate(
            {
                "_id": candidate_id(campaign.id, key),
                "campaign": campaign.id,
                "purpose": self.purpose,
                "round": campaign.round,
                **fields,
            }
        )
        transitions.record_once(self.context.project, "labels", record)


@dataclass(frozen=True)
class ValidateStage(LabelStage):
    """The shortlisted compositions and the pristine host at every level; what has a label already keeps it."""

    @property
    def purpose(self) -> Purpose:
        """Why they are computed."""
        return Purpose.VALIDATION

    @property
    def tolerated_fraction(self) -> float | None:
        """Any may be lost: a missing level is shown with its reason in the validation."""
        return 1.0

    def wanted(self) -> tuple[str, ...]:
        """Return the representative of each shortlisted composition at each level."""
        return tuple(
            key for composition in self.context.campaign.shortlist for key in self.levels_of(composition).values()
        )

    def levels_of(self, composition: str) -> dict[str, str]:
        """Return the candidate key per level that stands for a composition."""
        if composition == pristine_composition(self.context):
            host = self.context.host
            return {
                level.label: candidate_key(host.name, level.label, composition, host.n_sites, 0)
                for level in host.levels
            }
        campaign = self.context.campaign
        verdict = self.context.project.database["verdicts"].find_one(
            {"_id": f"{campaign.id}/r{campaign.round}/{composition}"}, {"representatives": 1}
        )
        assert verdict is not None, f"no verdict for the shortlisted {composition}"
        return dict(verdict["representatives"])
