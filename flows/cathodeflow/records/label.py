"""Labels (relaxed candidates) and the elemental references their formation energies stand on."""

from __future__ import annotations

from cathodeflow.records.calculation import EnergyCorrection, Intervention, Override
from cathodeflow.records.crystal import Crystal
from cathodeflow.records.document import Document, Part
from cathodeflow.records.outcomes import Outcome, Purpose, Reason


class Origin(Part):
    """Where a number comes from.

    Attributes
    ----------
    provenance : str
        The engine: ``mlff:chgnet-0.3.0``, ``vasp:s0_relax``, ``rehearsal:pair:s0_relax``. Never mixed in one training
        set or one voltage.
    software : dict
        Versions of the software that made it.
    job_uuid : str or None
        jobflow's uuid of the job that made it, the key of its output.
    fw_id : int or None
        The Firework that ran it.
    attempt : int
        Which attempt it was, from 1.
    """

    provenance: str
    software: dict[str, str] = {}
    job_uuid: str | None = None
    fw_id: int | None = None
    attempt: int = 1


class Relaxation(Part):
    """What a relaxation gave; energies are totals per cell in eV, volumes Å^3, forces eV/Å.

    Attributes
    ----------
    energy_before, energy_after : float
        Total energy of the unrelaxed and of the relaxed cell, eV.
    formation_energy_before, formation_energy : float
        Per atom, before and after, eV (S0 eq. 1).
    relaxation_energy : float
        ``|formation_energy - formation_energy_before|``, eV/atom (S0 eq. 2).
    volume_change_percent : float
        Of the relaxed against the unrelaxed cell.
    max_force : float
        Largest residual force on an atom, eV/Å.
    wall_s : float
        Wall time of the relaxation, s.
    cores : int
        Processors it ran on: core-hours are the product.
    correction : EnergyCorrection or None
        What `energy_before` and `energy_after` hold beyond the program's own energies; None for engines without.
    """

    n_atoms: int
    energy_before: float
    energy_after: float
    formation_energy_before: float
    formation_energy: float
    relaxation_energy: float
    volume_before: float
    volume_after: float
    volume_change_percent: float
    max_force: float
    steps: int
    converged: bool
    wall_s: float
    cores: int = 1
    correction: EnergyCorrection | None = None
    crystal: Crystal
    forces: list[list[float]] = []


class LabelRecord(Document):
    """A candidate that was relaxed, or that was quarantined with its reason.

    `relaxation` is absent when the calculation gave nothing usable; it may be there in a quarantined label, for looking
    at, and never enters a training set.

    Attributes
    ----------
    overrides : list of Override
        What the campaign changed of the engine's preset.
    interventions : list of Intervention
        What custodian did to the run, those of continued attempts included.
    folder : str
        Where the program ran; empty for engines that write none.
    """

    campaign: str
    key: str
    level: str
    composition: str
    elements: list[str]
    counts: list[int]
    mask: int
    purpose: Purpose
    round: int
    outcome: Outcome
    reason: Reason | None = None
    message: str = ""
    relaxation: Relaxation | None = None
    overrides: list[Override] = []
    interventions: list[Intervention] = []
    folder: str = ""
    origin: Origin


class LostPhase(Part):
    """A phase of an element that gave no energy; its reference is the lowest of the others.

    Attributes
    ----------
    phase : str
        Which one, in words.
    hypothetical : bool
        Whether it is a lattice that nature does not choose.
    reason : Reason
        Why it gave none.
    message : str
        In the words of what failed.
    """

    phase: str
    hypothetical: bool
    reason: Reason
    message: str = ""


class ReferenceRecord(Document):
    """The energy of an element with one engine. `_id` is ``<provenance>/<element>``: campaigns share it.

    Attributes
    ----------
    energy_per_atom : float
        Chemical potential of the element, eV/atom.
    phase : str
        Which phase or molecule it is, in words.
    lost_phases : list of LostPhase
        Those that gave no energy: one of them may be the lowest.
    """

    element: str
    energy_per_atom: float
    phase: str
    n_atoms: int
    max_force: float
    crystal: Crystal
    lost_phases: list[LostPhase] = []
    overrides: list[Override] = []
    interventions: list[Intervention] = []
    origin: Origin


def reference_id(provenance: str, element: str) -> str:
    """Return the natural key of a reference."""
    return f"{provenance}/{element}"
