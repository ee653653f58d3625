"""Label next what the ensemble disagrees about most, without asking the same question twice."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

NEAREST = 1e-3  # distance of two arrangements of one composition at one level, which the features do not tell apart


def uncertainty_selection(
    keys: Sequence[str],
    std: NDArray[np.float64],
    features: NDArray[np.float32],
    n: int,
    seed: int,
    already: Collection[str] = (),
) -> list[str]:
    """Choose `n` candidates, each the largest (disagreement x distance to the nearest one labelled or chosen).

    A greedy k-centre choice weighted by the ensemble's standard deviation. Without labels the first choice is the
    largest disagreement alone.

    Parameters
    ----------
    keys : sequence of str
        One per candidate, distinct.
    std : ndarray of float64, shape (n_candidates,)
        Disagreement of the ensemble, eV/atom; for two targets, for instance the sum of both, each over its spread.
    features : ndarray of float32, shape (n_candidates, n_features)
        From `features.candidate_features`.
    n : int
        How many are wanted; fewer are returned when the candidates run out.
    seed : int
        Of the order among equals. The same seed and candidates, in whatever order, give the same choice.
    already : collection of str
        Keys that have a label or wait for one; never chosen, but what they teach counts as known.

    Returns
    -------
    list of str
        Distinct keys, the most wanted first.

    Raises
    ------
    ValueError
        If lengths differ or a standard deviation is negative or not finite.
    """
    spread = np.asarray(std, dtype=np.float64)
    if len(keys) != len(spread) or len(keys) != len(features):
        raise ValueError(f"{len(keys)} keys, {len(spread)} deviations and {len(features)} feature rows do not match")
    if not np.all(np.isfinite(spread)) or np.any(spread < 0):
        raise ValueError("a standard deviation is negative or not finite")
    order = np.array(sorted(range(len(keys)), key=lambda i: keys[i]), dtype=np.int64)
    names = [keys[int(i)] for i in order]
    # Arrangements of one composition at one level share a place: distances are taken between places, not candidates.
    places, place_of = np.unique(np.asarray(features, dtype=np.float64)[order], axis=0, return_inverse=True)
    place_of = place_of.reshape(-1)
    weight = spread[order]
    known = np.isin(np.array(names, dtype=object), list(already)) if already else np.zeros(len(names), dtype=bool)
    lot = np.random.default_rng(seed).permutation(len(names))
    distance = np.full(len(places), np.inf)
    for centre in np.unique(place_of[known]):
        distance = np.minimum(distance, _distance(places, places[centre]))
    free = ~known
    chosen: list[str] = []
    for _ in range(min(n, int(free.sum()))):
        reach = np.where(np.isinf(distance), 1.0, distance + NEAREST)
        worth = np.where(free, weight * reach[place_of], -1.0)
        equals = np.flatnonzero(worth >= worth.max() * (1.0 - 1e-12))
        best = int(equals[np.argmin(lot[equals])])
        chosen.append(names[best])
        free[best] = False
        distance = np.minimum(distance, _distance(places, places[place_of[best]]))
    return chosen


def _distance(places: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distance of every row to `centre`."""
    return np.sqrt(np.maximum(((places - centre) ** 2).sum(axis=1), 0.0))
