"""Band edges, the gap, and the k-points that a one-shot hybrid calculation needs (S0 section 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathodeflow.errors import CalculationError

KPoints = Literal["all", "weighted", "zero_weight"]
"""Which k-points may carry an edge: all, those of the mesh, or those added with no weight."""
WHOLE = 0.25
"""Bands; a channel whose number of filled ones is farther from whole has a band that is partly filled."""


@dataclass(frozen=True, slots=True)
class BandEdge:
    """One end of the gap.

    Attributes
    ----------
    energy : float
        eV, on the scale of the eigenvalues.
    spin : int
        Channel, 0 (up, or the only one) or 1 (down).
    band : int
        Index from 0, bands in ascending order.
    k_indices : tuple of int
        Every k-point of this channel whose band lies within the tolerance of the edge; the first is the best.
    k_points : tuple of (3,) tuples
        Their fractional coordinates.
    """

    energy: float
    spin: int
    band: int
    k_indices: tuple[int, ...]
    k_points: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class BandEdges:
    """The gap and its two ends.

    Attributes
    ----------
    vbm, cbm : BandEdge
        Highest filled and lowest empty state by electron count. In a metal these are the top of the last band that the
        electrons fill on average and the bottom of the next, so that the cbm may lie below the vbm.
    gap : float
        eV, cbm - vbm; zero for a metal.
    overlap : float
        eV, vbm - cbm where bands overlap, otherwise zero.
    is_metal : bool
        Whether there is no gap.
    is_direct : bool
        Whether both edges are reached at one k-point, whatever their spin. False for a metal.
    channel_gaps : tuple of (float or None)
        eV, per spin channel; negative where the channel's bands overlap, None where it lacks filled or empty bands.
    from_whole : float
        How far a channel's number of filled bands is from a whole number at most.
    """

    vbm: BandEdge
    cbm: BandEdge
    gap: float
    overlap: float
    is_metal: bool
    is_direct: bool
    channel_gaps: tuple[float | None, ...]
    from_whole: float


def band_edges(
    eigenvalues: ArrayLike,
    occupations: ArrayLike,
    k_points: ArrayLike,
    weights: ArrayLike,
    *,
    k_points_used: KPoints = "all",
    tolerance: float = 1e-3,
) -> BandEdges:
    """Find the band edges from eigenvalues.

    How many bands each channel fills follows from the weighted k-points alone (the sum of weight times occupation,
    rounded); k-points without weight are then judged by this count and not by the occupations printed for them.

    Parameters
    ----------
    eigenvalues : (nspin, nk, nband) array
        eV.
    occupations : (nspin, nk, nband) array
        Filling of each state, 0 to 1, also without spin polarisation (as VASP prints them).
    k_points : (nk, 3) array
        Fractional coordinates of the reciprocal lattice.
    weights : (nk,) array
        Any normalisation; zero for points that were only added to look at them.
    k_points_used : {"all", "weighted", "zero_weight"}
        Where edges are looked for.
    tolerance : float
        eV; k-points this close to an edge count as carrying it, and a gap below it is no gap.

    Returns
    -------
    BandEdges

    Raises
    ------
    CalculationError
        If shapes disagree, values are no numbers, no k-point has weight, none is left to look at, or no band is empty
        or filled.
    """
    energies, filling, points, weight = _checked(eigenvalues, occupations, k_points, weights)
    mean = np.einsum("k,skb->s", weight / weight.sum(), filling)
    filled = np.rint(mean).astype(int)
    used = np.flatnonzero({"all": weight >= 0, "weighted": weight > 0, "zero_weight": weight == 0}[k_points_used])
    if not used.size:
        raise CalculationError(f"No k-point of the kind '{k_points_used}' to find band edges at.")

    tops, bottoms = [], []
    channel_gaps: list[float | None] = []
    for spin, n_filled in enumerate(filled):
        channel = energies[spin, used]
        has_top, has_bottom = n_filled > 0, n_filled < energies.shape[2]
        if has_top:
            tops.append(_edge(-channel[:, n_filled - 1], spin, n_filled - 1, points, used, tolerance))
        if has_bottom:
            bottoms.append(_edge(channel[:, n_filled], spin, n_filled, points, used, tolerance))
        both = has_top and has_bottom
        channel_gaps.append(float(channel[:, n_filled].min() - channel[:, n_filled - 1].max()) if both else None)
    if not tops or not bottoms:
        raise CalculationError("No empty or no filled band among the eigenvalues; raise NBANDS and run it again.")

    vbm = max((BandEdge(-e.energy, e.spin, e.band, e.k_indices, e.k_points) for e in tops), key=lambda e: e.energy)
    cbm = min(bottoms, key=lambda e: e.energy)
    width = cbm.energy - vbm.energy
    # A band that is half filled on the mesh is metallic, even where the sampled points leave a space.
    is_metal = width <= tolerance or _is_fractional(filling, weight, filled, mean)
    return BandEdges(
        vbm=vbm,
        cbm=cbm,
        gap=0.0 if is_metal else width,
        overlap=max(0.0, -width),
        is_metal=is_metal,
        is_direct=bool(_shared_points(vbm, cbm)) and not is_metal,
        channel_gaps=tuple(channel_gaps),
        from_whole=float(np.abs(mean - filled).max()),
    )


def may_open(edges: BandEdges, least_overlap: float) -> bool:
    """Tell whether another functional may find a gap where these edges were found.

    Parameters
    ----------
    edges : BandEdges
        Of a functional that makes gaps too small.
    least_overlap : float
        eV; bands that overlap by this or more are of a metal with any functional.

    Returns
    -------
    bool
        True of an insulator; of a metal where its bands overlap by less and each channel fills a whole number of them
        within a quarter. Where it does not, a band that is partly filled stays so however far bands move apart.
    """
    return not edges.is_metal or (edges.overlap < least_overlap and edges.from_whole <= WHOLE)


def hybrid_k_points(edges: Sequence[BandEdges], *, all_equivalent: bool = False) -> NDArray[np.float64]:
    """List the k-points at which a one-shot hybrid calculation gives the gap (S0 section 2.1), each once.

    They go into the hybrid's KPOINTS with weight zero, beside the mesh that makes the Fock operator. The edges of a
    metal are listed too: the hybrid may open the gap that PBE closes.

    Parameters
    ----------
    edges : sequence of BandEdges
        Of one or more calculations of the same crystal (e.g. the whole and, where wanted, each channel).
    all_equivalent : bool
        Whether to list every k-point that carries an edge, instead of one: where there is one that carries both edges
        this one, otherwise the first of each.

    Returns
    -------
    (n, 3) array
        Fractional, in [-0.5, 0.5); points that differ by a reciprocal lattice vector are one point.
    """
    chosen: list[NDArray[np.float64]] = []
    for point in (point for found in edges for point in _carriers(found, all_equivalent)):
        reduced = _reduced(point)
        if not any(np.abs(reduced - other).max() < 1e-6 for other in chosen):
            chosen.append(reduced)
    return np.array(chosen, dtype=np.float64).reshape(-1, 3)


def _carriers(edges: BandEdges, all_equivalent: bool) -> list[tuple[float, float, float]]:
    """Return the coordinates of one k-point per edge, or of all."""
    ends = (edges.vbm, edges.cbm)
    if all_equivalent:
        return [point for edge in ends for point in edge.k_points]
    return _shared_points(*ends)[:1] or [edge.k_points[0] for edge in ends]


def _shared_points(vbm: BandEdge, cbm: BandEdge) -> list[tuple[float, float, float]]:
    """Return the k-points that carry both edges; a point of the mesh may be listed again without weight."""
    others = [_reduced(point) for point in cbm.k_points]
    return [point for point in vbm.k_points if any(np.abs(_reduced(point) - other).max() < 1e-6 for other in others)]


def _reduced(point: Sequence[float]) -> NDArray[np.float64]:
    """Return a point in [-0.5, 0.5)."""
    # Rounding first keeps 0.49999999 and -0.5 one point.
    rounded = np.round(np.asarray(point, dtype=np.float64), 8)
    return np.asarray(rounded - np.floor(rounded + 0.5))


def _edge(
    energies: NDArray[np.float64],
    spin: int,
    band: int,
    points: NDArray[np.float64],
    used: NDArray[np.intp],
    tolerance: float,
) -> BandEdge:
    """Return the lowest of one band's energies with every k-point that reaches it, the lowest first."""
    order = np.argsort(energies, kind="stable")
    lowest = float(energies[order[0]])
    near = [int(used[k]) for k in order if energies[k] - lowest <= tolerance]
    coordinates = tuple((float(x), float(y), float(z)) for x, y, z in points[near])
    return BandEdge(lowest, spin, int(band), tuple(near), coordinates)


