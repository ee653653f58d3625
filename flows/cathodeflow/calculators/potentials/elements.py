"""Starting structures of the elemental phases and molecules that formation energies stand on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import CalculationError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from cathodeflow.science.hosts.host import Host

MOLECULES = {"H": 0.74, "N": 1.10, "O": 1.21, "F": 1.42, "Cl": 1.99, "Br": 2.28}  # bond length of the dimer, Å
BOX = 12.0  # edge of a molecule's box, Å: no potential here sees further than half of it
CLOSE_PACKED = ("fcc", "hcp", "bcc")


@dataclass(frozen=True)
class ElementalPhase:
    """A starting structure of an element.

    Attributes
    ----------
    phase : str
        Which phase or molecule it is, in words.
    structure : Structure
        Unrelaxed.
    is_molecule : bool
        Whether it stands alone in a box, whose lattice is not to be relaxed.
    is_hypothetical : bool
        Whether it is a lattice that nature does not choose.
    """

    phase: str
    structure: Structure
    is_molecule: bool = False
    is_hypothetical: bool = False


def elemental_phases(element: str) -> list[ElementalPhase]:
    """Return the phases of an element that come into question; the reference is the lowest after relaxation.

    The experimental phase comes first: from the packaged table (Mn, P, S, B, Ga, C), as a dimer in a box (H, N, O, F,
    Cl, Br), else from `ase.data.reference_states`. Metals are also tried in the close-packed lattices and
    bcc at the same volume per atom, since a potential may prefer another one than nature.

    Parameters
    ----------
    element : str
        Symbol.

    Returns
    -------
    list of ElementalPhase
        At least one.

    Raises
    ------
    CalculationError
        No starting structure is known, with reason ``missing_reference``.
    """
    if element in MOLECULES:
        return [ElementalPhase(f"{element}2 molecule in a {BOX:g} Å box", _dimer(element), is_molecule=True)]
    packaged = [ElementalPhase(entry["phase"], _from_table(element, entry)) for entry in _table().get(element, [])]
    if packaged and element != "Mn":
        return packaged
    return packaged + _lattices(element)


def _lattices(element: str) -> list[ElementalPhase]:
    """Return the lattice ase.data lists for the element, then the other ones if it is a metal."""
    from ase.build import bulk
    from ase.data import atomic_numbers, reference_states
    from pymatgen.core import Element
    from pymatgen.io.ase import AseAtomsAdaptor

    listed = reference_states[atomic_numbers[element]] or {}
    symmetry = listed.get("symmetry", "")
    phases = []
    volume = None
    if symmetry in {"fcc", "bcc", "hcp", "diamond", "rhombohedral", "sc"}:
        try:
            atoms = bulk(element)
        except ValueError as error:  # ase.data lists a lattice without what it takes to build it (Se, Te)
            raise _no_structure(element) from error
        volume = atoms.cell.volume / len(atoms)
        phases.append(ElementalPhase(symmetry, AseAtomsAdaptor.get_structure(atoms)))
    if not Element(element).is_metal:
        if not phases:
            raise _no_structure(element)
        return phases
    volume = volume or 4 / 3 * math.pi * float(Element(element).atomic_radius or 1.5) ** 3 / 0.74  # close packed
    for lattice in CLOSE_PACKED:
        if lattice != symmetry:
            atoms = _lattice_of_volume(element, lattice, volume)
            phases.append(ElementalPhase(lattice, AseAtomsAdaptor.get_structure(atoms), is_hypothetical=True))
    return phases


def _lattice_of_volume(element: str, lattice: str, volume: float) -> Any:
    from ase.build import bulk

    if lattice == "hcp":
        a = (2 * volume / (3**0.5 / 2 * 1.633)) ** (1 / 3)
        return bulk(element, "hcp", a=a, covera=1.633)
    per_cell = {"fcc": 4, "bcc": 2}[lattice]
    return bulk(element, lattice, a=(volume * per_cell) ** (1 / 3))


def _dimer(element: str) -> Structure:
    from pymatgen.core import Lattice, Structure

    bond = MOLECULES[element]
    return Structure(Lattice.cubic(BOX), [element] * 2, [[0.0, 0.0, 0.0], [0.0, 0.0, bond]], coords_are_cartesian=True)


def _from_table(element: str, entry: dict[str, Any]) -> Structure:
    from pymatgen.core import Lattice, Structure

    orbits = entry["orbits"]
    lattice = Lattice.from_parameters(*entry["lattice"])
    structure = Structure.from_spacegroup(entry["space_group"], lattice, [element] * len(orbits), orbits)
    return structure.get_primitive_structure()


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    text = resources.files("cathodeflow.calculators.potentials").joinpath("data/phases.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def _no_structure(element: str) -> CalculationError:
    return CalculationError(
        f"no elemental phase of {element} is packaged, so it has no reference energy: leave {element} out",
        "missing_reference",
    )


def reference_elements(host: Host, substituents: Iterable[str]) -> list[str]:
    """Return every element a campaign needs a reference for, sorted.

    Parameters
    ----------
    host : Host
        All elements of its levels count, the substituted one too: the pristine host is computed as well.
    substituents : iterable of str
        Elements that may fill its sites.
    """
    held = {site.specie.symbol for level in host.levels for site in level.structure}
    return sorted(held | set(substituents))
