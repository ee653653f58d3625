"""Very many jobs are run again by one command, in batches, and taken back by one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.campaign_world import definition, final_documents, launch, run_to_end, work_one
from tests.unit.campaign.test_resubmit import FAILING, FICKLE, STRICT

from cathodeflow.campaign import resubmit as resubmission
from cathodeflow.campaign import undo as undoing
from cathodeflow.campaign.resubmit import Selection, plan_resubmission, resubmit, select
from cathodeflow.campaign.undo import plan_undo, undo_resubmission
from cathodeflow.dispatch.jobs import count_states
from cathodeflow.errors import CampaignError, MissingDependencyError
from cathodeflow.records.outcomes import CampaignState
from cathodeflow.storage.connection import Project, open_project


@pytest.fixture(scope="module")
def stopped_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that stopped because nearly every label fails."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FAILING, "-Na1- -Na2- -Na3-")
        assert run_to_end(launch(folder, definition(**STRICT)), recipes=FICKLE).state == CampaignState.STOPPED
    return folder


@pytest.fixture
def stopped(stopped_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of it, whose labels would not fail again; batches have two jobs."""
    monkeypatch.setattr(resubmission, "BATCH", 2)
    return open_project(shutil.copytree(stopped_folder, tmp_path / "copy"))


def keys_of(project: Project) -> list[str]:
    return [job.key for job in plan_resubmission(project, "trial", Selection()).jobs]


def lines(project: Project, kind: str) -> list[dict[str, Any]]:
    return [event["details"] for event in project.select("events", {"kind": kind}, [("_id", 1)])]


def test_one_command_runs_them_all_again_in_batches(stopped: Project) -> None:
    keys = keys_of(stopped)
    assert len(keys) >= 5
    told: list[tuple[int, int]] = []
    made = resubmit(stopped, "trial", Selection(), on_progress=lambda done, total: told.append((done, total)))
    assert [job.key for job in made.jobs] == keys
    assert made.number == 1
    assert told == [(count, len(keys)) for count in range(1, len(keys) + 1)]
    noted = lines(stopped, resubmission.RESUBMITTED)
    assert [key for one in noted for key in one["keys"]] == keys
    assert max(len(one["keys"]) for one in noted) == 2
    assert [one["number"] for one in noted] == list(range(1, len(noted) + 1))
    assert {one["command"] for one in noted} == {1}
    assert run_to_end(stopped, recipes=FICKLE).state == CampaignState.DONE


def test_one_undo_takes_the_whole_command_back(stopped: Project) -> None:
    documents, states, keys = final_documents(stopped), count_states(stopped, "trial"), keys_of(stopped)
    resubmit(stopped, "trial", select(keys=keys[:1]))
    resubmit(stopped, "trial", Selection())
    planned = plan_undo(stopped, "trial")
    undone = undo_resubmission(stopped, "trial")
    assert undone == planned
    assert (undone.number, undone.taken_back, undone.started) == (2, tuple(keys[1:]), ())
    assert set(keys_of(stopped)) == set(keys[1:]), "the command before it stands"
    assert undo_resubmission(stopped, "trial").taken_back == tuple(keys[:1])
    assert final_documents(stopped) == documents
    assert count_states(stopped, "trial") == states
    with pytest.raises(CampaignError, match="no resubmission to take back"):
        undo_resubmission(stopped, "trial")


@pytest.mark.parametrize("how_many", [1, 3])
def test_what_one_batch_has_set_going_keeps_the_campaign_at_work(stopped: Project, how_many: int) -> None:
    resubmit(stopped, "trial", Selection())
    for _ in range(how_many):
        assert work_one(stopped)
    planned = plan_undo(stopped, "trial")
    undone = undo_resubmission(stopped, "trial")
    assert undone == planned
    assert len(undone.started) == how_many
    assert undone.returns_to is None
    assert stopped.get("campaigns", "trial")["state"] == "running"


