"""Read and write densities in VASP's CHGCAR format, strictly: a file cut short is an error, never other numbers.

pymatgen's reader drops an incomplete second grid silently and takes a number cut in the middle as it stands, so that a
charge analysis after a full disk would give wrong charges.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from cathodeflow.calculators.zipped_files import DAMAGED, content_of
from cathodeflow.errors import CalculationError
from cathodeflow.science.electronic.density import GridDensity

_PER_LINE = 5
_GRID_LINE = re.compile(r"^[ \t]*(\d+)[ \t]+(\d+)[ \t]+(\d+)[ \t]*\n", re.MULTILINE)
_HEADER_LINES = 8  # comment, scale, three vectors, elements, counts, kind of coordinates
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_NUMBER = re.compile(r"[+-]?\d*\.?\d+(?:E[+-]\d+)?")
_ELEMENT = re.compile(r"[A-Z][a-z]?")
# Fortran drops the E of an exponent with three digits.
_LONG_EXPONENT = re.compile(r"(\d)([+-]\d{3})(?=\s)")
_AUGMENTATION = re.compile(
    r"^augmentation occupancies(?: \(imaginary part\))?[ \t]+\d+[ \t]+(\d+)[ \t]*\n", re.MULTILINE
)


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single truth
class DensityFile:
    """What a CHGCAR-like file holds.

    Attributes
    ----------
    species : tuple of str
        Element of each atom.
    positions : (n, 3) array
        Fractional coordinates.
    density : GridDensity
        The total density, e/Å³.
    magnetisation : GridDensity or None
        Up minus down, e/Å³, of a spin-polarised CHGCAR.
    """

    species: tuple[str, ...]
    positions: NDArray[np.float64]
    density: GridDensity
    magnetisation: GridDensity | None = None


def read_density(path: Path) -> DensityFile:
    """Read a CHGCAR, AECCAR0 or AECCAR2, plain or gzipped.

    The files hold density times cell volume; what is returned is divided by it.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    DensityFile

    Raises
    ------
    CalculationError
        If the file is missing, incomplete or damaged.
    """
    text = _text(path)
    try:
        species, lattice, positions, start = _header(text)
        grids = _grids(text, start, len(species))
        volume = abs(float(np.linalg.det(lattice)))
        total, *others = [GridDensity(values / volume, lattice) for values in grids]
    except CalculationError as error:
        raise CalculationError(f"{path.name}: {error}", error.reason) from error
    except (ValueError, IndexError) as error:
        raise CalculationError(
            f"{path.name} is damaged or incomplete ({error}); run the calculation again.", "broken_output"
        ) from error
    # Three further grids are the components of a non-collinear magnetisation, which nothing here uses.
    return DensityFile(species, positions, total, others[0] if len(others) == 1 else None)


def write_density(path: Path, content: DensityFile, comment: str) -> None:
    """Write a density (or a difference of densities) as VASP writes a CHGCAR, without augmentation occupancies.

    Parameters
    ----------
    path : Path
        New file.
    content : DensityFile
        Atoms of one element need not stand together; runs of the same element are written as they come.
    comment : str
        First line.
    """
    lattice = content.density.lattice
    runs: list[tuple[str, int]] = []
    for element in content.species:
        if runs and runs[-1][0] == element:
            runs[-1] = (element, runs[-1][1] + 1)
        else:
            runs.append((element, 1))
    lines = [comment.splitlines()[0] if comment else "density", "   1.00000000000000"]
    lines += ["".join(f" {component:21.15f}" for component in vector) for vector in lattice]
    lines += ["".join(f" {element:>4s}" for element, _ in runs), "".join(f" {count:5d}" for _, count in runs), "Direct"]
    lines += ["".join(f" {component:19.15f}" for component in position) for position in content.positions]
    with path.open("w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n\n")
        for density in (content.density, content.magnetisation):
            if density is not None:
                _write_grid(file, density)


def _text(path: Path) -> str:
    """Return the decoded file, or say that it cannot be read."""
    try:
        return content_of(path).decode("ascii")
    except FileNotFoundError as error:
        raise CalculationError(
            f"{path.name} is missing; ask for it (LAECHG for AECCAR) and run again.", "broken_output"
        ) from error
    except (*DAMAGED, UnicodeDecodeError) as error:
        raise CalculationError(
            f"{path.name} is damaged ({error}); run the calculation again.", "broken_output"
        ) from error


def _header(text: str) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64], int]:
    """Return species, lattice, positions and where the first grid's line begins."""
    blank = _BLANK_LINE.search(text)
    lines = text[: blank.start()].split("\n") if blank is not None else []
    if blank is None or len(lines) < _HEADER_LINES + 1:
        raise ValueError("no atoms before the grid")
    scale = float(lines[1])
    lattice = np.array([[float(word) for word in line.split()] for line in lines[2:5]])
    if lattice.shape != (3, 3) or not np.isfinite(lattice).all() or not np.isfinite(scale) or scale == 0:
        raise ValueError("no lattice")
    if not abs(np.linalg.det(lattice)) > 1e-6:
        raise ValueError("the cell has no volume")
    lattice = lattice * (scale if scale > 0 else (-scale / abs(np.linalg.det(lattice))) ** (1 / 3))
    # VASP 6 may write the hash of the potential behind the element (V_pv/6f0a...).
    found = [_ELEMENT.match(word) for word in lines[5].split()]
    counts = [int(word) for word in lines[6].split()]
    if not found or None in found or len(found) != len(counts) or min(counts) < 1:
        raise ValueError("no elements")
    if sum(counts) != len(lines) - _HEADER_LINES or not lines[7].strip().lower().startswith(("d", "c", "k")):
        raise ValueError(f"{len(lines) - _HEADER_LINES} positions for {sum(counts)} atoms")
    elements = [match.group() for match in found if match]
    species = tuple(element for element, count in zip(elements, counts, strict=True) for _ in range(count))
    rows = [line.split() for line in lines[_HEADER_LINES:]]
    # Behind the coordinates some writers put the element; a number there is a coordinate that broke in two.
    if any(_NUMBER.fullmatch(word) for row in rows for word in row[3:]):
        raise ValueError("a position has more than three coordinates")
    positions = np.array([[float(word) for word in row[:3]] for row in rows])
    if positions.shape != (len(species), 3) or not np.isfinite(positions).all():
        raise ValueError("a position is incomplete")
    if not lines[7].strip().lower().startswith("d"):
        positions = positions @ np.linalg.inv(lattice) * abs(scale)
    return species, lattice, positions, blank.end()


