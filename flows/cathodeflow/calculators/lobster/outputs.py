"""Read ICOHPLIST.lobster and lobsterout through pymatgen into plain data, refusing files that are cut short.

pymatgen takes a list that lost its last lines, or a number that lost its last digits, as it stands, and reads a
spin-polarised list that lost its second half as an unpolarised one. The checks for that stand here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cathodeflow.calculators.zipped_files import DAMAGED, content_of, existing
from cathodeflow.errors import CalculationError
from cathodeflow.science.electronic.bonding import BondIcohp

_ATOM = re.compile(r"([A-Z][a-z]?)(\d+)")
_SPIN_HEADER = re.compile(r"for\s+spin\s+(\d)")
_HEADER = re.compile(r"COHP#|for spin")
_CONTROL = re.compile(r"[^\t\n\r -~]")
_DECIMALS = re.compile(r"-?\d+\.(\d+)")
# pymatgen's parsers raise these on lines that lack words or hold others than expected.
_PARSER_ERRORS = (ValueError, IndexError, KeyError, RuntimeError, TypeError, UnboundLocalError, AttributeError)


@dataclass(frozen=True, slots=True)
class ProjectionQuality:
    """How well the local basis represents the plane-wave states.

    Attributes
    ----------
    version : str
        Of LOBSTER.
    charge_spilling, total_spilling : tuple of float
        Absolute spilling per spin channel, as fractions; the total is empty where LOBSTER does not tell it (since
        version 5 only with printTotalSpilling).
    basis : dict
        Element to the functions used for it.
    warnings : tuple of str
        What LOBSTER warned of.
    """

    version: str
    charge_spilling: tuple[float, ...]
    total_spilling: tuple[float, ...]
    basis: dict[str, tuple[str, ...]]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LobsterResult:
    """The bonds and the quality of one LOBSTER run."""

    bonds: tuple[BondIcohp, ...]
    quality: ProjectionQuality


def read_lobster(folder: Path, species: Sequence[str]) -> LobsterResult:
    """Read a finished LOBSTER run.

    The ICOHP list does not say how many bonds it should hold; COHPCAR.lobster does, in its second line, and must be
    there for that reason.

    Parameters
    ----------
    folder : Path
        Holds lobsterout, ICOHPLIST.lobster and COHPCAR.lobster, plain or gzipped.
    species : sequence of str
        Element of each atom of the structure, in the order of the POSCAR.

    Returns
    -------
    LobsterResult

    Raises
    ------
    CalculationError
        If a file is missing, incomplete or damaged, or does not belong to these atoms.
    """
    quality = read_lobsterout(existing(folder, "lobsterout"))
    n_bonds, n_spins = _announced(existing(folder, "COHPCAR.lobster"))
    if n_spins != len(quality.charge_spilling):
        raise _broken("lobsterout and COHPCAR.lobster differ in their spin channels")
    bonds = read_icohplist(existing(folder, "ICOHPLIST.lobster"), species, n_spins)
    if len(bonds) != n_bonds:
        raise _broken(f"ICOHPLIST.lobster holds {len(bonds)} of {n_bonds} bonds")
    return LobsterResult(bonds, quality)


def read_icohplist(path: Path, species: Sequence[str], n_spins: int | None = None) -> tuple[BondIcohp, ...]:
    """Read an ICOHPLIST.lobster; entries of single orbitals are left out.

    A list that ends with a whole line looks complete: take `read_lobster`, which knows the number of bonds.

    Parameters
    ----------
    path : Path
        The file, of LOBSTER 2 to 5.
    species : sequence of str
        Element of each atom of the structure.
    n_spins : int, optional
        Spin channels that it must hold.

    Returns
    -------
    tuple of BondIcohp
        In the order of the list.

    Raises
    ------
    CalculationError
        If the file is missing, incomplete or damaged, or does not belong to these atoms.
    """
    from pymatgen.io.lobster import Icohplist

    text = _text(path)
    _require_whole_lines(path.name, text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of LOBSTER versions
            collection = Icohplist(filename=path).icohpcollection
        entries = list(collection._icohplist.values()) if collection is not None else []  # noqa: SLF001  # no public way to the atoms
        bonds = tuple(
            BondIcohp(
                label=str(entry._label),  # noqa: SLF001
                atoms=(_index(entry._atom1, species), _index(entry._atom2, species)),  # noqa: SLF001
                length=float(entry._length),  # noqa: SLF001
                translation=_cell(entry._translation),  # noqa: SLF001
                icohp=tuple(float(value) for _, value in sorted(entry._icohp.items(), key=lambda item: -int(item[0]))),  # noqa: SLF001
                multiplicity=int(entry._num),  # noqa: SLF001
            )
            for entry in entries
        )
    except _PARSER_ERRORS as error:
        raise _broken(f"{path.name} is damaged or incomplete ({error})") from error
    _require_sound(path.name, bonds, text, n_spins)
    return bonds


def read_lobsterout(path: Path) -> ProjectionQuality:
    """Read the protocol of a LOBSTER run, which must have come to its end.

    Parameters
    ----------
    path : Path
        lobsterout.

    Returns
    -------
    ProjectionQuality

    Raises
    ------
    CalculationError
        If the file is missing or damaged, or LOBSTER did not finish.
    """
    from pymatgen.io.lobster import Lobsterout

    text = _text(path)
    if not re.search(r"\d+ ms of sys", text.partition("finished in")[2]):
        raise _broken(f"LOBSTER did not finish: {path.name} lacks its last lines")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            protocol = Lobsterout(path)
        names, functions = list(protocol.elements), list(protocol.basis_functions)
        quality = ProjectionQuality(
            version=str(protocol.lobster_version),
            charge_spilling=tuple(float(value) for value in protocol.charge_spilling),
            total_spilling=tuple(float(value) for value in protocol.total_spilling),
            basis={name: tuple(used) for name, used in zip(names, functions, strict=True)},
            warnings=tuple(protocol.warning_lines),
        )
        n_spins = protocol.number_of_spins
    except _PARSER_ERRORS as error:
        raise _broken(f"{path.name} is damaged or incomplete ({error})") from error
    of_charge, in_total = quality.charge_spilling, quality.total_spilling
    complete = len(of_charge) == n_spins and len(in_total) in (0, n_spins)
    if not complete or not all(0 <= value <= 1 for value in of_charge + in_total):
        raise _broken(f"{path.name} does not state the spilling of every channel")
    return quality


def _broken(what: str) -> CalculationError:
    """Return the error of a file that is missing, cut short, damaged or of another run."""
    return CalculationError(f"{what}; run LOBSTER again.", "broken_output")


def _announced(path: Path) -> tuple[int, int]:
    """Return the number of bonds and of spin channels that COHPCAR.lobster announces in its second line."""
    try:
        curves, spins = (int(word) for word in _text(path).splitlines()[1].split()[:2])
    except (ValueError, IndexError) as error:
        raise _broken(f"{path.name} is damaged or incomplete") from error
    # One curve is the average, and orbital-resolved files count each pair of orbitals too.
    bonds = sum(1 for line in _text(path).splitlines()[2 : 2 + curves] if re.match(r"No\.\d+:[^\[]*\(", line))
    if spins not in {1, 2} or not 1 <= bonds < curves:
        raise _broken(f"{path.name} is damaged or incomplete")
    return bonds, spins


def _require_whole_lines(name: str, text: str) -> None:
    """Refuse a list with a line that is not whole: all have as many words, with as many decimals, as the first."""
    if _CONTROL.search(text):
        raise _broken(f"{name} holds bytes that are no text")
    lines = [line for line in text.splitlines() if line.strip()]
    rows = [line.split() for line in lines if not _HEADER.search(line)]
    if not rows or _HEADER.search(lines[-1]):
        raise _broken(f"{name} holds no bonds or ends in a header")
    patterns = {tuple(_decimals(word) for word in row[3:]) for row in rows}
    if len(patterns) != 1 or not all(row[0].isdigit() for row in rows):
        raise _broken(f"{name} holds a line that is not whole")


def _decimals(word: str) -> int | None:
    """Return how many digits stand behind the point, or None for a word without one."""
    match = _DECIMALS.fullmatch(word)
    return len(match[1]) if match else None


def _require_sound(name: str, bonds: Sequence[BondIcohp], text: str, n_spins: int | None) -> None:
    """Refuse lists whose channels or labels are not those that they announce."""
    headers = {int(spin) for spin in _SPIN_HEADER.findall(text)}
    channels = {len(bond.icohp) for bond in bonds}
    announced = n_spins if n_spins is not None else max(headers, default=1)
    if channels != {announced}:
        raise _broken(f"{name} lacks a spin channel or holds no bonds")
    if [bond.label for bond in bonds] != [str(number + 1) for number in range(len(bonds))]:
        raise _broken(f"{name} lacks bonds in its middle")
    for bond in bonds:
        if not 0 < bond.length < 100 or any(abs(value) > 100 or value != value for value in bond.icohp):  # noqa: PLR0124  # nan
            raise _broken(f"{name} holds an impossible bond {bond.label}")


def _cell(translation: Sequence[float]) -> tuple[int, int, int]:
    """Return a translation as three whole numbers."""
    x, y, z = (int(n) for n in translation)
    return x, y, z


def _index(name: str, species: Sequence[str]) -> int:
    """Return an atom's index from LOBSTER's name, element and number from 1."""
    match = _ATOM.fullmatch(name)
    if match is None or not 1 <= int(match[2]) <= len(species) or species[int(match[2]) - 1] != match[1]:
        raise ValueError(f"{name} is no atom of the structure")
    return int(match[2]) - 1


def _text(path: Path) -> str:
    """Return the decoded file, or say that it cannot be read."""
    try:
        return content_of(path).decode("utf-8")
    except FileNotFoundError as error:
        raise _broken(f"{path.name} is missing") from error
    except (*DAMAGED, UnicodeDecodeError) as error:
        raise _broken(f"{path.name} is damaged ({error})") from error
