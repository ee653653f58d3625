"""Prediction of a whole level: every decoration, both targets, every member of the ensembles.

The cost grows with the number of networks: an ensemble of n members takes n times as long as one network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from cathodeflow.errors import ModelError
from cathodeflow.science.surrogates.datasets import crystals_from_structures
from cathodeflow.science.surrogates.graphs import GraphTemplate, decorate
from cathodeflow.science.surrogates.megnet import MEGNet
from cathodeflow.science.surrogates.tabulated import TabulatedNetwork, count_rows, predict_stacked
from cathodeflow.science.surrogates.threads import single_threaded
from cathodeflow.science.surrogates.training import predict_crystals

if TYPE_CHECKING:
    from pymatgen.core import Structure

CHUNK = 8  # crystals at once on the CPU: their bond features stay near the cache; more is not faster
GPU_CHUNK = 256
TABLE_ROWS = 200_000  # 100 MB of tables per network at most

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LevelPrediction:
    """What the networks say of the decorations of one level, eV/atom.

    Attributes
    ----------
    mean : dict of str to ndarray of float64, shape (n,)
        Per target, over the members.
    std : dict of str to ndarray of float64, shape (n,)
        Per target, between the members (population standard deviation; 0 for one member).
    members : dict of str to ndarray of float64, shape (n_members, n)
        Per target.
    """

    mean: dict[str, NDArray[np.float64]]
    std: dict[str, NDArray[np.float64]]
    members: dict[str, NDArray[np.float64]]


def predict_level(
    models: Mapping[str, Sequence[MEGNet]],
    template: GraphTemplate,
    base: NDArray[np.int64],
    sites: NDArray[np.int64],
    decorations: NDArray[np.int64],
    threads: int = 1,
    progress: Progress | None = None,
) -> LevelPrediction:
    """Predict decorations of one cell.

    Parameters
    ----------
    models : mapping of str to sequence of MEGNet
        The ensemble of each target. Networks on a GPU run there, plainly stacked; on the CPU the tabulated form runs.
    template : GraphTemplate
        Bonds of the level's cell, made with the networks' cutoff.
    base : ndarray of int64, shape (n_atoms,)
        Atomic numbers of the host cell.
    sites : ndarray of int64, shape (n_sites,)
        Substitution sites.
    decorations : ndarray of int64, shape (n, n_sites)
        Atomic numbers on the sites. The result for one does not depend on the others or on their order.
    threads : int
        Threads of this process on the CPU, each with a share of the crystals.
    progress : callable, optional
        Receives (crystal predictions done, to do), each network counting.

    Returns
    -------
    LevelPrediction

    Raises
    ------
    ModelError
        If a network has another cutoff than the template or does not know an element.
    """
    base, sites = np.asarray(base, dtype=np.int64), np.asarray(sites, dtype=np.int64)
    decorations = np.asarray(decorations, dtype=np.int64).reshape(-1, len(sites))
    if len(base) != template.n_atoms:
        raise ModelError(f"the cell has {len(base)} atoms, its graph {template.n_atoms}")
    total = len(decorations) * sum(len(ensemble) for ensemble in models.values())
    done = itertools.count(1)

    def advance(amount: int) -> None:
        for _ in range(amount):
            count = next(done)
        if progress is not None and amount:
            progress(count, total)

    members = {}
    with single_threaded():
        for target, ensemble in models.items():
            if not ensemble:
                raise ModelError(f"the ensemble for {target} is empty; train it first")
            members[target] = np.stack(
                [_predict(model, template, base, sites, decorations, threads, advance) for model in ensemble]
            )
    return LevelPrediction(
        mean={target: values.mean(axis=0) for target, values in members.items()},
        std={target: values.std(axis=0) for target, values in members.items()},
        members=members,
    )


def _predict(
    model: MEGNet,
    template: GraphTemplate,
    base: NDArray[np.int64],
    sites: NDArray[np.int64],
    decorations: NDArray[np.int64],
    threads: int,
    advance: Callable[[int], None],
) -> NDArray[np.float64]:
    """Predict with one network, shape (n,)."""
    if abs(model.config.cutoff - template.cutoff) > 1e-9:
        raise ModelError(f"the graph reaches {template.cutoff:g} angstrom, the network {model.config.cutoff:g}")
    out = np.empty(len(decorations))
    if not len(decorations):
        return out
    model.check_numbers(base)
    model.check_numbers(decorations)
    tabulated = not model.target_mean.is_cuda and model.config.n_blocks == 3 and model.config.style == "keras"
    if not tabulated:
        size = GPU_CHUNK if model.target_mean.is_cuda else CHUNK
        for start in range(0, len(out), size):
            numbers = decorate(base, sites, decorations[start : start + size])
            out[start : start + size] = predict_stacked(model, template, numbers)
            advance(len(numbers))
        return out
    for positions, species in _table_groups(template, sites, decorations):
        network = TabulatedNetwork(model, template, base, sites, species)
        chunks = [positions[start : start + CHUNK] for start in range(0, len(positions), CHUNK)]

        def one(chunk: NDArray[np.int64], network: TabulatedNetwork = network) -> None:
            # A full chunk always: the matrix library may round a shorter one differently.
            padded = np.resize(chunk, CHUNK)
            out[chunk] = network.predict(decorate(base, sites, decorations[padded]))[: len(chunk)]

        _share_out(one, chunks, threads, advance)
    return out


def _share_out(
    work: Callable[[NDArray[np.int64]], None],
    chunks: Sequence[NDArray[np.int64]],
    threads: int,
    advance: Callable[[int], None],
) -> None:
    """Run `work` on every chunk, in so many threads; progress is told from this one."""
    if threads <= 1:
        for chunk in chunks:
            work(chunk)
            advance(len(chunk))
        return
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for chunk, _ in zip(chunks, pool.map(work, chunks), strict=True):
            advance(len(chunk))


def _table_groups(
    template: GraphTemplate, sites: NDArray[np.int64], decorations: NDArray[np.int64]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Cut the decorations into groups of few enough elements for one table each.

    Returns
    -------
    list of (positions, species)
    """
    order = np.lexsort((decorations.max(axis=1), decorations.min(axis=1)))
    groups: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    todo = [order.astype(np.int64)]
    while todo:
        positions = todo.pop()
        species = np.unique(decorations[positions])
        if count_rows(template, sites, len(species)) > TABLE_ROWS and len(positions) > CHUNK and len(species) > 2:
            middle = len(positions) // 2
            todo += [positions[middle:], positions[:middle]]
        else:
            groups.append((positions, species))
    return groups


def pretrained_relaxation_energy(
    model: MEGNet, initial: Sequence[Structure], relaxed: Sequence[Structure]
) -> NDArray[np.float64]:
    """Predict what a formation-energy network says of the relaxation energy: |E(relaxed) - E(unrelaxed)| (S0).

    Parameters
    ----------
    model : MEGNet
        The un-retrained network.
    initial, relaxed : sequence of pymatgen Structure
        The same crystals before and after relaxation.

    Returns
    -------
    ndarray of float64, shape (n,)
        eV/atom.
    """
    if len(initial) != len(relaxed):
        raise ModelError(f"{len(initial)} unrelaxed and {len(relaxed)} relaxed structures cannot be compared")
    before = predict_crystals(model, crystals_from_structures(initial, model.config.cutoff))
    after = predict_crystals(model, crystals_from_structures(relaxed, model.config.cutoff))
    return np.abs(after - before)
