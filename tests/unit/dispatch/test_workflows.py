from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.dispatch.noop_jobs import noop

from cathodeflow.dispatch.launchpad import add_workflow_once, project_launchpad
from cathodeflow.dispatch.worker import Worker, WorkerOptions
from cathodeflow.dispatch.workflows import failure_of
from cathodeflow.storage.connection import create_project


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        ("worker 17 on node1 was ended by signal 9", "worker 17 on node1 was ended by signal 9"),
        ("Slurm job 4 on n1.cluster ended TIMEOUT", "Slurm job 4 on n1.cluster ended TIMEOUT"),
        ("Traceback\n  File\ncathodeflow.errors.CalculationError: no end: in sight", "no end: in sight"),
        ("Traceback\nValueError: no end", "ValueError: no end"),
        ("Traceback\nKeyError", "KeyError"),
    ],
)
def test_a_failure_is_told_in_the_words_of_what_failed(tmp_path: Path, trace: str, said: str) -> None:
    from fireworks.core.firework import FWAction

    project = create_project(tmp_path)
    (fw_id,) = add_workflow_once(project, noop(1), campaign="c", kind="label", key="k").fw_ids
    worker = Worker(project, WorkerOptions(tmp_path))
    launchpad = project_launchpad(project)
    claim = launchpad.claim(_fworker(worker), None, (), worker._directory)
    assert claim is not None
    action = FWAction(stored_data={"_exception": {"_stacktrace": trace, "_details": None}}, exit=True)
    launchpad.complete_launch(claim[1], action, "FIZZLED")
    assert failure_of(project, fw_id).message == said


def _fworker(worker: Worker) -> object:
    from fireworks.core.fworker import FWorker

    return FWorker(name="here", env=worker.identity)
