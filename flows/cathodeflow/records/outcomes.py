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
    FOLLOW_UP = "follow_up"
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
    FOLLOW_UP = "follow_up"  # key: <candidate key>/<branch>


class Branch(StrEnum):
    """A part of the follow-ups of one candidate (S0 section 2.1, S3 section 2.1). Every one but the first reads it."""

    STATIC = "static"  # one static run on the relaxed cell: density, density of states, wave functions
    PDOS = "pdos"
    GAP = "gap"  # hybrid functional at the band edges
    BONDING = "bonding"  # COHP by LOBSTER
    BADER = "bader"
    DENSITY_DIFFERENCE = "density_difference"


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
    WALLTIME = "walltime"  # told to stop before its allocation ended; goes on from what it wrote
    TIMEOUT = "timeout"  # ended by the scheduler at its time limit
    OUT_OF_MEMORY = "out_of_memory"
    NODE_FAIL = "node_fail"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    KILLED = "killed"  # the program was ended by a signal
    EXIT_CODE = "exit_code"  # the program failed without saying why
    FROZEN = "frozen"  # no output for too long
    DISK_FULL = "disk_full"
    BROKEN_OUTPUT = "broken_output"  # a file is missing, cut off or contradicts another
    MISSING_PROGRAM = "missing_program"
    CHARGE_SPILLING = "charge_spilling"  # LOBSTER's basis does not hold the wave functions
    PREREQUISITE_FAILED = "prerequisite_failed"  # what it builds on was quarantined
    VANISHED = "vanished"  # the process that ran it is gone


class Purpose(StrEnum):
    """Why a label was computed."""

    TRAINING = "training"
    VALIDATION = "validation"
