"""References: the energy of each element with the campaign's engine, shared by all campaigns of a project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions
from cathodeflow.campaign.definition_file import substituents
from cathodeflow.campaign.event_log import Line
from cathodeflow.campaign.stages.work import StageContext, StageWork
from cathodeflow.records.label import ReferenceRecord, reference_id
from cathodeflow.records.outcomes import JobKind, Outcome

if TYPE_CHECKING:
    from jobflow import Flow

    from cathodeflow.campaign.policy import JobView

LOST_PHASES = "lost phases"  # kind of the event


def elements_needed(context: StageContext) -> tuple[str, ...]:
    """Return the elements of the host and of the substitution space, by symbol."""
    from cathodeflow.calculators.potentials.elements import reference_elements

    return tuple(reference_elements(context.host, substituents(context.definition)))


def reference_energies(context: StageContext) -> dict[str, float]:
    """Return the chemical potentials with the campaign's engine, eV/atom per element."""
    return {document["element"]: document["energy_per_atom"] for document in _references(context)}


def lost_phase_lines(context: StageContext) -> list[Line]:
    """Return what the log says of elements with phases that gave no energy, whichever campaign computed them."""
    lines = []
    for document in sorted(_references(context), key=lambda found: found["element"]):
        lost = document.get("lost_phases") or []
        if lost:
            said = ", ".join(f"{phase['phase']} ({phase['reason']})" for phase in lost)
            element = document["element"]
            message = f"the reference of {element} is the lowest phase that could be computed: {said} gave no energy"
            lines.append(Line(LOST_PHASES, message, {"element": element, "lost": lost}))
    return lines


def _references(context: StageContext) -> list[dict[str, Any]]:
    ids = [reference_id(context.campaign.provenance, element) for element in elements_needed(context)]
    return list(context.project.database["references"].find({"_id": {"$in": ids}}))


@dataclass(frozen=True)
class ReferenceStage(StageWork):
    """Every element is needed: none may be quarantined."""

    @property
    def kind(self) -> JobKind:
        """What its jobs make."""
        return JobKind.REFERENCE

    def wanted(self) -> tuple[str, ...]:
        """Return the elements."""
        return elements_needed(self.context)

    def settled(self) -> dict[str, Outcome]:
        """Return the elements that have a reference with this engine."""
        return dict.fromkeys(reference_energies(self.context), Outcome.DONE)

    def flow(self, key: str) -> Flow:
        """Return the workflow that relaxes the phases of an element."""
        engine = self.context.definition.engine.model_dump()
        return self.context.recipes.reference(self.context.campaign.id, key, engine, category=self.category)

    def record(self, job: JobView, output: Any) -> None:
        """Write the reference."""
        origin = self.context.origin(self.kind, job, output)
        record = ReferenceRecord.model_validate(
            {"_id": reference_id(self.context.campaign.provenance, job.key), **output, "origin": origin}
        )
        transitions.record_once(self.context.project, "references", record)
