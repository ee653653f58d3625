"""What the runs of VASP of a campaign are: the crystals, the settings of the presets, the files they write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from math import pi
from typing import TYPE_CHECKING, Any

from cathodeflow.calculators.vasp.file_sizes import RunSize
from cathodeflow.campaign import dft_costs
from cathodeflow.campaign.dft_costs import Cell, Run

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from cathodeflow.calculators.vasp.parameters import VaspParameters
    from cathodeflow.calculators.vasp.preset import VaspPreset
    from cathodeflow.science.hosts.host import HostLevel

MATERIALS_PROJECT_CUTOFF = 520.0
SYMMETRY_TOLERANCE = 1e-4


def valence(element: str, preset: VaspPreset) -> float:
    """Return the valence electrons of an element's POTCAR in a preset."""
    return _valence(element, preset.potcar_symbols.get(element), str(preset.potcar_functional.value))


@cache
def _valence(element: str, symbol: str | None, functional: str) -> float:
    from cathodeflow.calculators.vasp.materials_project import potcar_symbol
    from cathodeflow.calculators.vasp.valences import valence_electrons

    return valence_electrons(symbol or potcar_symbol(element), functional)


def cell_of(structure: Structure, preset: VaspPreset) -> Cell:
    """Return a crystal as the cost sees it."""
    symbols = [site.specie.symbol for site in structure]
    first, second, third = structure.lattice.abc
    alpha, beta, gamma = structure.lattice.angles
    electrons = sum(valence(symbol, preset) for symbol in symbols)
    return Cell(len(symbols), len(set(symbols)), electrons, (first, second, third), (alpha, beta, gamma))


def cell_of_level(level: HostLevel, elements: Sequence[str], preset: VaspPreset) -> Cell:
    """Return the mean cell of a level: each substitution site holds the mean electrons of all substituents."""
    cell = cell_of(level.structure, preset)
    before = sum(valence(level.structure[index].specie.symbol, preset) for index in level.site_indices)
    mean = sum(valence(element, preset) for element in elements) / len(elements)
    return replace(cell, electrons=cell.electrons - before + mean * len(level.site_indices), species=cell.species + 1)


def run_of(preset: VaspPreset, cell: Cell, *, k_points: float | None = None) -> Run:
    """Return the settings of a preset's run on a cell.

    Parameters
    ----------
    preset : VaspPreset
        Of any stage.
    cell : Cell
        The crystal; decides the mesh where the preset has a spacing.
    k_points : float, optional
        Those that symmetry leaves, where that is known; only time reversal is taken away without.
    """
    incar = preset.incar_values
    grid = preset.kpoints_value("grid")
    spacing = preset.kpoints_value("spacing")
    mesh = tuple(grid) if grid else dft_costs.mesh_of_spacing(cell.lengths, float(spacing))
    total = mesh[0] * mesh[1] * mesh[2]
    points = k_points or dft_costs.without_symmetry(mesh, at_gamma=preset.kpoints_value("style") == "gamma")
    edges = 2 if preset.kpoints_value("zero_weight") is not None else 0
    relaxes = preset.stage == "relax"
    return Run(
        cutoff=float(incar.get("ENCUT", MATERIALS_PROJECT_CUTOFF)),
        k_points=points + edges,
        mesh_points=total,
        spins=int(incar.get("ISPIN", 2)),
        ionic_steps=min(dft_costs.IONIC_STEPS, float(incar.get("NSW", 99))) if relaxes else 1.0,
        gamma_only=total == 1 and not edges,
        real_projectors=incar.get("LREAL", "Auto" if relaxes else False) is not False,
        hybrid=bool(incar.get("LHFCALC", False)),
        bands=float(incar.get("NBANDS", 0)),
    )


def relaxation_run(cell: Cell, parameters: VaspParameters) -> Run:
    """Return the settings of a label's relaxation, its second one included where there is one."""
    run = run_of(parameters.preset, cell)
    return replace(run, work=1 + dft_costs.SECOND_RELAXATION) if parameters.double_relax else run


def run_size(cell: Cell, run: Run, preset: VaspPreset) -> RunSize:
    """Return what decides the sizes of a run's files."""
    incar = preset.incar_values
    waves = dft_costs.plane_waves(cell.volume, run.cutoff)
    return RunSize(
        atoms=cell.atoms,
        species=cell.species,
        bands=dft_costs.bands_of(cell, run),
        plane_waves=waves / 2 if run.gamma_only else waves,
        k_points=run.k_points,
        spins=run.spins,
        ionic_steps=run.ionic_steps,
        electronic_steps=run.electronic_steps,
        density_grid=dft_costs.density_grid(cell.lengths, run.cutoff),
        # What the Materials Project's sets say: 3001 in static runs, VASP's own 301 in relaxations.
        dos_energies=int(incar.get("NEDOS", 3001 if preset.stage == "static" else 301)),
        projections=int(incar.get("LORBIT", 11)) >= 10,
        density=bool(incar.get("LCHARG", True)),
        core_density=bool(incar.get("LAECHG", False)),
        orbitals=bool(incar.get("LWAVE", preset.stage == "hse")),
    )


@cache
def _symmetric_points(element: str, spacing: float) -> tuple[tuple[Any, float, bool], ...]:
    """Return each phase of an element that is tried, the k-points its symmetry leaves, and whether it is a molecule."""
    from spglib import get_ir_reciprocal_mesh

    from cathodeflow.calculators.potentials.elements import elemental_phases

    found = []
    for phase in elemental_phases(element):
        structure = phase.structure
        if phase.is_molecule:
            found.append((structure, 1.0, True))
            continue
        mesh = dft_costs.mesh_of_spacing(_reciprocal_reach(structure), spacing)
        crystal = (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), [1] * len(structure))
        reduced = get_ir_reciprocal_mesh(mesh, crystal, symprec=SYMMETRY_TOLERANCE)
        points = len(set(reduced[0].tolist())) if reduced else dft_costs.without_symmetry(mesh, at_gamma=True)
        found.append((structure, float(points), False))
    return tuple(found)


def _reciprocal_reach(structure: Structure) -> tuple[float, float, float]:
    """Return 2π over the lengths of the reciprocal lattice vectors: what KSPACING divides."""
    first, second, third = (2 * pi / length for length in structure.lattice.reciprocal_lattice.abc)
    return first, second, third


def reference_runs(element: str, parameters: VaspParameters) -> list[tuple[Cell, Run]]:
    """Return the relaxations of all phases of an element that are tried."""
    from cathodeflow.calculators.vasp.reference_settings import preset_of_phase

    spacing = float(parameters.reference.kpoints_value("spacing") or 0.15)
    runs = []
    for structure, points, is_molecule in _symmetric_points(element, spacing):
        preset = preset_of_phase(parameters.reference, structure, is_molecule=is_molecule)
        cell = cell_of(structure, preset)
        run = run_of(preset, cell, k_points=points)
        runs.append((cell, replace(run, ionic_steps=min(run.ionic_steps, dft_costs.REFERENCE_IONIC_STEPS))))
    return runs
