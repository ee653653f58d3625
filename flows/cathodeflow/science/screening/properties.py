"""What is known of a composition: one arrangement stands for it at each level, and its voltages follow.

The representative of a composition at a level is the arrangement with the lowest predicted formation energy per atom.
Arrangements within `TIE` of the lowest are equal, and the smallest mask among them stands: predictions of equivalent
crystals differ in the last digits of single precision, and a choice must not hang on those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathodeflow.errors import DefinitionError
from cathodeflow.science.energetics.voltage import LevelContent, voltage_profile
from cathodeflow.science.hosts.candidates import candidate_key
from cathodeflow.science.hosts.compositions import Composition

TIE = 1e-9
"""eV/atom; formation energies closer than this are equal."""


@dataclass(frozen=True)
class PredictionColumns:
    """Predictions of a space as parallel columns, in any order.

    Attributes
    ----------
    level, composition : (n,) str arrays
        Level label and composition key.
    mask : (n,) int array
        Arrangement.
    formation_energy, relaxation_energy : (n,) float arrays
        eV/atom.
    formation_energy_std : (n,) float array, optional
        Standard deviation over the ensemble, eV/atom.
    """

    level: ArrayLike
    composition: ArrayLike
    mask: ArrayLike
    formation_energy: ArrayLike
    relaxation_energy: ArrayLike
    formation_energy_std: ArrayLike | None = None


@dataclass(frozen=True)
class CompositionProperties:
    """A composition as the criteria see it.

    Attributes
    ----------
    composition : str
        Key, e.g. "Cu2Mo6".
    elements, counts : tuple
        By atomic number.
    voltages : dict
        "V43", … to V, the fullest step first; without those that need a missing level.
    relaxation_energies, formation_energies : dict
        Level label to eV/atom of the representative, the fullest level first.
    representatives : dict
        Level label to candidate key.
    spread : float or None
        Largest standard deviation of the ensemble among the representatives, eV/atom.
    """

    composition: str
    elements: tuple[str, ...]
    counts: tuple[int, ...]
    voltages: Mapping[str, float]
    relaxation_energies: Mapping[str, float]
    formation_energies: Mapping[str, float]
    representatives: Mapping[str, str] = field(default_factory=dict)
    spread: float | None = None


def represent(
    host_name: str, levels: Sequence[LevelContent], predictions: PredictionColumns, electrons_per_ion: int = 1
) -> tuple[CompositionProperties, ...]:
    """Choose the representatives of every composition and derive its voltages.

    Parameters
    ----------
    host_name : str
        Begins the candidate keys.
    levels : sequence of LevelContent
        All levels of the host (`energetics.voltage.level_contents`).
    predictions : PredictionColumns
        One row per candidate. Rows whose formation energy is not finite cannot stand for anything.
    electrons_per_ion : int
        Valence of the working ion.

    Returns
    -------
    tuple of CompositionProperties
        In order of first appearance. A level without a finite prediction is absent, and with it its voltages.

    Raises
    ------
    DefinitionError
        If the columns differ in length or name a level that the host lacks.
    """
    ordered = sorted(levels, key=lambda level: -level.n_ions)
    table = _Table.from_columns(predictions, [level.label for level in ordered])
    rows = table.representative_rows()
    rows_of = np.full((len(table.keys), len(ordered)), -1, dtype=np.int64)
    rows_of[table.composition[rows], table.level[rows]] = rows
    voltages = _voltages(table, rows_of, ordered, electrons_per_ion)
    labels = [level.label for level in ordered]
    return tuple(
        _properties(host_name, key, rows_of[number].tolist(), labels, table, voltages[number])
        for number, key in enumerate(table.keys)
    )


@dataclass(frozen=True)
class _Table:
    """Columns with levels and compositions as numbers."""

    keys: tuple[str, ...]
    level: NDArray[np.int64]
    composition: NDArray[np.int64]
    mask: NDArray[np.int64]
    formation: NDArray[np.float64]
    relaxation: NDArray[np.float64]
    std: NDArray[np.float64] | None

    @classmethod
    def from_columns(cls, columns: PredictionColumns, labels: Sequence[str]) -> _Table:
        level_names, compositions = np.asarray(columns.level), np.asarray(columns.composition)
        formation = np.asarray(columns.formation_energy, dtype=np.float64)
        relaxation = np.asarray(columns.relaxation_energy, dtype=np.float64)
        mask = np.asarray(columns.mask, dtype=np.int64)
        std = columns.formation_energy_std
        deviation = None if std is None else np.asarray(std, dtype=np.float64)
        others = [compositions, formation, relaxation, mask, *([] if deviation is None else [deviation])]
        if any(column.shape != level_names.shape for column in others) or level_names.ndim != 1:
            raise DefinitionError("The columns of the predictions differ in length.")
        unknown = sorted(set(np.unique(level_names).tolist()) - set(labels))
        if unknown:
            raise DefinitionError(f"Predictions name level {unknown[0]}; the host has {', '.join(labels)}.")
        level = np.zeros(len(level_names), dtype=np.int64)
        for number, label in enumerate(labels):
            level[level_names == label] = number
        unique, first, inverse = np.unique(compositions, return_index=True, return_inverse=True)
        by_appearance = np.argsort(first)
        number_of = np.empty(len(unique), dtype=np.int64)
        number_of[by_appearance] = np.arange(len(unique))
        keys = tuple(str(key) for key in unique[by_appearance])
        return cls(keys, level, number_of[inverse], mask, formation, relaxation, deviation)

    def representative_rows(self) -> NDArray[np.int64]:
        """Return one row per composition and level that has a finite formation energy."""
        finite = np.flatnonzero(np.isfinite(self.formation))
        if not len(finite):
            return finite
        group = self.composition[finite] * (int(self.level.max()) + 1) + self.level[finite]
        lowest = np.full(int(group.max()) + 1, np.inf)
        np.minimum.at(lowest, group, self.formation[finite])
        tied = self.formation[finite] <= lowest[group] + TIE
        rows, group = finite[tied], group[tied]
        order = np.lexsort((self.mask[rows], group))
        starts = np.unique(group[order], return_index=True)[1]
        return rows[order][starts]


def _voltages(
    table: _Table, rows_of: NDArray[np.int64], levels: Sequence[LevelContent], electrons_per_ion: int
) -> list[dict[str, float]]:
    energies = np.where(rows_of >= 0, table.formation[rows_of], np.nan)
    by_level = {level.label: energies[:, number] for number, level in enumerate(levels)}
    profile = voltage_profile(levels, by_level, electrons_per_ion)
    columns = {name: values.tolist() for name, values in profile.items()}
    return [
        {name: values[number] for name, values in columns.items() if values[number] == values[number]}
        for number in range(len(table.keys))
    ]


def _properties(
    host_name: str, key: str, rows: list[int], labels: Sequence[str], table: _Table, voltages: dict[str, float]
) -> CompositionProperties:
    composition = Composition.from_key(key)
    present = [(label, row) for label, row in zip(labels, rows, strict=True) if row >= 0]
    return CompositionProperties(
        composition=key,
        elements=composition.elements,
        counts=composition.counts,
        voltages=voltages,
        relaxation_energies={label: float(table.relaxation[row]) for label, row in present},
        formation_energies={label: float(table.formation[row]) for label, row in present},
        representatives={
            label: candidate_key(host_name, label, key, composition.n_sites, int(table.mask[row]))
            for label, row in present
        },
        spread=None if table.std is None else max((float(table.std[row]) for _, row in present), default=None),
    )
