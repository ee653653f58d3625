"""The job that predicts one shard of the space: a slice of one level's candidates."""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from jobflow.core.job import job
from pydantic import NonNegativeInt

from cathodeflow.jobs.host import host_from
from cathodeflow.jobs.train import on_best_device, weights_bytes
from cathodeflow.records.document import Part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cathodeflow.science.hosts.candidates import Candidate
    from cathodeflow.science.hosts.host import Host
    from cathodeflow.science.surrogates.prediction import LevelPrediction

DECIMALS = 6  # of an eV/atom; the networks' own rounding is 1e-7


class Shard(Part):
    """A slice ``[start, stop)`` of the candidates of one level, in the order of `enumerate_candidates`."""

    number: NonNegativeInt
    level: str
    start: NonNegativeInt
    stop: NonNegativeInt


def shards(
    host: Host, elements: list[str], ratios: list[tuple[int, int]] | None = None, shard_size: int = 4000
) -> list[Shard]:
    """Cut the space into shards, by counting only.

    Parameters
    ----------
    host : Host
        Of the campaign.
    elements : list of str
        Substituents.
    ratios : list of (int, int), optional
        Site counts that binaries may have; all by default.
    shard_size : int
        Candidates per shard at most. No shard holds two levels, and those of one level are equal to within one.

    Returns
    -------
    list of Shard
        Numbered from 0, level by level.
    """
    from cathodeflow.science.hosts.candidates import count_space

    made: list[Shard] = []
    for level in count_space(host, elements, ratios=ratios).levels:
        pieces = -(-level.distinct // shard_size)
        edges = [level.distinct * piece // pieces for piece in range(pieces + 1)] if pieces else []
        for start, stop in pairwise(edges):
            made.append(Shard(number=len(made), level=level.level, start=start, stop=stop))
    return made


@job
def predict(
    shard: dict[str, Any],
    host: dict[str, Any],
    elements: list[str],
    ratios: list[list[int]] | None,
    weights: dict[str, list[str]],
) -> dict[str, Any]:
    """Predict both targets for the candidates of a shard.

    Parameters
    ----------
    shard : dict
        `Shard.model_dump()`.
    host : dict
        `HostSpec.model_dump()`.
    elements : list of str
        Substituents.
    ratios : list of [int, int] or None
        Site counts that binaries may have; None for all.
    weights : dict of str to list of str
        Per target the ensemble's weights, as the trainings put them out.

    Returns
    -------
    dict
        `number`, `level`, `start`, `stop`, and per candidate `keys`, `compositions`, `masks`, and per target `means`
        and `stds`, eV/atom, rounded to 1e-6.

    Raises
    ------
    ModelError
        Weights that are damaged or do not fit.
    """
    part = Shard.model_validate(shard)
    candidates = shard_candidates(part, host, elements, ratios)
    predicted = predict_candidates(host, part.level, candidates, weights)
    return {
        **part.model_dump(),
        "keys": [candidate.key for candidate in candidates],
        "compositions": [candidate.composition for candidate in candidates],
        "masks": [candidate.mask for candidate in candidates],
        "means": {target: _rounded(values) for target, values in predicted.mean.items()},
        "stds": {target: _rounded(values) for target, values in predicted.std.items()},
    }


def shard_candidates(
    shard: Shard, host: dict[str, Any], elements: list[str], ratios: list[list[int]] | None
) -> list[Candidate]:
    """List the candidates of a shard."""
    listed = _candidates(json.dumps([host, elements, ratios], sort_keys=True), shard.level)
    return list(islice(listed, shard.start, shard.stop))


@lru_cache(maxsize=4)
def _candidates(text: str, level: str) -> tuple[Candidate, ...]:
    """List a level once per process: a worker predicts many of its shards."""
    from cathodeflow.science.hosts.candidates import enumerate_candidates

    host, elements, ratios = json.loads(text)
    allowed = None if ratios is None else frozenset((first, second) for first, second in ratios)
    return tuple(enumerate_candidates(host_from(host), elements, [level], ratios=allowed))


def predict_candidates(
    host: dict[str, Any], level: str, candidates: list[Candidate], weights: dict[str, list[str]]
) -> LevelPrediction:
    """Predict candidates of one level with the ensembles.

    Raises
    ------
    ModelError
        Weights that are damaged or do not fit.
    """
    import numpy as np

    from cathodeflow.calculators.threads import limit_threads
    from cathodeflow.science.hosts.compositions import atomic_number
    from cathodeflow.science.surrogates.graphs import atomic_numbers, graph_template
    from cathodeflow.science.surrogates.megnet import parse_weights
    from cathodeflow.science.surrogates.prediction import predict_level

    threads = limit_threads()
    models = {
        target: [on_best_device(parse_weights(weights_bytes(text))) for text in ensemble]
        for target, ensemble in weights.items()
    }
    cell = host_from(host).level(level)
    cutoff = next(model.config.cutoff for ensemble in models.values() for model in ensemble)
    numbers = [[atomic_number(symbol) for symbol in candidate.elements] for candidate in candidates]
    bits = range(len(cell.site_indices))
    decorations = np.array(
        [
            [pair[candidate.mask >> bit & 1] for bit in bits]
            for pair, candidate in zip(numbers, candidates, strict=True)
        ],
        dtype=np.int64,
    ).reshape(-1, len(cell.site_indices))
    sites = np.array(cell.site_indices, dtype=np.int64)
    template = graph_template(cell.structure, cutoff)
    return predict_level(models, template, atomic_numbers(cell.structure), sites, decorations, threads=threads)


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(value, DECIMALS) for value in values.tolist()]
