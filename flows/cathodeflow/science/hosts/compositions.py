"""Which elements, in which numbers, fill the substitution sites of a host (S0, section 3.2).

Elements within a composition are ordered by atomic number, as in S0 Table 1 (Cu before Mo, Ru before Ag). The first
element is bit 0 of an arrangement's mask, the second is bit 1.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from cathodeflow.errors import DefinitionError

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
    "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr"
)

ELEMENTS_BY_NUMBER = tuple(_SYMBOLS.split())
"""Symbols in the order of atomic number; `ELEMENTS_BY_NUMBER[0]` is hydrogen."""

_NUMBER = {symbol: number for number, symbol in enumerate(ELEMENTS_BY_NUMBER, start=1)}

_SC_TO_ZN, _Y_TO_CD, _HF_TO_HG = (
    ELEMENTS_BY_NUMBER[first - 1 : last] for first, last in ((21, 30), (39, 48), (72, 80))
)

D_BLOCK_30 = (*_SC_TO_ZN, *_Y_TO_CD, "La", *_HF_TO_HG)
"""The thirty d-block elements: Sc to Zn, Y to Cd, La, Hf to Hg. S0 gives the number, not the list."""

_TERM = re.compile(r"([A-Z][a-z]?)([1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Composition:
    """What fills the substitution sites of one cell.

    Attributes
    ----------
    elements : tuple of str
        One or two element symbols, by atomic number.
    counts : tuple of int
        Sites held by each, at least 1.
    """

    elements: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def key(self) -> str:
        """Formula with every count written, e.g. "Cu2Mo6" or "V8"."""
        return "".join(f"{element}{count}" for element, count in zip(self.elements, self.counts, strict=True))

    @property
    def n_sites(self) -> int:
        """Sites filled."""
        return sum(self.counts)

    @property
    def n_second(self) -> int:
        """Sites held by the second element; 0 when there is only one."""
        return self.counts[1] if len(self.counts) > 1 else 0

    @classmethod
    def from_key(cls, key: str) -> Composition:
        """Read "Cu2Mo6".

        Raises
        ------
        DefinitionError
            If the text is not one or two known elements, in order of atomic number, each with a count.
        """
        terms = _TERM.findall(key)
        if not 1 <= len(terms) <= 2 or "".join(symbol + count for symbol, count in terms) != key:
            raise DefinitionError(f"'{key}' is not a composition; write one or two elements with counts, as in Cu2Mo6.")
        elements = tuple(symbol for symbol, _ in terms)
        if elements != ordered_elements(elements):
            raise DefinitionError(f"'{key}' does not list its elements by atomic number, each once.")
        return cls(elements, tuple(int(count) for _, count in terms))


def atomic_number(symbol: str) -> int:
    """Return the atomic number of an element symbol.

    Raises
    ------
    DefinitionError
        If the symbol names no element.
    """
    if symbol not in _NUMBER:
        raise DefinitionError(f"'{symbol}' is not an element; use symbols such as V or Mo.")
    return _NUMBER[symbol]


def ordered_elements(elements: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct elements by atomic number.

    Raises
    ------
    DefinitionError
        If one is unknown.
    """
    return tuple(sorted(set(elements), key=atomic_number))


def element_sets(elements: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Return all sets of one and of two elements: C(30,1) + C(30,2) = 465 for S0's thirty.

    Parameters
    ----------
    elements : iterable of str
        Candidate elements in any order.

    Returns
    -------
    tuple of tuple of str
        First the single elements, then the pairs, each by atomic number.

    Raises
    ------
    DefinitionError
        If no element is given, or one is unknown or given twice.
    """
    listed = tuple(elements)
    if not listed:
        raise DefinitionError("The list of elements is empty; name at least one element.")
    ordered = ordered_elements(listed)
    if len(ordered) != len(listed):
        twice = sorted({symbol for symbol in listed if listed.count(symbol) > 1})
        raise DefinitionError(f"The list of elements names {', '.join(twice)} more than once; name each element once.")
    return (*((element,) for element in ordered), *combinations(ordered, 2))


def compositions(
    elements: Iterable[str], n_sites: int, ratios: Collection[tuple[int, int]] | None = None
) -> Iterator[Composition]:
    """Yield every composition: the unaries, then each pair at 1 … n-1 sites of the first element.

    Parameters
    ----------
    elements : iterable of str
        Candidate elements.
    n_sites : int
        Substitution sites in the cell.
    ratios : collection of (int, int), optional
        Sites of the first and of the second element that binaries may have; all by default.

    Yields
    ------
    Composition
        435 × 7 + 30 = 3,075 of them for S0's thirty elements on eight sites.
    """
    for members in element_sets(elements):
        if len(members) == 1:
            yield Composition(members, (n_sites,))
            continue
        for n_first in range(1, n_sites):
            counts = (n_first, n_sites - n_first)
            if ratios is None or counts in ratios:
                yield Composition(members, counts)
