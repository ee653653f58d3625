"""Arrangements of two elements over equivalent sites, one per symmetry class.

An arrangement is a bitmask over the substitution sites: bit i is set where site i carries the second element. Two
arrangements are the same crystal when a site permutation of the host maps one on the other; each class is represented
by its smallest bitmask (S0 section 3.2 counts arrangements without saying how equivalent ones were removed).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from cathodeflow.errors import HostError

MAX_SITES = 24
"""Beyond this, all arrangements (2**24) no longer fit in memory at once."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """One symmetry class of arrangements.

    Attributes
    ----------
    mask : int
        Smallest bitmask of the class; bit i is set where site i carries the second element.
    multiplicity : int
        How many arrangements the class holds.
    """

    mask: int
    multiplicity: int


def all_masks(n_sites: int, n_second: int) -> NDArray[np.int64]:
    """Return every bitmask of `n_sites` bits with `n_second` set, ascending, shape (C(n_sites, n_second),)."""
    _check_counts(n_sites, n_second)
    masks = np.arange(1 << n_sites, dtype=np.int64)
    return masks[np.bitwise_count(masks) == n_second]


def canonical_masks(permutations: NDArray[np.int64], masks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each mask the smallest one that the permutations can turn it into.

    Parameters
    ----------
    permutations : (n_operations, n_sites) int array
        Row g sends site i to site `permutations[g, i]`; the rows form a group.
    masks : (n_masks,) int array
        Arrangements.

    Returns
    -------
    (n_masks,) int array
    """
    canonical = np.full(masks.shape, np.iinfo(np.int64).max)
    for permutation in permutations:  # one operation at a time keeps memory at a few arrays of n_masks
        image = np.zeros_like(masks)
        for site, target in enumerate(permutation):
            image |= ((masks >> site) & 1) << int(target)
        np.minimum(canonical, image, out=canonical)
    return canonical


def distinct_arrangements(permutations: NDArray[np.int64], n_sites: int, n_second: int) -> tuple[Arrangement, ...]:
    """Return one arrangement per symmetry class, by ascending mask.

    Parameters
    ----------
    permutations : (n_operations, n_sites) int array
        The symmetry of the host as site permutations (`symmetry.site_permutations`).
    n_sites : int
        Substitution sites.
    n_second : int
        Sites that carry the second element.

    Returns
    -------
    tuple of Arrangement
        Multiplicities sum to C(n_sites, n_second).

    Raises
    ------
    HostError
        If there are more than `MAX_SITES` sites or `n_second` does not fit.
    """
    rows = np.asarray(permutations, dtype=np.int64)
    if rows.ndim != 2 or rows.shape[1] != n_sites:
        raise HostError(f"Site permutations of shape {rows.shape} do not act on {n_sites} sites.")
    _check_counts(n_sites, n_second)
    return _orbits(rows.tobytes(), n_sites, n_second)


@lru_cache(maxsize=512)
def _orbits(permutations: bytes, n_sites: int, n_second: int) -> tuple[Arrangement, ...]:
    """Reduce once per ratio: the same for every one of the 435 pairs of elements."""
    rows = np.frombuffer(permutations, dtype=np.int64).reshape(-1, n_sites)
    representatives, sizes = np.unique(canonical_masks(rows, all_masks(n_sites, n_second)), return_counts=True)
    return tuple(Arrangement(int(m), int(k)) for m, k in zip(representatives, sizes, strict=True))


def burnside_count(permutations: NDArray[np.int64], n_second: int) -> int:
    """Count the classes without listing them: the mean number of arrangements that an operation leaves fixed.

    A fixed arrangement colours each cycle of the permutation in one colour, so the number with `n_second` sites of the
    second colour is the coefficient of x**n_second in the product of (1 + x**length) over the cycles.

    Parameters
    ----------
    permutations : (n_operations, n_sites) int array
        A group of site permutations.
    n_second : int
        Sites that carry the second element.

    Returns
    -------
    int
    """
    total = 0
    for permutation in permutations:
        polynomial = [1] + [0] * n_second
        for length in _cycle_lengths(permutation):
            for power in range(n_second, length - 1, -1):
                polynomial[power] += polynomial[power - length]
        total += polynomial[n_second]
    count, remainder = divmod(total, len(permutations))
    if remainder:
        raise HostError("The site permutations do not form a group; use a smaller symmetry tolerance.")
    return count


def count_all(n_sites: int, n_second: int) -> int:
    """Count arrangements without symmetry, C(n_sites, n_second)."""
    return comb(n_sites, n_second)


def _cycle_lengths(permutation: NDArray[np.int64]) -> list[int]:
    seen: set[int] = set()
    lengths = []
    for start in range(len(permutation)):
        length, site = 0, start
        while site not in seen:
            seen.add(site)
            length, site = length + 1, int(permutation[site])
        if length:
            lengths.append(length)
    return lengths


def _check_counts(n_sites: int, n_second: int) -> None:
    if not 0 < n_sites <= MAX_SITES:
        raise HostError(
            f"{n_sites} substitution sites cannot be enumerated; choose a cell with 1 to {MAX_SITES} of them, "
            "or name fewer sites by index."
        )
    if not 0 <= n_second <= n_sites:
        raise HostError(f"{n_second} sites of the second element do not fit on {n_sites} sites.")
