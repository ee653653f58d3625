"""Formation and relaxation energy (S0 eq. 1 and 2)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathodeflow.errors import CalculationError

Counts = Mapping[str, ArrayLike]
"""Atoms per element: a number, or one number per crystal."""


def formation_energy(
    total_energy: ArrayLike, counts: Counts, chemical_potentials: Mapping[str, float]
) -> NDArray[np.float64]:
    """Return E_form = E_system - sum_i N_i mu_i (S0 eq. 1), eV per cell.

    Parameters
    ----------
    total_energy : float or (n,) array
        Energy of the cell, eV.
    counts : mapping of str to int or (n,) array
        Atoms of each element in the cell.
    chemical_potentials : mapping of str to float
        eV per atom, from the same engine as the total energy. Elements that the cell lacks do no harm.

    Returns
    -------
    float or (n,) array
        eV per cell.

    Raises
    ------
    CalculationError
        With reason "missing_reference", if an element of the cell has no chemical potential.
    """
    missing = sorted(set(counts) - set(chemical_potentials))
    if missing:
        raise CalculationError(
            f"No elemental reference energy for {', '.join(missing)}; compute it with the same engine.",
            "missing_reference",
        )
    energy = np.asarray(total_energy, dtype=np.float64)
    for element, count in counts.items():
        energy = energy - np.asarray(count, dtype=np.float64) * chemical_potentials[element]
    return energy


def formation_energy_per_atom(
    total_energy: ArrayLike, counts: Counts, chemical_potentials: Mapping[str, float]
) -> NDArray[np.float64]:
    """Return the formation energy over the number of atoms, eV/atom; arguments as `formation_energy`."""
    n_atoms = sum((np.asarray(count, dtype=np.float64) for count in counts.values()), start=np.float64(0))
    return formation_energy(total_energy, counts, chemical_potentials) / n_atoms


def relaxation_energy(formation_energy_after: ArrayLike, formation_energy_before: ArrayLike) -> NDArray[np.float64]:
    """Return E_relax = |E_form(after) - E_form(before)| (S0 eq. 2), in the unit of its arguments.

    S0 uses it per atom as the measure of distortion. The chemical potentials cancel, so total energies per atom of the
    relaxed and the unrelaxed crystal give the same value.

    Parameters
    ----------
    formation_energy_after, formation_energy_before : float or (n,) array
        Of the relaxed and of the unrelaxed crystal, eV/atom.

    Returns
    -------
    float or (n,) array
        eV/atom, not negative.
    """
    after = np.asarray(formation_energy_after, dtype=np.float64)
    return np.abs(after - np.asarray(formation_energy_before, dtype=np.float64))
