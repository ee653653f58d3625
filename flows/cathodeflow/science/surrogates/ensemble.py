"""Several networks of one target seen as one: the mean of their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cathodeflow.errors import ModelError
from cathodeflow.science.surrogates.metrics import Metrics, regression_metrics

if TYPE_CHECKING:
    from cathodeflow.science.surrogates.training import TrainingResult


@dataclass(frozen=True)
class EnsembleRow:
    """One label, the mean prediction and the spread between the members, eV/atom."""

    key: str
    true: float
    predicted: float
    std: float
    pretrained: float
    held_out: bool


@dataclass(frozen=True)
class EnsembleResult:
    """The ensemble of one target.

    Attributes
    ----------
    target : str
        What it predicts.
    n_members : int
        Networks.
    data_hash : str
        Of the data all of them saw.
    metrics, pretrained_metrics : Metrics
        Of the mean and of the un-retrained network on the held-out fifth.
    parity : tuple of EnsembleRow
        One per label.
    """

    target: str
    n_members: int
    data_hash: str
    metrics: Metrics
    pretrained_metrics: Metrics
    parity: tuple[EnsembleRow, ...]


def combine(results: Sequence[TrainingResult]) -> EnsembleResult:
    """Average the members of one ensemble.

    Parameters
    ----------
    results : sequence of TrainingResult
        Same target, same data, same held-out fifth, different seeds.

    Returns
    -------
    EnsembleResult

    Raises
    ------
    ModelError
        If there are none, or they do not belong together.
    """
    if not results:
        raise ModelError("an ensemble needs at least one trained network")
    first = results[0]
    for result in results[1:]:
        alike = (result.target, result.data_hash) == (first.target, first.data_hash)
        rows = [(row.key, row.held_out) for row in result.parity]
        if not alike or rows != [(row.key, row.held_out) for row in first.parity]:
            raise ModelError("these networks were trained on different data or splits; they are no ensemble")
    predicted = np.array([[row.predicted for row in result.parity] for result in results])
    mean, std = predicted.mean(axis=0), predicted.std(axis=0)
    parity = tuple(
        EnsembleRow(row.key, row.true, float(mean[i]), float(std[i]), row.pretrained, row.held_out)
        for i, row in enumerate(first.parity)
    )
    judged = [row for row in parity if row.held_out]
    return EnsembleResult(
        target=first.target,
        n_members=len(results),
        data_hash=first.data_hash,
        metrics=regression_metrics([row.true for row in judged], [row.predicted for row in judged]),
        pretrained_metrics=first.pretrained_metrics,
        parity=parity,
    )
