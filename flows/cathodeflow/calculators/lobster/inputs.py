"""What LOBSTER is asked for: the basis of each element, the bands VASP must give it, and lobsterin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cathodeflow.errors import DefinitionError

if TYPE_CHECKING:
    from pymatgen.core import Structure

BASIS_SET = "pbeVaspFit2015"
START_EV, END_EV = -35.0, 5.0
"""Energy range, eV against the Fermi level: pymatgen's, below the 2s states of oxygen and fluorine."""
SHORTEST = 0.5
"""Å; no bond is shorter, and LOBSTER wants a lower bound."""
LIGANDS = ("O", "F")

_FUNCTIONS = {"s": 1, "p": 3, "d": 5, "f": 7}
# VASP's 5.4 library has no W_pv, so that pymatgen's table lacks it; the Materials Project's older one has. Its valence,
# 5p6 5d4 6s2, gives the functions that the table has for its neighbours Hf_pv, Ta_pv and Re_pv.
_NOT_IN_TABLE = {"W_pv": ("5d", "5p", "6s")}


def lobster_basis(potcar_symbols: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Choose the basis functions that belong to the POTCARs of a run.

    Parameters
    ----------
    potcar_symbols : mapping of str to str
        Element to the symbol of its POTCAR, such as ``{"V": "V_pv", "O": "O"}``.

    Returns
    -------
    dict of str to tuple of str
        Element to its functions, such as ``("3d", "3p", "4s")``: pymatgen's standard table, made for the PBE_54
        library. Symbols of the older PBE library have the same valence where both have them.

    Raises
    ------
    DefinitionError
        There is no basis for a symbol.
    """
    table = _table()
    missing = sorted(symbol for symbol in potcar_symbols.values() if symbol not in table)
    if missing:
        raise DefinitionError(
            f"there is no LOBSTER basis for the POTCAR {', '.join(missing)}: "
            "override potcar_symbols with one that pymatgen's BASIS_PBE_54_standard lists, or leave out branch bonding"
        )
    return {element: table[symbol] for element, symbol in potcar_symbols.items()}


def basis_functions(structure: Structure, basis: Mapping[str, tuple[str, ...]]) -> int:
    """Return the number of basis functions of a cell; raises DefinitionError where an element has none."""
    elements = [site.specie.symbol for site in structure]
    missing = sorted(set(elements) - set(basis))
    if missing:
        raise DefinitionError(f"there are no basis functions for {', '.join(missing)}: give its POTCAR's symbol too")
    return sum(_FUNCTIONS[name[-1]] for element in elements for name in basis[element])


def minimal_n_bands(
    structure: Structure, basis: Mapping[str, tuple[str, ...]], n_electrons: float, *, unpaired: float = 0.0
) -> int:
    """Return NBANDS that the static run before LOBSTER needs.

    LOBSTER wants a band for each basis function; VASP wants room for its electrons: as many bands as it takes by
    itself.

    Parameters
    ----------
    structure : Structure
        The cell.
    basis : mapping
        As `lobster_basis` gives it.
    n_electrons : float
        Valence electrons of the cell.
    unpaired : float
        Unpaired electrons of the cell, at most (the sum of the starting moments' magnitudes).

    Returns
    -------
    int

    Raises
    ------
    DefinitionError
        An element has no basis.
    """
    # VASP's own default for spin-polarised runs (wiki, NBANDS), with the unpaired electrons all in one channel.
    own = max(math.ceil((n_electrons + 2) / 2) + max(math.ceil(len(structure) / 2), 3), math.ceil(0.6 * n_electrons))
    return max(basis_functions(structure, basis), own + math.ceil(unpaired / 2))


def write_lobsterin(
    folder: Path,
    structure: Structure,
    basis: Mapping[str, tuple[str, ...]],
    *,
    cutoff: float,
    centres: Collection[str] = (),
    ligands: Collection[str] = LIGANDS,
    start: float = START_EV,
    end: float = END_EV,
    gaussian_width: float | None = None,
) -> Path:
    """Write lobsterin: COHP of every bond between a polyhedron's centre and a ligand.

    Parameters
    ----------
    folder : Path
        Where LOBSTER will run.
    structure : Structure
        The cell of VASP's run.
    basis : mapping
        As `lobster_basis` gives it.
    cutoff : float
        Longest bond, Å: that of the polyhedra. A hundredth is added, for atoms that the files round.
    centres : collection of str
        Elements in the middle of the polyhedra; by default the transition metals.
    ligands : collection of str
        Elements of the polyhedra's corners.
    start, end : float
        Energy range against the Fermi level, eV; it must hold all valence states of the ligands.
    gaussian_width : float, optional
        eV; for a static run without the tetrahedron method (ISMEAR not -5), its SIGMA.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DefinitionError
        An element has no basis, the cell has no centre or no ligand, or the range holds no Fermi level.
    """
    basis_functions(structure, basis)
    present = {site.specie.symbol: site.specie for site in structure}
    metals = [
        name for name, element in present.items() if (name in centres if centres else element.is_transition_metal)
    ]
    corners = [name for name in present if name in ligands]
    if not metals or not corners:
        middles = " or ".join(sorted(centres)) or "a transition metal"
        raise DefinitionError(
            f"{structure.composition.reduced_formula} has no bonds of {middles} to {' or '.join(ligands)}: "
            "leave out branch bonding"
        )
    if not start < 0 < end or cutoff <= SHORTEST:
        raise DefinitionError(
            f"LOBSTER cannot look from {start} to {end} eV at bonds up to {cutoff} Å: "
            f"the range must hold 0, the cutoff be above {SHORTEST} Å"
        )
    lines = [f"COHPStartEnergy {start:g}", f"COHPEndEnergy {end:g}", f"basisSet {BASIS_SET}"]
    lines += [f"basisfunctions {name} {' '.join(basis[name])}" for name in present]
    lines += [
        f"cohpGenerator from {SHORTEST:g} to {cutoff + 0.01:g} type {metal} type {corner}"
        for metal, corner in itertools.product(metals, corners)
    ]
    if gaussian_width is not None:
        lines.append(f"gaussianSmearingWidth {gaussian_width:g}")
    # Nothing reads these, and they are large.
    lines += ["skipdos", "skipcoop", "skipcobi", "skipMadelungEnergy"]
    file = folder / "lobsterin"
    file.write_text("\n".join(lines) + "\n", encoding="ascii")
    return file


@lru_cache(maxsize=1)
def _table() -> dict[str, tuple[str, ...]]:
    """Return the basis by POTCAR symbol, of pymatgen's standard table."""
    from importlib.resources import files

    import yaml

    text = files("pymatgen.io.lobster").joinpath("lobster_basis/BASIS_PBE_54_standard.yaml").read_text("utf-8")
    listed = yaml.safe_load(text)["BASIS"]
    return {**_NOT_IN_TABLE, **{symbol: tuple(functions.split()) for symbol, functions in listed.items()}}
