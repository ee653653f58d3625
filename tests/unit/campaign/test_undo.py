from __future__ import annotations

from pathlib import Path

import pytest
from tests.campaign_world import UNSOUND, definition, final_documents, launch, run_to_end, work_one

from cathodeflow.campaign.advance import advance
from cathodeflow.campaign.resubmit import Terms, resubmit, select
from cathodeflow.campaign.undo import undo_resubmission
from cathodeflow.dispatch.jobs import count_states
from cathodeflow.errors import CampaignError
from cathodeflow.records.outcomes import CampaignState
from cathodeflow.storage.connection import Project

LOST = "nvpf-Na1-V8-00/static nvpf-Na2-V8-00/gap"


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    wanted = definition(followups={"branches": ["gap", "pdos"]}, labels={"total": 12, "rounds": 1})
    project = launch(tmp_path, wanted)
    monkeypatch.setenv(UNSOUND, LOST)
    assert run_to_end(project).state == CampaignState.DONE
    return project


def without_states(project: Project) -> dict[str, object]:
    documents = final_documents(project)
    documents.pop("campaigns")
    return documents


def test_a_resubmission_that_nothing_has_followed_is_taken_back_whole(finished: Project) -> None:
    before = without_states(finished), count_states(finished, "trial")
    resubmit(finished, "trial", select(kind="follow_up"))
    assert without_states(finished) != before[0]
    undone = undo_resubmission(finished, "trial")
    assert sorted(undone.taken_back) == sorted(LOST.split())
    assert undone.started == ()
    assert (without_states(finished), count_states(finished, "trial")) == before
    assert run_to_end(finished).state == CampaignState.DONE
    assert without_states(finished) == before[0]


def test_what_has_started_again_goes_on(finished: Project) -> None:
    resubmit(finished, "trial", select(kind="follow_up"))
    advance(finished, "trial")
    assert work_one(finished)
    undone = undo_resubmission(finished, "trial")
    assert len(undone.started) == 1
    assert len(undone.taken_back) == 1


def test_there_has_to_be_one_to_take_back(finished: Project) -> None:
    with pytest.raises(CampaignError, match="no resubmission"):
        undo_resubmission(finished, "trial")
    resubmit(finished, "trial", select(kind="follow_up"))
    undo_resubmission(finished, "trial")
    with pytest.raises(CampaignError, match="no resubmission"):
        undo_resubmission(finished, "trial")


def test_the_jobs_are_told_what_is_different(finished: Project) -> None:
    resubmit(finished, "trial", select(keys=["nvpf-Na2-V8-00/gap"]), Terms(memory=2.0, time=1.5, go_on=True))
    spec = finished.database["fireworks"].find_one({"spec._key": "nvpf-Na2-V8-00/gap"})["spec"]
    assert (spec["_memory_factor"], spec["_time_factor"]) == (2.0, 1.5)
    assert Path(spec["_continue_from"]).is_dir()
