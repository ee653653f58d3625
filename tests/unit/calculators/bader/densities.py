"""Densities whose atomic charges are known."""

from __future__ import annotations

import numpy as np

from cathodeflow.calculators.bader.chgcar import DensityFile
from cathodeflow.science.electronic.density import GridDensity

CUBIC = np.diag([6.0, 6.0, 6.0])
TRICLINIC = np.array([[6.2, 0.0, 0.0], [1.4, 5.9, 0.0], [-0.9, 1.1, 6.4]])


def gaussians(lattice, positions, electrons, species, *, shape=(36, 36, 36), width=0.35):
    """Return normalised Gaussians; they hardly overlap, and vanish (1e-16) before their own periodic images."""
    lattice, positions = np.asarray(lattice, float), np.asarray(positions, float)
    grid = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), axis=-1)
    values = np.zeros(shape)
    for position, charge in zip(positions % 1.0, electrons, strict=True):
        fractional = grid - position
        away = (fractional - np.round(fractional)) @ lattice
        values += charge * np.exp(-(away**2).sum(-1) / (2 * width**2))
    values /= (2 * np.pi) ** 1.5 * width**3
    return DensityFile(tuple(species), positions, GridDensity(values, lattice))
