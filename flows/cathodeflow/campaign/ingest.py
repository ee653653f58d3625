"""Ingesting: finished VASP relaxations become labels of a campaign, each judged as if the campaign had run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.calculators.engines import PROGRAMS
from cathodeflow.campaign import transitions
from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.campaign.definition_file import substituents
from cathodeflow.campaign.event_log import deliver
from cathodeflow.errors import CalculationError, CampaignError, DefinitionError, HostError, StaleCampaignError
from cathodeflow.records.campaign import CampaignRecord
from cathodeflow.records.candidate import candidate_id
from cathodeflow.records.document import software_versions
from cathodeflow.records.label import LabelRecord, Origin, reference_id
from cathodeflow.records.outcomes import JobKind, Outcome, Purpose
from cathodeflow.storage.collections import EVENTS

if TYPE_CHECKING:
    from cathodeflow.calculators.potentials.relaxation import RelaxedStructure
    from cathodeflow.calculators.vasp.finished_runs import FinishedRun
    from cathodeflow.calculators.vasp.parameters import VaspParameters
    from cathodeflow.records.calculation import EnergyCorrection
    from cathodeflow.science.hosts.host import Host
    from cathodeflow.science.hosts.matching import Decoration
    from cathodeflow.storage.connection import Project

ATTEMPTS = 5
"""At writing a label while somebody else moves the campaign on."""


class Verdict(StrEnum):
    """What becomes of a folder."""

    INGESTED = "ingested"  # in a dry run: would be
    KNOWN = "known"  # its candidate has a label, or it is a copy of another run
    REFUSED = "refused"


@dataclass(frozen=True)
class IngestedRun:
    """A folder and what became of it.

    Attributes
    ----------
    folder : Path
        As it was found.
    verdict : Verdict
        What became of it.
    key : str or None
        The candidate, once recognised.
    reason : str
        Why it is known or refused; empty when it went in.
    """

    folder: Path
    verdict: Verdict
    key: str | None = None
    reason: str = ""


class _NotNeededError(CampaignError):
    """The run tells nothing new."""


def ingest(
    project: Project,
    name: str,
    folders: Iterable[Path],
    *,
    dry_run: bool = False,
    on_run: Callable[[IngestedRun, int, int], None] | None = None,
) -> list[IngestedRun]:
    """Take finished relaxations as labels of a campaign.

    Each label is written by itself, so that a call that is killed and repeated goes on where it ended.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        A campaign with engine ``vasp``; or ``rehearsal``, for what its stand-ins ran.
    folders : iterable of Path
        Looked through with all folders below.
    dry_run : bool
        Judge only; write nothing.
    on_run : callable, optional
        Called after each folder with its verdict, its number from 1 and how many there are.

    Returns
    -------
    list of IngestedRun
        One per folder that looks like a run, in the order of their names.

    Raises
    ------
    CampaignError
        The campaign takes no such labels, or no more of them.
    """
    from cathodeflow.calculators.vasp.finished_runs import find_runs

    campaign = transitions.read_campaign(project, name)
    judge = _Judge(project, campaign)
    judge.require_open()
    found = list(find_runs(folders))
    verdicts = []
    for number, folder in enumerate(found, start=1):
        verdict = judge.take(folder, dry_run=dry_run)
        verdicts.append(verdict)
        if on_run is not None:
            on_run(verdict, number, len(found))
    return verdicts


@dataclass
class _Judge:
    """What a campaign accepts, and what it has taken so far."""

    project: Project
    campaign: CampaignRecord
    seen: dict[str, Path] = field(default_factory=dict)
    taken: dict[str, Path] = field(default_factory=dict)

    @cached_property
    def definition(self) -> CampaignDefinition:
        return CampaignDefinition.model_validate(self.campaign.definition)

    @cached_property
    def host(self) -> Host:
        from cathodeflow.jobs.host import host_from

        return host_from(self.campaign.host.model_dump())

    @cached_property
    def parameters(self) -> VaspParameters:
        from cathodeflow.calculators.vasp.parameters import read_parameters

        return read_parameters(self.definition.engine.parameters)

    def require_open(self) -> None:
        """Refuse a campaign that takes no labels from outside."""
        engine = self.definition.engine.name
        if engine not in PROGRAMS:
            raise CampaignError(
                f"campaign {self.campaign.id} labels with engine {engine}, and numbers of different engines are never "
                "mixed: ingest into a campaign with engine vasp"
            )
        transitions.round_of_ingested(self.campaign)

    def take(self, folder: Path, *, dry_run: bool) -> IngestedRun:
        """Judge a folder and write its label."""
        from cathodeflow.calculators.vasp.finished_runs import read_run

        decoration: Decoration | None = None
        try:
            run = read_run(folder)
            self._require_new(run)
            self._require_same_engine(run)
            decoration = self._recognise(run)
            self._require_unlabelled(decoration.key, None if dry_run else run)
            label = self._label(run, decoration)
            if not dry_run:
                self._write(label, run)
            self.taken[decoration.key] = folder
        except _NotNeededError as known:
            return IngestedRun(folder, Verdict.KNOWN, _key_of(decoration), str(known))
        except (CalculationError, DefinitionError, CampaignError) as refused:
            return IngestedRun(folder, Verdict.REFUSED, _key_of(decoration), str(refused))
        return IngestedRun(folder, Verdict.INGESTED, decoration.key)

    def _require_new(self, run: FinishedRun) -> None:
        earlier = self.seen.setdefault(run.sha256, run.folder)
        if earlier is not run.folder:
            raise _NotNeededError(f"the same run as in {earlier}")

    def _require_same_engine(self, run: FinishedRun) -> None:
        engine, model = self.definition.engine.name, self.definition.engine.model
        if engine == "vasp" and run.stand_in is not None:
            raise CalculationError(f"its files say {run.stand_in}: a stand-in ran it, not VASP")
        if engine == "rehearsal" and run.stand_in is None:
            raise CalculationError("VASP ran it, and a rehearsal takes no real numbers: ingest it with engine vasp")
        if engine == "rehearsal" and run.stand_in not in (None, f"rehearsal {model}"):
            raise CalculationError(f"its files say {run.stand_in}, the campaign rehearses with {model}")

    def _recognise(self, run: FinishedRun) -> Decoration:
        from cathodeflow.science.hosts.matching import match_decoration

        decoration = match_decoration(self.host, run.start)
        composition, ratios = decoration.composition, self.definition.ratio_counts()
        foreign = sorted(set(composition.elements) - set(substituents(self.definition)))
        if foreign:
            raise HostError(f"it is {decoration.key}, and {', '.join(foreign)} is not among the campaign's elements")
        if len(composition.counts) == 2 and ratios is not None and composition.counts not in ratios:
            ratio = "/".join(map(str, composition.counts))
            raise HostError(f"it is {decoration.key}, and {ratio} is not among the campaign's ratios")
        return decoration

    def _require_unlabelled(self, key: str, run: FinishedRun | None) -> None:
        """Refuse a candidate that has a label; what a kill left undone of ingesting this very run is done."""
        if key in self.taken:
            raise _NotNeededError(f"{key} as well as {self.taken[key]}, which went first")
        there = self.project.database["labels"].find_one(
            {"_id": candidate_id(self.campaign.id, key)}, {"outcome": 1, "reason": 1, "folder": 1, "origin.job_uuid": 1}
        )
        if there is None:
            return
        if run is not None and there["folder"] == str(run.folder.resolve()):
            _complete(self.project, self.campaign.id, key, _details(key, run))
        raise _NotNeededError(_words_of(there))

    def _label(self, run: FinishedRun, decoration: Decoration) -> LabelRecord:
        """Return the label that the campaign's own job would have written."""
        from cathodeflow.jobs.label import relaxation_record

        self._require_fit(run, decoration)
        references = self._references(run)
        relaxed = self._relaxed(run, decoration)
        self._require_sound(relaxed, decoration)
        return LabelRecord(
            id=candidate_id(self.campaign.id, decoration.key),
            campaign=self.campaign.id,
            key=decoration.key,
            level=decoration.level,
            composition=decoration.composition.key,
            elements=list(decoration.composition.elements),
            counts=list(decoration.composition.counts),
            mask=decoration.mask,
            purpose=Purpose.TRAINING,
            round=self.campaign.round,
            outcome=Outcome.DONE,
            relaxation=relaxation_record(decoration.start, relaxed, references),
            overrides=list(self.parameters.preset.overrides),
            interventions=list(run.interventions),
            folder=str(run.folder.resolve()),
            origin=Origin(provenance=self.campaign.provenance, software=software_versions() | {"VASP": run.version}),
        )

    def _require_fit(self, run: FinishedRun, decoration: Decoration) -> None:
        """Refuse a run that did not converge, had other settings, or began elsewhere."""
        from cathodeflow.calculators.vasp.compatibility import differences
        from cathodeflow.calculators.vasp.finished_runs import require_usable
        from cathodeflow.calculators.vasp.parameters import settings_of

        require_usable(run, settings_of(self.parameters.preset).max_force)
        found = differences(run, self.parameters.preset, decoration.start)
        wanted = 2 if self.parameters.double_relax else 1
        if run.relaxations != wanted:
            found.append(f"{run.relaxations} relaxation(s) in a row, not {wanted}")
        if found:
            raise CalculationError(f"other settings than preset {self.parameters.label}: {'; '.join(found)}")
        if not decoration.is_unrelaxed:
            raise CalculationError(
                f"its first geometry is up to {decoration.deviation:.2f} Å off the unrelaxed {decoration.key}, so that "
                "there is no energy before relaxation (S0 eq. 2): ingest the run that began there"
            )

    def _references(self, run: FinishedRun) -> dict[str, float]:
        """Return the energies per atom of the run's elements with the campaign's engine, eV."""
        needed = sorted({site.specie.symbol for site in run.start})
        ids = [reference_id(self.campaign.provenance, element) for element in needed]
        found = self.project.database["references"].find({"_id": {"$in": ids}}, {"element": 1, "energy_per_atom": 1})
        energies = {document["element"]: float(document["energy_per_atom"]) for document in found}
        missing = [element for element in needed if element not in energies]
        if missing:
            raise CampaignError(
                f"there is no reference energy of {', '.join(missing)} with {self.campaign.provenance} yet: "
                "`cflow run` until stage label, then ingest again"
            )
        return energies

    def _relaxed(self, run: FinishedRun, decoration: Decoration) -> RelaxedStructure:
        """Lay the run on the candidate's cell and correct its energies as the engine does."""
        from cathodeflow.calculators.potentials.relaxation import RelaxedStructure

        start, alignment = decoration.start, decoration.alignment
        end = alignment.lay(run.end, start)
        correction = _correction(run, end, self.parameters)
        added = sum(term.energy for term in correction.terms)
        return RelaxedStructure(
            structure=end,
            energy_before=run.energy_before + added,
            energy_after=run.energy_after + added,
            forces=run.forces[alignment.order] @ alignment.rotation(run.start, start),
            steps=run.steps,
            converged=True,
            wall_s=run.wall_s,
            cores=run.cores,
            correction=correction,
            interventions=run.interventions,
            folder=str(run.folder),
        )

    def _require_sound(self, relaxed: RelaxedStructure, decoration: Decoration) -> None:
        from cathodeflow.calculators.potentials.soundness import find_defect
        from cathodeflow.calculators.vasp.parameters import settings_of

        limit = self.definition.labels.max_volume_change
        settings = settings_of(self.parameters.preset)
        defect = find_defect(decoration.start, relaxed, settings, self.host.working_ion, limit)
        if defect is not None:
            raise CalculationError(defect.message, defect.reason)

    def _write(self, label: LabelRecord, run: FinishedRun) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                written = put_in(self.project, label, _details(label.key, run))
                break
            except StaleCampaignError:
                if attempt == ATTEMPTS:
                    raise
        if not written:
            raise _NotNeededError("another process has just labelled it")


