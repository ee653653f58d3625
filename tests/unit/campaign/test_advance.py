from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.campaign_world import LAWFUL, definition, final_documents, launch, run_to_end, work_one

from cathodeflow.campaign import transitions
from cathodeflow.campaign.advance import advance
from cathodeflow.dispatch.jobs import count_states
from cathodeflow.errors import CampaignError, LeaseError
from cathodeflow.records.outcomes import CampaignState, Stage
from cathodeflow.science.hosts.candidates import count_space
from cathodeflow.science.hosts.host import load_packaged_host
from cathodeflow.storage.connection import Project, open_project
from cathodeflow.storage.embedded.file import StoreFile


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = launch(tmp_path_factory.mktemp("undisturbed"), definition())
    run_to_end(project)
    return project


def test_a_campaign_goes_from_enumeration_to_validation(undisturbed: Project) -> None:
    campaign = transitions.read_campaign(undisturbed, "trial")
    assert (campaign.state, campaign.stage) == (CampaignState.DONE, Stage.DONE)
    space = count_space(load_packaged_host("nvpf"), ["V", "Mo"], ratios={(4, 4)})
    assert undisturbed.count("candidates") == space.distinct
    assert undisturbed.count("labels", {"purpose": "training"}) == 12
    assert undisturbed.count("models") == 2 * 2 * 2
    assert undisturbed.count("predictions") == 2 * undisturbed.count("candidates")
    assert [time.stage.value for time in campaign.stage_times] == [
        *["reference", "label", "train", "predict", "screen"],
        *["label", "train", "predict", "screen", "validate", "done"],
    ]


def test_the_shortlist_is_validated_at_every_level_beside_the_pristine_host(undisturbed: Project) -> None:
    campaign = transitions.read_campaign(undisturbed, "trial")
    assert campaign.shortlist[0] == "V8"
    assert len(campaign.shortlist) > 1
    for composition in campaign.shortlist:
        validation = undisturbed.database["validations"].find_one({"composition": composition})
        assert set(validation["labels"]) == {"Na4", "Na3", "Na2", "Na1"}
        assert validation["missing"] == {}
        assert set(validation["voltages"]) == {"V43", "V32", "V21"}
        assert (validation["profile_holds"] is None) == (composition == "V8")
        if composition != "V8":
            assert validation["voltages"] == pytest.approx(validation["predicted_voltages"], abs=1e-4)


def test_every_job_of_a_finished_campaign_is_completed(undisturbed: Project) -> None:
    assert set(count_states(undisturbed, "trial")) == {"COMPLETED"}


def test_a_tick_repeated_without_work_in_between_changes_nothing(tmp_path: Path) -> None:
    project = launch(tmp_path, definition())
    for _ in range(3):
        advance(project, "trial", LAWFUL)
    before, jobs = final_documents(project), count_states(project, "trial")
    advance(project, "trial", LAWFUL)
    assert final_documents(project) == before
    assert count_states(project, "trial") == jobs


def failing(*compositions: str, **changes: Any) -> Any:
    return definition(engine={"name": "pair", "parameters": {"fail_compositions": list(compositions)}}, **changes)


def test_a_label_that_always_fails_is_quarantined_after_its_attempts_and_the_campaign_says_so(tmp_path: Path) -> None:
    project = launch(tmp_path, failing("Mo8", failures={"tolerated_fraction": 0.6, "max_attempts": 2}))
    campaign = run_to_end(project)
    assert campaign.state == CampaignState.DONE
    lost = list(project.database["labels"].find({"outcome": "quarantined"}))
    assert {label["composition"] for label in lost} == {"Mo8"}
    assert {label["reason"] for label in lost} == {"calculation_error"}
    assert all("rehearsed failure of Mo8" in label["message"] for label in lost)
    attempts = list(project.database["attempts"].find({"key": lost[0]["key"]}, sort=[("_id", 1)]))
    assert [attempt["action"] for attempt in attempts] == ["rerun", "quarantine"]
    assert all(attempt["considered"] for attempt in attempts)
    assert f"{len(lost)} labels quarantined (calculation_error {len(lost)})" in campaign.message


def test_more_failures_than_tolerated_stop_the_campaign_with_the_reasons_counted(tmp_path: Path) -> None:
    project = launch(tmp_path, failing("Mo8", "V8", failures={"tolerated_fraction": 0.1, "max_attempts": 1}))
    campaign = run_to_end(project)
    assert campaign.state == CampaignState.STOPPED
    assert "the definition tolerates 10%" in campaign.message
    assert "calculation_error" in campaign.message


