"""Whether a finished run had the settings of a preset: each difference that changes an energy is named.

Import this module lazily: pymatgen's input sets take about a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cathodeflow.calculators.vasp.finished_runs import FinishedRun
from cathodeflow.calculators.vasp.input_sets import input_set
from cathodeflow.calculators.vasp.materials_project import potcar_symbol
from cathodeflow.calculators.vasp.preset import VaspPreset

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from pymatgen.io.vasp.inputs import VaspInput

EXACT: dict[str, Any] = {
    "ISPIN": 1,
    "IVDW": 0,
    "LASPH": False,
    "LHFCALC": False,
    "LNONCOLLINEAR": False,
    "LSORBIT": False,
    "LUSE_VDW": False,
    "ISIF": 2,
    "PSTRESS": 0.0,
}
"""Tags that have to be the preset's, each with VASP's default."""
DISPERSION = {0: "no dispersion", 1: "D2", 10: "D2", 11: "D3 with zero damping", 12: "D3 with BJ damping"}
PRECISION = {"l": 0, "m": 1, "n": 2, "s": 2, "h": 3, "a": 3}
"""PREC by its first letter, coarse to fine."""
MESH_TOLERANCE = 0.02
"""Share by which a mesh may be coarser: lattices of one candidate differ in their last digits."""
RELATIVE = 1e-6
FAMILIES = {"PBE": "PAW_PBE", "LDA": "PAW", "PW91": "PAW_GGA"}
"""First word of a POTCAR's title by the family of the functional."""


@dataclass(frozen=True)
class _Comparison:
    """A run beside what the preset would have written for its first geometry."""

    run: FinishedRun
    preset: VaspPreset
    inputs: VaspInput

    def wanted(self, tag: str, default: Any = None) -> Any:
        return self.inputs.incar.get(tag, default)


def differences(run: FinishedRun, preset: VaspPreset, start: Structure) -> list[str]:
    """List how the settings of a run depart from a preset, in ways that change energies.

    Finer is allowed: smaller EDIFF and EDIFFG, more k-points, higher PREC. Tags that only change the speed (NCORE,
    KPAR, ALGO, …), the output or the starting point are not looked at, nor is MAGMOM: what moments a run ends with is
    its result.

    Parameters
    ----------
    run : FinishedRun
        From `finished_runs.read_run`.
    preset : VaspPreset
        With the campaign's overrides.
    start : Structure
        The candidate as the campaign has it.

    Returns
    -------
    list of str
        Such as ``ENCUT 520 eV, not 550``; empty when a label of this run is as good as one of the campaign's own.
    """
    both = _Comparison(run, preset, input_set(start, preset, potcar_spec=True))
    return [*_basis(both), *_functional(both), *_exact(both), *_hubbard(both), *_potcars(both), *_accuracy(both)]


def _basis(both: _Comparison) -> Iterator[str]:
    had, wanted = float(both.run.value("ENMAX", both.run.value("ENCUT", 0.0))), float(both.wanted("ENCUT"))
    if not math.isclose(had, wanted, rel_tol=RELATIVE):
        yield f"ENCUT {had:g} eV, not {wanted:g}"
    had_prec, wanted_prec = str(both.run.value("PREC", "normal")), str(both.wanted("PREC", "Normal"))
    if PRECISION.get(had_prec[:1].lower(), -1) < PRECISION[wanted_prec[:1].lower()]:
        yield f"PREC {had_prec}, coarser than {wanted_prec}"


def _functional(both: _Comparison) -> Iterator[str]:
    for tag in ("GGA", "METAGGA"):
        had, wanted = _functional_tag(tag, both.run.value(tag)), _functional_tag(tag, both.wanted(tag))
        if had != wanted:
            yield f"{tag} {had}, not {wanted}"
    mine, asked = int(both.run.incar.get("IVDW", both.run.value("IVDW", 0))), int(both.wanted("IVDW", 0))
    if mine != asked:
        yield f"IVDW {mine} ({DISPERSION.get(mine, 'another')}), not {asked} ({DISPERSION.get(asked, 'another')})"


def _functional_tag(tag: str, value: Any) -> str:
    """Return a functional's name; what is not given is that of the POTCARs, which are compared themselves."""
    text = str(value or "").strip().upper().strip("-")
    if tag == "GGA":
        return {"": "PE"}.get(text, text)
    return {"": "none", "NONE": "none", "F": "none"}.get(text, text)


