from __future__ import annotations

import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from jobflow.core.job import job
from tests.campaign_world import LAWFUL, broken_train, definition, final_documents, launch, lawful_label, run_to_end

from cathodeflow.campaign import transitions
from cathodeflow.campaign.resubmit import Selection, plan_resubmission, resubmit, select
from cathodeflow.campaign.status import read_status
from cathodeflow.campaign.undo import undo_resubmission
from cathodeflow.dispatch.jobs import count_states
from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.recipes.label import label_flow
from cathodeflow.recipes.training import training_flow
from cathodeflow.records.outcomes import CampaignState, JobKind, Reason, Stage
from cathodeflow.storage.connection import Project, open_project

FAILING = "FAILING_LABELS"  # parts of the keys whose labels fail
EXPLODING = "EXPLODING_LABELS"  # parts of the keys whose relaxations explode


@job
def fickle_label(key: str, *arguments: Any) -> dict[str, Any]:
    if any(part in key for part in os.environ.get(FAILING, "").split()):
        raise CalculationError(f"rehearsed failure of {key}", Reason.NON_FINITE)
    made = lawful_label.original(key, *arguments)
    if any(part in key for part in os.environ.get(EXPLODING, "").split()):
        return made | {"outcome": "quarantined", "reason": "exploded_volume", "message": "rehearsed explosion"}
    return made


FICKLE = replace(LAWFUL, label=partial(label_flow, label=fickle_label))


def attempts_at(project: Project, key: str) -> list[tuple[int, str, str]]:
    found = project.database["attempts"].find({"key": key}).sort([("attempt", 1)])
    return [(entry["attempt"], entry["reason"], entry["action"]) for entry in found]


SMALL: dict[str, Any] = {"labels": {"total": 14}, "surrogate": {"seeds": 1}}
STRICT = SMALL | {"failures": {"tolerated_fraction": 0.0, "max_attempts": 2}}
LENIENT = SMALL | {"failures": {"tolerated_fraction": 1.0, "max_attempts": 2}, "validation": {"per_list": 1}}


@pytest.fixture(scope="module")
def stopped_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that stopped in its labelling, because every label of one level fails."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FAILING, "-Na1-")
        campaign = run_to_end(launch(folder, definition(**STRICT)), recipes=FICKLE)
    assert (campaign.state, campaign.stage) == (CampaignState.STOPPED, Stage.LABEL)
    return folder


