"""FireWorks' LaunchPad over the project's store, each of its operations one transaction.

FireWorks' own operations are sequences of small writes with a lock flag in the workflow document. Killed in between,
they leave the flag behind and the collections at odds. Here each is one SQLite transaction: all of it or nothing, and
one commit instead of a dozen. On a MongoDB server, `dispatch.server_launchpad` writes them in an order that is safe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import gridfs
from fireworks.core.firework import Firework, Workflow
from fireworks.core.fworker import FWorker
from fireworks.core.launchpad import GRIDFS_FALLBACK_COLLECTION, LaunchPad, get_fw_logger
from pymongo.errors import DuplicateKeyError

from cathodeflow.dispatch.processes import is_own
from cathodeflow.storage.collections import CAMPAIGNS, FIREWORKS, FIREWORKS_INDEXES, ensure_indexes

if TYPE_CHECKING:
    from jobflow import Flow, Job

    from cathodeflow.storage.connection import Project

CONTINUE_FROM = "_continue_from"
"""Key of a spec: folder of the launch that the next one goes on from."""
TIME_FACTOR = "_time_factor"
MEMORY_FACTOR = "_memory_factor"
"""Keys of a spec: times what the first launch asked the scheduler for."""
FACTORS = (TIME_FACTOR, MEMORY_FACTOR)


def factor_of(spec: Mapping[str, Any], factor: str) -> float:
    """Return one of `FACTORS` of a job's spec; 1 where it has none, and never less."""
    return max(float(spec.get(factor) or 1.0), 1.0)


_ATOMIC = (
    *("add_wf", "append_wf", "bulk_add_wfs", "delete_wf", "delete_fws", "update_spec", "set_priority"),
    *("checkout_fw", "complete_launch", "mark_fizzled", "ping_launch", "change_launch_dir", "restore_backup_data"),
    *("rerun_fw", "pause_fw", "resume_fw", "pause_wf", "defuse_fw", "defuse_wf", "reignite_fw", "reignite_wf"),
    *("archive_wf", "cancel_reservation", "cancel_reservation_by_reservation_id", "set_reservation_id"),
    *("detect_lostruns", "detect_unreserved", "_refresh_wf", "reset", "add_offline_run", "recover_offline"),
    *("forget_offline", "_get_a_fw_to_run"),
)


