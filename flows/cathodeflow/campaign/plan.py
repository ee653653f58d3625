"""What a campaign will make and cost, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from cathodeflow.calculators.engines import PROGRAMS
from cathodeflow.campaign import dft_costs
from cathodeflow.campaign.definition_file import substituents
from cathodeflow.campaign.dft_costs import PAPER_CORES, WorkedExample, worked_example
from cathodeflow.campaign.dft_plan import Calibration, DftRow, dft_rows, parameters_of
from cathodeflow.campaign.policy import most_validated
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
        Workflows per kind, branches of follow-ups; validation and follow-ups are upper bounds.
    core_hours : dict
        Per stage.
    disk_bytes : int
        Growth of the store.
    cost_basis : str
        Where the unit costs come from.
    cores_per_run : int
        Processors of one run of VASP; 1 for engines without.
    dft : tuple of DftRow
        The runs of VASP or of its rehearsal, kind by kind; empty for potentials.
    assumptions : tuple of str
        What the costs in `dft` stand on, in sentences.
    example : WorkedExample or None
        The paper's own sum, where it belongs beside the costs.
    """

    campaign: str
    host: str
    space: SpaceCounts
    candidates: int
    jobs: dict[str, int]
    core_hours: dict[str, float]
    disk_bytes: int
    cost_basis: str
    cores_per_run: int = 1
    dft: tuple[DftRow, ...] = ()
    assumptions: tuple[str, ...] = ()
    example: WorkedExample | None = None

    @property
    def total_core_hours(self) -> float:
        """Sum over the stages."""
        return sum(self.core_hours.values())


