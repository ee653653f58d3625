"""A job has no GridFS behind its document: what fits is run, what does not is refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.campaign_world import work_one
from tests.services.mongo_server import MongoServer
from tests.stores import Stores
from tests.unit.dispatch.noop_jobs import noop

from cathodeflow.dispatch.jobs import count_states
from cathodeflow.dispatch.launchpad import add_workflow_once
from cathodeflow.dispatch.repair import repair
from cathodeflow.errors import StoreError
from cathodeflow.storage.connection import Project

pytestmark = pytest.mark.service


@pytest.fixture
def project(tmp_path: Path, mongo_server: MongoServer) -> Project:
    return Stores(mongo_server).create(tmp_path / "p")


def add(project: Project, megabytes: float) -> None:
    made = noop(1)
    made.function_args = ("x" * int(megabytes * 1e6),)
    add_workflow_once(project, made, campaign="c", kind="label", key=f"{megabytes}")


def test_a_job_that_fits_is_run(project: Project) -> None:
    """The fireworks on their way are in the workflow's document until 8 MB, beyond that in GridFS."""
    for megabytes in (7.9, 15.9):
        add(project, megabytes)
        assert work_one(project)
    assert count_states(project) == {"COMPLETED": 2}


def test_a_job_that_does_not_fit_is_refused_and_nothing_is_left(project: Project) -> None:
    with pytest.raises(StoreError, match=r"carries 17\.\d MB, and a document of MongoDB ends at 16\.8 MB"):
        add(project, 17.0)
    assert project.count("workflows") == project.count("fireworks") == 0
    assert not repair(project, thorough=True)
