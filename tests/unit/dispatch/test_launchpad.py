"""Workflows are added once, claimed once, and never left half-written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fireworks.core.firework import FWAction
from fireworks.core.fworker import FWorker
from jobflow import Flow
from tests.stores import Stores
from tests.unit.dispatch.noop_jobs import noop, total

from cathodeflow.dispatch import launchpad as launchpad_module
from cathodeflow.dispatch.jobs import count_states
from cathodeflow.dispatch.launchpad import ProjectLaunchPad, add_workflow_once, project_launchpad
from cathodeflow.dispatch.rerun import rerun
from cathodeflow.dispatch.worker import HELD_STATES
from cathodeflow.storage.connection import Project

MARKS = {"campaign": "c", "kind": "label", "key": "k"}


@pytest.fixture
def project(tmp_path: Path, stores: Stores) -> Project:
    return stores.create(tmp_path / "p")


def claim(project: Project, campaign: str | None = None, categories: tuple[str, ...] = ()) -> Any:
    query = {} if campaign is None else {"spec._campaign": campaign}
    worker = FWorker(name="me", category=list(categories), query=query, env={"pid": 1})
    found = project_launchpad(project).claim(worker, campaign, HELD_STATES, lambda *_: project.folder / "launch")
    return None if found is None else found[0]


def test_a_workflow_is_added_once(project: Project) -> None:
    first = add_workflow_once(project, noop(1), **MARKS)
    assert first.added
    again = add_workflow_once(project, noop(1), **MARKS)
    assert again == (first.fw_ids, False)
    assert add_workflow_once(project, noop(1), **MARKS, attempt=2).added
    assert project.count("workflows") == project.count("fireworks") == 2
    assert project.database.workflows.find_one()["metadata"] == {**MARKS, "attempt": 1, "round": 0}


@pytest.mark.parametrize("stores", ["embedded"], indirect=True)
def test_adding_that_fails_in_the_middle_leaves_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    launchpad = project_launchpad(project)

    def refuse(*_arguments: Any) -> None:
        raise KeyError

    monkeypatch.setattr(launchpad.workflows, "insert_one", refuse, raising=False)
    with pytest.raises(KeyError):
        add_workflow_once(project, noop(1), **MARKS)
    monkeypatch.undo()
    assert project.count("fireworks") == 0
    assert add_workflow_once(project, noop(1), **MARKS).fw_ids == (1,)


def test_every_firework_of_a_flow_carries_the_marks(project: Project) -> None:
    jobs = [noop(1), noop(2)]
    flow = Flow([*jobs, total([job.output for job in jobs])])
    added = add_workflow_once(project, flow, **MARKS, category="gpu", priority=3)
    assert len(added.fw_ids) == 3
    for document in project.database.fireworks.find():
        spec = document["spec"]
        assert (spec["_campaign"], spec["_kind"], spec["_key"], spec["_category"], spec["_priority"]) == (
            *MARKS.values(),
            "gpu",
            3,
        )
        assert spec["_tasks"][0]["store"] is None
    assert count_states(project, "c") == {"READY": 2, "WAITING": 1}


def test_the_highest_priority_is_claimed_first_and_the_oldest_among_equals(project: Project) -> None:
    for number, priority in enumerate([0, 5, 5, 1]):
        add_workflow_once(project, noop(number), campaign="c", kind="label", key=str(number), priority=priority)
    keys = []
    while (firework := claim(project, "c")) is not None:
        keys.append(firework.spec["_key"])
    assert keys == ["1", "2", "3", "0"]


def test_only_the_wanted_categories_and_campaigns_are_claimed(project: Project) -> None:
    for campaign in ("a", "b"):
        for category in ("cpu", "gpu"):
            add_workflow_once(project, noop(1), campaign=campaign, kind="label", key=category, category=category)
    assert claim(project, "b", ("gpu",)).spec["_campaign"] == "b"
    assert claim(project, "b", ("gpu",)) is None
    assert claim(project, None, ("gpu", "dft")).spec["_campaign"] == "a"
    assert {claim(project).spec["_campaign"] for _ in range(2)} == {"a", "b"}
    assert claim(project) is None


@pytest.mark.parametrize("state", HELD_STATES)
def test_a_held_campaign_starts_no_job_until_it_goes_on(project: Project, state: str) -> None:
    for campaign in ("held", "free"):
        add_workflow_once(project, noop(1), campaign=campaign, kind="label", key="1")
    project.database.campaigns.insert_one({"_id": "held", "state": state})
    assert claim(project, "held") is None
    assert claim(project).spec["_campaign"] == "free"
    assert claim(project) is None
    project.database.campaigns.update_one({"_id": "held"}, {"$set": {"state": "running"}})
    assert claim(project, "held").spec["_campaign"] == "held"


def test_no_lock_flag_is_left_in_a_workflow(project: Project) -> None:
    add_workflow_once(project, noop(1), **MARKS)
    launchpad = project_launchpad(project)
    firework = claim(project)
    assert "locked" not in project.database.workflows.find_one()
    launchpad.complete_launch(firework.launches[-1].launch_id, FWAction())
    assert "locked" not in project.database.workflows.find_one()
    assert project.database.workflows.find_one()["state"] == "COMPLETED"


def test_a_failed_job_runs_again_through_the_one_that_waits_for_it(project: Project) -> None:
    first = noop(1)
    added = add_workflow_once(project, Flow([first, total([first.output])]), **MARKS)
    launchpad = project_launchpad(project)
    launchpad.mark_fizzled(claim(project).launches[-1].launch_id)
    assert count_states(project) == {"FIZZLED": 1, "WAITING": 1}
    assert len(rerun(project, [added.fw_ids[1]])) == 1
    assert count_states(project) == {"READY": 1, "WAITING": 1}
    assert rerun(project, added.fw_ids) == []


def test_a_launchpad_is_made_again_from_its_description(project: Project) -> None:
    add_workflow_once(project, noop(1), **MARKS)
    again = ProjectLaunchPad.from_dict(project_launchpad(project).to_dict())
    assert again.get_fw_by_id(1).spec["_key"] == "k"


@pytest.mark.parametrize("stores", ["embedded"], indirect=True)
def test_every_operation_named_atomic_exists_and_joins_one_transaction(project: Project) -> None:
    for name in launchpad_module._ATOMIC:
        assert getattr(ProjectLaunchPad, name).__wrapped__ is not None
    add_workflow_once(project, noop(1), **MARKS)
    launchpad = project_launchpad(project)
    with pytest.raises(ZeroDivisionError), launchpad.transaction():  # noqa: PT012  the raise is what is tested
        launchpad.defuse_fw(1)
        raise ZeroDivisionError
    assert count_states(project) == {"READY": 1}


def test_two_who_run_a_failed_job_again_at_once_run_it_once(project: Project) -> None:
    (fw_id,) = add_workflow_once(project, noop(1), **MARKS).fw_ids
    project_launchpad(project).mark_fizzled(claim(project).launches[-1].launch_id)
    command = (
        "import sys; from pathlib import Path; from cathodeflow.storage.connection import open_project;"
        "from cathodeflow.dispatch.rerun import rerun;"
        "print(len(rerun(open_project(Path(sys.argv[1])), [int(sys.argv[2])])))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", command, str(project.folder), str(fw_id)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert sorted(int(process.communicate()[0]) for process in both) == [0, 1]
    assert count_states(project) == {"READY": 1}
