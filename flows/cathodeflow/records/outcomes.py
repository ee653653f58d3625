"""The words for where things stand: stages, states, outcomes and reasons."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """What a campaign is working on."""

    ENUMERATE = "enumerate"
    REFERENCE = "reference"
    LABEL = "label"
    TRAIN = "train"
    PREDICT = "predict"
    SCREEN = "screen"
    VALIDATE = "validate"
    DONE = "done"


STAGE_ORDER: tuple[Stage, ...] = tuple(Stage)


class CampaignState(StrEnum):
    """Whether a campaign's driver may act on it."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"  # more failures than tolerated, or asked for
    DONE = "done"


class JobKind(StrEnum):
    """What a workflow of a campaign makes. The workflow's key says of what."""

    REFERENCE = "reference"  # key: element
    LABEL = "label"  # key: candidate key
    TRAIN = "train"  # key: r<round>-<target>-s<seed>
    PREDICT = "predict"  # key: r<round>-<shard number>
    SCREEN = "screen"  # key: r<round>


class Target(StrEnum):
    """What a surrogate predicts, both in eV/atom (S0: R-MEGNet-Voltage and R-MEGNet-Structure)."""

    FORMATION_ENERGY = "formation_energy"
    RELAXATION_ENERGY = "relaxation_energy"


class Outcome(StrEnum):
    """How one attempt at a job, or one label, ended."""

    DONE = "done"
    QUARANTINED = "quarantined"  # ended for good without a usable result; the reason says why
    FAILED = "failed"  # this attempt failed; the policy decides what next


class Reason(StrEnum):
    """Why an attempt failed or a label was quarantined."""

    NOT_CONVERGED = "not_converged"
    EXPLODED_VOLUME = "exploded_volume"
    OVERLAPPING_ATOMS = "overlapping_atoms"
    NON_FINITE = "non_finite"
    BROKEN_POLYHEDRA = "broken_polyhedra"
    MISSING_REFERENCE = "missing_reference"
    CALCULATION_ERROR = "calculation_error"
    VANISHED = "vanished"  # the process that ran it is gone
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"


class Purpose(StrEnum):
    """Why a label was computed."""

    TRAINING = "training"
    VALIDATION = "validation"
