"""The host crystal of a campaign: one ordered cell per working-ion level, with the sites that are substituted.

The cells of a host are unrelaxed starting points for every substituted candidate. Levels run from the most to the
fewest working ions: Na4, Na3, Na2, Na1 for Na_xV2(PO4)2F3 (S0 section 3.2).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from cathodeflow.errors import HostError
from cathodeflow.science.hosts.geometry import OVERLAP_RATIO, closest_contact, lattice_is_sound

if TYPE_CHECKING:
    from pymatgen.core import Structure

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class _PackagedHost:
    working_ion: str
    formula_units: int
    substituted_element: str
    labels: tuple[str, ...]


_PACKAGED = {
    "nvpf": _PackagedHost("Na", 4, "V", ("Na4", "Na3", "Na2", "Na1")),
    "lifepo4": _PackagedHost("Li", 4, "Fe", ("Li1", "Li0")),
}

PACKAGED_HOSTS = tuple(_PACKAGED)
"""Names that `load_packaged_host` knows; the cells and their sources are in `data/`."""


@dataclass(frozen=True)
class HostLevel:
    """A host at one content of working ions.

    Attributes
    ----------
    label : str
        Working ion and its number per formula unit, e.g. "Na3".
    working_ions_per_formula : float
        Number of working ions per formula unit.
    working_ion_count : int
        Number of working ions in the cell.
    structure : Structure
        Ordered cell, no oxidation states.
    site_indices : tuple of int
        Substitution sites in `structure`; bit i of a mask refers to the i-th of them.
    """

    label: str
    working_ions_per_formula: float
    working_ion_count: int
    structure: Structure
    site_indices: tuple[int, ...]


@dataclass(frozen=True)
class Host:
    """A host crystal at all its levels.

    Attributes
    ----------
    name : str
        Short name, filename-safe; begins every candidate key.
    working_ion : str
        Element that goes in and out.
    formula_units : int
        Formula units per cell, the same at every level.
    substituted_element : str
        Element on the substitution sites of the pristine host.
    levels : tuple of HostLevel
        From the most to the fewest working ions.
    """

    name: str
    working_ion: str
    formula_units: int
    substituted_element: str
    levels: tuple[HostLevel, ...]

    @property
    def n_sites(self) -> int:
        """Substitution sites per cell."""
        return len(self.levels[0].site_indices)

    @property
    def level_labels(self) -> tuple[str, ...]:
        """Labels, from the most to the fewest working ions."""
        return tuple(level.label for level in self.levels)

    def level(self, label: str) -> HostLevel:
        """Return the level of that label.

        Raises
        ------
        HostError
            If the host has no such level.
        """
        for level in self.levels:
            if level.label == label:
                return level
        raise HostError(f"Host {self.name} has no level {label}; it has {', '.join(self.level_labels)}.")


def load_packaged_host(name: str) -> Host:
    """Return a host that ships with the package.

    Parameters
    ----------
    name : str
        "nvpf": Na_xV2(PO4)2F3, four levels, eight V in a cell of four formula units. "lifepo4": Li_xFePO4, two levels,
        four Fe in a cell of four formula units, the small host of the tutorials.

    Returns
    -------
    Host

    Raises
    ------
    HostError
        If no host of that name ships.
    """
    if name not in _PACKAGED:
        raise HostError(f"No host '{name}' ships with the package; choose from {', '.join(_PACKAGED)} or give files.")
    entry = _PACKAGED[name]
    with as_file(files("cathodeflow.science.hosts") / "data" / name) as folder:
        level_files = {label: folder / f"{label}.cif" for label in entry.labels}
        return read_host(name, entry.working_ion, entry.formula_units, level_files, entry.substituted_element)


def read_host(
    name: str,
    working_ion: str,
    formula_units: int,
    level_files: Mapping[str, Path],
    substitution: str | Mapping[str, Sequence[int]],
) -> Host:
    """Read a host from one structure file per level and check it.

    Parameters
    ----------
    name : str
        Short, filename-safe name.
    working_ion : str
        Element symbol, e.g. "Na".
    formula_units : int
        Formula units per cell.
    level_files : mapping of str to Path
        Level label ("Na3") to a file that pymatgen reads (CIF, POSCAR, JSON), in any order.
    substitution : str or mapping of str to sequence of int
        Element whose sites are substituted, or for each level the indices (from 0, in the order of the file as read) of
        the sites. Indices of different levels need not correspond.

    Returns
    -------
    Host
        Levels sorted from the most to the fewest working ions.

    Raises
    ------
    HostError
        With the reason, if a file cannot be read or the host is not sound (see `check_host`).
    """
    if not level_files:
        raise HostError(f"Host {name} has no levels; give one structure file per working-ion content.")
    structures = {label: _read_structure(name, label, Path(path)) for label, path in level_files.items()}
    levels = []
    for label, structure in structures.items():
        _check_structure(name, label, structure)
        count = sum(site.specie.symbol == working_ion for site in structure)
        sites = _substitution_sites(name, label, structure, substitution)
        levels.append(HostLevel(label, count / formula_units if formula_units > 0 else 0.0, count, structure, sites))
    levels.sort(key=lambda level: -level.working_ion_count)
    first = levels[0]
    host = Host(name, working_ion, formula_units, first.structure[first.site_indices[0]].specie.symbol, tuple(levels))
    check_host(host)
    return host


def level_label(working_ion: str, per_formula: float) -> str:
    """Return the label of a level, e.g. "Na3" or "Na2.5"."""
    return f"{working_ion}{per_formula:.4g}"


def check_host(host: Host) -> None:
    """Refuse a host that cannot carry a campaign.

    Parameters
    ----------
    host : Host
        As built by `read_host` or by hand.

    Raises
    ------
    HostError
        Naming the level and the reason: a non-finite or collapsed cell, disorder, overlapping atoms, substitution sites
        that are absent, differ in number or element, are listed twice or hold the working ion, frameworks that differ
        between levels or do not divide by the formula units, levels that are equal, mislabelled, out of order, or
        without any working ion.
    """
    if not _NAME.fullmatch(host.name):
        raise HostError(f"'{host.name}' cannot name files; use letters, digits, '_', '.' and '-' for the host's name.")
    if not host.levels:
        raise HostError(f"Host {host.name} has no levels; give one structure file per working-ion content.")
    if isinstance(host.formula_units, bool) or not isinstance(host.formula_units, int) or host.formula_units < 1:
        raise HostError(f"Host {host.name}: formula_units is {host.formula_units}; give a whole number from 1.")
    for level in host.levels:
        _check_structure(host.name, level.label, level.structure)
        _check_sites(host, level)
    _check_working_ions(host)
    _check_frameworks(host)


def _read_structure(name: str, label: str, path: Path) -> Structure:
    from pymatgen.core import Structure

    if not path.is_file():
        raise HostError(f"Host {name}, level {label}: no file {path}; give the path of its structure file.")
    try:
        structure = Structure.from_file(path)
        structure.remove_oxidation_states()  # a placeholder species has no element to reduce to
    except Exception as error:  # pymatgen's parsers raise anything, from IndexError to AssertionError
        raise HostError(
            f"Host {name}, level {label}: {path} cannot be read as a crystal structure ({error})."
        ) from error
    return Structure(structure.lattice, [site.species for site in structure], structure.frac_coords)


def _substitution_sites(
    name: str, label: str, structure: Structure, substitution: str | Mapping[str, Sequence[int]]
) -> tuple[int, ...]:
    if isinstance(substitution, str):
        sites = tuple(i for i, site in enumerate(structure) if site.specie.symbol == substitution)
        if not sites:
            raise HostError(
                f"Host {name}, level {label}: no {substitution} in {structure.formula}; "
                "name the element whose sites are substituted."
            )
        return sites
    if not substitution.get(label):
        raise HostError(f"Host {name}, level {label}: no substitution sites are named; list their indices.")
    sites = tuple(int(index) for index in substitution[label])
    outside = [index for index in sites if not 0 <= index < len(structure)]
    if outside:
        raise HostError(
            f"Host {name}, level {label}: site index {outside[0]} is outside 0 to {len(structure) - 1}; "
            "count sites from 0 in the order of the file."
        )
    return sites


def _check_structure(name: str, label: str, structure: Structure) -> None:
    where = f"Host {name}, level {label}"
    if not lattice_is_sound(structure):
        raise HostError(f"{where}: the cell is not finite or has less than 1 Å^3 per atom; check its lattice.")
    if not structure.is_ordered:
        mixed = next(i for i, site in enumerate(structure) if not site.is_ordered)
        raise HostError(
            f"{where}: site {mixed} is disordered ({structure[mixed].species_string}); give an ordered cell, "
            "one of the arrangements of the partial occupancies."
        )
    ratio, i, j = closest_contact(structure)
    if ratio < OVERLAP_RATIO:
        raise HostError(
            f"{where}: sites {i} ({structure[i].specie}) and {j} ({structure[j].specie}) overlap, "
            f"{structure.get_distance(i, j):.2f} Å apart; two alternative positions may both be filled."
        )


def _check_sites(host: Host, level: HostLevel) -> None:
    where = f"Host {host.name}, level {level.label}"
    if not level.site_indices:
        raise HostError(f"{where}: there are no substitution sites.")
    if len(set(level.site_indices)) != len(level.site_indices):
        raise HostError(f"{where}: a substitution site is listed twice.")
    if len(level.site_indices) != host.n_sites:
        raise HostError(
            f"{where}: {len(level.site_indices)} substitution sites, but {host.n_sites} at level "
            f"{host.levels[0].label}; every level needs the same cell."
        )
    for index in level.site_indices:
        symbol = level.structure[index].specie.symbol
        if symbol == host.working_ion:
            raise HostError(f"{where}: site {index} holds the working ion {symbol}, which cannot be substituted.")
        if symbol != host.substituted_element:
            raise HostError(f"{where}: site {index} holds {symbol}, not {host.substituted_element} as the others.")


def _check_working_ions(host: Host) -> None:
    counts = [level.working_ion_count for level in host.levels]
    for level in host.levels:
        where = f"Host {host.name}, level {level.label}"
        found = sum(site.specie.symbol == host.working_ion for site in level.structure)
        if found != level.working_ion_count:
            raise HostError(f"{where}: holds {found} {host.working_ion}, not {level.working_ion_count}.")
        expected = level_label(host.working_ion, found / host.formula_units)
        if level.label != expected:
            raise HostError(
                f"{where}: its cell of {host.formula_units} formula units holds {found} {host.working_ion}, so the "
                f"level is {expected}; correct the label, the file or formula_units."
            )
    if counts[0] == 0:
        raise HostError(f"Host {host.name}: no level holds the working ion {host.working_ion}; check its symbol.")
    if len(set(counts)) != len(counts):
        raise HostError(f"Host {host.name}: two levels hold the same number of {host.working_ion}.")
    if counts != sorted(counts, reverse=True):
        raise HostError(f"Host {host.name}: levels must run from the most to the fewest {host.working_ion}.")


def _check_frameworks(host: Host) -> None:
    frameworks = [
        Counter(site.specie.symbol for site in level.structure if site.specie.symbol != host.working_ion)
        for level in host.levels
    ]
    for level, framework in zip(host.levels, frameworks, strict=True):
        if framework != frameworks[0]:
            raise HostError(
                f"Host {host.name}: the framework of level {level.label} is {_formula(framework)}, that of "
                f"{host.levels[0].label} is {_formula(frameworks[0])}; only {host.working_ion} may differ."
            )
    uneven = [symbol for symbol, count in frameworks[0].items() if count % host.formula_units]
    if uneven:
        raise HostError(
            f"Host {host.name}: {_formula(frameworks[0])} does not divide into {host.formula_units} formula units; "
            "correct formula_units."
        )


def _formula(counts: Counter[str]) -> str:
    return "".join(f"{symbol}{count}" for symbol, count in counts.items())
