"""The workflow of one elemental reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobflow.core.flow import Flow
from jobflow.core.job import Job

from cathodeflow.jobs import reference as jobs
from cathodeflow.recipes.flows import single_job_flow
from cathodeflow.records.outcomes import JobKind


def reference_flow(
    campaign: str,
    element: str,
    engine: dict[str, Any],
    *,
    category: str = "cpu",
    reference: Callable[..., Job] = jobs.reference,
) -> Flow:
    """Compute the energy of an element. Output and arguments: `jobs.reference.reference`."""
    return single_job_flow(reference(element, engine), campaign, JobKind.REFERENCE, element, category)
