"""Candidates: every level × composition × distinct arrangement of a host, and the crystal of each when asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathodeflow.errors import DefinitionError
from cathodeflow.science.hosts.arrangements import burnside_count, count_all, distinct_arrangements
from cathodeflow.science.hosts.compositions import Composition, compositions
from cathodeflow.science.hosts.host import Host, HostLevel
from cathodeflow.science.hosts.symmetry import site_permutations

if TYPE_CHECKING:
    from pymatgen.core import Structure

PAPER_COMPOUNDS = 3480
PAPER_STRUCTURES = 87870
PAPER_SENTENCE = (
    "S0 states 3,480 compounds and 87,870 structures: 435 pairs × 8 and 435 pairs × 202. Thirty unary and 435 × 7 "
    "binary compositions are 3,075, and the symmetry of no cell here leaves 202 arrangements a pair, so our counts are "
    "derived from the cells themselves, level by level."
)
"""Why our counts differ from S0 section 3.2."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One arrangement of one composition at one level.

    Attributes
    ----------
    host, level : str
        Host name and level label.
    composition : str
        Composition key, e.g. "Cu2Mo6".
    elements, counts : tuple
        Elements by atomic number and the sites each holds.
    mask : int
        Bit i is set where the level's i-th substitution site carries the second element.
    multiplicity : int
        Arrangements equivalent to this one, itself included.
    """

    host: str
    level: str
    composition: str
    elements: tuple[str, ...]
    counts: tuple[int, ...]
    mask: int
    multiplicity: int

    @property
    def key(self) -> str:
        """Unique, filename-safe name, e.g. "nvpf-Na3-Cu2Mo6-3f"; the mask is in hexadecimal."""
        return candidate_key(self.host, self.level, self.composition, sum(self.counts), self.mask)


class CandidateKey(NamedTuple):
    """The parts of a candidate's key."""

    host: str
    level: str
    composition: Composition
    mask: int


@dataclass(frozen=True, slots=True)
class LevelCounts:
    """Sizes of one level's space: compositions, distinct arrangements, all arrangements without symmetry."""

    level: str
    permutations: int
    compositions: int
    distinct: int
    arrangements: int


@dataclass(frozen=True, slots=True)
class SpaceCounts:
    """Sizes of a host's space.

    Attributes
    ----------
    element_sets : int
        Single elements and pairs.
    compositions : int
        Distinct compositions of one level.
    levels : tuple of LevelCounts
        From the most to the fewest working ions.
    """

    element_sets: int
    compositions: int
    levels: tuple[LevelCounts, ...]

    @property
    def distinct(self) -> int:
        """Candidates over all levels, one per symmetry class."""
        return sum(level.distinct for level in self.levels)

    @property
    def arrangements(self) -> int:
        """Arrangements over all levels, symmetry ignored."""
        return sum(level.arrangements for level in self.levels)


def candidate_key(host: str, level: str, composition: str, n_sites: int, mask: int) -> str:
    """Return the key of a candidate; the mask takes ceil(n_sites / 4) hexadecimal digits."""
    return f"{host}-{level}-{composition}-{mask:0{(n_sites + 3) // 4}x}"


def parse_candidate_key(key: str) -> CandidateKey:
    """Return the parts of a key such as "nvpf-Na3-Cu2Mo6-3f".

    Raises
    ------
    DefinitionError
        If the text is no such key or its mask does not fit its composition.
    """
    parts = key.rsplit("-", 3)
    if len(parts) != 4 or not all(parts):
        raise DefinitionError(f"'{key}' is not a candidate; a key looks like nvpf-Na3-Cu2Mo6-3f.")
    host, level, composition_key, digits = parts
    composition = Composition.from_key(composition_key)
    try:
        mask = int(digits, 16)
    except ValueError:
        raise DefinitionError(f"'{key}' does not end in a hexadecimal mask, as nvpf-Na3-Cu2Mo6-3f does.") from None
    if mask.bit_count() != composition.n_second or mask >> composition.n_sites:
        raise DefinitionError(f"The mask of '{key}' does not place {composition_key} on {composition.n_sites} sites.")
    if candidate_key(host, level, composition_key, composition.n_sites, mask) != key:
        raise DefinitionError(f"'{key}' is not written as candidates are; a key looks like nvpf-Na3-Cu2Mo6-3f.")
    return CandidateKey(host, level, composition, mask)


