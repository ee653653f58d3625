"""What a stage is to `campaign.advance`, and what every stage is given."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.campaign.stage_table import category_of, resources_of
from cathodeflow.records.document import software_versions
from cathodeflow.records.label import Origin
from cathodeflow.records.outcomes import JobKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobflow import Flow

    from cathodeflow.campaign.policy import Failure, JobView
    from cathodeflow.dispatch.workflows import WorkflowState
    from cathodeflow.records.campaign import CampaignRecord
    from cathodeflow.science.hosts.host import Host
    from cathodeflow.storage.connection import Project

# One namespace for the uuids of all campaigns' jobs: the same campaign, kind and key give the same uuid, so that a
# job's output is found, and referred to, without asking which workflow made it.
_NAMESPACE = uuid.UUID("6f0c3c1e-6a52-5d0b-9a3e-0d1f5a1c7b2d")


def job_uuid(campaign: str, kind: JobKind, key: str) -> str:
    """Return the uuid under which a campaign's job leaves its output."""
    return str(uuid.uuid5(_NAMESPACE, f"{campaign}/{kind}/{key}"))


@dataclass(frozen=True)
class Recipes:
    """The workflows that stages submit. They come in as an argument so that tests can put in cheaper ones.

    Each takes the arguments of the function of that name in `cathodeflow.recipes` and returns a jobflow Flow whose
    last job makes the output.
    """

    reference: Callable[..., Flow]
    label: Callable[..., Flow]
    train: Callable[..., Flow]
    predict: Callable[..., Flow]
    screen: Callable[..., Flow]
    follow_up: Callable[..., Flow]


@dataclass(frozen=True)
class StageContext:
    """What a stage works with.

    Attributes
    ----------
    project : Project
        The open project.
    campaign : CampaignRecord
        As read at the start of the tick.
    recipes : Recipes
        What to submit.
    """

    project: Project
    campaign: CampaignRecord
    recipes: Recipes

    @cached_property
    def definition(self) -> CampaignDefinition:
        """The campaign's definition."""
        return CampaignDefinition.model_validate(self.campaign.definition)

    @cached_property
    def host(self) -> Host:
        """The campaign's host."""
        from cathodeflow.jobs.host import host_from

        # Kept by the process: a tick must not read the crystals anew.
        return host_from(self.campaign.host.model_dump())

    @property
    def round(self) -> int:
        """Round of labelling, from 0."""
        return self.campaign.round

    def harvested(self, kind: JobKind) -> list[str]:
        """Return the keys of `kind` whose many documents are all written, of this round."""
        prefix = f"{kind.value}:"
        keys = [entry.removeprefix(prefix) for entry in self.campaign.harvested if entry.startswith(prefix)]
        return [key for key in keys if key.split("-")[0] == f"r{self.round}"]

    def relative(self, path: str) -> str:
        """Return a path relative to the project where it lies in it: a project that is moved keeps its paths."""
        folder = self.project.folder.resolve()
        place = Path(path)
        return str(place.relative_to(folder)) if path and place.is_relative_to(folder) else path

    def origin(self, kind: JobKind, job: JobView, output: Any = None) -> Origin:
        """Return where a number made by `job` comes from; what the job says of itself goes first."""
        said = (output or {}).get("origin", {})
        return Origin(
            provenance=said.get("provenance", self.campaign.provenance),
            software=said.get("software") or software_versions(),
            job_uuid=job_uuid(self.campaign.id, kind, job.key),
            fw_id=job.fw_id,
            attempt=job.failures + 1,
        )


@dataclass(frozen=True)
class StageWork(ABC):
    """One stage of one campaign."""

    context: StageContext

    @property
    @abstractmethod
    def kind(self) -> JobKind:
        """What its jobs make."""

    @property
    def category(self) -> str:
        """Which workers run its jobs."""
        return category_of(self.kind, self.context.definition.engine.name)

    @property
    def tolerated_fraction(self) -> float | None:
        """Share of its members that may be quarantined; None where each is needed."""
        return None

    @abstractmethod
    def wanted(self) -> tuple[str, ...]:
        """Return the keys of what the stage has to make."""

    @abstractmethod
    def settled(self) -> dict[str, Outcome]:
        """Return the keys whose documents are written."""

    def workflow_key(self, key: str) -> str:
        """Return the key of the workflow that makes `key`; one workflow may make several."""
        return key

    @abstractmethod
    def flow(self, workflow_key: str) -> Flow:
        """Return the workflow of that key."""

    def workflow(self, workflow_key: str) -> Flow:
        """Return the workflow whose jobs leave their outputs under the uuids by which they are looked for."""
        flow = self.flow(workflow_key)
        *_, last = flow.iterflow()
        last[0].set_uuid(job_uuid(self.context.campaign.id, self.kind, workflow_key))
        return flow

    def with_resources(self, flow: Flow, workflow_key: str) -> Flow:
        """Let the jobs of a workflow say what they need beyond what their queue gives."""
        for job, _ in flow.iterflow():
            key = job.config.manager_config.get("_key", workflow_key)
            needed = resources_of(self.kind, key, self.context.definition.resources)
            job.config.manager_config = {**job.config.manager_config, **needed}
        return flow

    def states(self, keys: Sequence[str]) -> list[WorkflowState]:
        """Return how far FireWorks is with `keys`; those without a job are left out."""
        from cathodeflow.dispatch.workflows import workflow_states

        return workflow_states(self.context.project, self.context.campaign.id, self.kind, keys)

    def blocked(self, settled: Mapping[str, Outcome]) -> dict[str, str]:
        """Return the keys that can never be made, with the reason."""
        return {}

    @abstractmethod
    def record(self, job: JobView, output: Any) -> None:
        """Write down what a job has made."""

    def give_up(self, failure: Failure, message: str) -> None:
        """Quarantine a member that failed at every attempt; never called where each member is needed."""
        raise AssertionError(f"{self.kind} {failure.job.key} cannot be given up: {message}")

    def leave_out(self, key: str, message: str) -> None:
        """Quarantine a member that is blocked; never called where nothing builds on another."""
        raise AssertionError(f"{self.kind} {key} cannot be left out: {message}")