def _grids(text: str, start: int, n_atoms: int) -> list[NDArray[np.float64]]:
    """Return every grid of the file, each checked to be whole."""
    grids: list[NDArray[np.float64]] = []
    position = start
    while not grids or text[position:].strip():
        line = _GRID_LINE.search(text, position)
        if line is None or not _is_filling(text[position : line.start()], n_atoms if grids else 0):
            raise ValueError(f"grid {len(grids) + 1} is cut short")
        shape = (int(line[1]), int(line[2]), int(line[3]))
        if grids and shape != grids[0].shape:
            raise ValueError(f"grids {grids[0].shape} and {shape} in one file")
        values, position = _values(text, line.end(), shape[0] * shape[1] * shape[2])
        grids.append(values.reshape(shape, order="F"))
        position = _after_augmentation(text, position, n_atoms)
    if len(grids) not in {1, 2, 4}:
        raise ValueError(f"{len(grids)} grids in one file")
    return grids


def _values(text: str, start: int, count: int) -> tuple[NDArray[np.float64], int]:
    """Return so many numbers, five to a line, and where the line after them begins."""
    if count < 1:
        raise ValueError("a grid without points")
    if count > len(text) - start:
        raise ValueError(f"the grid of {count} points is cut short")
    end = start
    for _ in range(-(-count // _PER_LINE)):
        end = text.find("\n", end) + 1
        # A last number without its line's end may be cut in the middle.
        if end == 0:
            raise ValueError(f"the grid of {count} points is cut short")
    block = text[start:end]
    values = _numbers(block)
    if len(values) != count:
        values = _numbers(_LONG_EXPONENT.sub(r"\1E\2", block))
    if len(values) != count:
        raise ValueError(f"{len(values)} of {count} values can be read")
    return values, end


def _numbers(block: str) -> NDArray[np.float64]:
    """Return the numbers of a text up to the first thing that is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return np.fromstring(block, sep=" ")
        except ValueError:
            return np.empty(0)


def _after_augmentation(text: str, start: int, n_atoms: int) -> int:
    """Return where the augmentation occupancies end: none, or those of every atom, each whole."""
    position, found = start, 0
    while (line := _AUGMENTATION.match(text, position)) is not None:
        _, position = _values(text, line.end(), int(line[1]))
        found += 1
    if found % n_atoms:
        raise ValueError(f"augmentation occupancies of {found} of {n_atoms} atoms")
    return position


def _is_filling(text: str, n_numbers: int) -> bool:
    """Tell whether a text between two grids is nothing, or one number per atom."""
    words = text.split()
    if words and len(words) != n_numbers:
        return False
    return all(_NUMBER.fullmatch(word) for word in words)


def _write_grid(file: TextIO, density: GridDensity) -> None:
    """Append one grid, five values to a line, the first index fastest."""
    file.write("".join(f" {count:4d}" for count in density.values.shape) + "\n")
    flat = density.values.ravel(order="F") * density.volume
    full = len(flat) // _PER_LINE * _PER_LINE
    np.savetxt(file, flat[:full].reshape(-1, _PER_LINE), fmt=" %18.11E", delimiter="")
    if full < len(flat):
        np.savetxt(file, flat[full:].reshape(1, -1), fmt=" %18.11E", delimiter="")