def count_jobs(
    definition: CampaignDefinition, n_candidates: int, n_elements: int, n_levels: int, n_validated: int
) -> dict[str, int]:
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
    n_validated : int
        Compositions that are validated at most.

    Returns
    -------
    dict of str to int
        ``validation`` counts the relaxations of the validated compositions, pristine host included (upper bound: what
        has been labelled already is not computed again).
    """
    rounds = definition.labels.rounds
    shards = ceil(n_candidates / definition.prediction.shard_size)
    validated = n_validated * n_levels
    branches = definition.followups.branches
    return {
        JobKind.REFERENCE: n_elements,
        JobKind.LABEL: min(definition.labels.total, n_candidates),
        JobKind.TRAIN: rounds * definition.surrogate.seeds * len(Target),
        JobKind.PREDICT: rounds * shards,
        JobKind.SCREEN: rounds,
        "validation": validated,
        **({JobKind.FOLLOW_UP: validated * (1 + len(branches))} if branches else {}),
    }


def make_plan(
    definition: CampaignDefinition,
    host: Host,
    costs: UnitCosts | None = None,
    measured: Mapping[str, Calibration] | None = None,
    cores_per_run: int | None = None,
) -> Plan:
    """Plan a campaign.

    Parameters
    ----------
    definition : CampaignDefinition
        The campaign.
    host : Host
        Its host.
    costs : UnitCosts, optional
        Measured unit costs; the stated ones without.
    measured : mapping of str to Calibration, optional
        What runs of VASP or its rehearsal have cost against the model, by kind (`unit_costs.measured_dft_costs`).
    cores_per_run : int, optional
        Processors of one run of VASP; without, what the definition says, else the paper's 68 (rehearsal: 1).

    Returns
    -------
    Plan
        Nothing is written.

    Raises
    ------
    DefinitionError
        A preset, override or POTCAR that does not exist.
    """
    from cathodeflow.science.hosts.candidates import count_space

    unit = costs or UnitCosts()
    elements = substituents(definition)
    space = count_space(host, elements, ratios=definition.ratio_counts())
    candidates = space.distinct
    framework = {site.specie.symbol for level in host.levels for site in level.structure}
    substituted = space.compositions - (host.substituted_element in elements)
    validated = most_validated(definition.validation.per_list, substituted)
    jobs = count_jobs(definition, candidates, len(framework | set(elements)), len(host.levels), validated)
    hours = _core_hours(definition, candidates, unit)
    rows: tuple[DftRow, ...] = ()
    cores = 1
    if definition.engine.name in PROGRAMS:
        cores = cores_per_run or _cores(definition)
        rows = dft_rows(definition, host, elements, jobs[JobKind.LABEL], validated, measured or {}, cores)
        for row in rows:
            hours[Stage(row.stage)] = hours.get(Stage(row.stage), 0.0) + row.core_hours
    else:
        relaxation_s = _relaxation_seconds(definition, host, unit)
        hours[Stage.REFERENCE] = jobs[JobKind.REFERENCE] * (2.0 + unit.job_overhead_s) / SECONDS_PER_HOUR
        hours[Stage.LABEL] = jobs[JobKind.LABEL] * relaxation_s / SECONDS_PER_HOUR
        hours[Stage.VALIDATE] = jobs["validation"] * relaxation_s / SECONDS_PER_HOUR
    on_paper = definition.engine.name == "vasp" and definition.host.packaged == "nvpf"
    return Plan(
        campaign=definition.name,
        host=host.name,
        space=space,
        candidates=candidates,
        jobs=dict(jobs),
        core_hours={stage.value: hours[stage] for stage in Stage if stage in hours},
        disk_bytes=_disk(definition, jobs, candidates, unit),
        cost_basis=_basis(rows, unit),
        cores_per_run=cores,
        dft=rows,
        assumptions=_assumptions(definition, cores) if rows else (),
        example=worked_example() if on_paper else None,
    )


def _core_hours(definition: CampaignDefinition, candidates: int, unit: UnitCosts) -> dict[Stage, float]:
    """Return the core-hours of what no engine computes."""
    networks = definition.surrogate.seeds * len(Target)
    seconds = {
        Stage.TRAIN: _training_seconds(definition, unit),
        Stage.PREDICT: definition.labels.rounds * candidates * networks * unit.prediction_s,
        Stage.SCREEN: definition.labels.rounds * (1.0 + 2e-5 * candidates),
    }
    return {stage: value / SECONDS_PER_HOUR for stage, value in seconds.items()}


def _cores(definition: CampaignDefinition) -> int:
    if definition.engine.name == "rehearsal":
        return 1
    return parameters_of(definition).cores or PAPER_CORES


def _basis(rows: tuple[DftRow, ...], unit: UnitCosts) -> str:
    """Say where the costs come from: kinds of runs that were measured, with how many."""
    if not rows:
        return unit.basis
    counted = {row.kind: row.measured for row in rows if row.measured}
    if not counted:
        return "stated"
    runs = ", ".join(f"{count} runs of kind {kind}" for kind, count in counted.items())
    return f"measured on {runs}"


def _assumptions(definition: CampaignDefinition, cores: int) -> tuple[str, ...]:
    bounds = (
        "Validation and follow-ups are upper bounds: nothing was labelled before, and every candidate gets its hybrid "
        "run, those too whose bands overlap too far for one."
    )
    if definition.engine.name == "rehearsal":
        return (
            "Stand-ins take seconds, stated per kind of run until some are measured here; one processor each.",
            "Their files have VASP's sizes, but there are no wave functions and densities lie on a grid of 0.2 Å.",
            bounds,
        )
    scale = (
        f"Scale: S0's two hours on {PAPER_CORES} processors (Intel Xeon Phi 7250) for a relaxation of 72 atoms; "
        "newer processors are several times faster. What is measured in the project replaces it."
    )
    steps = (
        f"Steps: {dft_costs.IONIC_STEPS:.0f} geometries of a relaxation ({dft_costs.REFERENCE_IONIC_STEPS:.0f} of an "
        f"element), {dft_costs.FIRST_ELECTRONIC_STEPS:.0f} electronic steps for the first, "
        f"{dft_costs.NEXT_ELECTRONIC_STEPS:.0f} each next; {dft_costs.STATIC_ELECTRONIC_STEPS:.0f} in a static run, "
        f"{dft_costs.HYBRID_ELECTRONIC_STEPS:.0f} in a hybrid one. Repeated attempts are not counted."
    )
    return (
        scale,
        steps,
        "k-points: time reversal alone is taken away, except for elements; runs at Γ alone take the Γ-only program.",
        f"{cores} processors a run, at {100 * dft_costs.efficiency(cores):.0f} % efficiency.",
        bounds,
        "Disk, at worst: every file at once, WAVECARs too, which jobs delete once nothing reads them; compressed.",
        "Kept: what `cflow gc` leaves of it by the definition's `retention`.",
    )


def _relaxation_seconds(definition: CampaignDefinition, host: Host, unit: UnitCosts) -> float:
    from cathodeflow.calculators.engines import relaxation_settings

    atoms = sum(len(level.structure) for level in host.levels) / len(host.levels)
    settings = relaxation_settings(definition.engine.model_dump())
    steps = min(unit.relaxation_steps * relaxation_scale(settings.max_force), settings.max_steps)
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