def killed(monkeypatch: pytest.MonkeyPatch, room: Any, function: str, at: int) -> None:
    """Let the process come to its end when a batch begins."""
    real, calls = getattr(room, function), 0

    def dies(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(room, function, dies)


def test_a_command_that_was_killed_between_batches_is_said_again_and_each_is_taken_back(
    stopped: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, keys = final_documents(stopped), keys_of(stopped)
    with monkeypatch.context() as patch:
        killed(patch, resubmission, "carry_out", 3)
        with pytest.raises(KeyboardInterrupt):
            resubmit(stopped, "trial", Selection())
    assert keys_of(stopped) == keys[4:], "what was done stands"
    assert [job.key for job in resubmit(stopped, "trial", Selection()).jobs] == keys[4:]
    assert undo_resubmission(stopped, "trial").taken_back == tuple(keys[4:])
    assert undo_resubmission(stopped, "trial").taken_back == tuple(keys[:4])
    assert final_documents(stopped) == documents


def test_an_undo_that_was_killed_between_batches_is_said_again(
    stopped: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, keys = final_documents(stopped), keys_of(stopped)
    resubmit(stopped, "trial", Selection())
    with monkeypatch.context() as patch:
        killed(patch, undoing, "carry_back", 2)
        with pytest.raises(KeyboardInterrupt):
            undo_resubmission(stopped, "trial")
    rest = undo_resubmission(stopped, "trial")
    assert rest.number == 1
    assert rest.taken_back == tuple(keys[: len(rest.taken_back)])
    assert rest.returns_to == "stopped"
    assert final_documents(stopped) == documents


def test_a_resubmission_whose_line_a_kill_has_kept_from_the_log_is_taken_back_too(stopped: Project) -> None:
    documents, keys = final_documents(stopped), keys_of(stopped)
    resubmit(stopped, "trial", select(keys=keys[:1]))
    line = stopped.database["events"].find_one({"kind": resubmission.RESUBMITTED})
    stopped.database["events"].delete_one({"_id": line["_id"]})
    stopped.database["campaigns"].update_one({"_id": "trial"}, {"$push": {"undelivered_events": line}})
    assert undo_resubmission(stopped, "trial").taken_back == (keys[0],)
    assert final_documents(stopped) == documents


def test_jobs_that_fail_again_meanwhile_are_run_again_once(stopped: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FAILING, "-Na1- -Na2- -Na3-")
    keys, real = keys_of(stopped), resubmission.carry_out

    def and_a_worker_is_quick(*arguments: Any) -> Any:
        done = real(*arguments)
        while work_one(stopped):
            pass
        return done

    monkeypatch.setattr(resubmission, "carry_out", and_a_worker_is_quick)
    assert [job.key for job in resubmit(stopped, "trial", Selection()).jobs] == keys


def lose_module(project: Project, key: str, module: str = "no_such_module_here") -> str:
    """Let a job be of another module; returns which it was of."""
    found = project.database["fireworks"].find_one({"spec._key": key})
    tasks = found["spec"]["_tasks"]
    before: str = tasks[0]["job"]["function"]["@module"]
    tasks[0]["job"]["function"]["@module"] = module
    project.database["fireworks"].update_one({"fw_id": found["fw_id"]}, {"$set": {"spec._tasks": tasks}})
    return before


def test_jobs_that_cannot_be_loaded_here_are_not_taken_back_here(stopped: Project) -> None:
    documents, keys = final_documents(stopped), keys_of(stopped)
    resubmit(stopped, "trial", select(keys=keys[:1]))
    resubmitted, states = final_documents(stopped), count_states(stopped, "trial")
    module = lose_module(stopped, keys[0])
    with pytest.raises(MissingDependencyError, match=r"no_such_module_here.* in the environment of its workers"):
        undo_resubmission(stopped, "trial")
    assert (final_documents(stopped), count_states(stopped, "trial")) == (resubmitted, states)
    lose_module(stopped, keys[0], module)
    assert undo_resubmission(stopped, "trial").taken_back == (keys[0],)
    assert final_documents(stopped) == documents


def test_a_batch_of_which_nothing_can_be_loaded_takes_no_number_from_the_next(stopped: Project) -> None:
    keys, states = keys_of(stopped), count_states(stopped, "trial")
    for key in keys[:2]:
        lose_module(stopped, key)
    told: list[int] = []
    made = resubmit(stopped, "trial", Selection(), on_progress=lambda done, _: told.append(done))
    assert told == list(range(1, len(keys) + 1)), "what is refused has been looked at, too"
    assert [job.key for job in made.jobs] == keys[2:]
    assert {job.key for job in made.refused} == set(keys[:2])
    assert undo_resubmission(stopped, "trial").taken_back == tuple(keys[2:])
    assert count_states(stopped, "trial") == states