def _details(key: str, run: FinishedRun) -> dict[str, Any]:
    return {"key": key, "folder": str(run.folder.resolve()), "sha256": run.sha256, "version": run.version}


def put_in(project: Project, label: LabelRecord, details: dict[str, Any]) -> bool:
    """Write an ingested label, its line in the log, and put away the job that would compute it.

    Parameters
    ----------
    project : Project
        The open project.
    label : LabelRecord
        The label.
    details : dict
        For the log; its `key` is the candidate's.

    Returns
    -------
    bool
        Whether it was written; False where the candidate has a label.

    Raises
    ------
    CampaignError
        As `transitions.ingest_label`.
    """
    with project.transaction():
        written = transitions.ingest_label(project, label)
        if written:
            _complete(project, label.campaign, label.key, details)
    return written


def _complete(project: Project, campaign: str, key: str, details: dict[str, Any]) -> None:
    """Do what follows the label, once: on a server a kill may have come before it."""
    deliver(project, campaign)  # a line that a kill left on its way is told, too
    told = {"campaign": campaign, "kind": "ingested", "details.key": key, "details.sha256": details["sha256"]}
    if not project.count(EVENTS, told):
        transitions.append_event(project, campaign, "ingested", f"{key} from {details['folder']}", details)
    _withdraw_job(project, campaign, key)


