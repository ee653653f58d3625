"""POSCAR, INCAR, KPOINTS and POTCAR as VASP reads them, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cathodeflow.calculators.rehearsal.incar import Incar, parse_incar
from cathodeflow.calculators.rehearsal.kpoints import KpointMesh, read_kpoints
from cathodeflow.errors import CalculationError

CORE_ENERGY = 400.0  # eV, taken for ENCUT where neither INCAR nor POTCAR says


@dataclass(frozen=True)
class Potential:
    """One entry of POTCAR.

    Attributes
    ----------
    symbol : str
        Such as ``Fe_pv``.
    title : str
        The TITEL line.
    valence : float
        Electrons that are not frozen.
    """

    symbol: str
    title: str
    valence: float

    @property
    def element(self) -> str:
        """Its chemical element."""
        return self.symbol.split("_")[0]


@dataclass(frozen=True)
class VaspInputs:
    """Everything a run starts from.

    Attributes
    ----------
    comment : str
        First line of POSCAR.
    cell : ndarray of shape (3, 3)
        Lattice vectors as rows, Å.
    fractional : ndarray of shape (n_atoms, 3)
        Positions in units of the lattice vectors.
    counts : list of int
        Atoms of each entry of `potentials`, in POSCAR's order.
    potentials : list of Potential
        One per block of atoms.
    incar : Incar
        Settings.
    kpoints : KpointMesh
        Points and weights.
    warnings : list of str
        What VASP would say and go on.
    """

    comment: str
    cell: np.ndarray
    fractional: np.ndarray
    counts: list[int]
    potentials: list[Potential]
    incar: Incar
    kpoints: KpointMesh
    warnings: list[str]

    @property
    def elements(self) -> list[str]:
        """Element of each atom."""
        return [p.element for p, count in zip(self.potentials, self.counts, strict=True) for _ in range(count)]

    @property
    def valences(self) -> np.ndarray:
        """Valence electrons of each atom, (n_atoms,)."""
        return np.repeat([p.valence for p in self.potentials], self.counts)

    @property
    def electrons(self) -> float:
        """Electrons of the cell."""
        given = self.incar.given.get("NELECT")
        return float(given) if isinstance(given, (int, float)) else float(self.valences.sum())

    @property
    def spins(self) -> int:
        """1 or 2."""
        return self.incar.integer("ISPIN")


def read_inputs(folder: Path) -> VaspInputs:
    """Read the inputs of a run.

    Parameters
    ----------
    folder : Path
        With POSCAR, INCAR, POTCAR or POTCAR.spec, and KPOINTS unless INCAR has KSPACING.

    Returns
    -------
    VaspInputs

    Raises
    ------
    CalculationError
        Something that VASP would refuse, or that this stand-in cannot do; the reason is ``refused``.
    """
    incar = parse_incar(_text(folder, "INCAR"))
    comment, cell, fractional, symbols, counts = _poscar(_text(folder, "POSCAR"))
    potentials = _potentials(folder)
    warnings: list[str] = []
    if len(potentials) != len(counts):
        raise CalculationError(
            f" ERROR: there are {len(potentials)} potentials on File POTCAR, incompatible with number of species "
            f"({len(counts)}) on file POSCAR",
            "refused",
        )
    if symbols and [p.element for p in potentials] != symbols:
        warnings.append(
            "WARNING: type information on POSCAR and POTCAR are incompatible; "
            "POTCAR overwrites the type information in POSCAR"
        )
    elements = [p.element for p, count in zip(potentials, counts, strict=True) for _ in range(count)]
    kpoints = read_kpoints(folder, incar, cell, fractional, elements)
    inputs = VaspInputs(comment, cell, fractional, counts, potentials, incar, kpoints, warnings)
    _refuse(inputs)
    return inputs


def read_crystal(file: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read a POSCAR or CONTCAR that names its elements.

    Returns
    -------
    cell : ndarray of shape (3, 3)
        Lattice vectors as rows, Å.
    fractional : ndarray of shape (n_atoms, 3)
        Positions.
    elements : list of str
        Of each atom.

    Raises
    ------
    CalculationError
        The file is missing, damaged, or of the old format without names; the reason is ``refused``.
    """
    _, cell, fractional, symbols, counts = _poscar(_text(file.parent, file.name))
    if not symbols:
        raise CalculationError(f" ERROR: {file.name} names no elements", "refused")
    return cell, fractional, [s for s, count in zip(symbols, counts, strict=True) for _ in range(count)]


def _text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text()
    except FileNotFoundError as error:
        raise CalculationError(f" ERROR: file {name} is missing in {folder.name}", "refused") from error


