"""Runs one operation on a project and kills this process at its n-th write, before or after the server has done it.

`python -m tests.services.mongo.killing FOLDER OPERATION N before|after`; ends by itself (code 0) when there are fewer.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import jobflow
from fireworks.core.firework import FWAction
from fireworks.core.fworker import FWorker
from jobflow import Flow
from pymongo import monitoring
from tests.campaign_world import definition
from tests.unit.dispatch.noop_jobs import add_another, noop, total

from cathodeflow.campaign import transitions, withdrawn
from cathodeflow.campaign.event_log import Line, deliver
from cathodeflow.campaign.ingest import _complete, put_in
from cathodeflow.dispatch.launchpad import add_workflow_once, project_launchpad
from cathodeflow.dispatch.processes import process_identity
from cathodeflow.dispatch.rerun import rerun
from cathodeflow.dispatch.worker import HELD_STATES
from cathodeflow.records.campaign import AttemptRecord, CampaignRecord
from cathodeflow.records.host import HostSpec
from cathodeflow.records.label import LabelRecord, Origin
from cathodeflow.records.outcomes import Outcome, Purpose, Reason, Stage
from cathodeflow.storage.connection import Project, open_project

MARKS = {"campaign": "trial", "kind": "label", "key": "k"}
WRITES = {"insert", "update", "delete", "findAndModify"}


class KillAtWrite(monitoring.CommandListener):
    """Counts commands that write."""

    def __init__(self, number: int, moment: str) -> None:
        self.armed = False
        self.left = number
        self.moment = moment

    def _count(self, event: Any, moment: str) -> None:
        if self.armed and event.command_name in WRITES and moment == self.moment:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def started(self, event: Any) -> None:
        self._count(event, "before")

    def succeeded(self, event: Any) -> None:
        self._count(event, "after")

    def failed(self, event: Any) -> None:
        pass


def flow() -> Flow:
    """One job that adds another when it ends, and one that waits for both of two."""
    first, second = add_another(1), noop(2)
    for number, job in enumerate((first, second)):
        job.set_uuid(f"00000000-0000-0000-0000-00000000000{number}")
    return Flow([first, second, total([first.output, second.output])])


def add(project: Project) -> None:
    add_workflow_once(project, flow(), **MARKS)


def claim(project: Project, identity: dict[str, Any] | None = None) -> Any:
    worker = FWorker(name="w", env=identity or process_identity())
    return project_launchpad(project).claim(worker, None, HELD_STATES, lambda *_: project.folder / "launch")


def complete(project: Project) -> None:
    """End the job that is running, as its worker would."""
    launch = project.database.launches.find_one({"state": "RUNNING"})
    if launch is None:
        return
    job = project_launchpad(project).get_fw_by_id(launch["fw_id"])
    action = job.tasks[0].run_task(job.spec)
    LISTENER.armed = True
    project_launchpad(project).complete_launch(launch["launch_id"], action)


def fizzle(project: Project) -> None:
    launch = project.database.launches.find_one({"state": "RUNNING"})
    if launch is not None:
        LISTENER.armed = True
        project_launchpad(project).complete_launch(launch["launch_id"], FWAction(exit=True), "FIZZLED")


def run_again(project: Project) -> None:
    rerun(project, [d["fw_id"] for d in project.database.fireworks.find({"state": "FIZZLED"})], {"_mark": 1})


def record(project: Project) -> None:
    attempt = AttemptRecord(
        id="trial/label/k/1", campaign="trial", kind="label", key="k", attempt=1, fw_id=1,
        outcome=Outcome.FAILED, reason=Reason.CALCULATION_ERROR, action="rerun",
    )  # fmt: skip
    transitions.record_once(project, "attempts", attempt)


def launch_campaign(project: Project) -> None:
    wanted = definition()
    record = CampaignRecord(
        id="trial", definition=wanted.model_dump(mode="json"), definition_sha256=wanted.sha256(),
        host=HostSpec(packaged="nvpf"), provenance="pair",
    )  # fmt: skip
    if project.get("campaigns", "trial") is None:
        transitions.create_campaign(project, record)
    deliver(project, "trial")


def enter(project: Project) -> None:
    campaign = transitions.read_campaign(project, "trial")
    if campaign.stage == Stage.ENUMERATE:
        transitions.enter_stage(project, campaign, Stage.LABEL, 0, before=[Line("budget", "said once")])
    deliver(project, "trial")


def withdraw(project: Project) -> None:
    withdrawn.withdraw_labels(project, "trial", ["k"], 1)


def ingest(project: Project) -> None:
    """Put in a label of which the campaign has a job already."""
    label = LabelRecord(
        id="trial/ready", campaign="trial", key="ready", level="Na1", composition="V8", elements=["V"], counts=[8],
        mask=0, purpose=Purpose.TRAINING, round=0, outcome=Outcome.DONE, folder="/run",
        origin=Origin(provenance="pair"),
    )  # fmt: skip
    details = {"key": "ready", "folder": "/run", "sha256": "0"}
    if not put_in(project, label, details):
        _complete(project, "trial", "ready", details)  # as `cflow ingest` does when it finds the label of this run


def job(project: Project) -> None:
    add_workflow_once(project, noop(1), campaign="trial", kind="label", key="ready")


def blob(project: Project) -> None:
    project.blobs.put(b"weights" * 100_000, "w")


OPERATIONS = {
    one.__name__: one
    for one in (add, claim, complete, fizzle, run_again, record, launch_campaign, enter, withdraw, blob, ingest, job)
}
LISTENER = KillAtWrite(0, "before")


def main(folder: str, operation: str, number: str, moment: str) -> None:
    LISTENER.left, LISTENER.moment = int(number), moment
    monitoring.register(LISTENER)
    project = open_project(Path(folder))
    jobflow.SETTINGS.JOB_STORE = project.job_store()
    project_launchpad(project)
    LISTENER.armed = operation not in {"complete", "fizzle"}
    OPERATIONS[operation](project)


if __name__ == "__main__":
    main(*sys.argv[1:])
