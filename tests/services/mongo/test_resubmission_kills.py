"""Resubmission and its undoing on a server: killed at any write, and by two persons at once."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import jobflow
import pytest
from fireworks.core.firework import FWAction
from tests.campaign_world import definition
from tests.services.mongo import killing
from tests.services.mongo.test_kills import documents, in_a_child
from tests.services.mongo_server import MongoServer
from tests.services.waiting import AMPLE_S
from tests.stores import Stores
from tests.unit.dispatch.noop_jobs import noop

from cathodeflow.campaign.intent import complete_abandoned
from cathodeflow.campaign.resubmit import Selection, Terms, resubmit
from cathodeflow.campaign.transitions import create_campaign, read_campaign, stop
from cathodeflow.campaign.undo import undo_resubmission
from cathodeflow.dispatch.launchpad import add_workflow_once, project_launchpad
from cathodeflow.dispatch.repair import repair
from cathodeflow.errors import CampaignError
from cathodeflow.records.campaign import CampaignRecord
from cathodeflow.records.host import HostSpec
from cathodeflow.storage.connection import Project, create_project, open_project

pytestmark = [pytest.mark.service, pytest.mark.slow]
MOST_WRITES = 60
QUARANTINED = ["nvpf-Na1-V8-00", "nvpf-Na2-V8-00"]
FIZZLED = ["nvpf-Na3-V8-00"]


def stopped(folder: Path, uri: str | None, n_more: int = 0) -> Project:
    """A campaign that stopped: two of its labels were given up on, and the jobs of all have failed."""
    project = create_project(folder, uri)
    jobflow.SETTINGS.JOB_STORE = project.job_store()
    launchpad = project_launchpad(project)
    wanted = definition()
    keys = [*QUARANTINED, *FIZZLED, *(f"nvpf-Na4-V8-{number:02x}" for number in range(n_more))]
    record = CampaignRecord(
        id="trial", definition=wanted.model_dump(mode="json"), definition_sha256=wanted.sha256(),
        host=HostSpec(packaged="nvpf"), provenance="pair", stage="label", selections={"0": keys},
    )  # fmt: skip
    create_campaign(project, record)
    project.insert_missing(
        "labels",
        [
            {"_id": f"trial/{key}", "campaign": "trial", "key": key, "outcome": "quarantined", "round": 0}
            | {"reason": "out_of_memory", "message": "given up"}
            for key in QUARANTINED
        ],
    )
    for number, key in enumerate(keys):
        job = noop(number)
        job.set_uuid(f"00000000-0000-0000-0000-{number:012d}")
        add_workflow_once(project, job, campaign="trial", kind="label", key=key)
        killing.claim(project)
        launch = project.database.launches.find_one({"state": "RUNNING"})
        launchpad.complete_launch(launch["launch_id"], FWAction(exit=True), "FIZZLED")
    stop(project, "trial", "too many were lost")
    return project


def again(project: Project) -> None:
    resubmit(project, "trial", Selection(), Terms(memory=2.0))


def take_back(project: Project) -> None:
    with suppress(CampaignError):  # each was taken back already
        undo_resubmission(project, "trial")


@pytest.mark.parametrize("operation", [again, take_back])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_write_it_is_completed_by_the_driver_or_not_begun(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch, operation: Any, moment: str
) -> None:
    monkeypatch.setitem(killing.OPERATIONS, "it", operation)
    stores = Stores(mongo_server)

    def prepared(name: str) -> Project:
        project = stopped(tmp_path / name, stores.uri())
        if operation is take_back:
            again(project)
        return project

    undisturbed = prepared("undisturbed")
    operation(undisturbed)
    expected = documents(undisturbed)
    by_the_driver = 0
    for number in range(1, MOST_WRITES):
        project = prepared(str(number))
        code = in_a_child(project, "it", number, moment)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        later = open_project(project.folder)
        repair(later)
        done = complete_abandoned(later, read_campaign(later, "trial"))
        by_the_driver += done and documents(later) == expected
        operation(later)  # a person who does not know how far it came
        assert documents(later) == expected, f"killed {moment} write {number}"
        assert later.count("workflows", {"locked": {"$exists": True}}) == 0
    assert by_the_driver > 3
    assert 3 < number < MOST_WRITES - 1


def test_two_persons_at_once_resubmit_each_failure_once(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cathodeflow.campaign.intent.PATIENCE_S", AMPLE_S)
    project = stopped(tmp_path / "p", Stores(mongo_server).uri(), n_more=12)
    begin = time.time() + 1.0
    children = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                mine = open_project(project.folder)
                time.sleep(max(begin - time.time(), 0.0))
                again(mine)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0]
    (event,) = project.select("events", {"kind": "resubmitted"})
    assert len(event["details"]["keys"]) == 15
    fireworks = list(project.database.fireworks.find({}))
    assert {(d["state"], len(d["launches"]), len(d["archived_launches"])) for d in fireworks} == {("READY", 0, 1)}
    assert {d["spec"]["_memory_factor"] for d in fireworks} == {2.0}
    attempts = project.select("attempts", {})
    assert len(attempts) == len({entry["key"] for entry in attempts}) == 15
    assert project.count("labels") == 0
    assert read_campaign(project, "trial").intent is None


def test_one_who_lives_is_waited_for_and_one_who_failed_is_not(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cathodeflow.campaign import intent
    from cathodeflow.campaign import resubmit as module
    from cathodeflow.errors import StoreError

    project = stopped(tmp_path / "p", Stores(mongo_server).uri())
    monkeypatch.setattr(intent, "PATIENCE_S", 0.3)
    with intent.alone(project, "trial"), pytest.raises(CampaignError, match="are being resubmitted by process"):
        again(open_project(project.folder))

    def refuse(*_: Any) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(module.withdrawn, "withdraw_labels", refuse)
        with pytest.raises(StoreError):
            again(project)
    assert read_campaign(project, "trial").state == "stopped"
    again(open_project(project.folder))
    assert read_campaign(project, "trial").state == "running"
    (event,) = project.select("events", {"kind": "resubmitted"})
    assert len(event["details"]["keys"]) == 3
