from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.campaign_world import FOLLOWED, UNSOUND, definition, launch, run_to_end

from cathodeflow.campaign import advance as advance_room
from cathodeflow.campaign.resubmit import plan_resubmission, resubmit, select
from cathodeflow.campaign.status import read_status
from cathodeflow.dispatch.jobs import list_fireworks
from cathodeflow.records.outcomes import CampaignState

BRANCHES = {"followups": {"branches": ["gap", "pdos"]}, "labels": {"total": 12, "rounds": 1}}


def follow_ups(project: Any) -> dict[str, dict[str, Any]]:
    return {f"{d['key']}/{d['branch']}": d for d in project.database["follow_ups"].find()}


def test_every_validated_candidate_gets_every_branch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = tmp_path / "computed"
    monkeypatch.setenv(FOLLOWED, str(computed))
    project = launch(tmp_path / "project", definition(**BRANCHES))
    campaign = run_to_end(project)
    assert campaign.state == CampaignState.DONE
    found = follow_ups(project)
    keys = {key for d in project.database["validations"].find() for key in d["labels"].values()}
    assert set(found) == {f"{key}/{branch}" for key in keys for branch in ("static", "gap", "pdos")}
    assert {d["outcome"] for d in found.values()} == {"done"}
    assert Counter(computed.read_text().split()) == Counter(found.keys())


def test_one_failed_branch_costs_one_branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = launch(tmp_path, definition(**BRANCHES))
    monkeypatch.setenv(UNSOUND, "nvpf-Na1-V8-00/gap")
    campaign = run_to_end(project)
    assert campaign.state == CampaignState.DONE
    lost = {key: d for key, d in follow_ups(project).items() if d["outcome"] == "quarantined"}
    assert list(lost) == ["nvpf-Na1-V8-00/gap"]
    assert lost["nvpf-Na1-V8-00/gap"]["reason"] == "non_finite"
    assert "given up after 2 attempts" in lost["nvpf-Na1-V8-00/gap"]["message"]


def test_without_its_static_run_a_candidate_has_no_branches_and_the_others_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = launch(tmp_path, definition(**BRANCHES))
    monkeypatch.setenv(UNSOUND, "nvpf-Na1-V8-00/static")
    campaign = run_to_end(project)
    assert campaign.state == CampaignState.DONE
    lost = {key: d["reason"] for key, d in follow_ups(project).items() if d["outcome"] == "quarantined"}
    assert lost == {
        "nvpf-Na1-V8-00/static": "non_finite",
        "nvpf-Na1-V8-00/gap": "prerequisite_failed",
        "nvpf-Na1-V8-00/pdos": "prerequisite_failed",
    }
    states = Counter(job.state for job in list_fireworks(project, "trial", kind="follow_up"))
    assert set(states) == {"COMPLETED", "FIZZLED", "WAITING"}


def test_a_resubmitted_static_run_brings_back_its_branches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = launch(tmp_path, definition(**BRANCHES))
    monkeypatch.setenv(UNSOUND, "nvpf-Na1-V8-00/static nvpf-Na2-V8-00/gap")
    assert run_to_end(project).state == CampaignState.DONE
    refused = plan_resubmission(project, "trial", select(kind="follow_up", keys=["nvpf-Na1-V8-00/gap"]))
    assert refused.jobs == ()
    assert "static run" in refused.refused[0].why_not
    monkeypatch.delenv(UNSOUND)
    made = resubmit(project, "trial", select(kind="follow_up"))
    assert {job.key for job in made.jobs} == {"nvpf-Na1-V8-00/static", "nvpf-Na2-V8-00/gap"}
    assert run_to_end(project).state == CampaignState.DONE
    assert {d["outcome"] for d in follow_ups(project).values()} == {"done"}
    assert {job.state for job in list_fireworks(project, "trial", kind="follow_up")} == {"COMPLETED"}
    assert read_status(project, "trial").state == "done"


def test_a_resubmission_in_the_midst_of_a_tick_costs_no_branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = launch(tmp_path, definition(**BRANCHES))
    monkeypatch.setenv(UNSOUND, "nvpf-Na1-V8-00/static")
    looked = advance_room._look

    def look_and_be_overtaken(context: Any, work: Any) -> Any:
        snapshot = looked(context, work)
        if snapshot.blocked and UNSOUND in os.environ:
            monkeypatch.delenv(UNSOUND)
            assert resubmit(project, "trial", select(kind="follow_up")).jobs
        return snapshot

    monkeypatch.setattr(advance_room, "_look", look_and_be_overtaken)
    assert run_to_end(project).state == CampaignState.DONE
    assert UNSOUND not in os.environ
    assert {d["outcome"] for d in follow_ups(project).values()} == {"done"}
