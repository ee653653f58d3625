"""The validation written down: computed voltages and volumes of the shortlisted, beside the predicted ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions
from cathodeflow.campaign.stages.label import ValidateStage
from cathodeflow.campaign.stages.selection import pristine_composition
from cathodeflow.records.candidate import candidate_id
from cathodeflow.records.outcomes import Outcome
from cathodeflow.records.verdict import ValidationRecord
from cathodeflow.science.energetics.voltage import level_contents, valence, voltage_profile
from cathodeflow.science.energetics.volume_change import volume_changes
from cathodeflow.science.hosts.compositions import Composition
from cathodeflow.science.screening.ranking import is_noble
from cathodeflow.science.screening.verdict import profile_holds

if TYPE_CHECKING:
    from cathodeflow.campaign.stages.work import StageContext


def record_validations(context: StageContext) -> None:
    """Write one validation per shortlisted composition, the pristine host first: the others are held against it."""
    pristine: dict[str, float] | None = None
    for composition in context.campaign.shortlist:
        record = _validation(context, composition, pristine)
        if record.pristine:
            pristine = record.voltages
        transitions.record_once(context.project, "validations", record)


def _validation(context: StageContext, composition: str, pristine: dict[str, float] | None) -> ValidationRecord:
    campaign, host = context.campaign, context.host
    keys = ValidateStage(context).levels_of(composition)
    labels = {level: _label(context, key) for level, key in keys.items()}
    done = {level: label for level, label in labels.items() if label.get("outcome") == Outcome.DONE.value}
    formation = _per_level(done, "formation_energy")
    volumes = _per_level(done, "volume_after")
    contents, electrons = level_contents(host), valence(host.working_ion)
    profile = voltage_profile(contents, formation, electrons)
    voltages = {name: float(value) for name, value in profile.items()}
    verdict = context.project.database["verdicts"].find_one({"_id": f"{campaign.id}/r{campaign.round}/{composition}"})
    parts = Composition.from_key(composition)
    is_pristine = composition == pristine_composition(context)
    return ValidationRecord(
        id=candidate_id(campaign.id, composition),
        campaign=campaign.id,
        composition=composition,
        elements=list(parts.elements),
        counts=list(parts.counts),
        pristine=is_pristine,
        noble=is_noble(parts.elements),
        rank=(verdict or {}).get("rank"),
        labels=keys,
        voltages=voltages,
        predicted_voltages=(verdict or {}).get("voltages", {}),
        predicted_formation_energies=(verdict or {}).get("formation_energies", {}),
        formation_energies=formation,
        relaxation_energies=_per_level(done, "relaxation_energy"),
        volumes=volumes,
        volume_changes=volume_changes(volumes) if len(done) == len(labels) else {},
        profile_holds=_holds(voltages, None if is_pristine else pristine, complete=len(done) == len(labels)),
        missing={level: _why_missing(label) for level, label in labels.items() if level not in done},
        provenance=campaign.provenance,
    )


def _label(context: StageContext, key: str) -> dict[str, Any]:
    found = context.project.database["labels"].find_one(
        {"_id": candidate_id(context.campaign.id, key)}, {"relaxation.crystal": 0, "relaxation.forces": 0}
    )
    return dict(found or {})


def _per_level(labels: dict[str, dict[str, Any]], quantity: str) -> dict[str, float]:
    return {level: float(label["relaxation"][quantity]) for level, label in labels.items()}


def _why_missing(label: dict[str, Any]) -> str:
    return f"{label['reason']}: {label['message']}" if label else "never labelled"


def _holds(voltages: dict[str, float], pristine: dict[str, float] | None, *, complete: bool) -> bool | None:
    """Apply the definition under S0 Table 1; None where there is nothing whole to compare."""
    if not complete or not pristine or set(pristine) != set(voltages):
        return None
    return profile_holds(voltages, pristine)
