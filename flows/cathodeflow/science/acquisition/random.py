"""The paper's choice of structures to label: every unary one, then at random (S0, Methods)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np


def unary_first(
    keys: Sequence[str],
    levels: Sequence[str],
    elements: Sequence[Sequence[str]],
    n: int,
    seed: int,
    already: Collection[str] = (),
) -> list[str]:
    """Choose up to `n` structures of a single substituted element that have no label yet.

    If there are more than `n`, they are spread: always the element with the fewest so far, then the level with the
    fewest so far. No element is ahead of another that has some left by more than one.

    Parameters
    ----------
    keys, levels, elements : sequences of equal length
        Key, working-ion level and substituted elements (one for a unary structure) of each candidate.
    n : int
        How many are wanted.
    seed : int
        Of the order among equals.
    already : collection of str
        Keys that have a label or wait for one.

    Returns
    -------
    list of str
        Keys in the order in which they were chosen.
    """
    taken = set(already)
    left = [
        i for i in sorted(range(len(keys)), key=lambda i: keys[i]) if len(elements[i]) == 1 and keys[i] not in taken
    ]
    # What is labelled counts too, so that several rounds together are even.
    level_count = dict.fromkeys(levels, 0)
    element_count = {elements[i][0]: 0 for i in range(len(keys)) if len(elements[i]) == 1}
    for i in range(len(keys)):
        if len(elements[i]) == 1 and keys[i] in taken:
            level_count[levels[i]] += 1
            element_count[elements[i][0]] += 1
    lot = np.random.default_rng(seed).permutation(len(left))
    rank = dict(zip(left, lot.tolist(), strict=True))
    chosen: list[str] = []
    while left and len(chosen) < n:
        best = min(left, key=lambda i: (element_count[elements[i][0]], level_count[levels[i]], rank[i]))
        left.remove(best)
        level_count[levels[best]] += 1
        element_count[elements[best][0]] += 1
        chosen.append(keys[best])
    return chosen


def random_selection(
    keys: Sequence[str],
    levels: Sequence[str],
    elements: Sequence[Sequence[str]],
    n: int,
    seed: int,
    already: Collection[str] = (),
) -> list[str]:
    """Choose `n` candidates: all unary ones of every level first, then any at random.

    Parameters
    ----------
    keys, levels, elements : sequences of equal length
        Key, working-ion level and substituted elements (one for a unary structure) of each candidate.
    n : int
        How many are wanted; fewer are returned when the candidates run out.
    seed : int
        The same seed and candidates, in whatever order, give the same choice.
    already : collection of str
        Keys that have a label or wait for one; never chosen.

    Returns
    -------
    list of str
        Distinct keys, the unary ones first.
    """
    chosen = unary_first(keys, levels, elements, n, seed, already)
    if len(chosen) >= n:
        return chosen
    taken = set(already) | set(chosen)
    rest = sorted(key for key in keys if key not in taken)
    wanted = min(n - len(chosen), len(rest))
    drawn = np.random.default_rng([seed, 1]).permutation(len(rest))[:wanted]
    return chosen + [rest[int(i)] for i in drawn]