def _exact(both: _Comparison) -> Iterator[str]:
    for tag, default in EXACT.items():
        if tag == "IVDW":
            continue
        had, wanted = both.run.value(tag, default), both.wanted(tag, default)
        if had != wanted and not (tag == "PSTRESS" and math.isclose(float(had), float(wanted))):
            yield f"{tag} {had}, not {wanted}"
    had_smearing, wanted_smearing = int(both.run.value("ISMEAR", 1)), int(both.wanted("ISMEAR", 1))
    if had_smearing not in (wanted_smearing, -5):  # the tetrahedron method smears nothing
        yield f"ISMEAR {had_smearing}, not {wanted_smearing}"
    had_width, wanted_width = float(both.run.value("SIGMA", 0.2)), float(both.wanted("SIGMA", 0.2))
    if had_smearing != -5 and had_width > wanted_width * (1 + RELATIVE):
        yield f"SIGMA {had_width:g} eV, broader than {wanted_width:g}"
    charge = both.run.incar.get("NELECT")
    if charge is not None:
        yield f"NELECT {charge:g} is set: the cell may be charged"


def _hubbard(both: _Comparison) -> Iterator[str]:
    wanted = _wanted_u(both)
    for element in sorted(set(both.run.hubbard_u) | set(wanted)):
        had_u, wanted_u = both.run.hubbard_u.get(element, 0.0), wanted.get(element, 0.0)
        if not math.isclose(had_u, wanted_u, abs_tol=1e-6):
            yield f"U of {element} {had_u:g} eV, not {wanted_u:g}"
    if both.run.hubbard_u and wanted:
        had, asked = int(both.run.incar.get("LDAUTYPE", 2)), int(both.wanted("LDAUTYPE", 2))
        if had != asked:
            yield f"LDAUTYPE {had}, not {asked}"


def _wanted_u(both: _Comparison) -> dict[str, float]:
    if not both.wanted("LDAU", False):
        return {}
    symbols = list(dict.fromkeys(site.specie.symbol for site in both.inputs.poscar.structure))
    values = zip(symbols, both.wanted("LDAUU", []), both.wanted("LDAUJ", [0.0] * len(symbols)), strict=False)
    return {symbol: float(u) - float(j) for symbol, u, j in values if float(u) - float(j)}


def _potcars(both: _Comparison) -> Iterator[str]:
    functional = str(both.preset.potcar_functional.value)
    family = next(title for name, title in FAMILIES.items() if functional.startswith(name))
    elements = sorted({site.specie.symbol for site in both.run.start})
    had = both.run.potcar_symbols
    for element in elements:
        wanted = both.preset.potcar_symbols.get(element, potcar_symbol(element))
        if had.get(element) != wanted:
            yield f"POTCAR of {element} {had.get(element, 'unknown')}, not {wanted}"
    for kind in dict.fromkeys(title.split()[0] for title in both.run.potcar_titles if title.split()):
        if kind != family:
            yield f"POTCARs of {kind}, not {family}"


def _accuracy(both: _Comparison) -> Iterator[str]:
    had, wanted = float(both.run.value("EDIFF", 1e-4)), float(both.wanted("EDIFF", 1e-4))
    if had > wanted * (1 + RELATIVE):
        yield f"EDIFF {had:g} eV, looser than {wanted:g}"
    had, wanted = float(both.run.value("EDIFFG", 10 * had)), float(both.wanted("EDIFFG"))
    if had >= 0:
        yield f"EDIFFG {had:g} (an energy), not a force of {-wanted:g} eV/Å"
    elif -had > -wanted * (1 + RELATIVE):
        yield f"EDIFFG {had:g}, looser than {wanted:g} eV/Å"
    yield from _mesh(both)


def _mesh(both: _Comparison) -> Iterator[str]:
    if both.run.divisions is None:
        yield "its k-points are a list, of which no mesh is known"
        return
    start = both.run.start
    had = sorted(_spacings(start, both.run.divisions))
    wanted = sorted(_spacings(both.inputs.poscar.structure, _wanted_divisions(both)))
    if any(mine > asked * (1 + MESH_TOLERANCE) for mine, asked in zip(had, wanted, strict=True)):
        asked_mesh = "×".join(map(str, _wanted_divisions(both)))
        yield f"k-mesh {'×'.join(map(str, both.run.divisions))}, coarser than {asked_mesh}"


def _spacings(structure: Structure, divisions: tuple[int, int, int]) -> list[float]:
    """Return the distances of k-points along the reciprocal axes, 1/Å with 2π."""
    lengths = structure.lattice.reciprocal_lattice.abc
    return [length / count for length, count in zip(lengths, divisions, strict=True)]


def _wanted_divisions(both: _Comparison) -> tuple[int, int, int]:
    spacing = both.wanted("KSPACING")
    if spacing is not None:
        lengths = np.array(both.inputs.poscar.structure.lattice.reciprocal_lattice.abc)
        counts = np.maximum(1, np.ceil(lengths / float(spacing) - 1e-9)).astype(int)
    else:
        mesh: Any = both.inputs.kpoints
        counts = np.array(mesh.kpts[0], dtype=int)
    return (int(counts[0]), int(counts[1]), int(counts[2]))
