from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.campaign_world import UNSOUND, definition, final_documents, launch, run_to_end, work_one

from cathodeflow.campaign.advance import advance
from cathodeflow.campaign.resubmit import Terms, plan_resubmission, resubmit, select
from cathodeflow.campaign.undo import plan_undo, undo_resubmission
from cathodeflow.dispatch.jobs import count_states
from cathodeflow.errors import CampaignError
from cathodeflow.records.outcomes import CampaignState
from cathodeflow.storage.connection import Project, open_project

LOST = "nvpf-Na1-V8-00/static nvpf-Na2-V8-00/gap"


@pytest.fixture(scope="module")
def finished_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    wanted = definition(followups={"branches": ["gap", "pdos"]}, labels={"total": 12, "rounds": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(UNSOUND, LOST)
        assert run_to_end(launch(folder, wanted)).state == CampaignState.DONE
    return folder


@pytest.fixture
def finished(finished_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of a campaign that ended without two of its follow-ups, which still fail."""
    monkeypatch.setenv(UNSOUND, LOST)
    return open_project(shutil.copytree(finished_folder, tmp_path / "copy"))


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


def test_a_campaign_that_was_brought_back_to_work_ends_again_as_it_had(finished: Project) -> None:
    before = finished.get("campaigns", "trial")
    attempts = finished.count("attempts")
    resubmit(finished, "trial", select(kind="follow_up"))
    assert (finished.get("campaigns", "trial") or {})["state"] == "running"
    assert plan_undo(finished, "trial").returns_to == "done"
    assert undo_resubmission(finished, "trial").returns_to == "done"
    after = finished.get("campaigns", "trial")
    assert before is not None
    assert after is not None
    changed = {part for part in before if before[part] != after[part]}
    assert changed <= {"version", "counters"}
    assert finished.count("attempts") == attempts


def test_a_campaign_that_has_moved_on_stays_at_work(finished: Project) -> None:
    resubmit(finished, "trial", select(kind="follow_up"))
    advance(finished, "trial")
    assert work_one(finished)
    assert undo_resubmission(finished, "trial").returns_to is None
    assert (finished.get("campaigns", "trial") or {})["state"] == "running"


def test_memory_and_time_are_of_what_the_last_attempt_had(finished: Project) -> None:
    selection = select(keys=["nvpf-Na2-V8-00/gap"])

    def given() -> tuple[float | None, ...]:
        spec = finished.database["fireworks"].find_one({"spec._key": "nvpf-Na2-V8-00/gap"})["spec"]
        return tuple(spec.get(key) for key in ("_memory_factor", "_memory_asked", "_time_factor"))

    resubmit(finished, "trial", selection, Terms(memory=2.0))
    assert given() == (2.0, 2.0, None)
    assert run_to_end(finished).state == CampaignState.DONE
    (planned,) = plan_resubmission(finished, "trial", selection, Terms(memory=2.0)).jobs
    assert (planned.memory, planned.time) == ((2.0, 4.0), (1.0, 1.0))
    resubmit(finished, "trial", selection, Terms(memory=2.0, time=1.5))
    assert given() == (4.0, 4.0, 1.5)
    undo_resubmission(finished, "trial")
    assert given() == (2.0, 2.0, None)


def test_the_policy_goes_on_from_what_a_person_asked_for(finished: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    resubmit(finished, "trial", select(keys=["nvpf-Na2-V8-00/gap"]), Terms(memory=4.0))
    monkeypatch.setenv(UNSOUND, LOST + " nvpf-Na2-V8-00/gap:out_of_memory")
    factors = []
    for _ in range(20):
        advance(finished, "trial")
        spec = finished.database["fireworks"].find_one({"spec._key": "nvpf-Na2-V8-00/gap"})["spec"]
        factors.append(spec["_memory_factor"])
        work_one(finished)
    assert sorted(set(factors)) == [4.0, 8.0]
