"""Charge transfer and oxidation states from the electrons inside atomic volumes (S3 section 3.1, S4 section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathodeflow.errors import CalculationError, DefinitionError

STATE_SEPARATION = 0.25
"""e; distance of the Bader charges of V3+ and V4+ (S4 section 3.2)."""


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single truth
class AtomicCharges:
    """A cell's electrons divided among its atoms by the zero-flux surfaces of the density (Bader).

    Attributes
    ----------
    electrons : (n,) array
        Electrons in each atom's volume, e; those that the density holds (valence only, for a CHGCAR).
    volumes : (n,) array
        Å³.
    min_distances : (n,) array
        From the atom to the nearest point of its surface, Å; nan for an atom that owns the whole cell or nothing.
    vacuum_electrons, vacuum_volume : float
        Left over, e and Å³; zero unless a vacuum threshold was set.
    """

    electrons: NDArray[np.float64]
    volumes: NDArray[np.float64]
    min_distances: NDArray[np.float64]
    vacuum_electrons: float = 0.0
    vacuum_volume: float = 0.0

    def __post_init__(self) -> None:
        if not self.electrons.shape == self.volumes.shape == self.min_distances.shape or self.electrons.ndim != 1:
            raise CalculationError("Charges, volumes and distances must be given for the same atoms.")
        if not (np.isfinite(self.electrons).all() and np.isfinite(self.volumes).all()):
            raise CalculationError("The charge analysis gave values that are no numbers.", "non_finite")

    @property
    def total_electrons(self) -> float:
        """Electrons of the cell, e."""
        return float(self.electrons.sum() + self.vacuum_electrons)


@dataclass(frozen=True, slots=True)
class SpeciesTransfer:
    """Charge transfer of the atoms of one element, e; positive for electrons given away.

    Attributes
    ----------
    element : str
    count : int
        Atoms.
    mean, standard_deviation, minimum, maximum : float
        e per atom; the deviation is that of the population.
    """

    element: str
    count: int
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class OxidationAssignment:
    """Oxidation states of the atoms of one element.

    Attributes
    ----------
    states : tuple of (int or None)
        One per atom; None where the charge lies between two states or far from all.
    references : dict
        State to the net charge that stands for it, e.
    tolerance : float
        Largest distance from a reference that still counts, e.
    """

    states: tuple[int | None, ...]
    references: dict[int, float]
    tolerance: float


def charge_transfer(electrons: ArrayLike, valence_electrons: ArrayLike) -> NDArray[np.float64]:
    """Return what each atom gave away, ZVAL - N_Bader, e (the charge transfer of S3 Tables 1 and 2).

    Parameters
    ----------
    electrons : (n,) array
        Electrons in each atom's volume.
    valence_electrons : (n,) array
        Electrons of the neutral atom in the same density: ZVAL of its POTCAR.

    Raises
    ------
    CalculationError
        If the lengths differ.
    """
    held = np.asarray(electrons, dtype=np.float64)
    neutral = np.asarray(valence_electrons, dtype=np.float64)
    if held.shape != neutral.shape or held.ndim != 1:
        raise CalculationError(f"{held.size} charges and {neutral.size} valences do not belong to the same atoms.")
    return neutral - held


def transfer_by_species(transfer: ArrayLike, species: Sequence[str]) -> tuple[SpeciesTransfer, ...]:
    """Summarise the charge transfer per element, in order of each element's first atom.

    Raises
    ------
    CalculationError
        If the lengths differ.
    """
    values = np.asarray(transfer, dtype=np.float64)
    if values.shape != (len(species),):
        raise CalculationError(f"{values.size} charges for {len(species)} atoms.")
    summaries = []
    for element in dict.fromkeys(species):
        of_element = values[[kind == element for kind in species]]
        summaries.append(
            SpeciesTransfer(
                element=element,
                count=len(of_element),
                mean=float(of_element.mean()),
                standard_deviation=float(of_element.std()),
                minimum=float(of_element.min()),
                maximum=float(of_element.max()),
            )
        )
    return tuple(summaries)


def assign_oxidation_states(
    net_charges: ArrayLike, references: Mapping[int, float], tolerance: float | None = None
) -> OxidationAssignment:
    """Give each atom the oxidation state whose reference charge is nearest.

    Bader charges are smaller than formal charges and lie about 0.25 e apart for V3+ and V4+ (S4 section 3.2), so that
    the references must come from cells in which the state is known (e.g. V3+ from Na3V2(PO4)2F3), by the same settings.

    Parameters
    ----------
    net_charges : (n,) array
        Charge transfer of the atoms of one element, e, positive for cations.
    references : mapping of int to float
        Oxidation state to net charge, e.
    tolerance : float or None
        Largest distance from the nearest reference, e. None means 0.4 of the smallest distance between two references,
        or of 0.25 e with one reference: 0.1 e for V, so that the fifth in the middle is left open.

    Returns
    -------
    OxidationAssignment

    Raises
    ------
    DefinitionError
        If there is no reference, if charges do not rise with the state, or the tolerance makes states overlap.
    CalculationError
        If a charge is no number.
    """
    if not references:
        raise DefinitionError("Give at least one reference charge to assign oxidation states by.")
    states = sorted(references)
    charges = np.array([references[state] for state in states], dtype=np.float64)
    steps = np.diff(charges)
    if not np.isfinite(charges).all() or (steps <= 0).any():
        raise DefinitionError("Reference charges must be numbers that rise with the oxidation state.")
    separation = float(steps.min()) if steps.size else STATE_SEPARATION
    allowed = 0.4 * separation if tolerance is None else tolerance
    if not allowed > 0 or (steps.size and allowed > separation / 2):
        raise DefinitionError(
            f"A tolerance of {allowed} e must be positive and at most half of the {separation:.3f} e between states."
        )
    values = np.asarray(net_charges, dtype=np.float64)
    if not np.isfinite(values).all():
        raise CalculationError("A net charge is no number; run the charge analysis again.", "non_finite")
    distances = np.abs(values[:, None] - charges[None, :])
    nearest = distances.argmin(axis=1)
    found = tuple(states[k] if row[k] <= allowed else None for k, row in zip(nearest, distances, strict=True))
    return OxidationAssignment(found, {state: references[state] for state in states}, float(allowed))


def charge_groups(net_charges: ArrayLike, separation: float = STATE_SEPARATION) -> NDArray[np.intp]:
    """Sort the atoms of one element into groups of like charge, without any reference.

    A new group begins wherever two neighbouring charges, sorted, lie more than half of `separation` apart (0.125 e for
    the 0.25 e of V3+ and V4+, S4). This tells mixed from uniform valence; which state a group is takes a reference.

    Parameters
    ----------
    net_charges : (n,) array
        e.
    separation : float
        Expected distance of two states, e.

    Returns
    -------
    (n,) array of int
        Group of each atom, 0 for the least positive.

    Raises
    ------
    CalculationError
        If a charge is no number.
    """
    values = np.asarray(net_charges, dtype=np.float64)
    if not np.isfinite(values).all():
        raise CalculationError("A net charge is no number; run the charge analysis again.", "non_finite")
    order = np.argsort(values, kind="stable")
    groups = np.empty(len(values), dtype=np.intp)
    groups[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > separation / 2)])[: len(values)]
    return groups
