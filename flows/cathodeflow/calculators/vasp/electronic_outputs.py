"""Read what a finished run says of its electrons: EIGENVAL, DOSCAR, and the valences in vasprun.xml.

These files are small beside vasprun.xml, and EIGENVAL has six decimals where vasprun.xml has four. Files that are cut
off or damaged are refused, never read as far as they go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cathodeflow.calculators.zipped_files import DAMAGED, content_of, existing, opened
from cathodeflow.errors import CalculationError
from cathodeflow.records.outcomes import Reason
from cathodeflow.science.electronic.pdos import PartialDos

ORBITALS = ("s", "py", "pz", "px", "dxy", "dyz", "dz2", "dxz", "x2-y2", "f-3", "f-2", "f-1", "f0", "f1", "f2", "f3")
"""VASP's orbitals with LORBIT = 11, in the order of DOSCAR's columns; nine of them without f states."""
_HEADER_LINES = 5  # of DOSCAR and EIGENVAL, before the numbers that say how much follows
# Fortran drops the E of an exponent with three digits.
_LONG_EXPONENT = re.compile(r"(\d)([+-]\d{3})(?=\s)")
_CALLED = {"r": "Zr"}
"""Elements that vasprun.xml gives another name; pymatgen knows it too."""
_ENERGY_DECIMALS = 2e-3  # eV; DOSCAR gives its energies with three


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single truth
class Eigenvalues:
    """Bands of a run, as `science.electronic.band_edges.band_edges` takes them.

    Attributes
    ----------
    energies, occupations : (nspin, nk, nband) array
        eV; 0 to 1.
    k_points : (nk, 3) array
        Fractional.
    weights : (nk,) array
        Zero for points that were added to look at them.
    electrons : int
        Of the cell, rounded by VASP.
    """

    energies: NDArray[np.float64]
    occupations: NDArray[np.float64]
    k_points: NDArray[np.float64]
    weights: NDArray[np.float64]
    electrons: int


def read_eigenvalues(folder: Path) -> Eigenvalues:
    """Read EIGENVAL.

    Parameters
    ----------
    folder : Path
        Of the run.

    Returns
    -------
    Eigenvalues

    Raises
    ------
    CalculationError
        The file is missing, cut off or damaged (reason ``broken_output``).
    """
    lines = _text(existing(folder, "EIGENVAL")).splitlines()
    try:
        spins = int(lines[0].split()[3])
        electrons, n_points, n_bands = (int(word) for word in lines[_HEADER_LINES].split())
        _require(spins in {1, 2}, f"{spins} spin channels")
        blocks = [line for line in lines[_HEADER_LINES + 1 :] if line.strip()]
        _require(
            len(blocks) == n_points * (n_bands + 1), f"{len(blocks)} lines for {n_points} k-points of {n_bands} bands"
        )
        heads = np.array([[float(word) for word in line.split()] for line in blocks[:: n_bands + 1]])
        bands = [line.split() for index, line in enumerate(blocks) if index % (n_bands + 1)]
        values = np.array(bands, dtype=np.float64).reshape(n_points, n_bands, 1 + 2 * spins)
    except (ValueError, IndexError) as error:
        raise _broken("EIGENVAL", error) from error
    numbered = (values[:, :, 0] == np.arange(1, n_bands + 1)).all()
    if heads.shape != (n_points, 4) or not numbered or not np.isfinite(values).all():
        raise _broken("EIGENVAL", "k-points or bands are missing or no numbers")
    return Eigenvalues(
        energies=values[:, :, 1 : 1 + spins].transpose(2, 0, 1).copy(),
        occupations=values[:, :, 1 + spins :].transpose(2, 0, 1).copy(),
        k_points=heads[:, :3],
        weights=heads[:, 3],
        electrons=electrons,
    )


def read_fermi_energy(folder: Path) -> float:
    """Return the Fermi energy that DOSCAR states, eV.

    Raises
    ------
    CalculationError
        The file is missing or damaged (reason ``broken_output``).
    """
    try:
        return _grid(_text(existing(folder, "DOSCAR")).splitlines()[_HEADER_LINES])[3]
    except (ValueError, IndexError) as error:
        raise _broken("DOSCAR", error) from error


def read_partial_dos(folder: Path, species: Sequence[str]) -> PartialDos:
    """Read the projections on atoms and orbitals from DOSCAR (LORBIT = 11).

    Parameters
    ----------
    folder : Path
        Of the run.
    species : sequence of str
        Element of each atom, in the order of the run's POSCAR.

    Returns
    -------
    PartialDos
        On the energies of the file, on VASP's scale.

    Raises
    ------
    CalculationError
        The file is missing, cut off, damaged, of other atoms or without projections (reason ``broken_output``).
    """
    lines = _text(existing(folder, "DOSCAR")).splitlines()
    try:
        highest, lowest, n_energies, fermi = _grid(lines[_HEADER_LINES])
        expected = _HEADER_LINES + (1 + len(species)) * (1 + n_energies)
        _require(len(lines) == expected, f"{len(lines)} lines instead of {expected}")
        blocks = [
            _block(lines[start + 1 : start + 1 + n_energies])
            for start in range(_HEADER_LINES, expected, 1 + n_energies)
        ]
    except (ValueError, IndexError) as error:
        raise _broken("DOSCAR", error) from error
    spins = {3: 1, 5: 2}.get(blocks[0].shape[1], 0)
    columns = {block.shape[1] - 1 for block in blocks[1:]}
    orbitals = next((count for count in (9, 16) if columns == {count * spins}), 0)
    energies = np.linspace(lowest, highest, n_energies)
    # With three decimals like energies would not ascend; the header says the ends, the column only that they are met.
    if not orbitals or any(np.abs(block[:, 0] - energies).max() > _ENERGY_DECIMALS for block in blocks):
        raise _broken("DOSCAR", "its columns are not those of LORBIT = 11, or its energies differ from block to block")
    values = np.stack([block[:, 1:].reshape(n_energies, orbitals, spins) for block in blocks[1:]])
    return PartialDos(
        energies=energies,
        densities=np.ascontiguousarray(values.transpose(3, 0, 2, 1)),
        species=tuple(species),
        orbitals=ORBITALS[:orbitals],
        fermi_energy=fermi,
    )


def read_valences(folder: Path, species: Sequence[str]) -> tuple[float, ...]:
    """Return ZVAL of each atom's POTCAR as the run took it, e, from the head of vasprun.xml.

    Parameters
    ----------
    folder : Path
        Of the run.
    species : sequence of str
        Element of each atom, in the order of the run's POSCAR.

    Raises
    ------
    CalculationError
        The file is missing or damaged, or of other atoms (reason ``broken_output``).
    """
    head = _text(existing(folder, "vasprun.xml"), until="</atominfo>")
    table = re.search(r'<array name="atomtypes"\s*>(.*?)</array>', head, re.DOTALL)
    rows = re.findall(r"<rc>\s*(.*?)\s*</rc>", table[1], re.DOTALL) if table else []
    valences: list[float] = []
    elements: list[str] = []
    try:
        for row in rows:
            count, element, _, valence, _ = re.findall(r"<c>\s*(.*?)\s*</c>", row, re.DOTALL)
            valences += [float(valence)] * int(count)
            elements += [_CALLED.get(element, element)] * int(count)
    except ValueError as error:
        raise _broken("vasprun.xml", error) from error
    if elements != list(species):
        raise _broken("vasprun.xml", "its atoms are not those of the cell")
    return tuple(valences)


def read_smearing(folder: Path) -> tuple[int, float]:
    """Return ISMEAR and SIGMA (eV) that a run had in the end.

    The run's own INCAR says it, not its preset: custodian turns to smearing where a run does not converge otherwise.

    Parameters
    ----------
    folder : Path
        With the run's INCAR, plain or gzipped.

    Raises
    ------
    CalculationError
        INCAR is missing or damaged (reason ``broken_output``).
    """
    from pymatgen.io.vasp.inputs import Incar

    try:
        incar = Incar.from_str(content_of(existing(folder, "INCAR")).decode("utf-8"))
        return int(incar.get("ISMEAR", 1)), float(incar.get("SIGMA", 0.2))  # VASP's defaults
    except (*DAMAGED, ValueError, TypeError) as error:
        raise CalculationError(f"INCAR of {folder} cannot be read ({error}): run it again", "broken_output") from error


def read_density_grid(folder: Path) -> tuple[int, int, int]:
    """Return the points of the grid that CHGCAR stands on, from its head.

    Raises
    ------
    CalculationError
        The file is missing or damaged (reason ``broken_output``).
    """
    path = existing(folder, "CHGCAR")
    try:
        with opened(path) as stream:
            for line in stream:
                if not line.strip():  # the first empty line stands after the atoms
                    first, second, third = (int(word) for word in stream.readline().split())
                    return first, second, third
    except FileNotFoundError as error:
        raise CalculationError("CHGCAR is missing: run the calculation again", Reason.BROKEN_OUTPUT.value) from error
    except (*DAMAGED, ValueError) as error:
        raise _broken("CHGCAR", error) from error
    raise _broken("CHGCAR", "it names no grid")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _grid(line: str) -> tuple[float, float, int, float]:
    """Return highest and lowest energy, their number, and the Fermi energy of a block's first line."""
    # VASP writes them in fixed columns, which touch where NEDOS has five digits.
    words = line.split() if len(line.split()) == 5 else [line[:16], line[16:32], line[32:37], line[37:52]]
    highest, lowest, number, fermi = float(words[0]), float(words[1]), int(words[2]), float(words[3])
    if number < 2 or not highest > lowest:
        raise ValueError(f"{number} energies from {lowest} to {highest} eV")
    return highest, lowest, number, fermi


