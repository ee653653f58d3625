"""What a report is made of: records, and counts of records that are too many to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cathodeflow.records.campaign import AttemptRecord, CampaignRecord, EventRecord
from cathodeflow.records.document import now
from cathodeflow.records.followup import FollowUpRecord
from cathodeflow.records.label import LabelRecord, ReferenceRecord
from cathodeflow.records.model import ModelRecord
from cathodeflow.records.outcomes import Outcome, Purpose, Target
from cathodeflow.records.verdict import ValidationRecord, VerdictRecord


@dataclass(frozen=True)
class CandidateCount:
    """How large the search space is at one working-ion level.

    Attributes
    ----------
    level : str
        E.g. ``Na3``.
    compositions : int
        Different compositions.
    distinct : int
        Arrangements distinct under the symmetry of the host cell: the candidates.
    arrangements : int
        All arrangements they stand for (sum of the multiplicities).
    """

    level: str
    compositions: int
    distinct: int
    arrangements: int


@dataclass(frozen=True)
class ReportContents:
    """All that a report says.

    Attributes
    ----------
    campaign : CampaignRecord
        The campaign.
    candidate_counts : sequence of CandidateCount
        One per level, ascending in working-ion content.
    labels, references, attempts, events : sequences of records
        All of the campaign (references: of its provenance).
    models : sequence of ModelRecord
        Of every round.
    verdicts : sequence of VerdictRecord
        Of the last screened round only.
    validations : sequence of ValidationRecord
        Pristine host included.
    follow_ups : sequence of FollowUpRecord
        Electronic structure of the validated compositions, one per level and branch.
    job_counts : mapping of str to int
        Jobs per FireWorks state.
    prediction_counts : mapping of int to int
        Round to number of predicted candidates.
    made_at : datetime
        When the records were read, UTC.
    """

    campaign: CampaignRecord
    candidate_counts: Sequence[CandidateCount] = ()
    labels: Sequence[LabelRecord] = ()
    references: Sequence[ReferenceRecord] = ()
    models: Sequence[ModelRecord] = ()
    verdicts: Sequence[VerdictRecord] = ()
    validations: Sequence[ValidationRecord] = ()
    follow_ups: Sequence[FollowUpRecord] = ()
    attempts: Sequence[AttemptRecord] = ()
    events: Sequence[EventRecord] = ()
    job_counts: Mapping[str, int] = field(default_factory=dict)
    prediction_counts: Mapping[int, int] = field(default_factory=dict)
    made_at: datetime = field(default_factory=now)

    @property
    def host(self) -> str:
        """Name of the host, e.g. ``nvpf``."""
        return self.campaign.host.packaged or self.campaign.host.name or ""

    @property
    def rehearsed(self) -> bool:
        """Whether stand-in programs made the numbers: then they say nothing about materials."""
        return self.campaign.provenance.split(":")[0] == "rehearsal"

    @property
    def training_labels(self) -> list[LabelRecord]:
        """Labels that were computed to train on, whatever their outcome."""
        return [label for label in self.labels if label.purpose == Purpose.TRAINING]

    @property
    def quarantined_labels(self) -> list[LabelRecord]:
        """Labels that ended for good without a usable result."""
        return [label for label in self.labels if label.outcome == Outcome.QUARANTINED]

    @property
    def pristine(self) -> ValidationRecord | None:
        """The validated unsubstituted host, if there is one."""
        return next((record for record in self.validations if record.pristine), None)

    @property
    def substituted(self) -> list[ValidationRecord]:
        """Validated compositions without the pristine host: noble ones first, then by rank."""
        chosen = [record for record in self.validations if not record.pristine]
        return sorted(chosen, key=lambda record: (not record.noble, record.rank or 10**9, record.composition))

    def ranked(self, *, noble: bool) -> list[VerdictRecord]:
        """Verdicts that passed every rule, best first, of one of the two lists."""
        passed = [verdict for verdict in self.verdicts if verdict.passed and verdict.noble == noble]
        return sorted(passed, key=lambda verdict: (verdict.rank or 10**9, verdict.composition))

    def last_models(self, target: Target) -> list[ModelRecord]:
        """Members of the last round's ensemble for one target, by seed."""
        of_target = [model for model in self.models if model.target == target]
        last = max((model.round for model in of_target), default=0)
        return sorted((model for model in of_target if model.round == last), key=lambda model: model.seed)
