"""Reads what a report is made of from a project's store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cathodeflow.campaign.transitions import read_campaign
from cathodeflow.dispatch.jobs import count_states
from cathodeflow.records.campaign import AttemptRecord, CampaignRecord, EventRecord
from cathodeflow.records.followup import FollowUpRecord
from cathodeflow.records.label import LabelRecord, ReferenceRecord
from cathodeflow.records.model import ModelRecord
from cathodeflow.records.verdict import ValidationRecord, VerdictRecord
from cathodeflow.report.contents import CandidateCount, ReportContents
from cathodeflow.report.wording import sort_levels

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project


def collect(project: Project, name: str) -> ReportContents:
    """Read a campaign's records.

    Candidates and predictions, of which there may be hundreds of thousands, are counted and not read.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.

    Returns
    -------
    ReportContents
        Everything up to now, also of a campaign that still runs.

    Raises
    ------
    CampaignError
        There is no campaign of that name.
    """
    campaign = read_campaign(project, name)
    mine = {"campaign": name}
    labels = [LabelRecord.from_mongo(document) for document in project.select("labels", mine)]
    verdicts = _last_verdicts(project, name)
    return ReportContents(
        campaign=campaign,
        candidate_counts=_candidate_counts(project, name),
        labels=labels,
        references=_references(project, campaign, labels, verdicts),
        models=[ModelRecord.from_mongo(document) for document in project.select("models", mine)],
        verdicts=verdicts,
        validations=[ValidationRecord.from_mongo(document) for document in project.select("validations", mine)],
        follow_ups=[FollowUpRecord.from_mongo(document) for document in project.select("follow_ups", mine)],
        attempts=[AttemptRecord.from_mongo(document) for document in project.select("attempts", mine)],
        events=[EventRecord.from_mongo(document) for document in project.select("events", mine)],
        job_counts=dict(sorted(count_states(project, name).items())),
        prediction_counts=dict(sorted(project.count_by("predictions", "round", mine).items())),
    )


def _candidate_counts(project: Project, name: str) -> list[CandidateCount]:
    counts = []
    distinct = project.count_by("candidates", "level", {"campaign": name})
    compositions = len(project.count_by("candidates", "composition", {"campaign": name}))
    for level in sort_levels(distinct):
        multiplicities = project.count_by("candidates", "multiplicity", {"campaign": name, "level": level})
        arrangements = sum(multiplicity * number for multiplicity, number in multiplicities.items())
        counts.append(CandidateCount(level, compositions, distinct[level], arrangements))
    return counts


def _last_verdicts(project: Project, name: str) -> list[VerdictRecord]:
    rounds = project.count_by("verdicts", "round", {"campaign": name})
    if not rounds:
        return []
    documents = project.select("verdicts", {"campaign": name, "round": max(rounds)})
    return [VerdictRecord.from_mongo(document) for document in documents]


def _references(
    project: Project, campaign: CampaignRecord, labels: list[LabelRecord], verdicts: list[VerdictRecord]
) -> list[ReferenceRecord]:
    """Read the references of the campaign's engine; those of other campaigns' elements are left out."""
    documents = project.select("references", {"origin.provenance": campaign.provenance})
    references = [ReferenceRecord.from_mongo(document) for document in documents]
    needed = {element for verdict in verdicts for element in verdict.elements}
    for label in labels:
        needed |= set(label.elements)
        needed |= set(label.relaxation.crystal.species) if label.relaxation is not None else set()
    return [reference for reference in references if not needed or reference.element in needed]
