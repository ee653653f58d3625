"""INCAR, KPOINTS, POSCAR and POTCAR (or its symbols) of a preset, through pymatgen's Materials Project sets.

Import this module lazily: pymatgen's input sets take about a second.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Kpoints, VaspInput
from pymatgen.io.vasp.sets import BadInputSetWarning, MPRelaxSet, MPStaticSet, VaspInputSet

from cathodeflow.calculators.vasp import materials_project
from cathodeflow.calculators.vasp.potcar_library import library_has
from cathodeflow.calculators.vasp.preset import VaspPreset
from cathodeflow.errors import CalculationError, DefinitionError

KPoint = Sequence[float]


@dataclass
class BandEdgeSet(MPStaticSet):
    """Static set on a weighted mesh with the band edges that it lacks added at weight zero (S0 section 2.1).

    Parameters
    ----------
    grid : tuple of int
        The weighted mesh, centred at Γ.
    band_edges : list of 3 floats each
        Fractional k-points of the valence band maximum and the conduction band minimum
        (`science.electronic.band_edges.hybrid_k_points`).
    """

    grid: tuple[int, int, int] = (1, 1, 1)
    band_edges: list[KPoint] = field(default_factory=list)
    inherit_incar: bool = False

    @property
    def kpoints_updates(self) -> dict[str, Any] | Kpoints:  # type: ignore[override]  # as MPStaticSet has it
        """The explicit list; raises CalculationError where the band edges are not known."""
        from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

        if self.structure is None:
            raise CalculationError("a list of k-points needs the cell first")
        if not self.band_edges:
            raise CalculationError("the hybrid run needs the k-points of the band edges: run the static step first")
        mesh = SpacegroupAnalyzer(self.structure, symprec=self.sym_prec).get_ir_reciprocal_mesh(self.grid)
        points = [tuple(map(float, point)) for point, _ in mesh]
        # A point of the mesh is computed anyway; each further one costs as much again.
        edges = [edge for edge in _distinct(self.band_edges) if not any(_are_one(edge, point) for point in points)]
        return Kpoints(
            comment=f"{' x '.join(map(str, self.grid))} mesh, then band edges without weight",
            style=Kpoints.supported_modes.Reciprocal,
            num_kpts=len(points) + len(edges),
            kpts=points + edges,
            kpts_weights=[int(weight) for _, weight in mesh] + [0] * len(edges),
        )


def _distinct(points: Sequence[KPoint]) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = []
    for point in points:
        if not any(_are_one(point, other) for other in found):
            found.append(tuple(float(coordinate) for coordinate in point))
    return found


def _are_one(point: KPoint, other: KPoint) -> bool:
    """Say whether two k-points differ by nothing but a reciprocal lattice vector."""
    apart = np.subtract(point, other)
    return bool(np.abs(apart - np.round(apart)).max() < 1e-6)


def input_generator(preset: VaspPreset, *, band_edges: Sequence[KPoint] = ()) -> VaspInputSet:
    """Build the generator of a preset's inputs, without a structure, as atomate2's makers take it.

    Parameters
    ----------
    preset : VaspPreset
        From `load_preset`.
    band_edges : sequence of (3,) sequences
        Fractional k-points, for a preset with `zero_weight`, which cannot do without.

    Returns
    -------
    VaspInputSet

    Raises
    ------
    DefinitionError
        Band edges for a preset that takes none, or a mesh that they cannot be added to.
    """
    settings: dict[str, Any] = {
        "user_incar_settings": _incar_settings(preset),
        "user_potcar_settings": dict(preset.potcar_symbols),
        "user_potcar_functional": preset.potcar_functional.value,
        "inherit_incar": False,
    }
    zero_weight = preset.kpoints_value("zero_weight") is not None
    if band_edges and not zero_weight:
        raise DefinitionError(f"preset {preset.name} takes no band edges")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BadInputSetWarning)  # an overridden POTCAR is listed in preset.overrides
        if zero_weight:
            if preset.kpoints_value("grid") is None or preset.kpoints_value("style") != "gamma":
                raise DefinitionError(
                    f"preset {preset.name} adds band edges to a grid centred at Γ: "
                    "kpoints.spacing and another kpoints.style do not fit it"
                )
            grid = tuple(preset.kpoints_value("grid"))
            return BandEdgeSet(grid=grid, band_edges=[list(point) for point in band_edges], **settings)
        settings["user_kpoints_settings"] = _mesh(preset)
        return (MPRelaxSet if preset.stage == "relax" else MPStaticSet)(**settings)


def input_set(
    structure: Structure,
    preset: VaspPreset,
    *,
    band_edges: Sequence[KPoint] = (),
    potcar_spec: bool | None = None,
) -> VaspInput:
    """Make the inputs of a fresh run.

    Parameters
    ----------
    structure : Structure
        The cell; starting moments it may carry are dropped, they are set per element.
    preset : VaspPreset
        From `load_preset`.
    band_edges : sequence of (3,) sequences
        As `input_generator`.
    potcar_spec : bool, optional
        Whether POTCAR symbols stand for the POTCAR (``POTCAR.spec``); by default where this machine has no library.

    Returns
    -------
    VaspInput
        Sites sorted as POSCAR has them; `written_order` says how.

    Raises
    ------
    DefinitionError, CalculationError
        As `input_generator` and `BandEdgeSet`.
    """
    fresh = Structure(structure.lattice, [site.specie.symbol for site in structure], structure.frac_coords)
    spec = not library_has(preset.potcar_functional.value) if potcar_spec is None else potcar_spec
    generator = input_generator(preset, band_edges=band_edges)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # low-spin Co: the moments of the Materials Project are what we want
        return generator.get_input_set(fresh, potcar_spec=spec)


def written_order(structure: Structure) -> list[int]:
    """Return the sites of a cell in the order of its POSCAR: site i of the run is site `written_order[i]` of the cell.

    pymatgen's sets sort sites by electronegativity, and like ones (Ru and Pd, Cu and Tc) by symbol, so a relaxed
    crystal has to be put back before the mask of an arrangement means anything.
    """
    return sorted(
        range(len(structure)),
        key=lambda index: (structure[index].species.average_electroneg, structure[index].species_string),
    )


def in_order_of(structure: Structure, values: Sequence[Any]) -> list[Any]:
    """Put values that come site by site from a run of a cell into the order of the cell."""
    restored: list[Any] = [None] * len(values)
    for index, value in zip(written_order(structure), values, strict=True):
        restored[index] = value
    return restored


def written_species(structure: Structure) -> list[str]:
    """Return the elements of a cell in the order of a run's POSCAR."""
    return [structure[index].specie.symbol for index in written_order(structure)]


