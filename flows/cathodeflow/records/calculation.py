"""What every run of an external program leaves in its record: interventions, overrides, corrections."""

from __future__ import annotations

from typing import Any

from cathodeflow.records.document import Part


class Intervention(Part):
    """One thing custodian did to a run.

    Attributes
    ----------
    handler : str
        Class of the handler.
    errors : list of str
        What it saw, in custodian's words.
    changes : list of str
        What it changed, such as ``INCAR ALGO = Normal``; empty when it stopped the run.
    """

    handler: str
    errors: list[str] = []
    changes: list[str] = []


class Override(Part):
    """A single value of a preset that a campaign changed; reports list them.

    Attributes
    ----------
    key : str
        Such as ``incar.ENCUT``.
    preset_value : object
        What the preset says; None where it leaves the value to the Materials Project's set.
    value : object
        What the campaign says.
    """

    key: str
    preset_value: Any
    value: Any


class CorrectionTerm(Part):
    """One term of an energy correction; energies in eV per cell."""

    name: str
    energy: float
    uncertainty: float


class EnergyCorrection(Part):
    """What was added to the energies of a run, eV per cell (S0 section 2.1).

    Attributes
    ----------
    scheme : str
        ``none`` or ``materials-project-2020``.
    uncorrected_before, uncorrected_after : float
        Energies of the unrelaxed and of the relaxed cell as the program gave them.
    terms : list of CorrectionTerm
        Their sum was added to both.
    """

    scheme: str
    uncorrected_before: float
    uncorrected_after: float
    terms: list[CorrectionTerm] = []