def _is_fractional(
    filling: NDArray[np.float64],
    weight: NDArray[np.float64],
    filled: NDArray[np.int_],
    mean: NDArray[np.float64],
    limit: float = 0.5,
) -> bool:
    """Tell whether some weighted k-point fills another number of bands than the average, or the average is not whole.

    At a single k-point a half-filled level meets the rounded average; smearing across a gap moves less than a quarter.
    """
    counts = (filling[:, weight > 0] > limit).sum(axis=2)
    return bool((counts != filled[:, None]).any() or (np.abs(mean - filled) > WHOLE).any())


def _checked(
    eigenvalues: ArrayLike, occupations: ArrayLike, k_points: ArrayLike, weights: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the arrays with bands in ascending order, or say what does not fit."""
    energies = np.asarray(eigenvalues, dtype=np.float64)
    filling = np.asarray(occupations, dtype=np.float64)
    points = np.asarray(k_points, dtype=np.float64)
    weight = np.asarray(weights, dtype=np.float64)
    if energies.ndim != 3 or energies.shape != filling.shape or energies.shape[0] not in {1, 2}:
        raise CalculationError(
            f"Eigenvalues {energies.shape} and occupations {filling.shape} must both be (spin, k-point, band)."
        )
    if points.shape != (energies.shape[1], 3) or weight.shape != (energies.shape[1],):
        raise CalculationError(
            f"{len(points)} k-points and {weight.size} weights for {energies.shape[1]} sets of bands."
        )
    if not all(np.isfinite(values).all() for values in (energies, filling, points, weight)):
        raise CalculationError("Eigenvalues or occupations hold values that are no numbers.", "non_finite")
    if (weight < 0).any() or not weight.sum() > 0:
        raise CalculationError("Weights of k-points must not be negative, and some k-point needs one.")
    order = np.argsort(energies, axis=2, kind="stable")
    return np.take_along_axis(energies, order, axis=2), np.take_along_axis(filling, order, axis=2), points, weight
