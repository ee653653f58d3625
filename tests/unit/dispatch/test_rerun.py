"""Jobs run again for a person, on both kinds of store: also those that others were added to while they ran."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import jobflow
import pytest
from jobflow import Flow, Response
from jobflow.core.job import job
from tests.campaign_world import work_one
from tests.stores import Stores

from cathodeflow.dispatch.launchpad import CONTINUE_FROM, MEMORY_FACTOR, add_workflow_once
from cathodeflow.dispatch.rerun import SPEC_KEYS, as_they_are, causes, run_again, take_back
from cathodeflow.storage.connection import Project
from cathodeflow.storage.outputs import find_output

LOG = "RERUN_LOG"
UNSOUND = "RERUN_UNSOUND"  # parts of the names of jobs that fail


def note(name: str) -> None:
    with Path(os.environ[LOG]).open("a") as log:
        log.write(f"{name}\n")
    if name in os.environ.get(UNSOUND, "").split():
        raise ValueError(f"rehearsed failure of {name}")


@job
def child(name: str) -> str:
    note(name)
    return name


@job
def parent(how: str) -> Response:
    note("parent")
    first, second = child("first"), child("second")
    return Response(**{how: Flow([first, second], output=second.output)})


@job
def after(made: Any) -> Any:
    note("after")
    return made


@pytest.fixture
def project(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = stores.create(tmp_path / "project")
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", made.job_store())
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    return made


def ran() -> Counter[str]:
    path = Path(os.environ[LOG])
    names = Counter(path.read_text().split())
    path.unlink()
    return names


def run_all(project: Project) -> Counter[str]:
    while work_one(project):
        pass
    return ran()


def jobs(project: Project) -> dict[int, tuple[str, str, list[int], list[int]]]:
    return {
        d["fw_id"]: (d["name"], d["state"], d["launches"], d["archived_launches"])
        for d in project.database["fireworks"].find({})
    }


def one(project: Project, name: str, state: str) -> int:
    (found,) = [fw_id for fw_id, (called, is_in, *_) in jobs(project).items() if (called, is_in) == (name, state)]
    return found


def add(project: Project, how: str) -> str:
    """A job that puts two others in its place, or beside itself, and one that waits for it."""
    first = parent(how)
    last = after(1 if how == "addition" else first.output)
    add_workflow_once(project, Flow([first, last]), campaign="c", kind="label", key="k")
    return last.uuid


def again(project: Project, fw_id: int, **changes: Any) -> list[dict[str, Any]]:
    before = as_they_are(project, [fw_id], SPEC_KEYS)[fw_id]
    assert run_again(project, before, changes)
    assert not run_again(project, before, changes), "a repeat after a kill changes nothing"
    return before


def test_a_job_that_failed_for_want_of_a_dynamic_child_runs_again_with_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(UNSOUND, "second")
    last = add(project, "replace")
    assert run_all(project) == {"parent": 1, "first": 1, "second": 1}
    waiting, failed = one(project, "after", "FIZZLED"), one(project, "child", "FIZZLED")
    assert causes(project, [waiting, failed]) == {waiting: (failed,), failed: (failed,)}
    monkeypatch.delenv(UNSOUND)
    again(project, failed)
    assert run_all(project) == {"second": 1, "after": 1}
    assert {state for _, state, *_ in jobs(project).values()} == {"COMPLETED"}
    found = find_output(project, last)
    assert found is not None
    assert found["output"] == "second"


@pytest.mark.parametrize("how", ["replace", "detour", "addition"])
def test_a_job_whose_dynamic_children_exist_is_run_again_and_supersedes_them(project: Project, how: str) -> None:
    add(project, how)
    first = run_all(project)
    old = {fw_id for fw_id, (name, *_) in jobs(project).items() if name in {"child", "store_inputs"}}
    again(project, one(project, "parent", "COMPLETED"))
    second = run_all(project)
    expected = first if how != "addition" else first - Counter(["after"])
    assert second == expected, "each of them once, the old ones not at all"
    states = {fw_id: state for fw_id, (_, state, *_) in jobs(project).items()}
    assert {states[fw_id] for fw_id in old} == {"ARCHIVED"}
    workflow = project.database["workflows"].find_one({})
    assert not old & set(workflow["nodes"])
    assert workflow["state"] == "COMPLETED"
    assert {states[fw_id] for fw_id in workflow["nodes"]} == {"COMPLETED"}


@pytest.mark.parametrize("how", ["replace", "detour", "addition"])
def test_superseded_jobs_come_back_when_the_rerun_is_taken_back(project: Project, how: str) -> None:
    add(project, how)
    run_all(project)
    parts = ("nodes", "links", "parent_links", "fw_states", "state")
    states, workflow = jobs(project), project.database["workflows"].find_one({})
    before = again(project, one(project, "parent", "COMPLETED"))
    assert take_back(project, [before]) == [True]
    assert take_back(project, [before]) == [True]
    assert jobs(project) == states
    found = project.database["workflows"].find_one({})
    assert {part: found[part] for part in parts} == {part: workflow[part] for part in parts}
    assert not work_one(project)


def test_what_built_on_a_job_is_taken_back_with_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNSOUND, "second")
    add(project, "replace")
    run_all(project)
    states, workflow = jobs(project), project.database["workflows"].find_one({})["fw_states"]
    before = again(project, one(project, "child", "FIZZLED"))
    assert jobs(project) != states
    assert take_back(project, [before]) == [True]
    assert take_back(project, [before]) == [True], "a repeat after a kill changes nothing"
    assert jobs(project) == states
    assert project.database["workflows"].find_one({})["fw_states"] == workflow
    assert not work_one(project)


def test_what_has_started_goes_on(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNSOUND, "first")
    add_workflow_once(project, Flow([child("first")]), campaign="c", kind="label", key="k")
    run_all(project)
    before = again(project, one(project, "child", "FIZZLED"))
    run_all(project)
    states = jobs(project)
    assert take_back(project, [before]) == [False]
    assert jobs(project) == states


@pytest.mark.parametrize("unsound", ["", "first"])
def test_a_job_is_told_what_is_different_however_it_ended(
    project: Project, monkeypatch: pytest.MonkeyPatch, unsound: str
) -> None:
    """FireWorks' update_spec says nothing and changes nothing of a COMPLETED job."""
    monkeypatch.setenv(UNSOUND, unsound)
    add_workflow_once(project, Flow([child("first")]), campaign="c", kind="label", key="k")
    run_all(project)
    (fw_id,) = jobs(project)
    before = again(project, fw_id, **{MEMORY_FACTOR: 2.0, CONTINUE_FROM: "/somewhere"})
    spec = project.database["fireworks"].find_one({})["spec"]
    assert (spec[MEMORY_FACTOR], spec[CONTINUE_FROM]) == (2.0, "/somewhere")
    take_back(project, [before])
    spec = project.database["fireworks"].find_one({})["spec"]
    assert (spec.get(MEMORY_FACTOR), spec.get(CONTINUE_FROM)) == (None, None)
