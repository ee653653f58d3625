"""Fine-tuning: from the published network to the two of paper S0, one target and one seed at a time.

Own loop, not a framework's: some hundred lines, the same numbers on every run of one machine type, and no cache on disk
that could hand back the data of an earlier round.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cathodeflow.errors import ModelError
from cathodeflow.science.surrogates.datasets import Crystals, TrainingData
from cathodeflow.science.surrogates.megnet import GraphBatch, MEGNet, dump_weights, make_batch
from cathodeflow.science.surrogates.metrics import Metrics, regression_metrics
from cathodeflow.science.surrogates.splits import split
from cathodeflow.science.surrogates.threads import single_threaded

Features = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class TrainingSettings:
    """How to train. The first four are paper S0's.

    Attributes
    ----------
    held_out_fraction : float
        Share that judges and never trains.
    learning_rate : float
        Of Adam, at the start; it falls to a tenth along a half cosine over `max_epochs`.
    batch_size : int
        Crystals per step. Never more than a sixth of the training crystals: an epoch has six steps at least.
    loss : str
        Only "mse".
    split_seed : int
        Of the held-out fifth. One round uses one value, so that all its networks are judged alike.
    max_epochs, patience : int
        Stop after so many epochs, or so many without a better validation loss; the best weights are restored.
    validation_fraction : float
        Share of the training crystals that only decides when to stop. It differs between the seeds of an ensemble.
    trained_blocks : int
        MEGNet blocks that learn, counted from the read-out; 3 is the whole network (embedding included), 0 only the
        read-outs and the head. What lies below is computed once per crystal instead of once per epoch.
    micro_batch : int
        Crystals that go through the network at once. Changes the time, and the result by rounding only.
    """

    held_out_fraction: float = 0.2
    learning_rate: float = 1e-3
    batch_size: int = 128
    loss: str = "mse"
    split_seed: int = 0
    max_epochs: int = 40
    patience: int = 12
    validation_fraction: float = 0.125
    trained_blocks: int = 1
    micro_batch: int = 4

    def __post_init__(self) -> None:
        checks = {
            "held_out_fraction": 0.0 < self.held_out_fraction < 1.0,
            "learning_rate": self.learning_rate > 0.0,
            "batch_size": self.batch_size >= 1,
            "loss": self.loss == "mse",
            "max_epochs": self.max_epochs >= 1,
            "patience": self.patience >= 1,
            "validation_fraction": 0.0 < self.validation_fraction < 1.0,
            "trained_blocks": 0 <= self.trained_blocks <= 3,
            "micro_batch": self.micro_batch >= 1,
        }
        for name, good in checks.items():
            if not good:
                raise ModelError(f"training setting {name} = {getattr(self, name)} cannot be used")


@dataclass(frozen=True)
class ParityRow:
    """One label beside what the networks say of it, eV/atom."""

    key: str
    true: float
    predicted: float
    pretrained: float
    held_out: bool


@dataclass(frozen=True)
class CurveRow:
    """Mean squared errors after one epoch, (eV/atom)^2."""

    epoch: int
    train: float
    validation: float


@dataclass(frozen=True)
class TrainingResult:
    """One trained network and all that is known of it.

    Attributes
    ----------
    target : str
        "formation_energy" or "relaxation_energy".
    seed : int
        Of the validation part, the order of crystals and the new head.
    weights : bytes
        For `megnet.parse_weights`; the scaling is inside.
    scaling : dict
        "mean" and "std" (eV/atom) of the output.
    data_hash : str
        sha256 of the data.
    n_train, n_validation, n_held_out : int
        Crystals that taught, that decided when to stop, that judged.
    epochs, best_epoch : int
        Epochs run, and the one whose weights these are (0: none was better than the start).
    metrics, pretrained_metrics : Metrics
        Of this and of the un-retrained network on the held-out fifth.
    curve : tuple of CurveRow
        One per epoch, after it.
    parity : tuple of ParityRow
        One per label, in the order of the keys.
    """

    target: str
    seed: int
    weights: bytes
    scaling: dict[str, float]
    data_hash: str
    n_train: int
    n_validation: int
    n_held_out: int
    epochs: int
    best_epoch: int
    metrics: Metrics
    pretrained_metrics: Metrics
    curve: tuple[CurveRow, ...]
    parity: tuple[ParityRow, ...]


@dataclass
class _Stack:
    """Crystals on the device, with the features of the frozen blocks where there are any."""

    crystals: Crystals
    device: torch.device
    frozen: dict[int, Features] = field(default_factory=dict)

    def batch(self, positions: Sequence[int]) -> GraphBatch:
        templates = [self.crystals.templates[int(self.crystals.template_of[p])] for p in positions]
        return make_batch(templates, [self.crystals.numbers[p] for p in positions]).to(self.device)

    def features(self, positions: Sequence[int]) -> Features:
        parts = [self.frozen[p] for p in positions]
        atoms, edges, state = (torch.cat([part[number] for part in parts]) for number in range(3))
        return atoms, edges, state


def predict_crystals(
    model: MEGNet, crystals: Crystals, positions: Sequence[int] | None = None, micro_batch: int = 4
) -> NDArray[np.float64]:
    """Predict crystals of any geometry, in small batches.

    Parameters
    ----------
    model : MEGNet
        On any device.
    crystals : Crystals
        What to predict.
    positions : sequence of int, optional
        Only these.
    micro_batch : int
        Crystals at once.

    Returns
    -------
    ndarray of float64, shape (n,)
        eV/atom.
    """
    chosen = list(range(len(crystals))) if positions is None else list(positions)
    stack = _Stack(crystals, model.target_mean.device)
    parts = []
    with torch.no_grad():
        for start in range(0, len(chosen), micro_batch):
            parts.append(model(stack.batch(chosen[start : start + micro_batch])).double().cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros(0)


def fine_tune(
    pretrained: MEGNet,
    data: TrainingData,
    settings: TrainingSettings | None = None,
    seed: int = 0,
    progress: Callable[[CurveRow, int], None] | None = None,
) -> TrainingResult:
    """Train one network of an ensemble.

    Parameters
    ----------
    pretrained : MEGNet
        Where to start; is left as it is.
    data : TrainingData
        Labels of one target. Their order does not matter.
    settings : TrainingSettings, optional
        Defaults as in paper S0.
    seed : int
        Which member of the ensemble.
    progress : callable, optional
        Receives each epoch's errors and the number of epochs at most.

    Returns
    -------
    TrainingResult
        The same for the same data, settings and seed.

    Raises
    ------
    ModelError
        If there are too few labels, or the loss is not finite.
    """
    with single_threaded():
        return _fine_tune(pretrained, _sorted(data), settings or TrainingSettings(), seed, progress)


def _fine_tune(
    pretrained: MEGNet,
    data: TrainingData,
    settings: TrainingSettings,
    seed: int,
    progress: Callable[[CurveRow, int], None] | None,
) -> TrainingResult:
    """See `fine_tune`; the data is in the order of its keys."""
    for numbers in data.crystals.numbers:
        pretrained.check_numbers(numbers)
    parts = split(data.keys, data.unary.tolist(), settings.held_out_fraction, settings.split_seed)
    rng = np.random.default_rng([seed, settings.split_seed])
    fit, validation = _validation_part(data, parts.training, settings, rng)
    raw = predict_crystals(pretrained, data.crystals, micro_batch=settings.micro_batch)
    model = copy.deepcopy(pretrained)
    stack = _Stack(data.crystals, model.target_mean.device)
    start_block = _freeze(model, stack, settings)
    _set_scale(model, data, raw, parts.training, seed)
    curve, best_epoch = _run(model, stack, data.values, fit, validation, start_block, settings, rng, progress)
    predicted = predict_crystals(model, data.crystals, micro_batch=settings.micro_batch)
    before = raw if data.pretrained is None else data.pretrained
    held_out = parts.held_out
    judged = set(held_out.tolist())
    return TrainingResult(
        target=data.target,
        seed=seed,
        weights=dump_weights(model),
        scaling={"mean": float(model.target_mean), "std": float(model.target_std)},
        data_hash=data.data_hash(),
        n_train=len(fit),
        n_validation=len(validation),
        n_held_out=len(held_out),
        epochs=len(curve),
        best_epoch=best_epoch,
        metrics=regression_metrics(data.values[held_out], predicted[held_out]),
        pretrained_metrics=regression_metrics(data.values[held_out], before[held_out]),
        curve=tuple(curve),
        parity=tuple(
            ParityRow(key, float(data.values[i]), float(predicted[i]), float(before[i]), i in judged)
            for i, key in enumerate(data.keys)
        ),
    )


def _sorted(data: TrainingData) -> TrainingData:
    """Return the data in the order of its keys."""
    order = np.array(sorted(range(len(data)), key=lambda position: data.keys[position]), dtype=np.int64)
    crystals = Crystals(
        templates=data.crystals.templates,
        template_of=data.crystals.template_of[order],
        numbers=tuple(data.crystals.numbers[int(i)] for i in order),
    )
    return TrainingData(
        target=data.target,
        keys=tuple(data.keys[int(i)] for i in order),
        crystals=crystals,
        values=np.asarray(data.values, dtype=np.float64)[order],
        unary=np.asarray(data.unary, dtype=bool)[order],
        pretrained=None if data.pretrained is None else np.asarray(data.pretrained, dtype=np.float64)[order],
    )


def _validation_part(
    data: TrainingData, training: NDArray[np.int64], settings: TrainingSettings, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Take the validation part from the training crystals, those of two elements first."""
    wanted = max(2, round(settings.validation_fraction * len(training)))
    if len(training) < wanted + 4:
        raise ModelError(f"{len(data)} labels are too few to train on; label at least ten structures")
    shuffled = rng.permutation(training)
    ordered = np.concatenate([shuffled[~data.unary[shuffled]], shuffled[data.unary[shuffled]]])
    return sorted(ordered[wanted:].tolist()), sorted(ordered[:wanted].tolist())


