"""A server that goes away: jobs wait, then leave what they have made, and nothing computed is lost or done twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import bson
import pytest
from fireworks.core.firework import FWAction
from fireworks.core.fworker import FWorker
from tests.campaign_world import GATE, definition, final_documents, launch, run_to_end
from tests.services.gate import Gate
from tests.services.held_jobs import held, held_then_add, held_then_fail
from tests.services.mongo_server import MongoServer, why_unavailable
from tests.services.waiting import AMPLE_S, wait_for
from tests.unit.dispatch.noop_jobs import sleep

from cathodeflow.dispatch.claimed import ClaimedLaunchPad
from cathodeflow.dispatch.jobs import LOG_NAME, count_states, job_uuids
from cathodeflow.dispatch.launchpad import add_workflow_once, project_launchpad
from cathodeflow.dispatch.reconcile import reconcile
from cathodeflow.dispatch.repair import Repairs, clear_told_outboxes, repair
from cathodeflow.dispatch.slurm.judgement import Judgement
from cathodeflow.dispatch.slurm.notes import STORE_AWAY
from cathodeflow.dispatch.worker import HELD_STATES, Worker, WorkerOptions
from cathodeflow.errors import CampaignError, StoreError
from cathodeflow.records.outcomes import Reason
from cathodeflow.storage.connection import Project, create_project, open_project
from cathodeflow.storage.outbox import ENDING, FOLDER, LEFT, Outbox

pytestmark = [pytest.mark.service, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
SETTINGS = {
    # A server that is there answers within this on any machine, and one that is away is asked often enough.
    "CATHODEFLOW_STORE_TIMEOUT_S": "3",
    "CATHODEFLOW_STORE_FIRST_DELAY_S": "0.2",
    "PYTHONPATH": str(ROOT),
}


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


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A closed gate, for what must not go on before the server is away."""
    made = Gate(tmp_path / "gate")
    made.close()
    return made


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Python programs whose words are in the file `said`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **settings: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "said").open("wb") as out:
            environment = os.environ | SETTINGS | settings
            words = [sys.executable, *command]
            started.append(subprocess.Popen(words, env=environment, cwd=ROOT, stdout=out, stderr=out))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def start_worker(project: Project, start: Start) -> Callable[[], subprocess.Popen[bytes]]:
    command = ("-m", "cathodeflow.dispatch.worker", "--project", str(project.folder), "--until-empty")
    return lambda: start(*command)


@pytest.fixture
def said(tmp_path: Path) -> Callable[[], str]:
    """What the process that was started last has said by now."""
    return (tmp_path / "said").read_text


def knock(port: int) -> None:
    """Wait until somebody looks for a server that is away, and do not let him in."""
    with socket.create_server(("127.0.0.1", port)) as door:
        door.settimeout(AMPLE_S)
        door.accept()[0].close()


def log(project: Project) -> str:
    """Of the only job."""
    (folder,) = project.folder.glob("launches/*/*/*")
    return (folder / LOG_NAME).read_text()


def outbox(project: Project) -> Path | None:
    return next(iter(project.folder.glob(f"launches/*/*/*/{FOLDER}")), None)


def made_once(project: Project, seconds: float) -> None:
    (output,) = project.database.outputs.find()
    assert output["output"] == seconds
    (launch,) = project.database.launches.find()
    assert launch["state"] == "COMPLETED"
    assert outbox(project) is None


def add(project: Project, job: object) -> None:
    add_workflow_once(project, job, campaign="c", kind="label", key="k")


def test_a_job_waits_for_its_server_and_goes_on(
    project: Project,
    server: MongoServer,
    gate: Gate,
    start_worker: Callable[[], subprocess.Popen[bytes]],
    said: Callable[[], str],
) -> None:
    add(project, held(str(gate.path), 2.0))
    worker = start_worker()
    wait_for(gate.somebody_waits, why_not=said)
    server.stop()
    gate.open()
    wait_for(lambda: log(project).count("asking again") > 1 or worker.poll() is not None, why_not=said)
    assert outbox(project) is not None
    assert worker.poll() is None
    server.start()
    assert worker.wait(AMPLE_S) == 0, said()
    made_once(project, 2.0)
    assert not repair(project, thorough=True)


Leave = Callable[[Callable[..., object], float | str, bool], None]


@pytest.fixture
def leave(
    project: Project,
    server: MongoServer,
    gate: Gate,
    start_worker: Callable[[], subprocess.Popen[bytes]],
    said: Callable[[], str],
) -> Leave:
    """Runs a job whose server goes away meanwhile, until its worker is killed or gives up; the server is back then."""

    def leave(job: Callable[..., object], made: float | str, kill: bool) -> None:
        # It loses patience behind the gate: before, with the server there, a slow start must not cost it any.
        add(project, job(str(gate.path), made, None if kill else 1.0))
        worker = start_worker()
        wait_for(gate.somebody_waits, why_not=said)
        server.stop()
        gate.open()
        if kill:
            wait_for(lambda: (box := outbox(project)) is not None and any(box.glob("*.bson")), why_not=said)
            worker.send_signal(signal.SIGKILL)
        assert worker.wait(AMPLE_S) == (-signal.SIGKILL if kill else STORE_AWAY), said()
        box = outbox(project)
        assert box is not None
        if not kill:
            assert {ENDING, LEFT} <= {path.name for path in box.iterdir()}
            assert "handed in by" in said()
        server.start()

    return leave


