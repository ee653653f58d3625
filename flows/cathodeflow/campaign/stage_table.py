"""Which workers run which jobs: one table, read when a job is added."""

from __future__ import annotations

from cathodeflow.calculators.engines import PROGRAMS
from cathodeflow.records.outcomes import JobKind

CPU, GPU, DFT = "cpu", "gpu", "dft"
CATEGORIES = (CPU, GPU, DFT)
"""FireWorks' `_category` of a job. A site says which queue serves which; on one machine each worker takes all."""

_TABLE: dict[JobKind, str | None] = {
    JobKind.REFERENCE: None,  # as the engine
    JobKind.LABEL: None,
    JobKind.TRAIN: GPU,
    JobKind.PREDICT: GPU,
    JobKind.SCREEN: CPU,
    JobKind.FOLLOW_UP: None,
}


def category_of(kind: JobKind, engine: str) -> str:
    """Return the category of the workers that run a job.

    Parameters
    ----------
    kind : JobKind
        What it makes.
    engine : str
        Name of the campaign's engine. Potentials relax on ``gpu``, programs on ``dft``; the pair potential, which means
        nothing, on ``cpu``.
    """
    fixed = _TABLE[kind]
    if fixed is not None:
        return fixed
    if engine in PROGRAMS:
        return DFT
    return CPU if engine == "pair" else GPU