def _poscar(text: str) -> tuple[str, np.ndarray, np.ndarray, list[str], list[int]]:
    """Return comment, lattice, fractional positions, symbols (empty in the old format) and counts."""
    lines = text.splitlines()
    try:
        scale = [float(word) for word in lines[1].split()[:3]]
        cell = np.array([[float(word) for word in line.split()[:3]] for line in lines[2:5]])
        factor = (-scale[0] / abs(np.linalg.det(cell))) ** (1 / 3) if scale[0] < 0 else np.array(scale)
        cell = cell * factor
        named = not lines[5].split()[0].isdigit()
        symbols = [word.split("_")[0].split("/")[0] for word in lines[5].split()] if named else []
        at = 6 if named else 5
        counts = [int(word) for word in lines[at].split()]
        at += 1
        if lines[at].strip()[:1].lower() == "s":
            at += 1
        cartesian = lines[at].strip()[:1].lower() in {"c", "k"}
        rows = lines[at + 1 : at + 1 + sum(counts)]
        positions = np.array([[float(word) for word in line.split()[:3]] for line in rows])
    except (ValueError, IndexError) as error:
        raise CalculationError(
            " ERROR: there must be 1 or 3 items on line 2 of POSCAR, 3 x 3 numbers for the lattice, "
            f"and one line per atom ({error})",
            "refused",
        ) from error
    if positions.shape != (sum(counts), 3) or (named and len(symbols) != len(counts)):
        raise CalculationError(" ERROR: POSCAR has not as many atoms or names as it says", "refused")
    if np.linalg.det(cell) <= 0:
        raise CalculationError(
            " ERROR: the triple product of the basis vectors is negative exchange two basis vectors", "refused"
        )
    if cartesian:
        positions = (positions * factor) @ np.linalg.inv(cell)
    return lines[0].strip(), cell, positions, symbols, counts


def _potentials(folder: Path) -> list[Potential]:
    if (folder / "POTCAR").is_file():
        text = (folder / "POTCAR").read_text(errors="replace")
        titles = re.findall(r"TITEL\s*=\s*(.+)", text)
        valences = [float(value) for value in re.findall(r"ZVAL\s*=\s*([\d.]+)", text)]
        if not titles or len(titles) != len(valences):
            raise CalculationError(" ERROR: POTCAR has no TITEL and ZVAL for each species", "refused")
        return [Potential(t.split()[1], t.strip(), z) for t, z in zip(titles, valences, strict=True)]
    spec = folder / "POTCAR.spec"
    if not spec.is_file():
        raise CalculationError(" ERROR: file POTCAR is missing (nor is there a POTCAR.spec)", "refused")
    symbols = [word for word in spec.read_text().split() if word]
    return [Potential(symbol, f"PAW_PBE {symbol} rehearsal", valence_of(symbol)) for symbol in symbols]


def valence_of(symbol: str) -> float:
    """Return the valence electrons of a potential that is known by its symbol only.

    Outer s and p electrons, and d electrons of an open d shell or of a ``_d`` potential; ``_pv`` adds the six p
    electrons below, ``_sv`` those and two s electrons (three for Li, eight electrons fewer where there are none below).

    Raises
    ------
    CalculationError
        There is no such element.
    """
    from pymatgen.core import Element

    name, _, suffix = symbol.partition("_")
    if not Element.is_valid_symbol(name):
        raise CalculationError(f" ERROR: there is no element {name!r} of POTCAR.spec", "refused")
    element = Element(name)
    group = element.group
    outer = group - 10 if group > 12 and not suffix.startswith("d") else group
    if name == "He":
        return 2.0
    semicore = {"pv": 6, "sv": 8}.get(suffix.split("_")[0], 0) if element.Z > 10 else {"sv": 2}.get(suffix, 0)
    if group > 12:
        semicore = 0
    return float(outer + semicore)


def _refuse(inputs: VaspInputs) -> None:
    """Refuse what VASP refuses, and what this stand-in does not do."""
    incar, atoms = inputs.incar, len(inputs.fractional)
    species = len(inputs.counts)
    if incar.given.get("MAGMOM") is not None and len(incar.numbers("MAGMOM")) < atoms:
        raise CalculationError(
            " Error reading item 'MAGMOM' from file INCAR.\n"
            f" there are {len(incar.numbers('MAGMOM'))} values for {atoms} ions",
            "refused",
        )
    for tag in ("LDAUU", "LDAUJ", "LDAUL"):
        if incar.switch("LDAU") and len(incar.numbers(tag)) != species:
            raise CalculationError(
                f" Error reading item '{tag}' from file INCAR.\n"
                f" there are {len(incar.numbers(tag))} values for {species} species",
                "refused",
            )
    if incar.integer("ISMEAR") <= -4 and len(inputs.kpoints.points) < 4:
        raise CalculationError(
            " VERY BAD NEWS! internal error in subroutine IBZKPT:\n"
            f" Tetrahedron method fails for NKPT<4. NKPT = {len(inputs.kpoints.points)}\n"
            " Tetrahedron method fails (number of k-points < 4)",
            "refused",
        )
    bands = incar.given.get("NBANDS")
    if isinstance(bands, int) and bands * 2 < inputs.electrons:
        raise CalculationError(
            f" ERROR: the number of bands is not sufficient to hold all electrons. TOO FEW BANDS: NBANDS={bands}, "
            f"NELECT={inputs.electrons:g}",
            "refused",
        )
    if incar.ibrion not in {-1, 1, 2, 3} and incar.integer("NSW") > 0:
        raise CalculationError(
            f" REHEARSAL: IBRION = {incar.ibrion} is not rehearsed; it does -1, 1, 2 and 3", "refused"
        )
    if incar.integer("ISIF") not in {0, 1, 2, 3, 4, 8}:
        raise CalculationError(
            f" REHEARSAL: ISIF = {incar.integer('ISIF')} is not rehearsed; it does 0-4 and 8", "refused"
        )
    if incar.switch("LNONCOLLINEAR") or incar.switch("LSORBIT"):
        raise CalculationError(" REHEARSAL: noncollinear magnetism is not rehearsed", "refused")
