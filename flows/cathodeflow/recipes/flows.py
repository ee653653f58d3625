"""How every recipe dresses its job: a stable name, metadata to find it by, a category for the worker."""

from __future__ import annotations

from jobflow.core.flow import Flow
from jobflow.core.job import Job

from cathodeflow.records.outcomes import JobKind


def single_job_flow(job: Job, campaign: str, kind: JobKind, key: str, category: str) -> Flow:
    """Wrap one job as the workflow of one thing a campaign makes.

    Parameters
    ----------
    job : Job
        What runs.
    campaign, key : str
        Whose it is, and of what.
    kind : JobKind
        What it makes.
    category : str
        FireWorks category of the workers that may run it: ``cpu`` or ``gpu``.

    Returns
    -------
    Flow
        Named ``<campaign>/<kind>/<key>``, as its job; both carry ``{"campaign", "kind", "key"}`` as metadata.
    """
    name = f"{campaign}/{kind.value}/{key}"
    metadata = {"campaign": campaign, "kind": kind.value, "key": key}
    job.name = name
    job.metadata.update(metadata)
    job.config.manager_config = {**job.config.manager_config, "_category": category}
    return Flow([job], name=name, metadata=metadata)
