"""Labelled crystals as the surrogates see them: shared bonds, atomic numbers, one target."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cathodeflow.errors import ModelError
from cathodeflow.science.surrogates.graphs import GraphTemplate, atomic_numbers, graph_template

if TYPE_CHECKING:
    from pymatgen.core import Structure

TARGETS = {"formation_energy": "R-MEGNet-Voltage", "relaxation_energy": "R-MEGNet-Structure"}
"""What is predicted, and the name paper S0 gives the network that predicts it."""


@dataclass(frozen=True)
class Crystals:
    """Unrelaxed crystals. Those that differ only in their elements share one template.

    Attributes
    ----------
    templates : tuple of GraphTemplate
        Bonds, one per distinct geometry.
    template_of : ndarray of int64, shape (n,)
        Which template a crystal has.
    numbers : tuple of ndarray of int64, shape (n_atoms,) each
        Atomic numbers.
    """

    templates: tuple[GraphTemplate, ...]
    template_of: NDArray[np.int64]
    numbers: tuple[NDArray[np.int64], ...]

    def __len__(self) -> int:
        return len(self.numbers)


def crystals_from_structures(structures: Sequence[Structure], cutoff: float) -> Crystals:
    """Build the graph of each distinct geometry once.

    Parameters
    ----------
    structures : sequence of pymatgen Structure
        Ordered crystals, as they are before relaxation.
    cutoff : float
        Of the network, in angstrom.

    Returns
    -------
    Crystals
    """
    templates: list[GraphTemplate] = []
    seen: dict[bytes, int] = {}
    template_of = []
    for structure in structures:
        geometry = structure.lattice.matrix.tobytes() + structure.frac_coords.tobytes()
        if geometry not in seen:
            seen[geometry] = len(templates)
            templates.append(graph_template(structure, cutoff))
        template_of.append(seen[geometry])
    return Crystals(
        templates=tuple(templates),
        template_of=np.array(template_of, dtype=np.int64),
        numbers=tuple(atomic_numbers(structure) for structure in structures),
    )


@dataclass(frozen=True)
class TrainingData:
    """Labels of one target.

    Attributes
    ----------
    target : str
        Key of `TARGETS`.
    keys : tuple of str
        Candidate keys, unique.
    crystals : Crystals
        The unrelaxed structures.
    values : ndarray of float64, shape (n,)
        Labels in eV/atom.
    unary : ndarray of bool, shape (n,)
        Whether one element fills all substitution sites.
    pretrained : ndarray of float64, shape (n,), optional
        What the un-retrained network says of each, where that is not simply its output. For the relaxation energy it is
        |E_form(relaxed) - E_form(unrelaxed)|; see `prediction.pretrained_relaxation_energy`.
    """

    target: str
    keys: tuple[str, ...]
    crystals: Crystals
    values: NDArray[np.float64]
    unary: NDArray[np.bool_]
    pretrained: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise ModelError(f"no surrogate has the target {self.target}; known are {', '.join(TARGETS)}")
        lengths = {len(self.keys), len(self.crystals), len(self.values), len(self.unary)}
        if self.pretrained is not None:
            lengths.add(len(self.pretrained))
        if len(lengths) != 1:
            raise ModelError("keys, structures, labels and marks of the training data have different lengths")
        bad = np.flatnonzero(~np.isfinite(self.values))
        if len(bad):
            raise ModelError(f"the label of {self.keys[int(bad[0])]} is not a finite number; quarantine it")

    def __len__(self) -> int:
        return len(self.keys)

    def data_hash(self) -> str:
        """Hash what the network learns from: sha256 over keys, labels and structures, whatever their order."""
        prints = [
            hashlib.sha256(
                template.source.tobytes()
                + template.target.tobytes()
                + np.round(template.distance.astype(np.float64), 4).tobytes()
            ).digest()
            for template in self.crystals.templates
        ]
        rows = []
        for position, key in enumerate(self.keys):
            row = hashlib.sha256(key.encode() + b"\0" + np.float64(self.values[position]).tobytes())
            row.update(prints[int(self.crystals.template_of[position])])
            row.update(self.crystals.numbers[position].astype(np.int64).tobytes())
            rows.append(row.digest())
        whole = hashlib.sha256(self.target.encode())
        for digest in sorted(rows):
            whole.update(digest)
        return whole.hexdigest()