def hubbard_u_of(structure: Structure, preset: VaspPreset) -> dict[str, float]:
    """Return the U values above zero that a run of a cell has, eV by element."""
    incar = input_set(structure, preset, potcar_spec=True, band_edges=_any_edge(preset)).incar
    values = incar.get("LDAUU", [])
    symbols = list(dict.fromkeys(structure[index].specie.symbol for index in written_order(structure)))
    return {symbol: float(u) for symbol, u in zip(symbols, values, strict=False) if u > 0}


def _any_edge(preset: VaspPreset) -> list[KPoint]:
    return [(0.0, 0.0, 0.0)] if preset.kpoints_value("zero_weight") else []


def _incar_settings(preset: VaspPreset) -> dict[str, Any]:
    settings = dict(preset.incar_values)
    if preset.hubbard_u.value == "none":
        settings["LDAU"] = False
    elif preset.hubbard_u_values:
        settings |= materials_project.hubbard_tables(preset.hubbard_u_values)
    if preset.magnetic_moment_values:
        settings["MAGMOM"] = materials_project.moment_table(preset.magnetic_moment_values)
    if preset.kpoints_value("spacing") is not None:
        settings["KSPACING"] = preset.kpoints_value("spacing")
        settings["KGAMMA"] = preset.kpoints_value("style") == "gamma"
    return settings


def _mesh(preset: VaspPreset) -> Kpoints | dict[str, Any]:
    grid = preset.kpoints_value("grid")
    if grid is None:
        return {}
    if preset.kpoints_value("style") == "gamma":
        return Kpoints.gamma_automatic(tuple(grid))
    return Kpoints.monkhorst_automatic(tuple(grid))
