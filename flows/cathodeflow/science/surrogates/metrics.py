"""How far predictions are from labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Metrics:
    """Errors over `n` structures.

    Attributes
    ----------
    r2 : float or None
        Coefficient of determination, 1 - SS_res / SS_tot; None for fewer than two structures or equal labels.
    mae, rmse : float
        Mean absolute and root mean square error, eV/atom.
    n : int
        Number of structures.
    """

    r2: float | None
    mae: float
    rmse: float
    n: int


def regression_metrics(true: ArrayLike, predicted: ArrayLike) -> Metrics:
    """Compare predictions with labels.

    Parameters
    ----------
    true, predicted : array_like, shape (n,)
        eV/atom.

    Returns
    -------
    Metrics

    Raises
    ------
    ValueError
        If the shapes differ or there is nothing to compare.
    """
    y, p = np.asarray(true, dtype=float), np.asarray(predicted, dtype=float)
    if y.shape != p.shape or y.ndim != 1 or not len(y):
        raise ValueError(f"labels {y.shape} and predictions {p.shape} cannot be compared")
    error = p - y
    spread = float(np.sum((y - y.mean()) ** 2))
    r2 = 1.0 - float(np.sum(error**2)) / spread if len(y) > 1 and spread > 0.0 else None
    return Metrics(r2=r2, mae=float(np.mean(np.abs(error))), rmse=float(np.sqrt(np.mean(error**2))), n=len(y))
