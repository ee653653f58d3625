"""Average intercalation voltage between two contents of the working ion (S0 section 3.3, Nernst equation).

For cells with n_more and n_fewer working ions of valence z and the same framework,

    V = -(E(more) - E(fewer) - (n_more - n_fewer) mu_ion) / ((n_more - n_fewer) z e),

with mu_ion the energy per atom of the ion's metal from the same engine. With formation energies the reference of the
ion is already taken off and those of the framework cancel, so V = -(E_form(more) - E_form(fewer)) / (dn z e).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathodeflow.errors import DefinitionError

if TYPE_CHECKING:
    from cathodeflow.science.hosts.host import Host

VALENCE = {
    "H": 1,
    "Li": 1,
    "Na": 1,
    "K": 1,
    "Rb": 1,
    "Cs": 1,
    "Mg": 2,
    "Ca": 2,
    "Zn": 2,
    "Sr": 2,
    "Ba": 2,
    "Y": 3,
    "Al": 3,
}
"""Electrons per working ion, as in pymatgen's and emmet's electrodes."""

_LABEL = re.compile(r"[A-Z][a-z]?(\d+(?:\.\d+)?)")
_NAME = re.compile(r"V(?:(\d)(\d)|(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?))")


@dataclass(frozen=True, slots=True)
class LevelContent:
    """What one level's cell holds.

    Attributes
    ----------
    label : str
        e.g. "Na3".
    n_ions, n_atoms : int
        Working ions and atoms in the cell.
    """

    label: str
    n_ions: int
    n_atoms: int


def level_contents(host: Host) -> tuple[LevelContent, ...]:
    """Return the contents of a host's levels, from the most to the fewest working ions."""
    return tuple(LevelContent(level.label, level.working_ion_count, len(level.structure)) for level in host.levels)


def valence(working_ion: str) -> int:
    """Return the electrons that one working ion carries, e.g. 1 for Na and 2 for Mg.

    Raises
    ------
    DefinitionError
        If the ion has no known valence.
    """
    if working_ion not in VALENCE:
        raise DefinitionError(
            f"'{working_ion}' has no known valence as a working ion; choose from {', '.join(VALENCE)}."
        )
    return VALENCE[working_ion]


def level_content(label: str) -> float:
    """Return the working ions per formula unit that a label states, e.g. 3.0 for "Na3".

    Raises
    ------
    DefinitionError
        If the label is not an ion and a number.
    """
    match = _LABEL.fullmatch(label)
    if match is None:
        raise DefinitionError(f"'{label}' is not a level; write the ion and its number per formula unit, as in Na3.")
    return float(match[1])


def voltage_name(label_more: str, label_fewer: str) -> str:
    """Return the name of the voltage between two levels: "V43" for Na4 and Na3, "V2.5-2" for Na2.5 and Na2."""
    more, fewer = (f"{level_content(label):g}" for label in (label_more, label_fewer))
    return f"V{more}{fewer}" if len(more) == len(fewer) == 1 else f"V{more}-{fewer}"


def voltage_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the voltages between neighbouring levels, the fullest step first.

    Parameters
    ----------
    labels : iterable of str
        Level labels in any order.

    Returns
    -------
    tuple of str
        ("V43", "V32", "V21") for Na4 … Na1; ("V10",) for Li1 and Li0; empty for one level.
    """
    ordered = sorted(labels, key=level_content, reverse=True)
    return tuple(voltage_name(more, fewer) for more, fewer in pairwise(ordered))


def fullest_first(names: Iterable[str]) -> tuple[str, ...]:
    """Return voltage names by descending content of the working ion: V43 before V32.

    Raises
    ------
    DefinitionError
        If one is no name of a voltage.
    """
    return tuple(sorted(names, key=_upper_content, reverse=True))


def voltage_from_total_energies(
    energy_more: ArrayLike,
    energy_fewer: ArrayLike,
    n_more: int,
    n_fewer: int,
    ion_energy: float,
    electrons_per_ion: int = 1,
) -> NDArray[np.float64]:
    """Return the average voltage between two cells from their total energies.

    Parameters
    ----------
    energy_more, energy_fewer : float or (n,) array
        Total energies of the cells with more and with fewer working ions, eV per cell.
    n_more, n_fewer : int
        Working ions per cell.
    ion_energy : float
        Energy of the ion's metal, eV/atom, same engine.
    electrons_per_ion : int
        Valence z of the ion.

    Returns
    -------
    float or (n,) array
        V.

    Raises
    ------
    DefinitionError
        If `n_more` does not exceed `n_fewer`, or the valence is below 1.
    """
    inserted = _inserted(n_more, n_fewer, electrons_per_ion)
    difference = np.asarray(energy_more, dtype=np.float64) - np.asarray(energy_fewer, dtype=np.float64)
    return -(difference - inserted * ion_energy) / (inserted * electrons_per_ion)


def voltage_from_formation_energies(
    formation_more: ArrayLike, formation_fewer: ArrayLike, n_more: int, n_fewer: int, electrons_per_ion: int = 1
) -> NDArray[np.float64]:
    """Return the average voltage between two cells from their formation energies, eV per cell (not per atom).

    Equal to `voltage_from_total_energies` when the formation energies were taken against that `ion_energy`; arguments,
    result and errors are the same otherwise.
    """
    inserted = _inserted(n_more, n_fewer, electrons_per_ion)
    difference = np.asarray(formation_more, dtype=np.float64) - np.asarray(formation_fewer, dtype=np.float64)
    return -difference / (inserted * electrons_per_ion)


def voltage_profile(
    levels: Sequence[LevelContent], formation_energies: Mapping[str, ArrayLike], electrons_per_ion: int = 1
) -> dict[str, NDArray[np.float64]]:
    """Return all voltages of a host from formation energies per atom.

    Parameters
    ----------
    levels : sequence of LevelContent
        In any order.
    formation_energies : mapping of str to float or (n,) array
        Level label to formation energy, eV/atom. A level that is absent leaves its two voltages out: two neighbours
        are never bridged, as V42 is another quantity than V43.
    electrons_per_ion : int
        Valence of the working ion.

    Returns
    -------
    dict of str to float or (n,) array
        "V43", "V32", … in V, the fullest step first.
    """
    ordered = sorted(levels, key=lambda level: -level.n_ions)
    profile = {}
    for more, fewer in pairwise(ordered):
        if more.label not in formation_energies or fewer.label not in formation_energies:
            continue
        profile[voltage_name(more.label, fewer.label)] = voltage_from_formation_energies(
            np.asarray(formation_energies[more.label], dtype=np.float64) * more.n_atoms,
            np.asarray(formation_energies[fewer.label], dtype=np.float64) * fewer.n_atoms,
            more.n_ions,
            fewer.n_ions,
            electrons_per_ion,
        )
    return profile


def _upper_content(name: str) -> float:
    match = _NAME.fullmatch(name)
    if match is None:
        raise DefinitionError(f"'{name}' is not a voltage; voltages are named as V43 or V2.5-2.")
    return float(match[1] or match[3])


def _inserted(n_more: int, n_fewer: int, electrons_per_ion: int) -> int:
    if n_more <= n_fewer:
        raise DefinitionError(f"A voltage needs more ions on one side: got {n_more} and {n_fewer}.")
    if electrons_per_ion < 1:
        raise DefinitionError(f"An ion of valence {electrons_per_ion} carries no current.")
    return n_more - n_fewer
