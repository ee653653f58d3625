"""The workflow of a round's verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jobflow.core.flow import Flow
from jobflow.core.job import Job
from jobflow.core.reference import OutputReference

from cathodeflow.jobs import screen as jobs
from cathodeflow.recipes.flows import single_job_flow
from cathodeflow.records.outcomes import JobKind


def screening_flow(
    campaign: str,
    round_number: int,
    shards: Sequence[dict[str, Any] | OutputReference],
    host: dict[str, Any],
    screening: dict[str, Any],
    *,
    category: str = "cpu",
    screen: Callable[..., Job] = jobs.screen,
) -> Flow:
    """Judge a round. Its key is ``r<round>``; output and arguments: `jobs.screen.screen`.

    `shards` are usually references to the outputs of the predictions, ``OutputReference(job_uuid)``.
    """
    made = screen(list(shards), host, screening)
    return single_job_flow(made, campaign, JobKind.SCREEN, f"r{round_number}", category)
