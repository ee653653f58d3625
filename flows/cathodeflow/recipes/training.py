"""The workflow of one network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobflow.core.flow import Flow
from jobflow.core.job import Job

from cathodeflow.jobs import train as jobs
from cathodeflow.recipes.flows import single_job_flow
from cathodeflow.records.outcomes import JobKind


def training_flow(
    campaign: str,
    round_number: int,
    target: str,
    seed: int,
    host: dict[str, Any],
    rows: list[dict[str, Any]],
    surrogate: dict[str, Any],
    *,
    split_seed: int = 0,
    category: str = "cpu",
    train: Callable[..., Job] = jobs.train,
) -> Flow:
    """Retrain one network. Its key is ``r<round>-<target>-s<seed>``; output and arguments: `jobs.train.train`.

    A row's `crystal` may be a reference to the output of the label's job: jobflow fetches it when the training starts.
    """
    made = train(target, seed, host, rows, surrogate, split_seed)
    return single_job_flow(made, campaign, JobKind.TRAIN, f"r{round_number}-{target}-s{seed}", category)
