"""The LaunchPad over a MongoDB server, where each write stands alone.

Each operation is written in an order that lets `dispatch.repair`, or the next one who comes along, complete it after a
kill between any two writes. What a job costs does not grow with the queue: documents are found by unique keys, and the
queue is looked through once for many claims.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fireworks.core.firework import Firework, FWAction, Launch, Workflow
from fireworks.core.fworker import FWorker
from fireworks.core.launchpad import LockedWorkflowError

from cathodeflow.dispatch.launchpad import ProjectLaunchPad
from cathodeflow.dispatch.processes import moment, this_process
from cathodeflow.dispatch.workflow_lock import WorkflowLock, lock_or_join, pack, write_pending
from cathodeflow.storage.collections import CAMPAIGNS, SERVER_FIREWORKS_INDEXES, ensure_indexes

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

BULK = 200  # workflows written together
PAGE = 1000  # jobs seen at one look through the queue
PAGE_S = 1.0  # for so long a job of higher priority may wait behind those seen
LOOKS_SHARE = 0.1  # of a worker's time spent on looking, at most: where a look takes long, pages last longer
UNLOADABLE = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, OSError, RuntimeError),
    *(SyntaxError, TypeError, ValueError),
)
LARGEST_ACTION = 12_000_000  # bytes; what a job says beyond this goes to GridFS


class ServerLaunchPad(ProjectLaunchPad):
    """A LaunchPad over a project's MongoDB database.

    Parameters
    ----------
    project : Project
        An open project.
    strm_lvl : str
        What FireWorks' logger prints.
    """

    def __init__(self, project: Project, strm_lvl: str = "WARNING") -> None:
        super().__init__(project, strm_lvl)
        self._of_thread = threading.local()  # a dashboard acts from several
        self._pages: dict[str, tuple[float, deque[int]]] = {}

    @property
    def held_locks(self) -> list[WorkflowLock]:
        """The locks that this thread holds, the latest last."""
        held: list[WorkflowLock] = self._of_thread.__dict__.setdefault("locks", [])
        return held

    def alone_with(self, fw_id: int) -> AbstractContextManager[Any]:
        """Hold the lock of a job's workflow; what takes it inside joins. A job without a workflow has none."""
        there = self.workflows.find_one({"nodes": fw_id}, {"_id": 1}) is not None
        return WorkflowLock(self, fw_id) if there else nullcontext()

    def tuneup(self, bkground: bool = True) -> None:
        """Make the indexes of FireWorks' collections."""
        ensure_indexes(self.project, SERVER_FIREWORKS_INDEXES)

    def prepare(self) -> None:
        """Make indexes and counters unless they are there; several processes may."""
        if self.project.get("fw_id_assigner", -1) is None:
            self.tuneup()
            counters = {"next_fw_id": 1, "next_launch_id": 1}
            self.fw_id_assigner.update_one({"_id": -1}, {"$setOnInsert": counters}, upsert=True)

    # -- adding and updating workflows -------------------------------------------------------------------------

    def add_wf(self, wf: Workflow | Firework, reassign_all: bool = True) -> dict[int, int]:
        """Add a workflow: first its own document, locked and with its fireworks in it, then the fireworks.

        Raises
        ------
        DuplicateKeyError
            A workflow of the same natural key is there.
        """
        document, entries, old_new = self._new_documents(wf, reassign_all)
        with WorkflowLock(self, entries[0]["firework"]["fw_id"]).insert(document):
            self.fireworks.insert_many([entry["firework"] for entry in entries])
        return old_new

    def _new_documents(
        self, wf: Workflow | Firework, reassign_all: bool
    ) -> tuple[dict[str, Any], list[dict[str, Any]], dict[int, int]]:
        """Return a new workflow's document, what is pending in it, and which numbers its fireworks got."""
        if isinstance(wf, Firework):
            wf = Workflow.from_firework(wf)
        for fw_id in wf.root_fw_ids:
            wf.id_fw[fw_id].state = "READY"
            wf.fw_states[fw_id] = "READY"
        fireworks = sorted(wf.id_fw.values(), key=lambda firework: firework.fw_id)
        old_new = self._number(fireworks if reassign_all else [f for f in fireworks if f.fw_id < 0])
        wf._reassign_ids(old_new)  # noqa: SLF001  as LaunchPad.add_wf does
        entries = [{"firework": firework.to_db_dict(), "was": None} for firework in fireworks]
        return wf.to_db_dict() | {"pending": pack(self, entries)}, entries, old_new

    def complete_adding(self, workflow: dict[str, Any]) -> None:
        """Complete a workflow whose adder was killed before all of its fireworks stood."""
        lock = WorkflowLock(self, workflow["nodes"][0])
        if "locked" in workflow and lock.is_abandoned(workflow["locked"]):
            with lock:
                pass  # taking it over writes what is pending

    def bulk_add_wfs(self, wfs: Sequence[Workflow | Firework]) -> None:
        """Add many workflows, some at a time, each as safe as one added alone."""
        for start in range(0, len(wfs), BULK):
            new = [self._new_documents(wf, reassign_all=True) for wf in wfs[start : start + BULK]]
            fireworks = [entry["firework"] for _, entries, _ in new for entry in entries]
            with WorkflowLock(self, fireworks[0]["fw_id"]).insert_all([document for document, _, _ in new]):
                self.fireworks.insert_many(fireworks)

    def _number(self, fireworks: Sequence[Firework]) -> dict[int, int]:
        """Give fireworks their numbers, in their order; returns old to new."""
        if not fireworks:
            return {}
        first = self.get_new_fw_id(quantity=len(fireworks))
        old_new = {}
        for number, firework in enumerate(fireworks, start=first):
            old_new[firework.fw_id] = number
            firework.fw_id = number
        return old_new

    def _update_wf(self, wf: Workflow, updated_ids: Sequence[int]) -> None:
        """Write a workflow with the fireworks that changed; only within its lock.

        The one write that decides is the workflow's own document with the changed fireworks in it.

        Raises
        ------
        LockedWorkflowError
            The lock was lost to somebody who took this process for dead; nothing was written.
        """
        lock = self.held_locks[-1]
        changed = sorted((wf.id_fw[fw_id] for fw_id in set(updated_ids)), key=lambda firework: firework.fw_id)
        wf._reassign_ids(self._number([f for f in changed if f.fw_id < 0]))  # noqa: SLF001
        documents = [firework.to_db_dict() for firework in changed]
        ids = [document["fw_id"] for document in documents]
        found = self.fireworks.find({"fw_id": {"$in": ids}}, {"fw_id": 1, "state": 1}) if ids else ()
        was = {d["fw_id"]: d["state"] for d in found}
        entries = [{"firework": document, "was": was.get(document["fw_id"])} for document in documents]
        whole = wf.to_db_dict() | {"locked": lock.document()}
        if entries:
            whole["pending"] = pack(self, entries)
        replaced = self.workflows.replace_one({"locked.token": lock.token}, whole)
        if replaced.matched_count != 1:
            raise LockedWorkflowError(f"the lock of the workflow of {wf.name} was lost")
        write_pending(self, {"fireworks": entries})

    def _refresh_wf(self, fw_id: int) -> None:
        """Bring a workflow up to the state of one firework; a server that is away is no fault of the job.

        Raises
        ------
        PyMongoError
            The server is away; `dispatch.repair` makes up for it.
        RuntimeError
            The workflow cannot be refreshed; it is FIZZLED.
        """
        from pymongo.errors import PyMongoError

        try:
            with lock_or_join(self, fw_id):
                wf = self.get_wf_by_fw_id_lzyfw(fw_id)
                self._update_wf(wf, wf.refresh(fw_id))
        except (PyMongoError, LockedWorkflowError):
            raise
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, ImportError, AssertionError) as error:
            self.fireworks.update_one({"fw_id": fw_id}, {"$set": {"state": "FIZZLED"}})
            states = {"state": "FIZZLED", f"fw_states.{fw_id}": "FIZZLED"}
            self.workflows.update_one({"nodes": fw_id}, {"$set": states})
            raise RuntimeError(f"The workflow of job {fw_id} cannot be refreshed: {error!r}") from error

    # -- running -----------------------------------------------------------------------------------------------

    def claim(
        self,
        fworker: FWorker,
        campaign: str | None,
        held_states: Sequence[str],
        directory: Callable[[dict[str, Any], int, int], Path],
    ) -> tuple[Firework, int, Path] | None:
        """Take the next job for a worker, as `ProjectLaunchPad.claim`."""
        held = [d["_id"] for d in self.db[CAMPAIGNS].find({"state": {"$in": list(held_states)}}, {"_id": 1})]
        if campaign in held:
            return None
        # FireWorks' query also asks for `_fworker`, which no job of ours has: categories say who takes what.
        condition = {key: value for key, value in fworker.query.items() if key != "$or"} | {"state": "READY"}
        if campaign is None and held:
            condition["spec._campaign"] = {"$nin": held}
        while (fw_id := self._next_candidate(condition)) is not None:
            mark = {**this_process(), "since": moment(), "token": uuid.uuid4().hex}
            taken = self.fireworks.update_one(
                {"fw_id": fw_id, "state": "READY"},
                {"$set": {"state": "RESERVED", "updated_on": moment(), "claimed_by": mark}},
            )
            if taken.modified_count != 1:
                continue
            firework = self._load(fw_id)
            started = None if firework is None else self._start(firework, fworker, mark["token"], directory)
            if started is not None:
                return started
        return None

    def _load(self, fw_id: int) -> Firework | None:
        """Return a claimed job; None when it cannot be loaded, and is FIZZLED."""
        try:
            return self.get_fw_by_id(fw_id)
        except UNLOADABLE:
            return self._get_a_fw_to_run(fw_id=fw_id)  # tries again, and writes the failure down

    def _next_candidate(self, condition: dict[str, Any]) -> int | None:
        """Return a job that was READY a moment ago, best first; the queue is looked through once for many."""
        key = repr(sorted(condition.items(), key=lambda item: item[0]))
        until, page = self._pages.get(key, (0.0, deque()))
        if not page or time.monotonic() > until:
            began = time.monotonic()
            order = [("spec._priority", -1), ("created_on", 1), ("fw_id", 1)]
            found = self.fireworks.find(condition, {"fw_id": 1, "_id": 0}).sort(order).limit(PAGE)
            page = deque(d["fw_id"] for d in found)
            now = time.monotonic()
            self._pages = {key: (now + max(PAGE_S, (now - began) / LOOKS_SHARE), page)}
        return page.popleft() if page else None

    def _start(
        self,
        firework: Firework,
        fworker: FWorker,
        token: str,
        directory: Callable[[dict[str, Any], int, int], Path],
    ) -> tuple[Firework, int, Path] | None:
        """Write the launch of a claimed job; None when the claim was taken away meanwhile."""
        fw_id = firework.fw_id
        launch_id = self.get_new_launch_id()
        folder = directory(firework.spec, fw_id, launch_id)
        launch = Launch("RUNNING", str(folder), fworker, launch_id=launch_id, fw_id=fw_id)
        self.launches.insert_one(launch.to_db_dict())
        firework.launches.append(launch)
        firework.state = "RUNNING"
        launches = [one.launch_id for one in firework.launches]
        running = {"state": "RUNNING", "updated_on": moment(), "launches": launches}
        kept = self.fireworks.update_one({"claimed_by.token": token}, {"$set": running, "$unset": {"claimed_by": True}})
        if kept.modified_count != 1:
            self.launches.delete_one({"launch_id": launch_id})
            return None
        self._show_running(fw_id)
        return firework, launch_id, folder

    def _show_running(self, fw_id: int) -> None:
        """Let the workflow's list of states say that a job runs.

        A list for people and for the next refresh, which corrects it: without a lock, unless another branch has failed.
        """
        workflow = self.workflows.find_one({"nodes": fw_id}, {"state": 1, "locked": 1})
        if workflow is None or "locked" in workflow or workflow["state"] not in {"READY", "RESERVED", "RUNNING"}:
            self._refresh_wf(fw_id)
            return
        states = {f"fw_states.{fw_id}": "RUNNING", "state": "RUNNING", "updated_on": moment()}
        self.workflows.update_one({"nodes": fw_id}, {"$set": states})

    def complete_launch(
        self, launch_id: int, action: FWAction | None = None, state: str = "COMPLETED"
    ) -> dict[str, Any]:
        """End a launch: first its own document, which `dispatch.repair` follows up, then the workflow."""
        launch = self.get_launch_by_id(launch_id)
        launch.state = state
        if action:
            launch.action = action
        self._replace_launch(launch)
        self._refresh_wf(launch.fw_id)
        return dict(launch.to_dict())

    def release_claims(self) -> int:
        """Give back the jobs this process has claimed and never begun, for want of the server's answer.

        Only for a process between two jobs.

        Returns
        -------
        int
            How many there were.
        """
        me = this_process()
        ready = {"$set": {"state": "READY", "updated_on": moment()}}
        mine = {f"claimed_by.{name}": value for name, value in me.items()}
        count = self.fireworks.update_many(
            {"state": "RESERVED", **mine}, {**ready, "$unset": {"claimed_by": True}}
        ).modified_count
        begun = {"state": "RUNNING", **{f"fworker.env.{name}": value for name, value in me.items()}}
        for launch in list(self.launches.find(begun, {"launch_id": 1, "fw_id": 1})):
            given_back = self.fireworks.update_one(
                {"fw_id": launch["fw_id"], "state": "RUNNING", "launches": launch["launch_id"]},
                {**ready, "$pull": {"launches": launch["launch_id"]}},
            )
            self.launches.delete_one({"launch_id": launch["launch_id"]})
            if given_back.modified_count:
                self._refresh_wf(launch["fw_id"])
                count += 1
        return int(count)

    def _replace_launch(self, launch: Launch) -> None:
        import json

        import bson

        document = launch.to_db_dict()
        content = document.get("action")
        if content and len(bson.encode({"action": content})) > LARGEST_ACTION:
            id_ = self.gridfs_fallback.put(
                json.dumps(content), encoding="utf-8", metadata={"launch_id": launch.launch_id}
            )
            document["action"] = {"gridfs_id": str(id_)}
        self.launches.replace_one({"launch_id": launch.launch_id}, document, upsert=True)

    def ping_launch(self, launch_id: int, ptime: Any = None, checkpoint: Any = None) -> None:
        """Do nothing: a launch names its process, and `reconcile` asks whether that lives."""

    def restore_backup_data(self, launch_id: int, fw_id: int) -> None:
        """Do nothing: what is written in part is completed, not put back."""
