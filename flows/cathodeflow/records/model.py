"""Surrogates: how each was trained, how good it is, and what it predicts."""

from __future__ import annotations

from cathodeflow.records.document import Document, Part
from cathodeflow.records.outcomes import Target


class Metrics(Part):
    """Errors on the held-out fifth. MAE and RMSE in eV/atom; R² is None for fewer than two points."""

    r2: float | None
    mae: float
    rmse: float
    n: int


class ParityPoint(Part):
    """One label, as computed and as predicted, eV/atom."""

    key: str
    true: float
    predicted: float
    pretrained: float
    held_out: bool


class CurvePoint(Part):
    """Loss after one epoch (mean squared error in (eV/atom)²)."""

    epoch: int
    train: float
    validation: float | None


class ModelRecord(Document):
    """One trained network: `_id` is ``<campaign>/r<round>/<target>/s<seed>``.

    Attributes
    ----------
    weights_blob : str
        Id of the weights in GridFS.
    data_hash : str
        sha256 over keys, targets and structures of the data it saw.
    metrics, pretrained_metrics : Metrics
        On the same held-out fifth, for this model and the un-retrained one.
    scaling : dict
        Mean and standard deviation that scale the output.
    """

    campaign: str
    round: int
    target: Target
    seed: int
    pretrained: str
    weights_blob: str
    weights_sha256: str
    data_hash: str
    n_train: int
    n_held_out: int
    epochs: int
    wall_s: float
    scaling: dict[str, float]
    metrics: Metrics
    pretrained_metrics: Metrics
    curve: list[CurvePoint]
    parity: list[ParityPoint]
    provenance: str
    job_uuid: str | None = None


class PredictionRecord(Document):
    """What the ensemble of one round says of one candidate; `_id` is ``<campaign>/r<round>/<key>``.

    Means over the ensemble and standard deviations between its members, eV/atom.
    """

    campaign: str
    round: int
    key: str
    level: str
    composition: str
    formation_energy: float
    formation_energy_std: float
    relaxation_energy: float
    relaxation_energy_std: float