def _block(lines: list[str]) -> NDArray[np.float64]:
    """Return the numbers of one block, (energies, columns)."""
    columns = len(lines[0].split())
    values = np.array(" ".join(lines).split(), dtype=np.float64)
    if values.size != columns * len(lines) or not np.isfinite(values).all():
        raise ValueError("a line is not whole")
    return values.reshape(len(lines), columns)


def _text(path: Path, until: str | None = None) -> str:
    """Return a file's text, all of it or as far as a mark and with it, or say that it cannot be read."""
    try:
        with opened(path) as stream:
            if until is None:
                text = stream.read().decode("ascii")
                if not text.endswith("\n"):
                    raise _broken(path.name, "its last line has no end")
                return _LONG_EXPONENT.sub(r"\1E\2", text)
            parts: list[str] = []
            for line in stream:
                parts.append(line.decode("latin-1"))
                if until in parts[-1]:
                    return "".join(parts)
    except FileNotFoundError as error:
        raise CalculationError(
            f"{path.name} is missing: run the calculation again", Reason.BROKEN_OUTPUT.value
        ) from error
    except (*DAMAGED, UnicodeDecodeError) as error:
        raise _broken(path.name, error) from error
    raise _broken(path.name, f"it ends before {until}")


def _broken(name: str, cause: object) -> CalculationError:
    return CalculationError(
        f"{name} is damaged or incomplete ({cause}): run the calculation again", Reason.BROKEN_OUTPUT.value
    )