def _key_of(decoration: Decoration | None) -> str | None:
    return None if decoration is None else decoration.key


def _words_of(label: Mapping[str, Any]) -> str:
    """Say what label a candidate has."""
    if label["outcome"] == Outcome.QUARANTINED:
        return f"its candidate is quarantined ({label['reason']}): `cflow resubmit` takes that back, then ingest again"
    if label["origin"].get("job_uuid") is None:
        return f"its candidate was ingested before from {label['folder']}"
    return "its candidate was labelled by the campaign"


def _correction(run: FinishedRun, end: Any, parameters: VaspParameters) -> EnergyCorrection:
    """Return what the campaign's engine adds to the energies of such a run, before and after alike."""
    from cathodeflow.calculators.vasp.corrections import correction_record

    scheme = str(parameters.preset.corrections.value)
    return correction_record(run.energy_before, run.energy_after, end, scheme, run.hubbard_u, run.potcar_symbols)


def _withdraw_job(project: Project, campaign: str, key: str) -> None:
    """Put away the job that would compute an ingested label again, unless it has begun."""
    from cathodeflow.dispatch.launchpad import project_launchpad
    from cathodeflow.dispatch.workflows import workflow_states

    with project.transaction():
        for job in workflow_states(project, campaign, JobKind.LABEL, [key]):
            if job.state in {"WAITING", "READY", "FIZZLED", "PAUSED", "DEFUSED"}:
                project_launchpad(project).archive_wf(job.fw_id)
