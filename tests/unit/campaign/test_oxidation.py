from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.campaign_world import definition, launch

from cathodeflow.campaign import transitions
from cathodeflow.campaign.policy import JobView
from cathodeflow.campaign.stages.followups import FollowUpStage
from cathodeflow.campaign.stages.oxidation import (
    as_reference,
    oxidation_references,
    reference_levels,
    with_oxidation_states,
)
from cathodeflow.campaign.stages.work import StageContext
from cathodeflow.jobs.followups.bader import bader_result
from cathodeflow.records.followup import BaderResult, FollowUpRecord
from cathodeflow.records.label import Origin
from cathodeflow.records.outcomes import Branch, Outcome
from cathodeflow.science.electronic.charges import AtomicCharges
from cathodeflow.science.hosts.host import load_packaged_host
from cathodeflow.storage.connection import Project


def test_vanadium_is_three_at_na3_and_four_at_na1_and_mixed_between() -> None:
    assert reference_levels(load_packaged_host("nvpf")) == {"Na3": 3, "Na1": 4}
    assert reference_levels(load_packaged_host("lifepo4")) == {"Li1": 2, "Li0": 3}


def pristine_record(level: str, charge: float) -> FollowUpRecord:
    structure = load_packaged_host("nvpf").level(level).structure
    charges = [charge if site.specie.symbol == "V" else 0.0 for site in structure]
    key = f"nvpf-{level}-V8-00"
    return FollowUpRecord(
        id=f"trial/{key}/bader",
        campaign="trial",
        key=key,
        branch=Branch.BADER,
        level=level,
        composition="V8",
        elements=["V"],
        counts=[8],
        outcome=Outcome.DONE,
        bader=BaderResult(net_charges=charges, volumes=[1.0] * len(charges), species=[], program="pybader"),
        origin=Origin(provenance="pair"),
    )


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    project: Project = launch(tmp_path, definition(followups={"branches": ["bader"]}))
    return StageContext(project, transitions.read_campaign(project, "trial"), None)  # type: ignore[arg-type]


def test_one_known_state_is_no_reference_and_two_are(context: StageContext) -> None:
    transitions.record_once(context.project, "follow_ups", pristine_record("Na3", 1.8))
    assert oxidation_references(context) == {}
    transitions.record_once(context.project, "follow_ups", pristine_record("Na2", 1.9))
    assert oxidation_references(context) == {}
    transitions.record_once(context.project, "follow_ups", pristine_record("Na1", 2.1))
    assert oxidation_references(context) == {"V": {"3": pytest.approx(1.8), "4": pytest.approx(2.1)}}


def test_charges_that_fall_with_the_state_tell_nothing(context: StageContext) -> None:
    transitions.record_once(context.project, "follow_ups", pristine_record("Na3", 2.1))
    transitions.record_once(context.project, "follow_ups", pristine_record("Na1", 1.8))
    assert oxidation_references(context) == {}


def test_states_go_to_the_sites_of_the_element_and_nowhere_else() -> None:
    output: dict[str, Any] = {"outcome": "done", "bader": {"net_charges": [1.8, 2.1, 1.95, 2.0], "volumes": []}}
    made = with_oxidation_states(output, ["V", "V", "V", "Mo"], {"V": {"3": 1.8, "4": 2.1}})
    assert made["bader"]["oxidation_states"] == [3, 4, None, None]
    assert made["bader"]["oxidation_references"] == {"V": {"3": 1.8, "4": 2.1}}
    assert with_oxidation_states(output, ["Mo"] * 4, {"V": {"3": 1.8, "4": 2.1}}) == output


def test_a_remark_that_states_are_missing_goes_where_they_are_told() -> None:
    from pymatgen.core import Lattice, Structure

    cell = Structure(Lattice.cubic(5), ["V", "Mo"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    charges = AtomicCharges(np.array([3.2, 4.0]), np.ones(2), np.ones(2), 0.0, 0.0)
    found = bader_result(cell, charges, (5.0, 6.0), "pybader", {})
    output = {"outcome": "done", "message": found.message, "bader": found.result.model_dump()}
    assert "V: no reference charges" in found.message
    made = with_oxidation_states(output, ["V", "Mo"], {"V": {"3": 1.8, "4": 2.1}})
    assert made["message"].startswith("Mo: no reference charges")
    assert "V:" not in made["message"]


def test_the_cells_that_states_are_told_by_say_so() -> None:
    remarks = "V: no reference charges, so no oxidation states: 8 at +1.80 e; Mo: no reference charges, so no states"
    told = as_reference({"message": remarks, "bader": {}}, "V", 3)["message"]
    assert told.startswith("V is V3+ by charge balance")
    assert told.endswith("; Mo: no reference charges, so no states")
    assert "V: no" not in told


def test_the_pristine_hosts_charges_are_written_down_before_the_others(
    context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cathodeflow.dispatch import workflows
    from cathodeflow.dispatch.workflows import WorkflowState

    crystals = {f"nvpf-{level}-{part}": {} for level in ("Na3", "Na1") for part in ("V8-00", "V4Mo4-0f")}
    keys = [f"{key}/bader" for key in crystals]
    monkeypatch.setattr(workflows, "job_states", lambda *_: [WorkflowState(key, "COMPLETED", 1) for key in keys])

    def states() -> dict[str, str]:
        stage = FollowUpStage(context)
        stage.__dict__["_crystals"] = crystals
        return {state.key: state.state for state in stage.states(keys)}

    held = {key: "WAITING" if "Mo4" in key else "COMPLETED" for key in keys}
    assert states() == held
    for level, charge in (("Na3", 1.8), ("Na1", 2.1)):
        transitions.record_once(context.project, "follow_ups", pristine_record(level, charge))
    assert set(states().values()) == {"COMPLETED"}


def test_a_pristine_cells_record_says_what_it_stands_for(context: StageContext) -> None:
    record = pristine_record("Na3", 1.8)
    stage = FollowUpStage(context)
    species = [site.specie.symbol for site in load_packaged_host("nvpf").level("Na3").structure]
    stage.__dict__["_crystals"] = {record.key: {"species": species}}
    output = {"outcome": "done", "message": "V: no reference charges, so no oxidation states: 8 at +1.80 e"}
    output |= {"bader": record.bader.model_dump(), "origin": {"provenance": "pair"}}
    stage.record(JobView(f"{record.key}/bader", "COMPLETED", 1), output)
    written = context.project.get("follow_ups", f"trial/{record.key}/bader")
    assert written["message"] == "V is V3+ by charge balance: in other cells it is told by these charges"