def enumerate_candidates(
    host: Host,
    elements: Iterable[str],
    levels: Sequence[str] | None = None,
    symprec: float = 0.1,
    ratios: Collection[tuple[int, int]] | None = None,
) -> Iterator[Candidate]:
    """Yield every distinct candidate, level by level, composition by composition, by ascending mask.

    Parameters
    ----------
    host : Host
        A checked host.
    elements : iterable of str
        Elements that may fill the substitution sites.
    levels : sequence of str, optional
        Labels to enumerate; all by default.
    symprec : float
        Distance tolerance of the symmetry in Å.
    ratios : collection of (int, int), optional
        Site counts that binaries may have; all by default.

    Yields
    ------
    Candidate
        Without its crystal; `decorate` makes that when it is needed.

    Raises
    ------
    DefinitionError
        If an element is unknown, given twice, or is the working ion.
    HostError
        If a level does not exist or there are too many sites.
    """
    space = _compositions(host, elements, ratios)
    for label in levels or host.level_labels:
        level = host.level(label)
        permutations = site_permutations(level.structure, level.site_indices, symprec)
        for composition in space:
            key = composition.key
            for arrangement in distinct_arrangements(permutations, host.n_sites, composition.n_second):
                yield Candidate(
                    host.name,
                    label,
                    key,
                    composition.elements,
                    composition.counts,
                    arrangement.mask,
                    arrangement.multiplicity,
                )


def count_space(
    host: Host,
    elements: Iterable[str],
    symprec: float = 0.1,
    ratios: Collection[tuple[int, int]] | None = None,
) -> SpaceCounts:
    """Count a host's space without listing it, by Burnside's lemma.

    Parameters
    ----------
    host : Host
        A checked host.
    elements : iterable of str
        Elements that may fill the substitution sites.
    symprec : float
        Distance tolerance of the symmetry in Å.
    ratios : collection of (int, int), optional
        Site counts that binaries may have; all by default.

    Returns
    -------
    SpaceCounts
        Compare with `PAPER_COMPOUNDS` and `PAPER_STRUCTURES`; `PAPER_SENTENCE` says why they differ.

    Raises
    ------
    DefinitionError
        As `enumerate_candidates`.
    """
    space = _compositions(host, elements, ratios)
    per_ratio = Counter(composition.n_second for composition in space)
    levels = []
    for level in host.levels:
        permutations = site_permutations(level.structure, level.site_indices, symprec)
        distinct = sum(n * burnside_count(permutations, k) for k, n in per_ratio.items())
        every = sum(n * count_all(host.n_sites, k) for k, n in per_ratio.items())
        levels.append(LevelCounts(level.label, len(permutations), len(space), distinct, every))
    sets = len({composition.elements for composition in space})
    return SpaceCounts(sets, len(space), tuple(levels))


def count_by_ratio(permutations: NDArray[np.int64]) -> Mapping[int, int]:
    """Return distinct arrangements by number of sites that carry the second element, from 1 to n_sites - 1."""
    return {k: burnside_count(permutations, k) for k in range(1, permutations.shape[1])}


def decorate(level: HostLevel, elements: Sequence[str], mask: int) -> Structure:
    """Return the substituted, unrelaxed crystal of a candidate.

    Sites keep the order and the positions of the host cell, so all crystals of one level share their neighbours.

    Parameters
    ----------
    level : HostLevel
        The level of the candidate.
    elements : sequence of str
        One or two elements: sites whose bit is 0 get the first, those whose bit is 1 the second.
    mask : int
        Arrangement over `level.site_indices`.

    Returns
    -------
    Structure

    Raises
    ------
    DefinitionError
        If the mask needs a site or an element that is not there.
    """
    from pymatgen.core import Structure

    if mask < 0 or mask >> len(level.site_indices) or (mask and len(elements) < 2):
        raise DefinitionError(
            f"Mask {mask:#x} does not place {'/'.join(elements)} on the {len(level.site_indices)} sites "
            f"of {level.label}."
        )
    species = [site.specie.symbol for site in level.structure]
    for bit, index in enumerate(level.site_indices):
        species[index] = elements[mask >> bit & 1]
    return Structure(level.structure.lattice, species, level.structure.frac_coords)


def _compositions(
    host: Host, elements: Iterable[str], ratios: Collection[tuple[int, int]] | None
) -> tuple[Composition, ...]:
    listed = tuple(elements)
    if host.working_ion in listed:
        raise DefinitionError(
            f"The list of elements names {host.working_ion}, the working ion of {host.name}; take it off the list."
        )
    return tuple(compositions(listed, host.n_sites, ratios))