@pytest.fixture
def stopped(stopped_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of it, with its labels still failing."""
    monkeypatch.setenv(FAILING, "-Na1-")
    return open_project(shutil.copytree(stopped_folder, tmp_path / "copy"))


@pytest.fixture(scope="module")
def incomplete_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that ended although every label of one level exploded."""
    folder = tmp_path_factory.mktemp("incomplete")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(EXPLODING, "-Na1-")
        assert run_to_end(launch(folder, definition(**LENIENT)), recipes=FICKLE).state == CampaignState.DONE
    return folder


@pytest.fixture
def incomplete(incomplete_folder: Path, tmp_path: Path) -> Project:
    """A copy of it, whose labels would not explode again."""
    return open_project(shutil.copytree(incomplete_folder, tmp_path / "copy"))


def test_a_stopped_campaign_ends_as_if_nothing_had_failed(
    stopped: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv(FAILING)
    made = resubmit(stopped, "trial", Selection())
    assert made.jobs
    assert made.refused == ()
    assert made.goes_back_to == "label"
    assert stopped.count("labels", {"outcome": "quarantined"}) == 0
    campaign = run_to_end(stopped, recipes=FICKLE)
    assert campaign.state == CampaignState.DONE
    undisturbed = launch(tmp_path_factory.mktemp("undisturbed"), definition(**STRICT))
    run_to_end(undisturbed, recipes=FICKLE)
    assert final_documents(stopped) == final_documents(undisturbed)


def test_the_attempts_continue_where_they_were(stopped: Project):
    keys = [entry.key for entry in resubmit(stopped, "trial", Selection()).jobs]
    key = keys[0]
    assert attempts_at(stopped, key) == [(1, "non_finite", "rerun"), (2, "non_finite", "quarantine")]
    campaign = run_to_end(stopped, recipes=FICKLE)
    assert campaign.state == CampaignState.STOPPED
    assert attempts_at(stopped, key)[2:] == [(3, "non_finite", "rerun"), (4, "non_finite", "quarantine")]
    label = stopped.database["labels"].find_one({"key": key})
    assert label["origin"]["attempt"] == 4
    events = [entry["kind"] for entry in stopped.database["events"].find({})]
    assert "resubmitted" in events


def test_a_dry_run_changes_nothing(stopped: Project):
    before = final_documents(stopped), count_states(stopped, "trial"), stopped.count("events")
    assert plan_resubmission(stopped, "trial", Selection()).jobs
    assert (final_documents(stopped), count_states(stopped, "trial"), stopped.count("events")) == before


def test_a_selection_narrows_by_reason_kind_key_and_state(stopped: Project):
    everything = plan_resubmission(stopped, "trial", Selection()).jobs
    assert plan_resubmission(stopped, "trial", select(reason="non_finite")).jobs == everything
    assert plan_resubmission(stopped, "trial", select(reason="not_converged")).jobs == ()
    assert plan_resubmission(stopped, "trial", select(kind="train")).jobs == ()
    assert plan_resubmission(stopped, "trial", select(state="fizzled")).jobs == ()
    one = plan_resubmission(stopped, "trial", select(keys=[everything[0].key]))
    assert one.jobs == everything[:1]
    assert one.by_reason() == {"non_finite": 1}


@pytest.mark.parametrize("words", [{"reason": "bad luck"}, {"kind": "relaxation"}, {"state": "lost"}])
def test_what_does_not_exist_is_refused_with_what_does(words: dict[str, str]):
    with pytest.raises(DefinitionError, match="there are"):
        select(**words)


def test_a_label_that_a_round_was_trained_without_is_not_run_again(incomplete: Project):
    made = plan_resubmission(incomplete, "trial", Selection())
    wanted = {key for entry in incomplete.database["validations"].find({}) for key in entry["labels"].values()}
    assert {entry.key for entry in made.jobs} <= wanted
    assert made.refused
    assert all("trained without it" in entry.why_not for entry in made.refused)
    assert not {entry.key for entry in made.refused} & wanted


def test_a_finished_campaign_goes_back_to_validate_what_it_missed(incomplete: Project):
    assert all(set(entry["missing"]) == {"Na1"} for entry in incomplete.database["validations"].find({}))
    made = resubmit(incomplete, "trial", Selection())
    assert made.goes_back_to == "validate"
    for entry in made.jobs:
        assert attempts_at(incomplete, entry.key) == [(1, "exploded_volume", "resubmit")]
    status = read_status(incomplete, "trial")
    assert (status.state, status.stage, status.finished) == ("running", "validate", None)
    assert status.stage_done < status.stage_wanted
    assert run_to_end(incomplete, recipes=FICKLE).state == CampaignState.DONE
    validations = list(incomplete.database["validations"].find({}))
    assert len(validations) == 2
    assert all(entry["missing"] == {} for entry in validations)


def test_a_needed_job_that_stopped_the_campaign_is_run_again(tmp_path: Path):
    broken = replace(LAWFUL, train=partial(training_flow, train=broken_train))
    project = launch(tmp_path, definition(**SMALL))
    campaign = run_to_end(project, recipes=broken)
    assert (campaign.state, campaign.stage) == (CampaignState.STOPPED, Stage.TRAIN)
    made = resubmit(project, "trial", select(kind="train"))
    assert made.goes_back_to == "train"
    assert {entry.kind for entry in made.jobs} == {JobKind.TRAIN}
    assert count_states(project, "trial", "train") == {"READY": len(made.jobs)}
    assert transitions.read_campaign(project, "trial").state == CampaignState.RUNNING
    assert run_to_end(project, recipes=broken).state == CampaignState.STOPPED


def test_leaving_too_many_behind_is_said_beforehand(stopped: Project):
    keys = [entry.key for entry in plan_resubmission(stopped, "trial", Selection()).jobs]
    assert len(keys) > 1
    assert "stay quarantined" in plan_resubmission(stopped, "trial", Selection(keys=(keys[0],))).warning
    assert plan_resubmission(stopped, "trial", Selection()).warning == ""


def test_nothing_failed_nothing_done(tmp_path: Path):
    project = launch(tmp_path, definition(**SMALL))
    events = project.count("events")
    made = resubmit(project, "trial", Selection())
    assert (made.jobs, made.refused, made.goes_back_to) == ((), (), None)
    assert project.count("events") == events


def test_a_job_that_cannot_be_loaded_here_stays_and_the_others_run(stopped: Project):
    keys = [entry.key for entry in plan_resubmission(stopped, "trial", Selection()).jobs]
    lost = stopped.database["fireworks"].find_one({"spec._key": keys[0]})
    tasks = lost["spec"]["_tasks"]
    tasks[0]["job"]["function"]["@module"] = "no_such_module_here"
    stopped.database["fireworks"].update_one({"fw_id": lost["fw_id"]}, {"$set": {"spec._tasks": tasks}})
    made = resubmit(stopped, "trial", Selection())
    assert [entry.key for entry in made.jobs] == keys[1:]
    (refused,) = made.refused
    assert "no_such_module_here" in refused.why_not
    assert "in the environment of its workers" in refused.why_not
    assert [entry["key"] for entry in stopped.select("labels", {"outcome": "quarantined"})] == [keys[0]]
    alone = resubmit(stopped, "trial", Selection())
    assert (alone.jobs, len(alone.refused)) == ((), 1)
    assert sorted(undo_resubmission(stopped, "trial").taken_back) == sorted(keys[1:])
    assert stopped.count("events", {"kind": "resubmitted"}) == 1
    assert transitions.read_campaign(stopped, "trial").intent is None
