"""Who trains and who judges: a pure function of the keys and a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathodeflow.errors import ModelError


@dataclass(frozen=True)
class Split:
    """Positions in the data set.

    Attributes
    ----------
    training, held_out : ndarray of int64
        Ascending, disjoint, together everything.
    """

    training: NDArray[np.int64]
    held_out: NDArray[np.int64]


def split(keys: Sequence[str], is_unary: Sequence[bool], fraction: float = 0.2, seed: int = 0) -> Split:
    """Hold out a share of the data at random; structures of a single substituted element always train (paper S0).

    Parameters
    ----------
    keys : sequence of str
        One per structure, unique. The split depends on the set of keys, not on their order.
    is_unary : sequence of bool
        Whether all substitution sites carry one element.
    fraction : float
        Share of the whole data set to hold out. Less is held out if there are not enough non-unary structures.
    seed : int
        Of the drawing.

    Returns
    -------
    Split

    Raises
    ------
    ModelError
        If keys repeat, or nothing is left to hold out or to train on.
    """
    if len(set(keys)) != len(keys):
        raise ModelError("the training data holds one key twice")
    unary = np.asarray(is_unary, dtype=bool)
    candidates = sorted((key, position) for position, key in enumerate(keys) if not unary[position])
    wanted = min(round(fraction * len(keys)), len(candidates), len(keys) - 1)
    if wanted < 1:
        raise ModelError(
            f"{len(keys)} labels, {len(candidates)} of them with two elements, leave nothing to hold out; label more"
        )
    drawn = np.random.default_rng(seed).permutation(len(candidates))[:wanted]
    held_out = np.sort(np.array([candidates[number][1] for number in drawn], dtype=np.int64))
    training = np.setdiff1d(np.arange(len(keys), dtype=np.int64), held_out)
    return Split(training=training, held_out=held_out)
