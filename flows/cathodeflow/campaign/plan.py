"""What a campaign will make and cost, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from cathodeflow.campaign.definition_file import substituents
from cathodeflow.campaign.unit_costs import REFERENCE_ATOMS, UnitCosts, relaxation_scale, training_scale
from cathodeflow.records.outcomes import JobKind, Stage, Target

if TYPE_CHECKING:
    from cathodeflow.campaign.definition import CampaignDefinition
    from cathodeflow.science.hosts.candidates import SpaceCounts
    from cathodeflow.science.hosts.host import Host

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Plan:
    """Counts, jobs, core-hours and disk of a campaign.

    Attributes
    ----------
    host : str
        Its name.
    space : SpaceCounts
        Compositions and arrangements per level.
    candidates : int
        Distinct arrangements over all levels after the ratio filter: what is predicted each round.
    jobs : dict
        Workflows per kind; validation relaxations are an upper bound.
    core_hours : dict
        Per stage.
    disk_bytes : int
        Growth of the store.
    cost_basis : str
        Where the unit costs come from.
    """

    campaign: str
    host: str
    space: SpaceCounts
    candidates: int
    jobs: dict[str, int]
    core_hours: dict[str, float]
    disk_bytes: int
    cost_basis: str

    @property
    def total_core_hours(self) -> float:
        """Sum over the stages."""
        return sum(self.core_hours.values())


def count_jobs(definition: CampaignDefinition, n_candidates: int, n_elements: int, n_levels: int) -> dict[str, int]:
    """Count the workflows of a campaign per kind.

    Parameters
    ----------
    definition : CampaignDefinition
        The campaign.
    n_candidates : int
        Distinct arrangements over all levels.
    n_elements : int
        Elements that need a reference: substituents and framework.
    n_levels : int
        Working-ion levels.

    Returns
    -------
    dict of str to int
        ``validation`` counts the relaxations of the validated compositions, pristine host included (upper bound: what
        has been labelled already is not computed again).
    """
    rounds = definition.labels.rounds
    shards = ceil(n_candidates / definition.prediction.shard_size)
    return {
        JobKind.REFERENCE: n_elements,
        JobKind.LABEL: min(definition.labels.total, n_candidates),
        JobKind.TRAIN: rounds * definition.surrogate.seeds * len(Target),
        JobKind.PREDICT: rounds * shards,
        JobKind.SCREEN: rounds,
        "validation": (2 * definition.validation.per_list + 1) * n_levels if definition.validation.per_list else 0,
    }


def make_plan(definition: CampaignDefinition, host: Host, costs: UnitCosts | None = None) -> Plan:
    """Plan a campaign.

    Parameters
    ----------
    definition : CampaignDefinition
        The campaign.
    host : Host
        Its host.
    costs : UnitCosts, optional
        Measured unit costs; the stated ones without.

    Returns
    -------
    Plan
        Nothing is written.
    """
    from cathodeflow.science.hosts.candidates import count_space

    unit = costs or UnitCosts()
    elements = substituents(definition)
    space = count_space(host, elements, ratios=definition.ratio_counts())
    candidates = space.distinct
    framework = {site.specie.symbol for level in host.levels for site in level.structure}
    jobs = count_jobs(definition, candidates, len(framework | set(elements)), len(host.levels))
    relaxation_s = _relaxation_seconds(definition, host, unit)
    training_s = _training_seconds(definition, unit)
    hours = {
        Stage.REFERENCE: jobs[JobKind.REFERENCE] * (2.0 + unit.job_overhead_s),
        Stage.LABEL: jobs[JobKind.LABEL] * relaxation_s,
        Stage.TRAIN: training_s,
        Stage.PREDICT: definition.labels.rounds
        * candidates
        * definition.surrogate.seeds
        * len(Target)
        * unit.prediction_s,
        Stage.SCREEN: definition.labels.rounds * (1.0 + 2e-5 * candidates),
        Stage.VALIDATE: jobs["validation"] * relaxation_s,
    }
    return Plan(
        campaign=definition.name,
        host=host.name,
        space=space,
        candidates=candidates,
        jobs=dict(jobs),
        core_hours={stage.value: seconds / SECONDS_PER_HOUR for stage, seconds in hours.items()},
        disk_bytes=_disk(definition, jobs, candidates, unit),
        cost_basis=unit.basis,
    )


def _relaxation_seconds(definition: CampaignDefinition, host: Host, unit: UnitCosts) -> float:
    atoms = sum(len(level.structure) for level in host.levels) / len(host.levels)
    steps = min(unit.relaxation_steps * relaxation_scale(definition.engine.max_force), definition.engine.max_steps)
    return steps * unit.relaxation_step_s * atoms / REFERENCE_ATOMS + unit.job_overhead_s


def _training_seconds(definition: CampaignDefinition, unit: UnitCosts) -> float:
    rounds = definition.labels.rounds
    labels_seen = sum(definition.labels.total * (number + 1) / rounds for number in range(rounds))
    # Early stopping spares some of the epochs: this is an upper bound.
    epochs = definition.surrogate.max_epochs * training_scale(definition.surrogate.trained_blocks)
    per_network = labels_seen * epochs * unit.training_s_per_label_epoch
    return per_network * definition.surrogate.seeds * len(Target)


def _disk(definition: CampaignDefinition, jobs: dict[str, int], candidates: int, unit: UnitCosts) -> int:
    rounds = definition.labels.rounds
    return int(
        candidates * (unit.candidate_bytes + rounds * unit.prediction_bytes)
        + (jobs[JobKind.LABEL] + jobs["validation"]) * unit.label_bytes
        + jobs[JobKind.TRAIN] * unit.model_bytes
    )
