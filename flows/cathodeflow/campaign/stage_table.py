"""Which workers run which jobs, and what these need: one table, read when a job is added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cathodeflow.calculators.engines import PROGRAMS
from cathodeflow.records.outcomes import Branch, JobKind

if TYPE_CHECKING:
    from cathodeflow.campaign.definition import ResourcesDefinition

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


def resources_of(kind: JobKind, key: str, wanted: ResourcesDefinition) -> dict[str, float]:
    """Return what a job's spec says it needs beyond what the queue of its category gives.

    Parameters
    ----------
    kind : JobKind
        What it makes.
    key : str
        Of what; that of a follow-up ends with its branch, whose own entry goes first.
    wanted : ResourcesDefinition
        Of the definition.

    Returns
    -------
    dict of str to float
        Keys of a spec; none for a job that needs the usual. Policy and people multiply what is asked for here.
    """
    from cathodeflow.dispatch.launchpad import MEMORY_FACTOR, TIME_FACTOR
    from cathodeflow.dispatch.rerun import ASKED

    names: list[JobKind | Branch] = [kind]
    branch = key.rpartition("/")[2]
    if kind == JobKind.FOLLOW_UP and branch in set(Branch):
        names.insert(0, Branch(branch))
    found: dict[str, float] = {}
    for factor, table in ((TIME_FACTOR, wanted.time), (MEMORY_FACTOR, wanted.memory)):
        times = next((table[name] for name in names if name in table), 1.0)
        if times > 1.0:
            found |= {factor: times, ASKED[factor]: times}
    return found