@pytest.mark.parametrize("kill", [False, True])
def test_what_a_job_left_is_handed_in_and_not_computed_again(project: Project, leave: Leave, kill: bool) -> None:
    leave(held, 2.0, kill)
    again = open_project(project.folder)
    reconcile(again)
    made_once(again, 2.0)
    assert count_states(again) == {"COMPLETED": 1}
    assert not repair(again, thorough=True)
    assert reconcile(again) == []


def test_what_a_job_adds_is_not_lost_either(project: Project, leave: Leave) -> None:
    leave(held_then_add, 1, False)
    again = open_project(project.folder)
    assert repair(again).results == 1
    assert count_states(again) == {"COMPLETED": 1, "READY": 1}


def test_a_failure_is_handed_in_as_a_failure(project: Project, leave: Leave) -> None:
    leave(held_then_fail, "no convergence", False)
    again = open_project(project.folder)
    assert repair(again).results == 1
    assert count_states(again) == {"FIZZLED": 1}
    assert "no convergence" in str(again.database.launches.find_one()["action"])


def test_an_idle_worker_waits_too(
    project: Project,
    server: MongoServer,
    start_worker: Callable[[], subprocess.Popen[bytes]],
    said: Callable[[], str],
) -> None:
    add(project, sleep(0.0))
    server.stop()
    worker = start_worker()
    for _ in range(3):
        knock(server.port)
    assert worker.poll() is None, said()
    server.start()
    assert worker.wait(AMPLE_S) == 0, said()
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


def test_what_a_worker_had_told_when_it_was_killed_is_taken_away(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jobflow

    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", project.job_store())
    add_workflow_once(project, sleep(0.0), campaign="c", kind="label", key="k")
    with monkeypatch.context() as killed_before:
        killed_before.setattr(Outbox, "clear", lambda self: None)
        assert Worker(project, WorkerOptions(project.folder)).run_one()
    assert count_states(project) == {"COMPLETED": 1}
    assert outbox(project) is not None
    assert clear_told_outboxes(project) == 0, "its worker may be at it"
    project.database.launches.update_many({}, {"$set": {"fworker.env.process_started": 1.0}})
    assert repair(project, thorough=True) == Repairs(outboxes=1)
    assert outbox(project) is None
    assert project.count("outputs") == 1


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


@pytest.mark.parametrize("patience_s", [0, 600])
def test_a_driver_that_is_started_meanwhile_waits_as_long_as_a_job_would(
    project: Project, server: MongoServer, start: Start, said: Callable[[], str], patience_s: int
) -> None:
    server.stop()
    command = ("-m", "cathodeflow.cli.app", "run", "--project", str(project.folder))
    driver = start(*command, CATHODEFLOW_STORE_PATIENCE_S=str(patience_s))
    if patience_s:
        wait_for(lambda: said().count("Asking again") > 1 or driver.poll() is not None, why_not=said)
        assert driver.poll() is None, said()
        server.start()
    code = driver.wait(AMPLE_S)
    assert ("Asking again" in said()) == bool(patience_s)
    # With the server there it sees that the project is empty.
    assert code == (CampaignError.exit_code if patience_s else StoreError.exit_code), said()


def test_a_campaign_goes_on_after_its_server_was_away(
    tmp_path: Path,
    server: MongoServer,
    gate: Gate,
    start: Start,
    said: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(GATE, str(gate.path))
    folder = tmp_path / "c"
    create_project(folder, server.database_uri("c"))
    launch(folder, definition())
    driver = start("-m", "tests.killable_driver", str(folder), CATHODEFLOW_TICK_S="0.2")
    gate.close(passes=2)
    for times in range(3):
        project = open_project(folder)
        wait_for(lambda project=project, times=times: project.count("labels") > 2 * times, why_not=said)
        wait_for(gate.somebody_waits, why_not=said)
        server.stop()
        known = said().count("Asking again")
        gate.open()  # labels end while nobody can be told
        wait_for(lambda known=known: said().count("Asking again") > known or driver.poll() is not None, why_not=said)
        assert driver.poll() is None, said()
        if times < 2:
            gate.close(passes=2)
        server.start()
    assert driver.wait(AMPLE_S) == 0, said()
    undisturbed = launch(tmp_path / "undisturbed", definition())
    run_to_end(undisturbed)
    project = open_project(folder)
    assert final_documents(project) == final_documents(undisturbed)
    assert not repair(project, thorough=True)
    assert all(len(d["launches"]) + len(d["archived_launches"]) == 1 for d in project.database.fireworks.find())
