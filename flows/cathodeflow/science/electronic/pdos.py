"""Sums and moments of a partial density of states (S0 section 3.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathodeflow.errors import CalculationError

SHELLS = "spdf"


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single truth
class PartialDos:
    """The density of states projected on atoms and orbitals.

    Attributes
    ----------
    energies : (ne,) array
        eV, ascending.
    densities : (nspin, natom, norbital, ne) array
        States/eV.
    species : tuple of str
        Element of each atom.
    orbitals : tuple of str
        Name of each orbital; its first letter is the shell: s, py, pz, px, dxy, dyz, dz2, dxz, x2-y2 (VASP names the
        last without its d).
    fermi_energy : float
        eV.
    """

    energies: NDArray[np.float64]
    densities: NDArray[np.float64]
    species: tuple[str, ...]
    orbitals: tuple[str, ...]
    fermi_energy: float

    def __post_init__(self) -> None:
        expected = (len(self.species), len(self.orbitals), len(self.energies))
        if self.densities.ndim != 4 or self.densities.shape[0] not in {1, 2} or self.densities.shape[1:] != expected:
            raise CalculationError(
                f"A partial density of states of shape {self.densities.shape} does not hold {expected[0]} atoms, "
                f"{expected[1]} orbitals and {expected[2]} energies."
            )
        if not (np.isfinite(self.energies).all() and np.isfinite(self.densities).all()):
            raise CalculationError("The density of states holds values that are no numbers.", "non_finite")
        if len(self.energies) < 2 or not (np.diff(self.energies) > 0).all():
            raise CalculationError("The energies of a density of states must ascend.")


@dataclass(frozen=True, slots=True)
class BandCentre:
    """First moment of a projected density of states.

    Attributes
    ----------
    centre : float
        eV, relative to the Fermi energy.
    width : float
        eV, square root of the second central moment.
    states : float
        Number of states in the window, both channels.
    """

    centre: float
    width: float
    states: float


def shell(orbital: str) -> str:
    """Return s, p, d or f for an orbital's name."""
    letter = "d" if orbital.startswith("x2") else orbital[:1]
    if letter not in SHELLS or not letter:
        raise CalculationError(f"The orbital '{orbital}' belongs to none of the shells s, p, d, f.")
    return letter


def sum_by_element_and_shell(dos: PartialDos) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Add up the projections of like atoms and like shells.

    Returns
    -------
    dict
        (element, shell) to (nspin, ne) array, states/eV per cell; elements in order of their first atom.
    """
    shells = [shell(orbital) for orbital in dos.orbitals]
    sums: dict[tuple[str, str], NDArray[np.float64]] = {}
    for element in dict.fromkeys(dos.species):
        of_element = dos.densities[:, [kind == element for kind in dos.species]].sum(axis=1)
        for letter in dict.fromkeys(shells):
            sums[element, letter] = of_element[:, [kind == letter for kind in shells]].sum(axis=1)
    return sums


def shell_density(dos: PartialDos, elements: frozenset[str] | set[str], letter: str) -> NDArray[np.float64]:
    """Return the (nspin, ne) density of one shell summed over some elements, states/eV (TM d, O p, F p of S0 Fig. S10).

    Raises
    ------
    CalculationError
        If no atom is of these elements or no orbital of this shell.
    """
    sums = sum_by_element_and_shell(dos)
    wanted = [density for (element, kind), density in sums.items() if element in elements and kind == letter]
    if not wanted:
        raise CalculationError(f"No {letter} states of {', '.join(sorted(elements))} in the density of states.")
    return np.sum(wanted, axis=0)


def band_centre(
    energies: NDArray[np.float64],
    density: NDArray[np.float64],
    fermi_energy: float,
    window: tuple[float, float] | None = None,
) -> BandCentre:
    """Return the centre of a band, ∫ (E - E_F) n(E) dE / ∫ n(E) dE.

    For a d shell this is the d-band centre (Hammer and Nørskov, Surf. Sci. 343, 211 (1995)). Integrals are by the
    trapezoid rule over the points of the grid that lie in the window.

    Parameters
    ----------
    energies : (ne,) array
        eV, ascending.
    density : (ne,) or (nspin, ne) array
        States/eV; channels are added.
    fermi_energy : float
        eV.
    window : (float, float) or None
        Lowest and highest energy relative to the Fermi energy, eV; None for all.

    Returns
    -------
    BandCentre

    Raises
    ------
    CalculationError
        If the window holds fewer than two points of the grid or no states.
    """
    relative = np.asarray(energies, dtype=np.float64) - fermi_energy
    total = np.atleast_2d(np.asarray(density, dtype=np.float64)).sum(axis=0)
    low, high = window if window is not None else (-np.inf, np.inf)
    inside = (relative >= low) & (relative <= high)
    if inside.sum() < 2:
        raise CalculationError(f"No density of states between {low} and {high} eV; widen the window.")
    points, values = relative[inside], total[inside]
    states = float(np.trapezoid(values, points))
    if not states > 1e-8:
        raise CalculationError(f"No states between {low} and {high} eV to take the centre of.")
    centre = float(np.trapezoid(points * values, points)) / states
    variance = float(np.trapezoid((points - centre) ** 2 * values, points)) / states
    return BandCentre(centre=centre, width=float(np.sqrt(max(variance, 0.0))), states=states)
