"""Follow-ups: what is computed of each validated composition at every level once it is relaxed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions
from cathodeflow.campaign.stages.label import ValidateStage
from cathodeflow.campaign.stages.oxidation import (
    as_reference,
    oxidation_references,
    reference_levels,
    with_oxidation_states,
)
from cathodeflow.campaign.stages.selection import pristine_composition
from cathodeflow.campaign.stages.work import StageWork, job_uuid
from cathodeflow.records.candidate import candidate_id
from cathodeflow.records.followup import FollowUpRecord, follow_up_key
from cathodeflow.records.outcomes import Branch, JobKind, Outcome, Reason
from cathodeflow.science.hosts.candidates import parse_candidate_key
from cathodeflow.storage.collections import FOLLOW_UPS

if TYPE_CHECKING:
    from jobflow import Flow

    from cathodeflow.campaign.policy import Failure, JobView
    from cathodeflow.dispatch.workflows import WorkflowState


@dataclass(frozen=True)
class FollowUpStage(StageWork):
    """The branches of every validated candidate. One workflow holds those of a candidate, one job each.

    Candidates whose relaxation was quarantined have none: their validation says why.
    """

    @property
    def kind(self) -> JobKind:
        """What its jobs make."""
        return JobKind.FOLLOW_UP

    @property
    def tolerated_fraction(self) -> float | None:
        """Any may be lost: each is shown with its reason."""
        return 1.0

    def wanted(self) -> tuple[str, ...]:
        """Return ``<candidate key>/<branch>`` of every branch, the static run of each candidate first."""
        return tuple(follow_up_key(candidate, branch) for candidate in self._crystals for branch in self.branches)

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """The static run that all read, then those the definition asks for."""
        return (Branch.STATIC, *(Branch(name) for name in self.context.definition.followups.branches))

    def settled(self) -> dict[str, Outcome]:
        """Return the branches that are written."""
        found = self.context.project.database[FOLLOW_UPS].find(
            {"campaign": self.context.campaign.id}, {"key": 1, "branch": 1, "outcome": 1}
        )
        return {follow_up_key(d["key"], Branch(d["branch"])): Outcome(d["outcome"]) for d in found}

    def states(self, keys: Sequence[str]) -> list[WorkflowState]:
        """Return how far FireWorks is with each branch."""
        from cathodeflow.dispatch.workflows import job_states

        found = job_states(self.context.project, self.context.campaign.id, self.kind, keys)
        if self._pristine_charges_settled:
            return found
        # Oxidation states are told against the pristine host's charges, so those are written down first.
        return [
            replace(state, state="WAITING") if state.state == "COMPLETED" and self._is_compared(state.key) else state
            for state in found
        ]

    def _is_compared(self, key: str) -> bool:
        return key.endswith(f"/{Branch.BADER.value}") and key not in self._pristine_charges

    @cached_property
    def _pristine_charges(self) -> frozenset[str]:
        """Keys of the branches whose charges the others are compared with."""
        if Branch.BADER not in self.branches:
            return frozenset()
        levels, pristine = reference_levels(self.context.host), pristine_composition(self.context)
        parsed = {key: parse_candidate_key(key) for key in self._crystals}
        return frozenset(
            follow_up_key(key, Branch.BADER)
            for key, candidate in parsed.items()
            if candidate.composition.key == pristine and candidate.level in levels
        )

    @cached_property
    def _pristine_charges_settled(self) -> bool:
        return self._pristine_charges <= set(self.settled())

    def blocked(self, settled: Mapping[str, Outcome]) -> dict[str, str]:
        """Return the branches whose static run was quarantined."""
        lost = [
            candidate
            for candidate in self._crystals
            if settled.get(follow_up_key(candidate, Branch.STATIC)) == Outcome.QUARANTINED
        ]
        return {
            follow_up_key(candidate, branch): "its static run was quarantined"
            for candidate in lost
            for branch in self.branches[1:]
        }

    def workflow_key(self, key: str) -> str:
        """Return the candidate."""
        return key.rpartition("/")[0]

    def flow(self, workflow_key: str) -> Flow:
        """Return the workflow of a candidate's branches."""
        campaign, definition = self.context.campaign.id, self.context.definition
        followups = definition.followups.model_dump() | {"working_ion": self.context.host.working_ion}
        uuids = {
            branch.value: job_uuid(campaign, self.kind, follow_up_key(workflow_key, branch)) for branch in self.branches
        }
        crystal = self._crystals[workflow_key]
        return self.context.recipes.follow_up(
            campaign,
            workflow_key,
            crystal,
            definition.engine.model_dump(),
            followups,
            uuids,
            category=self.category,
        )

    def workflow(self, workflow_key: str) -> Flow:
        """Return the workflow; its recipe has given each job its uuid."""
        return self.flow(workflow_key)

    def record(self, job: JobView, output: Any) -> None:
        """Write what a branch found, its paths relative to the project."""
        found = {**output, "origin": self.context.origin(self.kind, job, output)}
        found["folder"] = self.context.relative(found.get("folder", ""))
        if found.get(Branch.DENSITY_DIFFERENCE.value):
            difference = found[Branch.DENSITY_DIFFERENCE.value]
            file = self.context.relative(difference["volumetric_file"])
            found[Branch.DENSITY_DIFFERENCE.value] = {**difference, "volumetric_file": file}
        if found.get(Branch.BADER.value):
            species = self._crystals[self.workflow_key(job.key)]["species"]
            found = with_oxidation_states(found, species, oxidation_references(self.context))
            if job.key in self._pristine_charges:
                state = reference_levels(self.context.host)[parse_candidate_key(self.workflow_key(job.key)).level]
                found = as_reference(found, self.context.host.substituted_element, state)
        self._write(job.key, found)

    def give_up(self, failure: Failure, message: str) -> None:
        """Quarantine a branch that failed at every attempt."""
        self._write(
            failure.job.key,
            {
                "outcome": Outcome.QUARANTINED,
                "reason": failure.job.reason,
                "message": f"given up after {failure.attempt} attempts: {message}",
                "origin": self.context.origin(self.kind, failure.job),
            },
        )

    def leave_out(self, key: str, message: str) -> None:
        """Quarantine a branch that has nothing to build on."""
        origin = {"provenance": self.context.campaign.provenance}
        fields = {"outcome": Outcome.QUARANTINED, "reason": Reason.PREREQUISITE_FAILED, "message": message}
        self._write(key, fields | {"origin": origin})

    def _write(self, key: str, fields: dict[str, Any]) -> None:
        name, branch = key.rpartition("/")[0], Branch(key.rpartition("/")[2])
        campaign, candidate = self.context.campaign.id, parse_candidate_key(name)
        record = FollowUpRecord.model_validate(
            {
                "_id": candidate_id(campaign, key),
                "campaign": campaign,
                "key": name,
                "branch": branch,
                "level": candidate.level,
                "composition": candidate.composition.key,
                "elements": list(candidate.composition.elements),
                "counts": list(candidate.composition.counts),
                **fields,
            }
        )
        transitions.record_once(self.context.project, FOLLOW_UPS, record)

    @cached_property
    def _crystals(self) -> dict[str, dict[str, Any]]:
        """Relaxed crystals of the validated candidates, in the order of the shortlist."""
        chosen = ValidateStage(self.context).wanted()
        found = self.context.project.database["labels"].find(
            {
                "_id": {"$in": [candidate_id(self.context.campaign.id, key) for key in chosen]},
                "outcome": Outcome.DONE.value,
            },
            {"key": 1, "relaxation.crystal": 1},
        )
        crystals = {document["key"]: document["relaxation"]["crystal"] for document in found}
        return {key: crystals[key] for key in chosen if key in crystals}
