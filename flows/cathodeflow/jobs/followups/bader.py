"""The job that divides the static run's density among its atoms (S3 section 3.1, S4 section 3.2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow.core.job import job

from cathodeflow.jobs.followups.branch import Found, branch_output, static_folder
from cathodeflow.records.outcomes import Branch

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from cathodeflow.calculators.bader.analysis import Program
    from cathodeflow.calculators.bader.chgcar import DensityFile
    from cathodeflow.science.electronic.charges import AtomicCharges

References = Mapping[str, Mapping[str, float]]
"""Element to oxidation state (as text, such as ``"3"``) to the net charge that stands for it, e."""
SEPARATOR = "; "
"""Between the remarks of a message."""


@job
def bader(
    static: dict[str, Any], crystal: dict[str, Any], engine: dict[str, Any], followups: dict[str, Any]
) -> dict[str, Any]:
    """Compute Bader charges, and oxidation states where their reference charges are known.

    Parameters
    ----------
    static : dict
        Output of `jobs.followups.static.static`.
    crystal, engine : dict
        As there.
    followups : dict
        As there. `oxidation_references`, if given, maps elements to oxidation states to net charges, e: Bader charges
        of cells whose states are known, by the same engine and preset. Without them no state is assigned.

    Returns
    -------
    dict
        Fields of `records.followup.FollowUpRecord`, without what only the campaign knows.

    Raises
    ------
    CalculationError
        The program that divides the density failed by itself.
    """
    return branch_output(
        Branch.BADER,
        engine,
        followups,
        lambda: _read(static_folder(static), crystal),
        lambda read: _analyse(read, engine, followups),
        static=static,
    )


@dataclass(frozen=True)
class _Read:
    """What the static run says: the cell, ZVAL of each atom, the valence density and that of all electrons."""

    structure: Structure
    valences: tuple[float, ...]
    valence: DensityFile
    reference: DensityFile


def _read(folder: Path, crystal: Mapping[str, Any]) -> _Read:
    from cathodeflow.calculators.bader.analysis import read_densities
    from cathodeflow.calculators.vasp.electronic_outputs import read_valences
    from cathodeflow.calculators.vasp.input_sets import written_species
    from cathodeflow.records.crystal import Crystal

    structure = Crystal.model_validate(crystal).to_structure()
    valences = read_valences(folder, written_species(structure))
    return _Read(structure, valences, *read_densities(folder, valences))


def _analyse(read: _Read, engine: Mapping[str, Any], followups: Mapping[str, Any]) -> Found:
    from cathodeflow.calculators.bader.analysis import analyse_density, available_program
    from cathodeflow.calculators.vasp.programs import programs_of

    programs = programs_of(engine)
    with programs.available():
        program = available_program()
        charges = analyse_density(read.valence, read.reference, program=program)
    return bader_result(read.structure, charges, read.valences, program, followups.get("oxidation_references") or {})


def bader_result(
    structure: Structure,
    charges: AtomicCharges,
    valences: Sequence[float],
    program: Program,
    references: References,
) -> Found:
    """Turn electrons inside volumes into net charges, their statistics and oxidation states.

    Parameters
    ----------
    structure : Structure
        The cell; sites in the order that the record shall have.
    charges : AtomicCharges
        Of the same cell, sites in the order of POSCAR.
    valences : sequence of float
        ZVAL of each atom, in that order too.
    program : str
        Which divided the density.
    references : mapping
        As `bader`'s.

    Returns
    -------
    Found
        Its message tells the groups of like charge of each transition metal that has no references.

    Raises
    ------
    DefinitionError
        References that do not rise with the state.
    """
    from cathodeflow.calculators.vasp.input_sets import in_order_of
    from cathodeflow.records.followup import BaderResult, SpeciesChargePart
    from cathodeflow.science.electronic.charges import charge_transfer, transfer_by_species

    species = [site.specie.symbol for site in structure]
    net = in_order_of(structure, charge_transfer(charges.electrons, valences).tolist())
    in_order = in_order_of(structure, list(valences))
    states, said = _oxidation_states(structure, net, references)
    result = BaderResult(
        net_charges=net,
        volumes=in_order_of(structure, charges.volumes.tolist()),
        species=[
            SpeciesChargePart(
                element=one.element,
                count=one.count,
                mean=one.mean,
                standard_deviation=one.standard_deviation,
                minimum=one.minimum,
                maximum=one.maximum,
            )
            for one in transfer_by_species(net, species)
        ],
        oxidation_states=states,
        oxidation_references={
            element: {str(state): float(charge) for state, charge in known.items()}
            for element, known in references.items()
            if element in species
        },
        valence_electrons=dict(zip(species, in_order, strict=True)),
        vacuum_charge=charges.vacuum_electrons,
        program=program,
    )
    return Found(result, message=SEPARATOR.join(said))


def _oxidation_states(
    structure: Structure, net: Sequence[float], references: References
) -> tuple[list[int | None], list[str]]:
    """Assign states to the metals with references; tell the groups of like charge of the others."""
    from cathodeflow.science.electronic.charges import assign_oxidation_states, charge_groups

    states: list[int | None] = [None] * len(structure)
    said: list[str] = []
    metals = dict.fromkeys(site.specie.symbol for site in structure if site.specie.block == "d")
    for element in metals:
        sites = [index for index, site in enumerate(structure) if site.specie.symbol == element]
        own = np.array([net[index] for index in sites])
        known = references.get(element)
        if known:
            assigned = assign_oxidation_states(own, {int(state): float(charge) for state, charge in known.items()})
            for index, state in zip(sites, assigned.states, strict=True):
                states[index] = state
            continue
        groups = charge_groups(own)
        listed = [own[groups == group] for group in range(int(groups.max()) + 1)]
        told = ", ".join(f"{len(one)} at {one.mean():+.2f} e" for one in listed)
        said.append(f"{_remark_on(element)}: {told}")
    return states, said


def _remark_on(element: str) -> str:
    return f"{element}: no reference charges, so no oxidation states"


def without_remarks(message: str, elements: Collection[str]) -> str:
    """Return a branch's message without what it says of elements whose states were told after all.

    Parameters
    ----------
    message : str
        Of `bader`.
    elements : collection of str
        Those with states.
    """
    told = tuple(map(_remark_on, elements))
    return SEPARATOR.join(part for part in message.split(SEPARATOR) if not part.startswith(told))


def reference_charges(net_charges: Mapping[int, Sequence[float]]) -> dict[str, float]:
    """Return what stands for each oxidation state of an element: the mean charge of its sites in a cell of that state.

    Parameters
    ----------
    net_charges : mapping of int to sequence of float
        Oxidation state to the element's net Bader charges in a cell where all its sites have this state (V in the
        pristine host: V3+ with Na3, V4+ with Na1), e.

    Returns
    -------
    dict of str to float
        For `followups["oxidation_references"]` of the element.
    """
    return {str(state): float(np.mean(charges)) for state, charges in sorted(net_charges.items()) if len(charges)}
