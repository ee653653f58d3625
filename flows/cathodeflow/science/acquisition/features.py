"""What makes two candidates alike: their level and what is on their sites."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def candidate_features(
    levels: Sequence[str], elements: Sequence[Sequence[str]], fractions: Sequence[Sequence[float]]
) -> NDArray[np.float32]:
    """Place candidates in a space whose distances mean "how different".

    One axis per element holds its share of the substitution sites; one axis per level holds 1 or 0. Two pure compounds
    of different elements are as far apart as one compound at two levels.

    Parameters
    ----------
    levels : sequence of str
        Working-ion level of each candidate.
    elements : sequence of sequence of str
        Substituted elements of each candidate.
    fractions : sequence of sequence of float
        Share of the sites of each of them.

    Returns
    -------
    ndarray of float32, shape (n_candidates, n_elements + n_levels)
        Axes in alphabetical order, elements first.
    """
    symbols = {symbol: i for i, symbol in enumerate(sorted({symbol for row in elements for symbol in row}))}
    names = {level: i for i, level in enumerate(sorted(set(levels)))}
    features = np.zeros((len(levels), len(symbols) + len(names)), dtype=np.float32)
    for row, (level, present, shares) in enumerate(zip(levels, elements, fractions, strict=True)):
        for symbol, share in zip(present, shares, strict=True):
            features[row, symbols[symbol]] += share
        features[row, len(symbols) + names[level]] = 1.0
    return features
