"""Complete what killed processes left half done on a MongoDB server. The embedded store needs none of it.

A job passes through these documents, each written at once: claim (firework RESERVED, with the process in it), launch,
firework RUNNING, launch ended, workflow with the fireworks that follow (`pending`), fireworks. What a kill leaves:

====================================  ============================================================================
left                                  set right
====================================  ============================================================================
results in a launch's outbox          handed in, when the job gave up waiting for the server or its process is gone
firework RESERVED, its claimer gone   READY again; a launch that was written for it is closed
workflow locked, its holder gone      what is pending is written, the lock taken off
launch ended, firework RUNNING        the workflow is refreshed, which carries on from there
launch ended, its outbox there        harmless; `thorough` and the end of a driver take it away
workflow's list of states is old      only what people see; any refresh corrects it, `thorough` looks for all of them
====================================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.dispatch.jobs import FIREWORKS, LAUNCHES

if TYPE_CHECKING:
    from cathodeflow.dispatch.launchpad import ProjectLaunchPad
    from cathodeflow.dispatch.server_launchpad import ServerLaunchPad
    from cathodeflow.storage.connection import Project

ENDED = {"COMPLETED", "FIZZLED"}
_BATCH = 1000


@dataclass(frozen=True)
class Repairs:
    """What was set right.

    Attributes
    ----------
    claims : int
        Jobs whose claimer died before their launch, READY again.
    locks : int
        Workflows whose lock nobody would have taken off.
    endings : int
        Jobs whose end had not reached their workflow.
    states : int
        Workflows whose list of states was old.
    results : int
        Jobs whose results were found in their launch folder.
    outboxes : int
        Outboxes of which the database had everything.
    """

    claims: int = 0
    locks: int = 0
    endings: int = 0
    states: int = 0
    results: int = 0
    outboxes: int = 0

    def __bool__(self) -> bool:
        return any(asdict(self).values())


def repair(project: Project, *, thorough: bool = False) -> Repairs:
    """Complete what killed processes left half done; safe to repeat, from any number of processes.

    Parameters
    ----------
    project : Project
        An open project.
    thorough : bool
        Compare every workflow's list of states with its fireworks, too, and look for outboxes that nobody needs.

    Returns
    -------
    Repairs
        All zero on the embedded store.

    Raises
    ------
    PyMongoError
        The server is away; what was set right before stays so.
    """
    if project.file is not None or not project.any_matches(FIREWORKS, {}):
        return Repairs()
    from cathodeflow.dispatch.launchpad import project_launchpad

    launchpad: Any = project_launchpad(project)
    locks = _take_off_locks(launchpad)
    claims = _free_claims(launchpad)
    endings = _follow_endings(launchpad)
    results = deliver_pending(project)
    if not thorough:
        return Repairs(claims, locks, endings, results=results)
    return Repairs(claims, locks, endings, _compare_states(launchpad), results, clear_told_outboxes(project))


def deliver_pending(project: Project) -> int:
    """Hand in the results of running jobs that their worker could not deliver.

    Parameters
    ----------
    project : Project
        An open project.

    Returns
    -------
    int
        Of how many jobs.

    Raises
    ------
    PyMongoError, StoreError
        The database does not take them; they stay where they are.
    """
    if project.file is not None:
        return 0
    from cathodeflow.dispatch.launchpad import project_launchpad
    from cathodeflow.dispatch.processes import is_gone
    from cathodeflow.storage.outbox import Outbox

    launchpad = project_launchpad(project)
    count = 0
    fields = {"launch_id": 1, "launch_dir": 1, "fworker": 1}
    for launch in list(project.database[LAUNCHES].find({"state": "RUNNING"}, fields)):
        box = Outbox(Path(launch["launch_dir"]))
        if not box.folder.exists() or not (box.was_left or is_gone((launch["fworker"] or {}).get("env"), None)):
            continue
        hand_in(launchpad, launch)
        count += 1
    return count


def hand_in(launchpad: ProjectLaunchPad, launch: Mapping[str, Any]) -> bool:
    """Give the database what a job has left in its outbox; only for a launch whose process is gone.

    Parameters
    ----------
    launchpad : ProjectLaunchPad
        Of the project.
    launch : mapping
        With its ``launch_id`` and ``launch_dir``.

    Returns
    -------
    bool
        Whether the launch has ended by it. If not, `reconcile` adopts the job by its outputs, or runs it again.

    Raises
    ------
    PyMongoError, StoreError
        The database does not take it; it stays where it is.
    """
    from fireworks.core.firework import FWAction

    from cathodeflow.storage.outbox import Outbox

    box = Outbox(Path(launch["launch_dir"]))
    contents = box.contents() if box.folder.exists() else None
    if contents is None:
        return False
    contents.write(launchpad.project)
    if contents.ending is not None:
        action = FWAction.from_dict(contents.ending["action"])
        launchpad.complete_launch(launch["launch_id"], action, contents.ending["state"])
    box.clear()
    return contents.ending is not None


def clear_told_outboxes(project: Project) -> int:
    """Take away what a worker that was killed after it had told the database all had no time to take away.

    Parameters
    ----------
    project : Project
        An open project.

    Returns
    -------
    int
        How many outboxes.

    Raises
    ------
    PyMongoError
        The server is away.
    """
    if project.file is not None:
        return 0
    from cathodeflow.storage.outbox import Outbox

    # A worker clears one outbox before it claims the next job: only its last launch can have one.
    worker = {"name": "$fworker.name", "started": "$fworker.env.process_started"}
    grouped = project.database[LAUNCHES].aggregate([{"$group": {"_id": worker, "last": {"$max": "$launch_id"}}}])
    last = [found["last"] for found in grouped]
    count = 0
    fields = {"launch_dir": 1, "fworker": 1, "time_end": 1}
    for start in range(0, len(last), _BATCH):
        ended = {"launch_id": {"$in": last[start : start + _BATCH]}, "state": {"$in": sorted(ENDED)}}
        for launch in project.database[LAUNCHES].find(ended, fields):
            box = Outbox(Path(launch["launch_dir"]))
            if box.folder.exists() and _worker_is_gone(launch):
                box.clear()
                count += 1
    return count


def _take_off_locks(launchpad: ServerLaunchPad) -> int:
    from cathodeflow.dispatch.workflow_lock import WorkflowLock

    count = 0
    # By the indexed part; FireWorks' own bare flag has no process in it and is left to whoever set it.
    for workflow in launchpad.workflows.find({"locked.token": {"$exists": True}}, {"nodes": 1, "locked": 1}):
        lock = WorkflowLock(launchpad, workflow["nodes"][0])
        if lock.is_abandoned(workflow["locked"]):
            with lock:
                count += 1
    return count


def _free_claims(launchpad: ServerLaunchPad) -> int:
    from cathodeflow.dispatch.processes import is_gone, moment

    count = 0
    fields = {"fw_id": 1, "claimed_by": 1, "launches": 1}
    for firework in launchpad.fireworks.find({"state": "RESERVED", "claimed_by": {"$exists": True}}, fields):
        mark = firework["claimed_by"]
        if not is_gone(mark, mark.get("since")):
            continue
        unfinished = {"fw_id": firework["fw_id"], "state": "RUNNING", "launch_id": {"$nin": firework["launches"]}}
        launchpad.launches.delete_many(unfinished)  # written for this claim; the job never began
        freed = launchpad.fireworks.update_one(
            {"fw_id": firework["fw_id"], "state": "RESERVED", "claimed_by.token": mark.get("token")},
            {"$set": {"state": "READY", "updated_on": moment()}, "$unset": {"claimed_by": True}},
        )
        count += freed.modified_count
    return count


def _follow_endings(launchpad: ServerLaunchPad) -> int:
    running = launchpad.fireworks.find({"state": "RUNNING"}, {"fw_id": 1, "launches": 1})
    last = {firework["launches"][-1]: firework["fw_id"] for firework in running if firework["launches"]}
    count = 0
    fields = {"launch_id": 1, "state": 1, "fworker": 1, "time_end": 1}
    for launch in launchpad.launches.find({"launch_id": {"$in": list(last)}}, fields):
        if launch["state"] in ENDED and _worker_is_gone(launch):
            launchpad._refresh_wf(last[launch["launch_id"]])  # noqa: SLF001  FireWorks has no public name for it
            count += 1
    return count


def _worker_is_gone(launch: dict[str, Any]) -> bool:
    """Whether the one that ended a launch will not refresh the workflow itself."""
    from datetime import datetime

    from cathodeflow.dispatch.processes import is_gone

    ended = launch.get("time_end")
    if isinstance(ended, str):
        ended = datetime.fromisoformat(ended)
    return is_gone((launch.get("fworker") or {}).get("env"), ended)


def _compare_states(launchpad: ServerLaunchPad) -> int:
    count = 0
    batch: list[dict[str, Any]] = []
    for workflow in launchpad.workflows.find({}, {"nodes": 1, "fw_states": 1}):
        batch.append(workflow)
        if len(batch) == _BATCH:
            count += _compare_batch(launchpad, batch)
            batch = []
    return count + _compare_batch(launchpad, batch)


def _compare_batch(launchpad: ServerLaunchPad, batch: list[dict[str, Any]]) -> int:
    from cathodeflow.dispatch.workflow_lock import WorkflowLock

    ids = [fw_id for workflow in batch for fw_id in workflow["nodes"]]
    found = launchpad.fireworks.find({"fw_id": {"$in": ids}}, {"fw_id": 1, "state": 1})
    states = {firework["fw_id"]: firework["state"] for firework in found}
    count = 0
    for workflow in batch:
        if all(workflow["fw_states"].get(str(fw_id)) == states.get(fw_id) for fw_id in workflow["nodes"]):
            continue
        with WorkflowLock(launchpad, workflow["nodes"][0]):
            loaded = launchpad.get_wf_by_fw_id_lzyfw(workflow["nodes"][0])
            loaded.fw_states = {fw_id: loaded.id_fw[fw_id].state for fw_id in loaded.fw_states}
            launchpad._update_wf(loaded, [])  # noqa: SLF001
            count += 1
    return count
