"""The workflow of one shard of predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobflow.core.flow import Flow
from jobflow.core.job import Job
from jobflow.core.reference import OutputReference

from cathodeflow.jobs import predict as jobs
from cathodeflow.recipes.flows import single_job_flow
from cathodeflow.records.outcomes import JobKind


def prediction_flow(
    campaign: str,
    round_number: int,
    shard: jobs.Shard,
    host: dict[str, Any],
    elements: Sequence[str],
    ratios: Sequence[Sequence[int]] | None,
    weights: Mapping[str, Sequence[str | OutputReference]],
    *,
    category: str = "cpu",
    predict: Callable[..., Job] = jobs.predict,
) -> Flow:
    """Predict one shard. Its key is ``r<round>-<shard number>``; output and arguments: `jobs.predict.predict`.

    `weights` are usually references to the trainings' outputs, ``OutputReference(job_uuid)["weights"]``.
    """
    made = predict(
        shard.model_dump(),
        host,
        list(elements),
        None if ratios is None else [list(ratio) for ratio in ratios],
        {target: list(ensemble) for target, ensemble in weights.items()},
    )
    return single_job_flow(made, campaign, JobKind.PREDICT, f"r{round_number}-{shard.number}", category)
