"""Charge densities: one Gaussian per atom, holding exactly the stated electrons, on a grid of 0.2 Å."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from cathodeflow.calculators.rehearsal.electrons import charges
from cathodeflow.calculators.rehearsal.inputs import VaspInputs
from cathodeflow.calculators.rehearsal.ionic import IonicStep
from cathodeflow.calculators.rehearsal.tables import poscar_text

VALENCE_WIDTH, CORE_WIDTH = 0.25, 0.2  # Å, standard deviations
SPACING = 0.2  # Å
CUTOFF = 6.0  # standard deviations


def grid_of(inputs: VaspInputs, cell: np.ndarray) -> tuple[int, int, int]:
    """Return the grid: NGXF, NGYF, NGZF where INCAR has them, else an even number of points at most 0.2 Å apart."""
    lengths = np.linalg.norm(cell, axis=1)
    points = [2 * math.ceil(float(length) / SPACING / 2) for length in lengths]
    given = [inputs.incar.given.get(tag) for tag in ("NGXF", "NGYF", "NGZF")]
    first, second, third = (
        wanted if isinstance(wanted, int) else own for wanted, own in zip(given, points, strict=True)
    )
    return first, second, third


def gaussians(
    cell: np.ndarray, fractional: np.ndarray, electrons: np.ndarray, width: float, grid: tuple[int, int, int]
) -> np.ndarray:
    """Return the sum of one Gaussian per atom on a grid, electrons per Å^3, (nx, ny, nz).

    Parameters
    ----------
    cell : ndarray of shape (3, 3)
        Lattice vectors as rows, Å.
    fractional : ndarray of shape (n_atoms, 3)
        Positions.
    electrons : ndarray of shape (n_atoms,)
        What each Gaussian sums up to on the grid, exactly.
    width : float
        Standard deviation, Å.
    grid : tuple of int
        Points along each lattice vector.
    """
    density = np.zeros(grid)
    size = np.array(grid)
    volume_element = abs(np.linalg.det(cell)) / size.prod()
    # A sphere of the cutoff's radius reaches so far along each lattice vector, in grid points.
    reach = np.ceil(CUTOFF * width * np.linalg.norm(np.linalg.inv(cell), axis=0) * size).astype(int) + 1
    offsets = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    for position, amount in zip(fractional, electrons, strict=True):
        nodes = np.round(position * size).astype(int) + offsets
        distances = ((nodes / size - position) @ cell) ** 2
        values = np.exp(-distances.sum(axis=1) / (2 * width**2))
        places = nodes % size
        np.add.at(
            density, (places[:, 0], places[:, 1], places[:, 2]), amount * values / (values.sum() * volume_element)
        )
    return density


def write_densities(folder: Path, inputs: VaspInputs, step: IonicStep, site_moments: np.ndarray) -> None:
    """Write CHGCAR, and AECCAR0 and AECCAR2 where LAECHG is set.

    CHGCAR and AECCAR2 hold the valence electrons of `charges`, AECCAR0 the frozen ones, all times the cell's volume.
    """
    from pymatgen.core import Element

    if not inputs.incar.switch("LCHARG"):
        return
    grid = grid_of(inputs, step.cell)
    volume = abs(float(np.linalg.det(step.cell)))
    head = poscar_text(inputs, step)
    valence = gaussians(step.cell, step.fractional, charges(inputs), VALENCE_WIDTH, grid) * volume
    fields = [valence]
    if inputs.spins == 2:
        fields.append(gaussians(step.cell, step.fractional, site_moments, VALENCE_WIDTH, grid) * volume)
    _write(folder / "CHGCAR", head, fields)
    if inputs.incar.switch("LAECHG"):
        numbers = np.array([Element(name).Z for name in inputs.elements])
        core = gaussians(step.cell, step.fractional, numbers - inputs.valences, CORE_WIDTH, grid) * volume
        _write(folder / "AECCAR0", head, [core])
        _write(folder / "AECCAR2", head, [valence])


def _write(file: Path, head: str, fields: list[np.ndarray]) -> None:
    with file.open("w") as stream:
        stream.write(head)
        for field in fields:
            stream.write("\n" + "".join(f"{points:5d}" for points in field.shape) + "\n")
            values = field.ravel(order="F")
            whole = len(values) // 5 * 5
            line = " %.10E %.10E %.10E %.10E %.10E\n"
            for start in range(0, whole, 5000):
                part = values[start : min(start + 5000, whole)]
                stream.write(line * (len(part) // 5) % tuple(part.tolist()))
            if whole < len(values):
                stream.write("".join(f" {value:.10E}" for value in values[whole:].tolist()) + "\n")
