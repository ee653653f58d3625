"""Follow up a relaxed candidate: a static run, then branches that read it and know nothing of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobflow.core.flow import Flow
from jobflow.core.job import Job

from cathodeflow.jobs.followups.bader import bader
from cathodeflow.jobs.followups.bonding import bonding
from cathodeflow.jobs.followups.branch import with_shared
from cathodeflow.jobs.followups.density_difference import density_difference
from cathodeflow.jobs.followups.gap import gap
from cathodeflow.jobs.followups.pdos import pdos
from cathodeflow.jobs.followups.static import static
from cathodeflow.records.outcomes import Branch, JobKind

BRANCHES = {
    Branch.PDOS: pdos,
    Branch.GAP: gap,
    Branch.BONDING: bonding,
    Branch.BADER: bader,
    Branch.DENSITY_DIFFERENCE: density_difference,
}
"""The jobs that read the static run."""


def follow_up_flow(
    campaign: str,
    key: str,
    crystal: dict[str, Any],
    engine: dict[str, Any],
    followups: dict[str, Any],
    uuids: Mapping[str, str],
    *,
    category: str = "cpu",
) -> Flow:
    """Make the workflow of one candidate's follow-ups.

    Parameters
    ----------
    campaign : str
        Name.
    key : str
        The candidate's key.
    crystal : dict
        `records.crystal.Crystal.model_dump()` of its label's relaxed cell.
    engine : dict
        The section ``engine`` of a definition: ``vasp`` or ``rehearsal``.
    followups : dict
        The section ``followups``, completed here by `jobs.followups.branch.with_shared`; with `working_ion` (for
        ``density_difference``) and, where known, `oxidation_references` (for ``bader``).
    uuids : mapping of str to str
        Of the job of each branch, ``static`` included.
    category : str
        FireWorks category of the workers that may run them.

    Returns
    -------
    Flow
        Of one job per branch. Each branch depends on the static run alone, so that a failure costs one branch.
    """
    kind = JobKind.FOLLOW_UP.value
    followups = with_shared(followups, engine)
    name = f"{campaign}/{kind}/{key}"

    def dressed(job: Job, branch: Branch) -> Job:
        own = f"{key}/{branch.value}"
        job.set_uuid(uuids[branch.value])
        job.name = f"{campaign}/{kind}/{own}"
        job.metadata.update({"campaign": campaign, "kind": kind, "key": own})
        marks = {"_category": category, "_kind": kind, "_key": own}
        job.config.manager_config = {**job.config.manager_config, **marks}
        return job

    first = dressed(static(crystal, engine, followups), Branch.STATIC)
    branches = [Branch(branch) for branch in followups["branches"]]
    others = [dressed(BRANCHES[branch](first.output, crystal, engine, followups), branch) for branch in branches]
    return Flow([first, *others], name=name, metadata={"campaign": campaign, "kind": kind, "key": key})
