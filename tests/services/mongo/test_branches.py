"""A server understands by which branches of the follow-ups a worker passes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.services.mongo_server import MongoServer
from tests.unit.dispatch.noop_jobs import noop

from cathodeflow.dispatch.allotment import Allotment
from cathodeflow.dispatch.launchpad import add_workflow_once
from cathodeflow.dispatch.worker import Worker, WorkerOptions
from cathodeflow.storage.connection import create_project

pytestmark = pytest.mark.service


def test_a_branch_that_would_not_end_in_time_is_left_and_the_others_run(
    mongo_server: MongoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jobflow

    project = create_project(tmp_path / "p", mongo_server.database_uri("branches"))
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", project.job_store())
    for branch in ("gap", "pdos"):
        add_workflow_once(project, noop(1), campaign="c", kind="follow_up", key=f"k/{branch}")

    def run(seconds_left: float) -> int:
        allotment = Allotment(time.time() + seconds_left - 1e5, time.time() + seconds_left)
        given: dict[str, Any] = {"campaign": "c", "until_empty": True, "allotment": allotment}
        return Worker(project, WorkerOptions(project.folder, expected={"follow_up/gap": 2e4}, **given)).loop()

    assert run(1e4) == 1
    (left,) = project.select("fireworks", {"state": "READY"})
    assert left["spec"]["_key"] == "k/gap"
    assert run(8e4) == 1
