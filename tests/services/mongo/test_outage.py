"""A server that goes away: jobs wait, then leave what they have made, and nothing computed is lost or done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bson
import pytest
from fireworks.core.firework import FWAction
from fireworks.core.fworker import FWorker
from tests.campaign_world import definition, final_documents, launch, run_to_end
from tests.services.mongo_server import MongoServer, why_unavailable
from tests.unit.dispatch.noop_jobs import add_another_slowly, fail_slowly, sleep

from cathodeflow.dispatch.claimed import ClaimedLaunchPad
from cathodeflow.dispatch.jobs import count_states, job_uuids
from cathodeflow.dispatch.launchpad import add_workflow_once, project_launchpad
from cathodeflow.dispatch.reconcile import reconcile
from cathodeflow.dispatch.repair import repair
from cathodeflow.dispatch.slurm.judgement import Judgement
from cathodeflow.dispatch.slurm.notes import STORE_AWAY
from cathodeflow.dispatch.worker import HELD_STATES, Worker, WorkerOptions
from cathodeflow.errors import CampaignError, StoreError
from cathodeflow.records.outcomes import Reason
from cathodeflow.storage.connection import Project, create_project, open_project
from cathodeflow.storage.outbox import ENDING, FOLDER, LEFT, Outbox

pytestmark = [pytest.mark.service, pytest.mark.slow]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MongoServer]:
    missing = why_unavailable()
    if missing:
        pytest.skip(missing)
    made = MongoServer(tmp_path / "mongo")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def project(tmp_path: Path, server: MongoServer) -> Project:
    return create_project(tmp_path / "p", server.database_uri("p"))


def start_worker(project: Project, patience_s: float) -> subprocess.Popen[str]:
    settings = {
        "CATHODEFLOW_STORE_PATIENCE_S": str(patience_s),
        "CATHODEFLOW_STORE_TIMEOUT_S": "0.5",
        "CATHODEFLOW_STORE_FIRST_DELAY_S": "0.2",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "cathodeflow.dispatch.worker", "--project", str(project.folder), "--until-empty"]
    return subprocess.Popen(
        command, env=os.environ | settings, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def running(project: Project) -> bool:
    return count_states(project).get("RUNNING") == 1


def outbox(project: Project) -> Path | None:
    return next(iter(project.folder.glob(f"launches/*/*/*/{FOLDER}")), None)


def made_once(project: Project, seconds: float) -> None:
    (output,) = project.database.outputs.find()
    assert output["output"] == seconds
    (launch,) = project.database.launches.find()
    assert launch["state"] == "COMPLETED"
    assert outbox(project) is None


def test_a_job_waits_for_its_server_and_goes_on(project: Project, server: MongoServer) -> None:
    add_workflow_once(project, sleep(2.0), campaign="c", kind="label", key="k")
    worker = start_worker(project, patience_s=60)
    wait_for(lambda: running(project))
    server.stop()
    wait_for(lambda: outbox(project) is not None)
    time.sleep(3.0)
    assert worker.poll() is None
    server.start()
    said, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0, said
    made_once(project, 2.0)
    assert not repair(project, thorough=True)


def left_by_a_job(project: Project, server: MongoServer, kill: bool) -> None:
    worker = start_worker(project, patience_s=600 if kill else 1)
    wait_for(lambda: running(project))
    server.stop()
    if kill:
        wait_for(lambda: outbox(project) is not None and any(outbox(project).glob("*.bson")))  # type: ignore[union-attr]
        worker.send_signal(signal.SIGKILL)
    said, _ = worker.communicate(timeout=60)
    assert worker.returncode == (-signal.SIGKILL if kill else STORE_AWAY), said
    box = outbox(project)
    assert box is not None
    if not kill:
        assert {ENDING, LEFT} <= {path.name for path in box.iterdir()}
        assert "handed in by" in said
    server.start()


@pytest.mark.parametrize("kill", [False, True])
def test_what_a_job_left_is_handed_in_and_not_computed_again(project: Project, server: MongoServer, kill: bool) -> None:
    add_workflow_once(project, sleep(2.0), campaign="c", kind="label", key="k")
    left_by_a_job(project, server, kill)
    again = open_project(project.folder)
    reconcile(again)
    made_once(again, 2.0)
    assert count_states(again) == {"COMPLETED": 1}
    assert not repair(again, thorough=True)
    assert reconcile(again) == []


def test_what_a_job_adds_is_not_lost_either(project: Project, server: MongoServer) -> None:
    add_workflow_once(project, add_another_slowly(1, 2.0), campaign="c", kind="label", key="k")
    left_by_a_job(project, server, kill=False)
    again = open_project(project.folder)
    assert repair(again).results == 1
    assert count_states(again) == {"COMPLETED": 1, "READY": 1}


def test_a_failure_is_handed_in_as_a_failure(project: Project, server: MongoServer) -> None:
    add_workflow_once(project, fail_slowly("no convergence", 2.0), campaign="c", kind="label", key="k")
    left_by_a_job(project, server, kill=False)
    again = open_project(project.folder)
    assert repair(again).results == 1
    assert count_states(again) == {"FIZZLED": 1}
    assert "no convergence" in str(again.database.launches.find_one()["action"])


def test_an_idle_worker_waits_too(project: Project, server: MongoServer) -> None:
    add_workflow_once(project, sleep(0.0), campaign="c", kind="label", key="1")
    server.stop()
    worker = start_worker(project, patience_s=60)
    time.sleep(4.0)
    assert worker.poll() is None
    server.start()
    said, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0, said
    assert count_states(open_project(project.folder)) == {"COMPLETED": 1}


def test_what_a_job_on_another_node_left_is_handed_in_when_slurm_says_that_it_is_over(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_workflow_once(project, sleep(0.0), campaign="c", kind="label", key="k")
    launchpad = project_launchpad(project)
    elsewhere = {"host": "node7", "pid": 77, "process_started": 1.0, "slurm_job_id": "5"}
    folder = project.folder / "launches" / "label" / "k" / "1-1"
    claim = launchpad.claim(FWorker(name="w", env=elsewhere), None, HELD_STATES, lambda *_: folder)
    assert claim is not None
    (uuid,) = job_uuids(project.database.fireworks.find_one({}))
    document = {"uuid": uuid, "index": 1, "output": 42.0}
    kept = {"collection": "outputs", "key": ["uuid", "index"], "documents": [document]}
    (folder / FOLDER).mkdir(parents=True)
    (folder / FOLDER / "0000.bson").write_bytes(bson.encode(kept))
    ending = {"launch_id": claim[1], "state": "COMPLETED", "action": FWAction().to_dict()}
    (folder / FOLDER / ENDING).write_text(json.dumps(ending, default=str))
    over = Judgement(Reason.TIMEOUT, "Slurm ended it at its time limit")
    monkeypatch.setattr("cathodeflow.dispatch.reconcile._in_slurm", lambda launch: True)
    monkeypatch.setattr(
        "cathodeflow.dispatch.slurm.judgement.judge_launches",
        lambda folder, launches: {launch["launch_id"]: over for launch in launches},
    )
    assert not repair(project), "nobody knows yet that the process is gone"
    (lost,) = reconcile(project)
    assert lost.action == "hand_in"
    assert count_states(project) == {"COMPLETED": 1}
    assert [d["output"] for d in project.database.outputs.find()] == [42.0]
    assert not (folder / FOLDER).exists()


def forget_the_end(project: Project) -> None:
    """What a killed server does that had confirmed the end and the output of the only job."""
    project.database.outputs.delete_many({})
    project.database.launches.update_many({}, {"$set": {"state": "RUNNING"}, "$unset": {"action": True}})
    project.database.fireworks.update_many({}, {"$set": {"state": "RUNNING"}})
    (workflow,) = project.database.workflows.find()
    states = dict.fromkeys(workflow["fw_states"], "RUNNING")
    project.database.workflows.update_many({}, {"$set": {"state": "RUNNING", "fw_states": states}})


def test_an_end_that_the_server_has_forgotten_is_told_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    import jobflow

    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", project.job_store())
    add_workflow_once(project, sleep(0.0), campaign="c", kind="label", key="k")
    worker = Worker(project, WorkerOptions(project.folder))
    assert worker.run_one()
    whole = project.count("outputs")
    forget_the_end(project)
    worker.set_right_after_outage()
    assert count_states(project) == {"COMPLETED": 1}
    assert project.count("outputs") == whole == 1
    assert not repair(project, thorough=True)
    assert not worker.run_one(), "nothing is run twice"


def test_a_launch_that_the_server_has_forgotten_ends_nobody_elses(project: Project, tmp_path: Path) -> None:
    add_workflow_once(project, sleep(0.0), campaign="c", kind="label", key="k")
    worker = Worker(project, WorkerOptions(project.folder))
    me = FWorker(name="w", env=worker.identity)
    claim = worker.launchpad.claim(me, None, HELD_STATES, lambda *_: tmp_path)
    assert claim is not None
    firework, launch_id, folder = claim
    project.database.launches.update_many({}, {"$set": {"fworker.env.pid": 1}})  # its number was given to another
    with Outbox(folder).opened() as box:
        said = ClaimedLaunchPad(worker.launchpad, firework, launch_id, box).complete_launch(launch_id, FWAction())
    assert said == {}
    assert count_states(project) == {"RUNNING": 1}, "the other's"


@pytest.mark.parametrize("patience_s", [0, 60])
def test_a_driver_that_is_started_meanwhile_waits_as_long_as_a_job_would(
    project: Project, server: MongoServer, patience_s: int
) -> None:
    server.stop()
    settings = {"CATHODEFLOW_STORE_PATIENCE_S": str(patience_s), "CATHODEFLOW_STORE_TIMEOUT_S": "0.5"}
    driver = subprocess.Popen(
        [sys.executable, "-m", "cathodeflow.cli.app", "run", "--project", str(project.folder)],
        env=os.environ | settings,
        stderr=subprocess.PIPE,
        text=True,
    )
    if patience_s:
        time.sleep(4.0)
        assert driver.poll() is None
        server.start()
    _, said = driver.communicate(timeout=60)
    assert ("Asking again" in said) == bool(patience_s)
    # With the server there it sees that the project is empty.
    assert driver.returncode == (CampaignError.exit_code if patience_s else StoreError.exit_code), said


def test_a_campaign_goes_on_after_its_server_was_away(tmp_path: Path, server: MongoServer) -> None:
    folder = tmp_path / "c"
    create_project(folder, server.database_uri("c"))
    launch(folder, definition())
    settings = {
        "CATHODEFLOW_STORE_TIMEOUT_S": "0.5",
        "CATHODEFLOW_STORE_FIRST_DELAY_S": "0.2",
        "CATHODEFLOW_TICK_S": "0.2",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "tests.killable_driver", str(folder)]
    with (folder / "driver.log").open("wb") as log:
        driver = subprocess.Popen(command, env=os.environ | settings, cwd=ROOT, stdout=log, stderr=log)
    for times in range(3):
        project = open_project(folder)
        wait_for(lambda project=project, times=times: project.count("labels") > 2 * times)
        server.stop()
        time.sleep(2.0)
        server.start()
    assert driver.wait(timeout=200) == 0, (folder / "driver.log").read_text()
    undisturbed = launch(tmp_path / "undisturbed", definition())
    run_to_end(undisturbed)
    project = open_project(folder)
    assert final_documents(project) == final_documents(undisturbed)
    assert not repair(project, thorough=True)
    assert all(len(d["launches"]) + len(d["archived_launches"]) == 1 for d in project.database.fireworks.find())