def _atomic(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def in_one_transaction(self: ProjectLaunchPad, *args: Any, **options: Any) -> Any:
        with self.transaction():
            return method(self, *args, **options)

    return in_one_transaction


class ProjectLaunchPad(LaunchPad):  # type: ignore[misc,unused-ignore]
    """A LaunchPad over a project's database.

    Parameters
    ----------
    project : Project
        An open project.
    strm_lvl : str
        What FireWorks' logger prints.
    """

    def __init__(self, project: Project, strm_lvl: str = "WARNING") -> None:
        # LaunchPad.__init__ would make a pymongo client of its own, so its attributes are set here instead.
        self.project = project
        self.host = str(project.folder)
        self.port = None
        self.name = project.database_name
        self.username = self.password = None
        self.authsource = project.database_name
        self.mongoclient_kwargs: dict[str, Any] = {}
        self.uri_mode = True
        self.logdir = None
        self.strm_lvl = strm_lvl
        self.m_logger = get_fw_logger("launchpad", l_dir=None, stream_level=strm_lvl)
        self.user_indices: list[str] = []
        self.wf_user_indices: list[str] = []
        self.connection = project.client
        self.db = project.database
        self.fireworks = self.db.fireworks
        self.launches = self.db.launches
        self.offline_runs = self.db.offline_runs
        self.fw_id_assigner = self.db.fw_id_assigner
        self.workflows = self.db.workflows
        self.gridfs_fallback = gridfs.GridFS(self.db, GRIDFS_FALLBACK_COLLECTION)
        self.backup_launch_data: dict[int, Any] = {}
        self.backup_fw_data: dict[int, Any] = {}

    def transaction(self) -> AbstractContextManager[Any]:
        """One transaction of the store, joined by what is called inside.

        A workflow that cannot be refreshed is marked FIZZLED by FireWorks before it raises RuntimeError: that mark
        has to stay.
        """
        file = self.project.file
        return nullcontext() if file is None else file.transaction(keep=(RuntimeError,))

    def alone_with(self, fw_id: int) -> AbstractContextManager[Any]:
        """Keep all others from a job's workflow during several operations on it: what is read inside stays true.

        Parameters
        ----------
        fw_id : int
            Any firework of the workflow. Here a transaction keeps all others away; on a server its lock does.
        """
        return self.transaction()

    def tuneup(self, bkground: bool = True) -> None:
        """Make the indexes of FireWorks' collections: fewer than FireWorks asks for, as each costs writes."""
        ensure_indexes(self.project, FIREWORKS_INDEXES)

    def prepare(self) -> None:
        """Make indexes and counters unless they are there."""
        if self.project.get("fw_id_assigner", -1) is None:
            with self.transaction():
                if self.fw_id_assigner.find_one({}) is None:
                    self.tuneup()
                    self._restart_ids(1, 1)

    def claim(
        self,
        fworker: FWorker,
        campaign: str | None,
        held_states: Sequence[str],
        directory: Callable[[dict[str, Any], int, int], Path],
    ) -> tuple[Firework, int, Path] | None:
        """Take the next job for a worker, in one transaction.

        A campaign that is held (paused) is left alone by this very filter. FireWorks' own PAUSED state would need a
        refresh of every workflow of the campaign, minutes for 10,000, and would miss those added meanwhile; one word
        in the campaign's document holds all of them at once, and a claim reads it in its own transaction.

        Parameters
        ----------
        fworker : FWorker
            Who asks; its query and categories narrow the choice.
        campaign : str or None
            The campaign whose jobs the query asks for; None for any.
        held_states : sequence of str
            States of a campaign's document in which it starts no job.
        directory : callable
            Gives the launch folder from spec, fw_id and launch_id.

        Returns
        -------
        tuple or None
            Firework, launch_id and launch folder; None when there is nothing to run.
        """
        if not self._may_have_work(campaign):
            return None
        with self.transaction():
            held = [d["_id"] for d in self.db[CAMPAIGNS].find({"state": {"$in": list(held_states)}}, {"_id": 1})]
            if campaign in held:
                return None
            if campaign is None:
                # By name, so that the index gives the order within each campaign and only heads are compared.
                ready = self.project.count_by(FIREWORKS, "spec._campaign", {"state": "READY"})
                free = {"spec._campaign": {"$in": [name for name in ready if name not in held]}}
                fworker = FWorker(fworker.name, fworker.category, free, fworker.env)
            firework, launch_id = self.checkout_fw(fworker, str(self.project.folder))
            if firework is None:
                return None
            folder = directory(firework.spec, firework.fw_id, launch_id)
            self.launches.update_one({"launch_id": launch_id}, {"$set": {"launch_dir": str(folder)}})
        firework.launches[-1].launch_dir = str(folder)
        return firework, launch_id, folder

    def holds(self, launch_id: int, fw_id: int, state: str | None = None) -> bool:
        """Whether a launch of this process is there.

        A server that was killed may have forgotten it, and given its number to another.

        Parameters
        ----------
        launch_id, fw_id : int
            The launch, and its job.
        state : str, optional
            Only in this state.
        """
        # By the number alone, for which there is an index on every store.
        found = self.launches.find_one({"launch_id": launch_id}, {"fw_id": 1, "state": 1, "fworker.env": 1})
        if found is None or found["fw_id"] != fw_id or state not in {None, found["state"]}:
            return False
        return is_own((found.get("fworker") or {}).get("env") or {})

    def release_claims(self) -> int:
        """Give back what this process has claimed and never begun; here a claim is one transaction."""
        return 0

    def complete_adding(self, workflow: dict[str, Any]) -> None:
        """Complete a workflow that was found as it was being added; here none ever is."""

    def _may_have_work(self, campaign: str | None) -> bool:
        """Look without the write lock, so that idle workers disturb nobody."""
        condition = {"state": "READY"} if campaign is None else {"state": "READY", "spec._campaign": campaign}
        return self.project.any_matches(FIREWORKS, condition)

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs to open the project again."""
        # The address holds no password: who opens the project again has it from the environment, or its file.
        return {**super().to_dict(), "project": str(self.project.folder), "mongo_uri": self.project.uri}

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> ProjectLaunchPad:
        """Open the project that `to_dict` names."""
        from cathodeflow.storage.connection import open_project

        project = open_project(Path(d["project"]), d.get("mongo_uri"))
        return launchpad_class(project)(project, d.get("strm_lvl") or "WARNING")


for _name in _ATOMIC:
    setattr(ProjectLaunchPad, _name, _atomic(getattr(LaunchPad, _name)))

_launchpads: WeakKeyDictionary[Project, ProjectLaunchPad] = WeakKeyDictionary()


def launchpad_class(project: Project) -> type[ProjectLaunchPad]:
    """Return the kind of launchpad that a project's store needs."""
    if project.file is not None:
        return ProjectLaunchPad
    from cathodeflow.dispatch.server_launchpad import ServerLaunchPad

    return ServerLaunchPad


def project_launchpad(project: Project) -> ProjectLaunchPad:
    """Return the launchpad of a project, made ready on first use.

    Parameters
    ----------
    project : Project
        An open project.

    Raises
    ------
    StoreError
        The store cannot be written.
    """
    launchpad = _launchpads.get(project)
    if launchpad is None:
        launchpad = _launchpads[project] = launchpad_class(project)(project)
        launchpad.prepare()
    return launchpad


class Submission(NamedTuple):
    """What became of a request to add a workflow.

    Attributes
    ----------
    fw_ids : tuple of int
        Its fireworks, in the order of the jobs.
    added : bool
        False when it was there already.
    """

    fw_ids: tuple[int, ...]
    added: bool


def add_workflow_once(
    project: Project,
    flow: Flow | Job | Workflow | Sequence[Job],
    *,
    campaign: str,
    kind: str,
    key: str,
    attempt: int = 1,
    category: str = "cpu",
    priority: int = 0,
    round_number: int = 0,
) -> Submission:
    """Add a workflow unless the one of this campaign, kind, key and attempt is there.

    Parameters
    ----------
    project : Project
        An open project.
    flow : Flow, Job, list of Job or Workflow
        What to run. A jobflow flow takes its outputs to the store of whoever runs it.
    campaign, kind, key, attempt : str, str, str, int
        The natural key: adding it twice, from any number of processes, is harmless.
    category : str
        Which workers take it (`_category`).
    priority : int
        Higher is claimed first.
    round_number : int
        Round of labelling it belongs to, for people.

    Returns
    -------
    Submission
        Its fireworks, and whether they are new.

    Raises
    ------
    StoreError
        The store cannot be written; nothing was added.
    """
    launchpad = project_launchpad(project)
    natural_key = {"campaign": campaign, "kind": kind, "key": key, "attempt": attempt}
    there = _find(launchpad, natural_key)
    if there is not None:
        return Submission(there, added=False)
    marks = {"_category": category, "_priority": priority, "_campaign": campaign, "_kind": kind, "_key": key}
    workflow = _as_workflow(flow, f"{campaign}/{kind}/{key}", marks)
    workflow.metadata = {**workflow.metadata, **natural_key, "round": round_number}
    with launchpad.transaction():
        there = _find(launchpad, natural_key)
        if there is not None:
            return Submission(there, added=False)
        try:
            new_ids = launchpad.add_wf(workflow)
        except DuplicateKeyError:  # on a server, somebody was a moment faster
            there = _find(launchpad, natural_key)
            if there is None:
                raise
            return Submission(there, added=False)
    return Submission(tuple(sorted(new_ids.values())), added=True)


def _find(launchpad: ProjectLaunchPad, natural_key: dict[str, Any]) -> tuple[int, ...] | None:
    query = {f"metadata.{name}": value for name, value in natural_key.items()}
    found = launchpad.workflows.find_one(query, {"nodes": 1, "locked": 1})
    if found is None:
        return None
    launchpad.complete_adding(found)
    return tuple(sorted(found["nodes"]))


def _as_workflow(flow: Any, name: str, marks: dict[str, Any]) -> Workflow:
    """Return a workflow whose fireworks carry our marks, those that jobs add later included."""
    if isinstance(flow, Firework):
        flow = Workflow.from_firework(flow)
    if not isinstance(flow, Workflow):
        from jobflow.core.flow import get_flow
        from jobflow.managers.fireworks import flow_to_workflow

        # Jobs pass their manager_config on to jobs they add, so the marks go there.
        flow = get_flow(flow, allow_external_references=True)
        for job, _ in flow.iterflow():
            job.config.manager_config = {**marks, **job.config.manager_config}
        return flow_to_workflow(flow, name=name, allow_external_references=True)
    for firework in flow.fws:
        firework.spec = {**marks, **firework.spec}
    return flow
