"""The workflow of one label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobflow.core.flow import Flow
from jobflow.core.job import Job

from cathodeflow.jobs import label as jobs
from cathodeflow.recipes.flows import single_job_flow
from cathodeflow.records.outcomes import JobKind


def label_flow(
    campaign: str,
    key: str,
    host: dict[str, Any],
    level: str,
    elements: list[str],
    mask: int,
    engine: dict[str, Any],
    references: dict[str, float],
    *,
    max_volume_change: float = 40.0,
    category: str = "cpu",
    label: Callable[..., Job] = jobs.label,
) -> Flow:
    """Relax one candidate. Output and arguments: `jobs.label.label`."""
    made = label(key, host, level, elements, mask, engine, references, max_volume_change)
    return single_job_flow(made, campaign, JobKind.LABEL, key, category)
