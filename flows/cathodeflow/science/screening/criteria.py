"""The rules a composition has to pass, by name, each with how far it is from its limit (S0 section 3.4).

A margin is in the rule's unit and positive inside the limit: "rejected by V21_window, -0.12 V". What a rule needs and
does not find (a level without prediction) fails it, with no margin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cathodeflow.errors import DefinitionError
from cathodeflow.science.energetics.voltage import fullest_first
from cathodeflow.science.screening.properties import CompositionProperties

Window = tuple[float | None, float | None]
FloatColumn = NDArray[np.float64]
BoolColumn = NDArray[np.bool_]

PAPER_WINDOWS: Mapping[str, Window] = {"V21": (3.49, 3.90), "V43": (2.0, None)}
"""V: 3.49 <= V21 <= 3.90, and V43 > 2 for the operating window of 2 to 4.3 V (S0 section 3.4)."""


@dataclass(frozen=True)
class PropertyColumns:
    """Properties of n compositions as arrays; what is missing is nan.

    Attributes
    ----------
    voltage_names : tuple of str
        The fullest step first.
    voltages : (n, n_voltages) float array
        V.
    relaxation_energies : (n, n_levels) float array
        eV/atom.
    """

    voltage_names: tuple[str, ...]
    voltages: FloatColumn
    relaxation_energies: FloatColumn

    @classmethod
    def from_properties(
        cls, properties: Sequence[CompositionProperties], voltage_names: Sequence[str], levels: Sequence[str]
    ) -> PropertyColumns:
        """Collect the given voltages and levels from every composition."""
        names = fullest_first(voltage_names)
        n = len(properties)
        voltages = np.array([[p.voltages.get(name, np.nan) for name in names] for p in properties], dtype=np.float64)
        energies = [[p.relaxation_energies.get(level, np.nan) for level in levels] for p in properties]
        return cls(
            names,
            voltages.reshape(n, len(names)),
            np.array(energies, dtype=np.float64).reshape(n, len(levels)),
        )


class Criterion(Protocol):
    """A named rule over columns."""

    @property
    def name(self) -> str:
        """Name in verdicts, definitions and the funnel."""

    @property
    def unit(self) -> str:
        """Unit of the margin."""

    def judge(self, columns: PropertyColumns) -> tuple[BoolColumn, FloatColumn]:
        """Return passed and margin, each of shape (n,)."""


@dataclass(frozen=True)
class RelaxationEnergyVariation:
    """E_relax varies by less than the limit over the levels (S0 rule 1: 0.05 eV/atom).

    S0 does not define the variation. "range" takes the largest minus the smallest E_relax over the levels; "max" takes
    the largest.
    """

    limit: float
    measure: Literal["range", "max"] = "range"
    name: str = "relaxation_energy_variation"
    unit: str = "eV/atom"

    def judge(self, columns: PropertyColumns) -> tuple[BoolColumn, FloatColumn]:
        """Return whether the variation is below the limit, and the limit minus the variation."""
        margin = self.limit - self.variation(columns.relaxation_energies)
        return margin > 0, margin

    def variation(self, relaxation_energies: FloatColumn) -> FloatColumn:
        """Return the variation of each row of an (n, n_levels) array, eV/atom."""
        largest: FloatColumn = relaxation_energies.max(axis=1)
        return largest - relaxation_energies.min(axis=1) if self.measure == "range" else largest


@dataclass(frozen=True)
class StepShape:
    """The voltage rises at every step of extraction: V21 > V32 > V43 (S0 rule 2).

    The margin is the smallest rise. A host with a single voltage passes, with margin 0.
    """

    name: str = "step_shape"
    unit: str = "V"

    def judge(self, columns: PropertyColumns) -> tuple[BoolColumn, FloatColumn]:
        """Return whether all rises are positive, and the smallest."""
        if columns.voltages.shape[1] < 2:
            margin = np.where(np.isnan(columns.voltages).any(axis=1), np.nan, 0.0)
            return np.isfinite(margin), margin
        smallest: FloatColumn = np.diff(columns.voltages, axis=1).min(axis=1)
        return smallest > 0, smallest


@dataclass(frozen=True)
class VoltageWindow:
    """One voltage lies within limits (S0 rule 3).

    As in the paper, two limits include their ends (3.49 <= V21 <= 3.90) and a single one excludes its own (V43 > 2).
    The margin is the distance to the nearer limit.
    """

    voltage: str
    low: float | None = None
    high: float | None = None
    unit: str = "V"

    @property
    def name(self) -> str:
        """The voltage and what is asked of it, e.g. "V21_window"."""
        return f"{self.voltage}_window"

    def judge(self, columns: PropertyColumns) -> tuple[BoolColumn, FloatColumn]:
        """Return whether the voltage is inside, and by how much."""
        if self.voltage not in columns.voltage_names:
            raise DefinitionError(
                f"The levels of this host have no voltage {self.voltage}, only {', '.join(columns.voltage_names)}."
            )
        voltage = columns.voltages[:, columns.voltage_names.index(self.voltage)]
        above = np.inf if self.low is None else voltage - self.low
        below = np.inf if self.high is None else self.high - voltage
        margin: FloatColumn = np.minimum(above, below)
        two_sided = self.low is not None and self.high is not None
        return (margin >= 0 if two_sided else margin > 0), margin


@dataclass(frozen=True)
class CriteriaSettings:
    """Limits of the rules; the defaults are those of S0 section 3.4 for Na4 … Na1.

    Attributes
    ----------
    relaxation_energy_variation : float or None
        eV/atom; None switches the rule off.
    variation_measure : {"range", "max"}
        See `RelaxationEnergyVariation`.
    step_shape : bool
        Whether the rule is on.
    voltage_windows : mapping of str to (low, high)
        V; None is open. For another host give its own voltages, or `paper_windows`.
    """

    relaxation_energy_variation: float | None = 0.05
    variation_measure: Literal["range", "max"] = "range"
    step_shape: bool = True
    voltage_windows: Mapping[str, Window] = field(default_factory=lambda: dict(PAPER_WINDOWS))

    def criteria(self) -> tuple[Criterion, ...]:
        """Return the rules that are on, in the order in which they judge.

        Raises
        ------
        DefinitionError
            If a window is open on both sides or its limits are the wrong way round.
        """
        rules: list[Criterion] = []
        if self.relaxation_energy_variation is not None:
            rules.append(RelaxationEnergyVariation(self.relaxation_energy_variation, self.variation_measure))
        if self.step_shape:
            rules.append(StepShape())
        for voltage, (low, high) in self.voltage_windows.items():
            if low is None and high is None:
                continue
            if low is not None and high is not None and low >= high:
                raise DefinitionError(f"The window of {voltage} runs from {low} to {high} V; put the lower first.")
            rules.append(VoltageWindow(voltage, low, high))
        return tuple(rules)


CRITERIA: Mapping[str, type[RelaxationEnergyVariation] | type[StepShape] | type[VoltageWindow]] = {
    "relaxation_energy_variation": RelaxationEnergyVariation,
    "step_shape": StepShape,
    "voltage_window": VoltageWindow,
}
"""The kinds of rule, by name."""


def paper_windows(voltage_names: Sequence[str]) -> dict[str, Window]:
    """Return those of the paper's windows that a host has a voltage for."""
    return {name: window for name, window in PAPER_WINDOWS.items() if name in voltage_names}
