"""The job that retrains one network: one target, one member of the ensemble."""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jobflow.core.job import job

from cathodeflow.errors import ModelError

if TYPE_CHECKING:
    from cathodeflow.science.surrogates.datasets import TrainingData
    from cathodeflow.science.surrogates.megnet import MEGNet
    from cathodeflow.science.surrogates.training import TrainingSettings


@job
def train(
    target: str,
    seed: int,
    host: dict[str, Any],
    rows: list[dict[str, Any]],
    surrogate: dict[str, Any],
    split_seed: int = 0,
) -> dict[str, Any]:
    """Retrain the pretrained network on labels.

    Parameters
    ----------
    target : str
        ``formation_energy`` or ``relaxation_energy``.
    seed : int
        Which member of the ensemble.
    host : dict
        `HostSpec.model_dump()`.
    rows : list of dict
        One label each: `key`, `level`, `elements`, `mask`, `value` (eV/atom), and for the relaxation energy `crystal`,
        the relaxed one, from which the un-retrained network's own relaxation energy is computed.
    surrogate : dict
        The section ``surrogate`` of a definition.
    split_seed : int
        Of the held-out fifth: one for all networks of a round, so that they are judged alike.

    Returns
    -------
    dict
        Fields of `records.model.ModelRecord`, without what only the campaign knows, and `weights` (base64, for
        `weights_bytes`).

    Raises
    ------
    ModelError
        Too few labels, or labels that are not finite.
    MissingDependencyError
        The pretrained network is not installed.
    """
    from cathodeflow.calculators.pretrained.loading import load_pretrained
    from cathodeflow.calculators.threads import limit_threads
    from cathodeflow.science.surrogates.training import fine_tune
    from cathodeflow.settings import get_settings

    limit_threads()
    began = time.perf_counter()
    pretrained = on_best_device(load_pretrained(str(surrogate["pretrained"]), get_settings().cache_dir))
    data = training_data(target, host, rows, pretrained)
    result = fine_tune(pretrained, data, training_settings(surrogate, split_seed), seed)
    return {
        "target": target,
        "seed": seed,
        "pretrained": surrogate["pretrained"],
        "weights_sha256": hashlib.sha256(result.weights).hexdigest(),
        "data_hash": result.data_hash,
        "n_train": result.n_train,
        "n_held_out": result.n_held_out,
        "epochs": result.epochs,
        "wall_s": time.perf_counter() - began,
        "scaling": dict(result.scaling),
        "metrics": asdict(result.metrics),
        "pretrained_metrics": asdict(result.pretrained_metrics),
        "curve": [asdict(point) for point in result.curve],
        "parity": [asdict(point) for point in result.parity],
        "weights": base64.b64encode(result.weights).decode("ascii"),
    }


def weights_bytes(text: str) -> bytes:
    """Return the weights in a training's output as bytes.

    Raises
    ------
    ModelError
        They are not what a training wrote.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ModelError("the weights in a training's output are damaged: train again") from error


def training_settings(surrogate: dict[str, Any], split_seed: int = 0) -> TrainingSettings:
    """Read what a definition's section ``surrogate`` says of training; what it leaves out keeps its default."""
    from cathodeflow.science.surrogates.training import TrainingSettings

    names = ("held_out_fraction", "learning_rate", "batch_size", "trained_blocks", "max_epochs", "patience")
    return TrainingSettings(split_seed=split_seed, **{name: surrogate[name] for name in names if name in surrogate})


def training_data(target: str, host: dict[str, Any], rows: list[dict[str, Any]], pretrained: MEGNet) -> TrainingData:
    """Make the crystals of the labels, unrelaxed, with their values of one target.

    Raises
    ------
    ModelError
        A label of the relaxation energy comes without its relaxed crystal.
    """
    import numpy as np

    from cathodeflow.jobs.host import candidate_structure
    from cathodeflow.records.crystal import Crystal
    from cathodeflow.science.surrogates.datasets import TrainingData, crystals_from_structures
    from cathodeflow.science.surrogates.prediction import pretrained_relaxation_energy

    start = [candidate_structure(host, row["level"], row["elements"], row["mask"]) for row in rows]
    before = None
    if target == "relaxation_energy":
        lacking = [row["key"] for row in rows if row.get("crystal") is None]
        if lacking:
            raise ModelError(f"{lacking[0]} has no relaxed crystal, so the un-retrained network cannot be judged on it")
        relaxed = [Crystal.model_validate(row["crystal"]).to_structure() for row in rows]
        before = pretrained_relaxation_energy(pretrained, start, relaxed)
    return TrainingData(
        target=target,
        keys=tuple(row["key"] for row in rows),
        crystals=crystals_from_structures(start, pretrained.config.cutoff),
        values=np.array([row["value"] for row in rows], dtype=np.float64),
        unary=np.array([len(row["elements"]) == 1 for row in rows], dtype=np.bool_),
        pretrained=before,
    )


def on_best_device(model: MEGNet) -> MEGNet:
    """Move a network to the GPU where there is one."""
    from cathodeflow.calculators.devices import best_device

    return model.to(best_device())
