"""The job that lets LOBSTER find how strong the bonds of the polyhedra are (S0 section 3.5, Fig. 4e and f)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow.core.job import job

from cathodeflow.errors import CalculationError
from cathodeflow.jobs.followups.branch import Found, branch_output, preset_for, static_folder
from cathodeflow.records.outcomes import Branch, Reason

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from cathodeflow.calculators.lobster.outputs import LobsterResult
    from cathodeflow.records.followup import BondingResult, BondPart, PolyhedronPart
    from cathodeflow.science.electronic.bonding import PolyhedronBonding

CUTOFF = 2.8
"""Longest bond of a polyhedron, Å: beyond those of a stretched octahedron, short of the next shell (3.3 in NVPF)."""
LIGANDS = frozenset({"O", "F"})
LOBSTER_FOLDER = "lobster"


@job
def bonding(
    static: dict[str, Any], crystal: dict[str, Any], engine: dict[str, Any], followups: dict[str, Any]
) -> dict[str, Any]:
    """Compute -ICOHP of every bond of a transition metal to oxygen and fluorine.

    The WAVECAR of the static run is deleted once the bonds are known. It stays where the branch failed, so that it can
    be run again with another basis, or once LOBSTER is there.

    Parameters
    ----------
    static : dict
        Output of `jobs.followups.static.static`.
    crystal, engine, followups : dict
        As there.

    Returns
    -------
    dict
        Fields of `records.followup.FollowUpRecord`, without what only the campaign knows.

    Raises
    ------
    CalculationError
        LOBSTER failed in a way that another attempt may not repeat.
    """
    return branch_output(
        Branch.BONDING,
        engine,
        followups,
        lambda: _prepared(static, crystal, followups),
        lambda prepared: _lobster(prepared, engine),
        static=static,
    )


@dataclass(frozen=True)
class _Prepared:
    """What LOBSTER is run with."""

    structure: Structure
    folder: Path
    basis: dict[str, tuple[str, ...]]


def _prepared(static: Mapping[str, Any], crystal: Mapping[str, Any], followups: Mapping[str, Any]) -> _Prepared:
    """Return what LOBSTER is run with, or refuse a cell without transition metals, ligands or a basis."""
    from cathodeflow.jobs.followups.static import basis_of
    from cathodeflow.records.crystal import Crystal

    structure = Crystal.model_validate(crystal).to_structure()
    if not _centres(structure) or not LIGANDS & {site.specie.symbol for site in structure}:
        raise CalculationError(
            "the cell has no transition metal with oxygen or fluorine, so that there are no bonds to measure",
            Reason.PREREQUISITE_FAILED.value,
        )
    return _Prepared(structure, static_folder(static), basis_of(structure, preset_for("static", followups)))


def _centres(structure: Structure) -> list[int]:
    return [index for index, site in enumerate(structure) if site.specie.block == "d"]


def _lobster(prepared: _Prepared, engine: Mapping[str, Any]) -> Found:
    from cathodeflow.calculators.lobster.run import NEEDED, bring_vasp_files, gaussian_width_of, run_lobster
    from cathodeflow.calculators.threads import threads_of_one_program
    from cathodeflow.calculators.vasp.input_sets import written_order
    from cathodeflow.calculators.vasp.programs import programs_of
    from cathodeflow.calculators.vasp.run_files import remove

    structure = prepared.structure
    written = type(structure).from_sites([structure[index] for index in written_order(structure)])
    folder = Path.cwd() / LOBSTER_FOLDER
    bring_vasp_files(prepared.folder, folder)
    programs = programs_of(engine)
    with programs.available():
        done = run_lobster(
            folder,
            written,
            prepared.basis,
            cutoff=CUTOFF,
            centres={structure[index].specie.symbol for index in _centres(structure)},
            wall_time_s=programs.seconds_left(),
            gaussian_width=gaussian_width_of(folder),
            threads=threads_of_one_program(),
        )
    found = bonding_result(structure, done.result)
    for name in NEEDED:
        remove(folder, name)  # links and copies of what the static run has
    remove(prepared.folder, "WAVECAR")  # last of all: without it no other attempt could find the bonds
    return Found(found, message="; ".join(done.result.quality.warnings), interventions=done.interventions)


def bonding_result(structure: Structure, result: LobsterResult) -> BondingResult:
    """Give each bond of the polyhedra its -ICOHP, and average.

    Parameters
    ----------
    structure : Structure
        The cell; sites in the order that the record shall have.
    result : LobsterResult
        Of the same cell, sites in the order of POSCAR.

    Returns
    -------
    BondingResult
        Sites in the order of `structure`. The mean is over polyhedra; the means by pair are over bonds.

    Raises
    ------
    CalculationError
        A bond is missing from LOBSTER's list.
    """
    from dataclasses import replace

    from cathodeflow.calculators.vasp.input_sets import written_order
    from cathodeflow.records.followup import BondingResult
    from cathodeflow.science.electronic.bonding import contacts_within, polyhedron_bonding

    order = written_order(structure)
    species = [site.specie.symbol for site in structure]
    bonds = [replace(bond, atoms=(order[bond.atoms[0]], order[bond.atoms[1]])) for bond in result.bonds]
    contacts = contacts_within(
        structure.lattice.matrix, structure.frac_coords, species, _centres(structure), LIGANDS, CUTOFF
    )
    polyhedra = polyhedron_bonding(contacts, species, bonds)
    if not polyhedra:
        raise CalculationError(
            f"no oxygen or fluorine lies within {CUTOFF} Å of a transition metal", Reason.PREREQUISITE_FAILED.value
        )
    parts = [part for polyhedron in polyhedra for part in _bonds_of(polyhedron, species)]
    by_pair: dict[str, list[float]] = {}
    for part in parts:
        by_pair.setdefault("-".join(part.elements), []).append(part.strength)
    return BondingResult(
        bonds=parts,
        polyhedra=[_mean_of(polyhedron) for polyhedron in polyhedra],
        mean_strength=float(np.mean([polyhedron.mean_strength for polyhedron in polyhedra])),
        mean_by_pair={pair: float(np.mean(values)) for pair, values in by_pair.items()},
        charge_spilling=list(result.quality.charge_spilling),
        basis={element: list(functions) for element, functions in result.quality.basis.items()},
        program=f"LOBSTER {result.quality.version}",
    )


def _bonds_of(polyhedron: PolyhedronBonding, species: Sequence[str]) -> list[BondPart]:
    from cathodeflow.records.followup import BondPart

    return [
        BondPart(
            centre=contact.centre,
            ligand=contact.ligand,
            elements=[polyhedron.element, species[contact.ligand]],
            length=contact.length,
            strength=strength,
        )
        for contact, strength in zip(polyhedron.contacts, polyhedron.strengths, strict=True)
    ]


def _mean_of(polyhedron: PolyhedronBonding) -> PolyhedronPart:
    from cathodeflow.records.followup import PolyhedronPart

    return PolyhedronPart(
        centre=polyhedron.centre,
        element=polyhedron.element,
        mean_strength=polyhedron.mean_strength,
        mean_by_ligand=polyhedron.mean_by_ligand,
        n_bonds=len(polyhedron.contacts),
    )