def test_a_stage_that_needs_each_member_stops_when_one_fails_for_good(tmp_path: Path) -> None:
    from tests.campaign_world import broken_train

    project = launch(tmp_path, definition())
    recipes = LAWFUL.__class__(**{**vars(LAWFUL), "train": partial(LAWFUL.train.func, train=broken_train)})
    campaign = run_to_end(project, recipes=recipes)
    assert campaign.state == CampaignState.STOPPED
    assert "failed 2 times: this network does not train" in campaign.message


def test_a_spent_budget_ends_labelling_and_the_campaign_still_finishes(tmp_path: Path) -> None:
    # Each lawful label says that it took one second.
    project = launch(tmp_path, definition(budget={"core_hours": 4 / 3600}))
    campaign = run_to_end(project)
    assert campaign.state == CampaignState.DONE
    assert len(campaign.selections) == 1
    assert project.count("labels", {"purpose": "training"}) == 6


def test_a_paused_campaign_does_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    project = launch(tmp_path, definition())
    transitions.pause(project, "trial")
    before = final_documents(project)
    assert advance(project, "trial", LAWFUL).state == CampaignState.PAUSED
    assert final_documents(project) == before
    transitions.resume(project, "trial")
    assert advance(project, "trial", LAWFUL).stage == Stage.REFERENCE


def test_a_pause_in_the_middle_of_a_tick_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = launch(tmp_path, definition())
    enter_stage = transitions.enter_stage

    def paused_just_before(*arguments: Any, **options: Any) -> Any:
        transitions.pause(project, "trial")
        return enter_stage(*arguments, **options)

    monkeypatch.setattr(transitions, "enter_stage", paused_just_before)
    campaign = advance(project, "trial", LAWFUL)
    assert (campaign.state, campaign.stage) == (CampaignState.PAUSED, Stage.ENUMERATE)


def test_a_second_driver_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    project = launch(tmp_path, definition())
    transitions.take_lease(project, "trial", "one", 60)
    with pytest.raises(LeaseError, match="driven by one"):
        transitions.take_lease(project, "trial", "two", 60)
    transitions.take_lease(project, "trial", "one", 0.0)  # renewed, and out at once
    transitions.take_lease(project, "trial", "two", 60)
    transitions.release_lease(project, "trial", "one")  # no longer its own: nothing happens
    assert transitions.read_campaign(project, "trial").lease is not None


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    project = launch(tmp_path, definition())
    with pytest.raises(CampaignError, match="exists already"):
        launch(project.folder, definition())


class Killed(BaseException):
    """The process died here."""


class Mortality:
    """Lets the store's process die just before one of its commits; dead, it can do nothing more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commits_left: int | None = None
        commit, begin = StoreFile._commit, StoreFile._begin

        def mortal_commit(file: StoreFile, session: Any, connection: Any) -> None:
            if self.commits_left == 0:
                file._roll_back(session, connection)
                raise Killed
            if self.commits_left is not None:
                self.commits_left -= 1
            commit(file, session, connection)

        def mortal_begin(file: StoreFile, connection: Any) -> None:
            if self.commits_left == 0:
                raise Killed
            begin(file, connection)

        monkeypatch.setattr(StoreFile, "_commit", mortal_commit)
        monkeypatch.setattr(StoreFile, "_begin", mortal_begin)


steps = st.lists(
    st.tuples(st.sampled_from(["tick", "work", "tick twice"]), st.none() | st.integers(0, 12)), max_size=25
)


@pytest.mark.slow
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=steps)
def test_random_ticks_crashes_and_repeats_end_in_the_same_documents(
    tmp_path_factory: pytest.TempPathFactory, undisturbed: Project, steps: list[tuple[str, int | None]]
) -> None:
    folder = tmp_path_factory.mktemp("disturbed")
    project = launch(folder, definition())
    with pytest.MonkeyPatch.context() as monkeypatch:
        mortality = Mortality(monkeypatch)
        for action, dies_after in steps:
            mortality.commits_left = dies_after
            try:
                for _ in range(2 if action == "tick twice" else 1):
                    work_one(project) if action == "work" else advance(project, "trial", LAWFUL)
            except Killed:
                mortality.commits_left = None
                project = open_project(folder)  # a new process
                bring_back_lost(project)
            mortality.commits_left = None
        bring_back_lost(project)
        run_to_end(project)
    assert final_documents(project) == final_documents(undisturbed)
    assert set(count_states(project, "trial")) == {"COMPLETED"}


def bring_back_lost(project: Project) -> None:
    """Reconcile as if the process that ran the jobs were gone: here it is this one."""
    from cathodeflow.dispatch.reconcile import reconcile

    project.database["launches"].update_many({"state": "RUNNING"}, {"$set": {"fworker.env.process_started": 0.0}})
    reconcile(project, "trial")
