"""What `status` says is checked against the documents it is read from, at every tick of a whole campaign."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.campaign_world import FINISHED, LAWFUL, definition, launch, work_one
from tests.standing import assert_adds_up

from cathodeflow.campaign.advance import advance
from cathodeflow.campaign.status import ASKED_AT_ONCE, MOST_PARTS, in_parts, read_status
from cathodeflow.campaign.transitions import read_campaign
from cathodeflow.records.campaign import StageTime
from cathodeflow.records.document import now
from cathodeflow.records.outcomes import Stage
from cathodeflow.storage.connection import Project

LEVELS = 4


def put(project: Project, **fields: Any) -> None:
    """Let the campaign say something else of itself."""
    project.database["campaigns"].update_one({"_id": "trial"}, {"$set": fields})


def labelled_at_a_known_pace(project: Project, seconds_per_label: float) -> None:
    """Let the campaign have just entered the training of its last round, the labels done at that pace."""
    chosen = {"0": [f"k{number}" for number in range(6)], "1": [f"l{number}" for number in range(6)]}
    entered = now()
    times = [
        StageTime(stage=Stage.LABEL, round=1, entered_at=entered - timedelta(seconds=6 * seconds_per_label)),
        StageTime(stage=Stage.TRAIN, round=1, entered_at=entered),
    ]
    put(project, stage="train", round=1, selections=chosen, stage_times=[time.model_dump() for time in times])


@pytest.fixture
def enumerated(tmp_path: Path) -> Project:
    project = launch(tmp_path, definition())
    advance(project, "trial", LAWFUL)
    return project


def test_the_enumeration_is_remembered_as_it_was_written(enumerated: Project):
    space = read_campaign(enumerated, "trial").space
    assert space is not None
    assert space.levels == enumerated.count_by("candidates", "level", {"campaign": "trial"})
    compositions = set(enumerated.count_by("candidates", "composition", {"campaign": "trial"}))
    assert "V8" in compositions
    assert space.substituted == len(compositions - {"V8"}) == 2


def test_an_enumeration_begun_twice_is_remembered_once(tmp_path: Path):
    project = launch(tmp_path, definition())
    advance(project, "trial", LAWFUL)
    first = read_campaign(project, "trial").space
    put(project, stage="enumerate", space=None)
    project.database["candidates"].delete_one({})  # a kill may have come between any two of them
    advance(project, "trial", LAWFUL)
    assert read_campaign(project, "trial").space == first


def test_a_campaign_that_forgot_its_enumeration_has_its_candidates_counted(enumerated: Project):
    kept = read_status(enumerated, "trial").candidates
    put(enumerated, space=None)
    assert read_status(enumerated, "trial").candidates == kept == enumerated.count("candidates")


def test_no_more_validations_are_waited_for_than_the_space_has_compositions(enumerated: Project):
    """Two substituted compositions and the host at four levels, though two lists of fifty are asked for."""
    labelled_at_a_known_pace(enumerated, seconds_per_label=100.0)
    put(enumerated, **{"definition.validation.per_list": 50})
    assert read_status(enumerated, "trial").eta_s == pytest.approx(3 * LEVELS * 100.0)
    put(enumerated, **{"definition.validation.per_list": 1, "space.substituted": 40})
    assert read_status(enumerated, "trial").eta_s == pytest.approx(3 * LEVELS * 100.0)
    put(enumerated, **{"definition.validation.per_list": 0})
    assert read_status(enumerated, "trial").eta_s == pytest.approx(0.0)


def test_a_campaign_that_forgot_its_space_waits_for_as_many_validations_as_it_asks_for(enumerated: Project):
    labelled_at_a_known_pace(enumerated, seconds_per_label=100.0)
    put(enumerated, **{"definition.validation.per_list": 5, "space": None})
    assert read_status(enumerated, "trial").eta_s == pytest.approx(11 * LEVELS * 100.0)


def test_labels_that_a_spent_budget_left_unchosen_are_not_waited_for_in_the_validation(enumerated: Project):
    labelled_at_a_known_pace(enumerated, seconds_per_label=100.0)
    put(enumerated, stage="validate", shortlist=[], **{"definition.labels.total": 500})
    assert read_status(enumerated, "trial").eta_s == pytest.approx(0.0)


def test_no_more_labels_are_waited_for_than_there_are_candidates(enumerated: Project):
    labelled_at_a_known_pace(enumerated, seconds_per_label=100.0)
    candidates = read_status(enumerated, "trial").candidates
    put(enumerated, **{"definition.labels.total": 10**6, "definition.validation.per_list": 0})
    assert read_status(enumerated, "trial").eta_s == pytest.approx((candidates - 12) * 100.0)


def test_before_the_enumeration_nothing_is_known_of_the_time_left(tmp_path: Path):
    assert read_status(launch(tmp_path, definition()), "trial").eta_s is None


def test_what_is_said_adds_up_after_every_job_and_tick_of_a_campaign_with_failures(tmp_path: Path):
    failing = {"name": "pair", "parameters": {"fail_compositions": ["Mo8"]}}
    changes = {"failures": {"tolerated_fraction": 0.6, "max_attempts": 2}, "labels": {"total": 10, "rounds": 2}}
    project = launch(tmp_path, definition(engine=failing, surrogate={"seeds": 1}, **changes))
    stages, failed = set(), 0
    for _ in range(400):
        campaign = advance(project, "trial", LAWFUL)
        said = assert_adds_up(project)
        stages.add(said.stage)
        if campaign.state.value in FINISHED:
            break
        while work_one(project):
            failed = max(failed, assert_adds_up(project).labels["failed"])
    assert campaign.state.value == "done"
    assert failed > 0
    assert {"reference", "label", "train", "predict", "screen", "validate", "done"} <= stages


@given(st.integers(0, 5000))
def test_however_many_are_asked_for_it_is_done_in_a_few_parts(number: int):
    ids = [str(n) for n in range(number)]
    parts = in_parts(ids)
    assert [one for part in parts for one in part] == ids
    assert len(parts) <= MOST_PARTS
    assert all(parts)
    assert len(parts) <= 1 or len(parts[0]) >= ASKED_AT_ONCE
