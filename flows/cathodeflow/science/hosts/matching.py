"""Which candidate of a host a crystal is, whatever the order of its sites, its origin and its orientation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cathodeflow.errors import HostError
from cathodeflow.science.hosts.arrangements import canonical_masks
from cathodeflow.science.hosts.candidates import candidate_key, decorate
from cathodeflow.science.hosts.compositions import ELEMENTS_BY_NUMBER, Composition, ordered_elements
from cathodeflow.science.hosts.host import Host, HostLevel
from cathodeflow.science.hosts.symmetry import site_permutations

if TYPE_CHECKING:
    from pymatgen.core import Structure

SAME_GEOMETRY = 0.01
"""Å. Sites and lattice vectors that differ by less are the same: files round to 1e-4 Å, relaxations move by more."""
SAME_FRAMEWORK = 1.5
"""Å. A relaxed cell has its sites within this of the unrelaxed ones."""
_LOOSE_LENGTHS, _LOOSE_ANGLES = 0.2, 8.0
_STRICT_LENGTHS, _STRICT_ANGLES = 0.002, 0.3
_UNREACHABLE = 1e6


@dataclass(frozen=True)
class Alignment:
    """How a crystal lies on a cell of the host.

    Attributes
    ----------
    order : (n_sites,) int array
        Site i of the host's cell is site ``order[i]`` of the crystal.
    axes : (3, 3) int array
        Lattice vectors of the host's cell in those of the crystal, as rows.
    shift : (3,) float array
        Added to the crystal's fractional coordinates on the host's axes.
    deviation : float
        Largest distance of a site, or change of a lattice vector, Å.
    """

    order: NDArray[np.int64]
    axes: NDArray[np.int64]
    shift: NDArray[np.float64]
    deviation: float

    def lay(self, structure: Structure, onto: Structure) -> Structure:
        """Return a crystal of the same axes and site order as the aligned one, laid on the host's cell.

        Parameters
        ----------
        structure : Structure
            The aligned crystal, or what became of it in a relaxation.
        onto : Structure
            The host's cell: its orientation and its order of sites.

        Returns
        -------
        Structure
            Each site in the image that is closest to that of `onto`.
        """
        from pymatgen.core import Structure

        lattice = self.axes @ structure.lattice.matrix @ self.rotation(structure, onto)
        coords = structure.frac_coords[self.order] @ np.linalg.inv(self.axes) + self.shift
        coords -= np.round(coords - onto.frac_coords)
        return Structure(lattice, [structure[int(index)].specie.symbol for index in self.order], coords)

    def rotation(self, structure: Structure, onto: Structure) -> NDArray[np.float64]:
        """Return the (3, 3) rotation, maybe with a mirror, that turns the crystal's vectors to the host's."""
        overlap = (self.axes @ structure.lattice.matrix).T @ onto.lattice.matrix
        left, _, right = np.linalg.svd(overlap)
        turned: NDArray[np.float64] = left @ right
        return turned


@dataclass(frozen=True)
class Decoration:
    """A crystal recognised as a candidate.

    Attributes
    ----------
    level : str
        Level label.
    composition : Composition
        What fills the substitution sites.
    mask : int
        The canonical arrangement, as candidates have it.
    key : str
        The candidate's key.
    start : Structure
        The unrelaxed candidate, as `candidates.decorate` makes it.
    alignment : Alignment
        Of the crystal on `start`.
    deviation : float
        How far the crystal is from the nearest unrelaxed arrangement that the host's symmetry makes of `start`, Å.
    """

    level: str
    composition: Composition
    mask: int
    key: str
    start: Structure
    alignment: Alignment
    deviation: float

    @property
    def is_unrelaxed(self) -> bool:
        """Whether the crystal has the very geometry that candidates start from."""
        return self.deviation <= SAME_GEOMETRY


def match_decoration(host: Host, structure: Structure, symprec: float = 0.1) -> Decoration:
    """Recognise a crystal as a candidate of a host.

    The composition tells level and elements. The geometry tells the arrangement: all ways to lay the crystal's lattice
    on the level's cell, and its sites on the level's, are tried, and the closest counts. It is canonical up to the
    symmetry that enumeration uses, so that equivalent arrangements get one key.

    Parameters
    ----------
    host : Host
        A checked host.
    structure : Structure
        Ordered, relaxed or not, with as many sites as a cell of the host.
    symprec : float
        As enumeration has it, Å.

    Returns
    -------
    Decoration

    Raises
    ------
    HostError
        It is no decoration of the host; says what does not fit.
    """
    level, composition = _level_and_composition(host, structure)
    bare = _closest(level.structure, structure, _allowed(level, structure, composition))
    if bare is None:
        raise HostError(
            f"{structure.formula} has the composition of {host.name} {level.label} with {composition.key}, "
            f"but its sites do not lie within {SAME_FRAMEWORK:g} Å of the host's"
        )
    symbols = [structure[int(bare.order[site])].specie.symbol for site in level.site_indices]
    raw = sum(1 << bit for bit, symbol in enumerate(symbols) if symbol != composition.elements[0])
    permutations = site_permutations(level.structure, level.site_indices, symprec)
    mask = int(canonical_masks(permutations, np.array([raw], dtype=np.int64))[0])
    start = decorate(level, composition.elements, mask)
    aligned = bare if mask == raw else _closest(start, structure, _same_elements(start, structure))
    if aligned is None:
        raise HostError(f"{structure.formula} cannot be laid on the arrangement {mask:x} of {host.name} {level.label}")
    key = candidate_key(host.name, level.label, composition.key, host.n_sites, mask)
    return Decoration(level.label, composition, mask, key, start, aligned, bare.deviation)


def _level_and_composition(host: Host, structure: Structure) -> tuple[HostLevel, Composition]:
    if not structure.is_ordered:
        raise HostError("the crystal is disordered")
    counts = Counter(site.specie.symbol for site in structure)
    n_ions = counts.pop(host.working_ion, 0)
    level = next((level for level in host.levels if level.working_ion_count == n_ions), None)
    if level is None:
        known = ", ".join(f"{level.working_ion_count} ({level.label})" for level in host.levels)
        raise HostError(f"the cell holds {n_ions} {host.working_ion}; a cell of {host.name} holds {known}")
    sites = set(level.site_indices)
    for index, site in enumerate(level.structure):
        if index not in sites and site.specie.symbol != host.working_ion:
            counts[site.specie.symbol] -= 1
    wrong = sorted(symbol for symbol, number in counts.items() if number < 0)
    left = {symbol: number for symbol, number in counts.items() if number > 0}
    if wrong or sum(left.values()) != host.n_sites:
        raise HostError(f"{structure.formula} is not the framework of {host.name}: {_difference(counts, host.n_sites)}")
    unknown = sorted(set(left) - set(ELEMENTS_BY_NUMBER))
    if unknown or len(left) > 2:
        raise HostError(f"{', '.join(sorted(left))} fill the substitution sites; a candidate has one or two elements")
    elements = ordered_elements(left)
    return level, Composition(elements, tuple(left[element] for element in elements))


def _difference(counts: Counter[str], n_sites: int) -> str:
    """Say what is left when the framework is taken away."""
    over = " ".join(f"{symbol}{number}" for symbol, number in counts.items() if number > 0) or "nothing"
    short = " ".join(f"{symbol}{-number}" for symbol, number in counts.items() if number < 0)
    missing = f", and {short} are missing" if short else ""
    return f"{over} would fill its {n_sites} substitution sites{missing}"


def _allowed(level: HostLevel, structure: Structure, composition: Composition) -> NDArray[np.bool_]:
    """Which site of the crystal (column) may lie on which site of the level (row)."""
    allowed = _same_elements(level.structure, structure)
    symbols = np.array([site.specie.symbol for site in structure])
    allowed[list(level.site_indices)] = np.isin(symbols, composition.elements)
    return allowed


def _same_elements(cell: Structure, structure: Structure) -> NDArray[np.bool_]:
    symbols = np.array([site.specie.symbol for site in structure])
    matrix: NDArray[np.bool_] = np.array([site.specie.symbol for site in cell])[:, None] == symbols[None, :]
    return matrix


def _closest(cell: Structure, structure: Structure, allowed: NDArray[np.bool_]) -> Alignment | None:
    """Return the alignment with the least deviation; None where none is within `SAME_FRAMEWORK`."""
    for lengths, angles in ((_STRICT_LENGTHS, _STRICT_ANGLES), (_LOOSE_LENGTHS, _LOOSE_ANGLES)):
        found = min(
            _alignments(cell, structure, allowed, lengths, angles), key=lambda found: found.deviation, default=None
        )
        if found is not None:
            return found
    return None


def _alignments(
    cell: Structure, structure: Structure, allowed: NDArray[np.bool_], lengths: float, angles: float
) -> Iterator[Alignment]:
    """Yield one alignment for each way to lay the lattice and one site of the rarest kind."""
    pivot = int(allowed.sum(axis=0).argmin())
    if not allowed[:, pivot].any():
        return
    for _, _, scale in structure.lattice.find_all_mappings(cell.lattice, ltol=lengths, atol=angles):
        axes = np.rint(scale).astype(np.int64)
        if abs(round(float(np.linalg.det(axes)))) != 1:
            continue
        off_lattice = _lattice_deviation(cell, axes @ structure.lattice.matrix)
        coords = structure.frac_coords @ np.linalg.inv(axes)
        for target in np.flatnonzero(allowed[:, pivot]):
            found = _assign(cell, coords, allowed, cell.frac_coords[target] - coords[pivot])
            if found is not None:
                order, shift, off_sites = found
                yield Alignment(order, axes, shift, max(off_lattice, off_sites))


def _assign(
    cell: Structure, coords: NDArray[np.float64], allowed: NDArray[np.bool_], shift: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], float] | None:
    """Put each site of the crystal on one of the cell, then take out the common displacement."""
    from scipy.optimize import linear_sum_assignment

    lattice = np.asarray(cell.lattice.matrix)
    apart = coords[None, :, :] + shift - cell.frac_coords[:, None, :]
    apart -= np.round(apart)
    distances = np.where(allowed, np.linalg.norm(apart @ lattice, axis=-1), _UNREACHABLE)
    order = distances.argmin(axis=1)
    if len(set(order.tolist())) != len(order):
        if distances.min(axis=1).max() > 2 * SAME_FRAMEWORK:
            return None
        _, order = linear_sum_assignment(distances**2)
    moved = apart[np.arange(len(order)), order]
    common = moved.mean(axis=0)
    off = float(np.linalg.norm((moved - common) @ lattice, axis=-1).max())
    if off > SAME_FRAMEWORK or not allowed[np.arange(len(order)), order].all():
        return None
    return np.asarray(order, dtype=np.int64), shift - common, off


def _lattice_deviation(cell: Structure, matrix: NDArray[np.float64]) -> float:
    """Largest change of a lattice vector, the lattices turned onto each other, Å."""
    target = np.asarray(cell.lattice.matrix)
    left, _, right = np.linalg.svd(matrix.T @ target)
    return float(np.linalg.norm(matrix @ left @ right - target, axis=1).max())
