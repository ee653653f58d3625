"""Theoretical gravimetric capacity."""

from __future__ import annotations

from collections.abc import Mapping

from cathodeflow.errors import DefinitionError

FARADAY_CONSTANT = 96485.33212331
"""C/mol; the product of the elementary charge and Avogadro's number, both exact since 2019."""

_COULOMB_PER_MILLIAMPERE_HOUR = 3.6


def molar_mass(counts: Mapping[str, float]) -> float:
    """Return the molar mass of a formula in g/mol, from standard atomic weights.

    Parameters
    ----------
    counts : mapping of str to float
        Atoms of each element in the formula.
    """
    from pymatgen.core import Composition

    return float(Composition(dict(counts)).weight)


def gravimetric_capacity(n_ions: float, mass: float, electrons_per_ion: int = 1) -> float:
    """Return Q = n z F / (3.6 M), the capacity of n ions exchanged per formula of mass M.

    S0 section 1 states 128 mAh/g for NVPF: two of the three Na of Na3V2(PO4)2F3, per gram of Na3V2(PO4)2F3.

    Parameters
    ----------
    n_ions : float
        Working ions exchanged per formula.
    mass : float
        Molar mass of the formula that the capacity refers to, g/mol; usually the discharged one.
    electrons_per_ion : int
        Valence of the ion.

    Returns
    -------
    float
        mAh/g.

    Raises
    ------
    DefinitionError
        If the mass is not positive.
    """
    if not mass > 0:
        raise DefinitionError(f"A molar mass of {mass} g/mol has no capacity; give a positive one.")
    return n_ions * electrons_per_ion * FARADAY_CONSTANT / (_COULOMB_PER_MILLIAMPERE_HOUR * mass)
