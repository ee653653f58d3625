"""An element whose phases are not all computed: told in the log, or the end of the campaign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.campaign_world import FINISHED, LAWFUL, definition, launch, work_one

from cathodeflow.campaign import transitions
from cathodeflow.campaign.advance import advance
from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.campaign.stages.reference import LOST_PHASES
from cathodeflow.recipes.reference import reference_flow
from cathodeflow.records.campaign import CampaignRecord
from cathodeflow.records.host import HostSpec
from cathodeflow.records.outcomes import CampaignState, Stage
from cathodeflow.storage.connection import Project

COMPUTED = replace(LAWFUL, reference=reference_flow)
"""The references by the pair potential, all else by law."""


def failing(*cells: str) -> CampaignDefinition:
    """A campaign whose engine cannot compute some cells; of molybdenum, Mo2 is hcp, and bcc and fcc are Mo1."""
    engine = {"name": "pair", "parameters": {"fail_compositions": list(cells)}}
    return definition(engine=engine)


def told(project: Project, name: str = "trial") -> list[dict[str, Any]]:
    return project.select("events", {"campaign": name, "kind": LOST_PHASES})


def work_until(project: Project, stage: Stage) -> CampaignRecord:
    for _ in range(50):
        campaign = advance(project, "trial", COMPUTED)
        if campaign.stage == stage or campaign.state.value in FINISHED:
            return campaign
        while work_one(project):
            pass
    raise AssertionError(f"the campaign did not leave {campaign.stage}")


@pytest.fixture(scope="module")
def without_hcp(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = launch(tmp_path_factory.mktemp("without_hcp"), failing("Mo2"))
    assert work_until(project, Stage.LABEL).stage == Stage.LABEL
    return project


def test_a_lattice_that_nature_does_not_choose_costs_a_line_in_the_log_and_no_campaign(without_hcp: Project) -> None:
    (line,) = told(without_hcp)
    assert line["message"] == (
        "the reference of Mo is the lowest phase that could be computed: hcp (calculation_error) gave no energy"
    )
    assert line["details"]["element"] == "Mo"
    (lost,) = line["details"]["lost"]
    assert "rehearsed failure of Mo2" in lost["message"]
    reference = without_hcp.get("references", "pair/Mo")
    assert reference is not None
    assert reference["lost_phases"] == [lost]
    assert reference["phase"].endswith("; failed: hcp")
    assert without_hcp.count("attempts", {}) == 0, "it was no failed attempt"


def test_another_campaign_that_shares_the_reference_is_told_too(without_hcp: Project) -> None:
    shared = definition("other")
    record = CampaignRecord(
        id=shared.name,
        definition=shared.model_dump(mode="json"),
        definition_sha256=shared.sha256(),
        host=HostSpec(packaged="nvpf"),
        provenance="pair",
    )
    transitions.create_campaign(without_hcp, record)
    while advance(without_hcp, "other", COMPUTED).stage in {Stage.ENUMERATE, Stage.REFERENCE}:
        pass
    (line,) = told(without_hcp, "other")
    assert line["details"]["element"] == "Mo"


def test_the_phase_of_nature_stops_the_campaign_when_it_fails(tmp_path: Path) -> None:
    project = launch(tmp_path, failing("Mo1"))
    campaign = work_until(project, Stage.LABEL)
    assert (campaign.state, campaign.stage) == (CampaignState.STOPPED, Stage.REFERENCE)
    assert "reference Mo failed 2 times: rehearsed failure of Mo1" in campaign.message
    assert told(project) == []


def test_phases_that_are_all_computed_leave_no_line(tmp_path: Path) -> None:
    project = launch(tmp_path, failing())
    assert work_until(project, Stage.LABEL).stage == Stage.LABEL
    assert told(project) == []
