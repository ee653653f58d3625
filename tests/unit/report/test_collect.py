"""Reading the report's contents back from a store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.report import factories, followup_factories

from cathodeflow.errors import CampaignError
from cathodeflow.records.candidate import CandidateRecord
from cathodeflow.records.document import Document
from cathodeflow.records.model import PredictionRecord
from cathodeflow.records.outcomes import Branch
from cathodeflow.report.collect import collect
from cathodeflow.report.contents import CandidateCount, ReportContents
from cathodeflow.report.page import render_report
from cathodeflow.storage.connection import Project, create_project


def candidate(level: str, composition: str, mask: int, multiplicity: int, campaign: str) -> CandidateRecord:
    key = f"nvpf-{level}-{composition}-{mask:x}"
    return CandidateRecord(
        _id=f"{campaign}/{key}",
        campaign=campaign,
        key=key,
        host="nvpf",
        level=level,
        composition=composition,
        elements=["Cu", "Mo"],
        counts=[2, 6],
        mask=mask,
        multiplicity=multiplicity,
    )


def prediction(round_number: int, number: int) -> PredictionRecord:
    return PredictionRecord(
        _id=f"{factories.NAME}/r{round_number}/{number}",
        campaign=factories.NAME,
        round=round_number,
        key=str(number),
        level="Na3",
        composition="Cu2Mo6",
        formation_energy=-2.7,
        formation_energy_std=0.01,
        relaxation_energy=0.05,
        relaxation_energy_std=0.01,
    )


def keep(project: Project, collection: str, documents: list[Document]) -> None:
    project.insert_missing(collection, [document.to_mongo() for document in documents])


@pytest.fixture(scope="module")
def contents() -> ReportContents:
    return factories.campaign_contents(factories.DEMO_ELEMENTS, 20, 2, seeds=1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, contents: ReportContents) -> Project:
    """Two campaigns in one store, so that what is of the other one must be kept out."""
    project = create_project(Path(tmp_path_factory.mktemp("project")))
    keep(project, "campaigns", [contents.campaign, contents.campaign.model_copy(update={"id": "other"})])
    foreign = contents.labels[0].model_copy(update={"id": "other/label", "campaign": "other"})
    keep(project, "labels", [*contents.labels, foreign])
    foreign_engine = contents.references[0].model_copy(
        update={"id": "vasp/V", "origin": contents.references[0].origin.model_copy(update={"provenance": "vasp"})}
    )
    keep(project, "references", [*contents.references, foreign_engine])
    keep(project, "models", list(contents.models))
    old = [verdict.model_copy(update={"id": f"old/{verdict.id}"}) for verdict in contents.verdicts[:5]]
    new = [verdict.model_copy(update={"round": 1}) for verdict in contents.verdicts]
    keep(project, "verdicts", [*old, *new])
    keep(project, "validations", list(contents.validations))
    keep(project, "attempts", list(contents.attempts))
    keep(project, "events", list(contents.events))
    name = factories.NAME
    keep(
        project,
        "candidates",
        [
            candidate("Na4", "Cu2Mo6", 3, 4, name),
            candidate("Na4", "Cu2Mo6", 5, 8, name),
            candidate("Na4", "Cu8", 0, 1, name),
            candidate("Na3", "Cu2Mo6", 3, 12, name),
            candidate("Na3", "Cu8", 0, 1, name),
            candidate("Na3", "Cu2Mo6", 3, 12, "other"),
        ],
    )
    keep(project, "predictions", [prediction(0, 1), prediction(1, 1), prediction(1, 2)])
    return project


def test_what_was_kept_is_what_is_read(project: Project, contents: ReportContents) -> None:
    read = collect(project, factories.NAME)
    assert read.campaign == contents.campaign
    assert list(read.labels) == list(contents.labels)
    assert list(read.models) == list(contents.models)
    assert list(read.validations) == list(contents.validations)
    assert list(read.attempts) == list(contents.attempts)
    assert list(read.events) == list(contents.events)


def test_follow_ups_come_back_whole_and_those_of_another_campaign_do_not(
    project: Project, contents: ReportContents
) -> None:
    made = [followup_factories.follow_up(contents.validations[0], "Na3", branch) for branch in Branch]
    keep(project, "follow_ups", [*made, made[0].model_copy(update={"id": "other/x", "campaign": "other"})])
    assert list(collect(project, factories.NAME).follow_ups) == made


def test_only_the_verdicts_of_the_last_round_are_read(project: Project, contents: ReportContents) -> None:
    read = collect(project, factories.NAME)
    assert {verdict.round for verdict in read.verdicts} == {1}
    assert len(read.verdicts) == len(contents.verdicts)


def test_candidates_and_predictions_are_counted(project: Project) -> None:
    read = collect(project, factories.NAME)
    assert read.candidate_counts == [CandidateCount("Na3", 2, 2, 13), CandidateCount("Na4", 2, 3, 13)]
    assert read.prediction_counts == {0: 1, 1: 2}


def test_references_are_those_of_the_campaigns_engine(project: Project) -> None:
    read = collect(project, factories.NAME)
    assert {reference.origin.provenance for reference in read.references} == {factories.PROVENANCE}
    assert "V" in {reference.element for reference in read.references}


def test_a_page_can_be_made_of_what_was_read(project: Project) -> None:
    assert "nvpf-demo" in render_report(collect(project, factories.NAME))


def test_the_time_of_reading_is_stated(project: Project, contents: ReportContents) -> None:
    assert collect(project, factories.NAME).made_at - contents.campaign.created_at < timedelta(hours=1)


def test_a_campaign_that_is_not_there_is_named(project: Project) -> None:
    with pytest.raises(CampaignError, match="missing"):
        collect(project, "missing")