def _freeze(model: MEGNet, stack: _Stack, settings: TrainingSettings) -> int:
    """Fix the lower blocks and keep their features; returns the first block that learns (-1: all, embedding too)."""
    if settings.trained_blocks >= model.config.n_blocks:
        return -1
    start = model.config.n_blocks - settings.trained_blocks
    lower: list[nn.Module] = [model.embedding, model.atom_encoder, model.edge_encoder, model.state_encoder]
    lower += list(model.blocks)[:start]
    for module in lower:
        module.requires_grad_(requires_grad=False)
    with torch.no_grad():
        for position in range(len(stack.crystals)):
            batch = stack.batch([position])
            stack.frozen[position] = model.run_blocks(model.encode(batch), batch, stop=start)
    return start


def _set_scale(
    model: MEGNet, data: TrainingData, raw: NDArray[np.float64], training: NDArray[np.int64], seed: int
) -> None:
    """Fit the output's scale to the training labels.

    The formation energy keeps the pretrained output, moved and stretched by least squares: another engine's references
    differ by about that much. Anything else is a new quantity: a new last layer on the mean and spread of the labels.
    """
    truth, guess = data.values[training], raw[training]
    spread = max(float(truth.std()), 1e-6)
    if data.target == "formation_energy":
        slope = float(np.cov(guess, truth, bias=True)[0, 1] / max(float(guess.var()), 1e-12))
        if not 0.2 <= slope <= 5.0:
            slope = 1.0
        mean, std = float(truth.mean() - slope * guess.mean()), slope
    else:
        mean, std = float(truth.mean()), spread
        last = model.head.linear(len(model.head.layers) - 1)
        noise = torch.randn(last.weight.shape, generator=torch.Generator().manual_seed(seed))
        last.weight.data = (0.1 * noise).to(last.weight.device)
        last.bias.data.zero_()
    model.target_mean.fill_(mean)
    model.target_std.fill_(std)


