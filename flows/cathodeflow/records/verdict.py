"""Verdicts of the screening, one per composition and round, and the validation of the shortlisted ones."""

from __future__ import annotations

from cathodeflow.records.document import Document, Part


class RuleResult(Part):
    """How one rule judged. `margin` is by how much, in `unit`: negative is a failure, None where a value is missing."""

    rule: str
    passed: bool
    margin: float | None
    unit: str


class VerdictRecord(Document):
    """A composition judged; `_id` is ``<campaign>/r<round>/<composition>``.

    Attributes
    ----------
    voltages : dict
        ``{"V43": …, "V32": …, "V21": …}`` in V, from predicted formation energies.
    relaxation_energies, formation_energies : dict
        Per level, of the representative arrangement, eV/atom.
    representatives : dict
        Candidate key per level.
    rejected_by : str or None
        The first rule that failed, in the order of the definition.
    uncertainty : float or None
        Largest standard deviation of the ensemble's formation energies among the representatives, eV/atom.
    score : float or None
        (V21 − V43)/V43, ascending is better; None where V43 is not positive.
    rank : int or None
        Within its list (noble or not), from 1; None where rejected.
    """

    campaign: str
    round: int
    composition: str
    elements: list[str]
    counts: list[int]
    noble: bool
    voltages: dict[str, float]
    relaxation_energies: dict[str, float]
    formation_energies: dict[str, float]
    uncertainty: float | None
    representatives: dict[str, str]
    passed: bool
    rejected_by: str | None
    rules: list[RuleResult]
    score: float | None
    rank: int | None


class ValidationRecord(Document):
    """A shortlisted composition computed by the engine at every level; `_id` is ``<campaign>/<composition>``.

    Attributes
    ----------
    voltages, predicted_voltages : dict
        V; computed, and as the surrogate of the last round had it (empty for the pristine host where not predicted).
    volumes : dict
        Per level, Å^3 per cell.
    volume_changes : dict
        ``{"Na1-Na3": percent, "Na1-Na4": percent}``.
    profile_holds : bool or None
        Step shape and V43 above the pristine host's (S0 Table 1); None for the pristine host itself, and where a level
        is missing.
    missing : dict
        Level to the reason why it has no label.
    """

    campaign: str
    composition: str
    elements: list[str]
    counts: list[int]
    pristine: bool
    noble: bool
    rank: int | None
    labels: dict[str, str]
    voltages: dict[str, float]
    predicted_voltages: dict[str, float]
    predicted_formation_energies: dict[str, float]
    formation_energies: dict[str, float]
    relaxation_energies: dict[str, float]
    volumes: dict[str, float]
    volume_changes: dict[str, float]
    profile_holds: bool | None
    missing: dict[str, str]
    provenance: str
