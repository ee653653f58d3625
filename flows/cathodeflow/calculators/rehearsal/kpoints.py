"""KPOINTS, or KSPACING, to points and weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cathodeflow.calculators.rehearsal.incar import Incar
from cathodeflow.errors import CalculationError


@dataclass(frozen=True)
class KpointMesh:
    """The points a run computes.

    Attributes
    ----------
    points : ndarray of shape (n_kpoints, 3)
        In units of the reciprocal lattice vectors.
    weights : ndarray of shape (n_kpoints,)
        Sum 1; zero for points that do not count in the density.
    style : str
        ``Gamma``, ``Monkhorst-Pack``, ``listgenerated`` or ``Reciprocal``.
    divisions : tuple of int, optional
        Of a mesh.
    """

    points: np.ndarray
    weights: np.ndarray
    style: str
    divisions: tuple[int, int, int] | None = None


def read_kpoints(
    folder: Path, incar: Incar, cell: np.ndarray, fractional: np.ndarray, elements: list[str]
) -> KpointMesh:
    """Read KPOINTS, or make the mesh that KSPACING asks for.

    Meshes are reduced by the crystal's symmetry (spglib), by time reversal alone where ISYM is 0 or below.

    Raises
    ------
    CalculationError
        A file that VASP could not read.
    """
    symmetric = incar.integer("ISYM") > 0
    file = folder / "KPOINTS"
    if not file.is_file():
        spacing = incar.number("KSPACING")
        lengths = 2 * math.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
        first, second, third = (max(1, math.ceil(length / spacing)) for length in lengths.tolist())
        style = "Gamma" if incar.switch("KGAMMA") else "Monkhorst-Pack"
        return _mesh((first, second, third), style, (cell, fractional, elements), symmetric)
    lines = [line.split("!")[0].split("#")[0] for line in file.read_text().splitlines()]
    try:
        number = int(lines[1].split()[0])
        kind = lines[2].strip()[:1].lower()
        if number > 0 and kind == "l":
            return _path(lines[3:], number)
        if number > 0:
            return _list(lines, number)
        first, second, third = (int(word) for word in lines[3].split()[:3])
    except (ValueError, IndexError) as error:
        raise CalculationError(f" Error reading KPOINTS file: {error}", "refused") from error
    if kind not in {"g", "m"}:
        raise CalculationError(" REHEARSAL: KPOINTS of this kind are not rehearsed; Gamma and Monkhorst are", "refused")
    style = "Gamma" if kind == "g" else "Monkhorst-Pack"
    return _mesh((first, second, third), style, (cell, fractional, elements), symmetric)


def _mesh(
    divisions: tuple[int, int, int], style: str, crystal: tuple[np.ndarray, np.ndarray, list[str]], symmetric: bool
) -> KpointMesh:
    from spglib import get_ir_reciprocal_mesh

    cell, fractional, elements = crystal
    shift = [int(style != "Gamma" and division % 2 == 0) for division in divisions]
    numbers = [sorted(set(elements)).index(element) + 1 for element in elements]
    if not symmetric:  # every atom of its own kind: only time reversal is left
        numbers = list(range(1, len(elements) + 1))
    found = get_ir_reciprocal_mesh(
        divisions, (cell.tolist(), fractional.tolist(), numbers), is_shift=shift, is_time_reversal=True
    )
    if found is None:
        raise CalculationError(
            " VERY BAD NEWS! internal error in subroutine IBZKPT: Fatal error detecting k-mesh", "refused"
        )
    mapping, addresses = found
    kept, counts = np.unique(mapping, return_counts=True)
    points = (addresses[kept] + np.array(shift) / 2) / np.array(divisions)
    return KpointMesh(points, counts / counts.sum(), style, divisions)


def _list(lines: list[str], number: int) -> KpointMesh:
    if lines[2].strip()[:1].lower() in {"c", "k"}:
        raise CalculationError(" REHEARSAL: Cartesian k-points are not rehearsed", "refused")
    rows = np.array([[float(word) for word in line.split()[:4]] for line in lines[3 : 3 + number]])
    if rows.shape != (number, 4):
        raise ValueError(f"{number} lines of three coordinates and a weight were expected")
    total = rows[:, 3].sum()
    if total <= 0:
        raise ValueError("all weights are zero")
    return KpointMesh(rows[:, :3], rows[:, 3] / total, "Reciprocal")


def _path(lines: list[str], number: int) -> KpointMesh:
    """Return the points of line mode: `number` from each corner to the next, ends included."""
    corners = np.array([[float(word) for word in line.split()[:3]] for line in lines[1:] if line.split()])
    if len(corners) < 2 or len(corners) % 2:
        raise ValueError("line mode needs pairs of points")
    fractions = np.linspace(0, 1, number)[:, None]
    points = np.concatenate([a + (b - a) * fractions for a, b in zip(corners[::2], corners[1::2], strict=True)])
    return KpointMesh(points, np.full(len(points), 1 / len(points)), "listgenerated")