def _run(
    model: MEGNet,
    stack: _Stack,
    values: NDArray[np.float64],
    fit: list[int],
    validation: list[int],
    start_block: int,
    settings: TrainingSettings,
    rng: np.random.Generator,
    progress: Callable[[CurveRow, int], None] | None,
) -> tuple[list[CurveRow], int]:
    """Train until the validation error stops falling; leaves the best weights in the model."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=settings.learning_rate)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, T_max=settings.max_epochs, eta_min=0.1 * settings.learning_rate
    )
    truth = torch.tensor(values, dtype=torch.float32, device=stack.device)
    unit = max(float(values[fit].std()), 1e-6)
    size = max(1, min(settings.batch_size, len(fit) // 6))

    def forward(positions: list[int]) -> Tensor:
        batch = stack.batch(positions)
        if start_block < 0:
            return model(batch)
        return model.read_out(model.run_blocks(stack.features(positions), batch, start=start_block), batch)

    def squares(positions: list[int], *, learn: bool, share: int) -> float:
        total = 0.0
        for at in range(0, len(positions), settings.micro_batch):
            some = positions[at : at + settings.micro_batch]
            with torch.set_grad_enabled(learn):
                loss = (((forward(some) - truth[some]) / unit) ** 2).sum()
                if learn:
                    (loss / share).backward()
            total += float(loss.detach())
        return total * unit**2

    best, best_epoch = squares(validation, learn=False, share=1) / len(validation), 0
    best_state = copy.deepcopy(model.state_dict())
    curve: list[CurveRow] = []
    for epoch in range(1, settings.max_epochs + 1):
        order = rng.permutation(fit).tolist()
        total = 0.0
        for at in range(0, len(order), size):
            step = order[at : at + size]
            optimizer.zero_grad(set_to_none=True)
            total += squares(step, learn=True, share=len(step))
            optimizer.step()
        fall.step()
        row = CurveRow(epoch, total / len(fit), squares(validation, learn=False, share=1) / len(validation))
        if not np.isfinite(row.train) or not np.isfinite(row.validation):
            raise ModelError(f"training broke down in epoch {epoch} (the loss is not finite); lower the learning rate")
        curve.append(row)
        if progress is not None:
            progress(row, settings.max_epochs)
        if row.validation < best:
            best, best_epoch, best_state = row.validation, epoch, copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= settings.patience:
            break
    model.load_state_dict(best_state)
    return curve, best_epoch
