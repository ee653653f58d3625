"""Bader partition by pybader's compiled kernels, run as a program of its own: `python -m … input.npz output.npz`.

A process of its own because pybader, as imported, needs pkg_resources (which setuptools 82 dropped), writes a folder
into the user's home, compiles everything on first import, and waits for ever when one of its threads fails. Only its
kernels are loaded here, and whoever starts this program can stop it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_REFINEMENTS = 50
_NEVER_READ = np.zeros(1, dtype=np.int64)  # the kernels count their progress here


def kernels() -> tuple[ModuleType, ModuleType, ModuleType]:
    """Return pybader's `methods`, `refinement` and `utils` without running the package's own start-up.

    Raises
    ------
    ModuleNotFoundError
        If pybader is not installed.
    """
    if "pybader" not in sys.modules:
        spec = importlib.util.find_spec("pybader")
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError("pybader")
        sys.modules["pybader"] = importlib.util.module_from_spec(spec)  # made, not executed
    methods, refinement, numerics = (
        importlib.import_module(f"pybader.{name}") for name in ("methods", "refinement", "utils")
    )
    return methods, refinement, numerics


def partition(
    density: NDArray[np.float64],
    reference: NDArray[np.float64],
    lattice: NDArray[np.float64],
    positions: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """Divide a density among atoms by the near-grid method (Tang, Sanville and Henkelman, JPCM 21, 084204 (2009)).

    Parameters
    ----------
    density : (nx, ny, nz) array
        What is summed, e/Å³.
    reference : (nx, ny, nz) array
        What the surfaces are found in, e/Å³.
    lattice : (3, 3) array
        Rows, Å.
    positions : (n, 3) array
        Fractional coordinates.

    Returns
    -------
    dict
        "electrons", "volumes" and "min_distances", each (n,); nan for a distance that does not exist.
    """
    methods, refinement, numerics = kernels()
    shape = np.array(reference.shape)
    voxel = lattice / shape[:, None]
    steps, metric = _step_weights(voxel), np.linalg.inv(voxel).T @ np.linalg.inv(voxel)
    origin = np.zeros(3, dtype=np.int64)

    basins = np.zeros(reference.shape, dtype=np.int64)
    basins, maxima, _ = methods.neargrid(reference, basins, origin, steps, metric, _NEVER_READ.copy())
    numerics.volume_offset(basins, 0, 0)
    _refine(refinement, reference, basins, steps, metric)

    atoms = np.ascontiguousarray((positions - np.floor(positions)) @ lattice)
    owners, _ = numerics.atom_assign(np.ascontiguousarray(maxima / shape @ lattice), atoms, lattice, _NEVER_READ.copy())
    numerics.volume_assign(basins, owners, _NEVER_READ.copy())

    electrons, volumes = np.zeros(len(atoms)), np.zeros(len(atoms))
    voxel_volume = float(abs(np.linalg.det(voxel)))
    numerics.charge_sum(electrons, volumes, voxel_volume, density, basins)
    edges = np.zeros(reference.shape, dtype=np.int8)
    distances = np.full(len(atoms), np.nan)
    if refinement.edge_find(edges, reference, basins):
        found = numerics.surface_dist(origin, shape, edges, basins, lattice, atoms, _NEVER_READ.copy())
        distances = np.where(found > 0, found, np.nan)
    return {"electrons": electrons, "volumes": volumes, "min_distances": distances}


def _refine(
    refinement: ModuleType,
    reference: NDArray[np.float64],
    basins: NDArray[np.int64],
    steps: NDArray[np.float64],
    metric: NDArray[np.float64],
) -> None:
    """Move points between neighbouring basins until none moves."""
    known: Any = np.zeros(reference.shape, dtype=np.int8)
    edges = refinement.edge_find(known, reference, basins)
    for _ in range(_MAX_REFINEMENTS):
        if not edges:
            return
        origin = np.zeros(3, dtype=np.int64)
        known, changed = refinement.neargrid(
            known, known.copy(), reference, basins, origin, steps, metric, _NEVER_READ.copy()
        )
        if not changed:
            return
        _, edges = refinement.edge_check(known, reference, basins)


def _step_weights(voxel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one over the length of each step of -1, 0, 1 points along the three axes; index -1 is the step back."""
    step = np.array([0.0, 1.0, -1.0])
    i, j, k = np.meshgrid(step, step, step, indexing="ij")
    lengths = np.linalg.norm(np.stack([i, j, k], axis=-1) @ voxel, axis=-1)
    lengths[0, 0, 0] = np.inf
    return np.asarray(1 / lengths)


def main() -> None:
    """Read the arrays of the first file, write the result to the second."""
    source, target = sys.argv[1:]
    with np.load(source) as given:
        arrays = [np.ascontiguousarray(given[name]) for name in ("density", "reference", "lattice", "positions")]
    found = partition(*arrays)
    np.savez(
        target,
        electrons=found["electrons"],
        volumes=found["volumes"],
        min_distances=found["min_distances"],
    )


if __name__ == "__main__":
    main()
