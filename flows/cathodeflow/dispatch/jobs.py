"""What FireWorks knows of a project's jobs, read without importing FireWorks (0.9 s)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import CampaignError
from cathodeflow.storage import collections as names

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

FIREWORKS = names.FIREWORKS
LAUNCHES = names.LAUNCHES
WORKFLOWS = names.WORKFLOWS
LOG_NAME = "job.log"
_BATCH = 500


@dataclass(frozen=True)
class JobSummary:
    """One firework.

    Attributes
    ----------
    fw_id : int
        FireWorks' number.
    state : str
        FireWorks' state.
    name : str
        The job's name.
    campaign, kind, key, category : str or None
        As it was added.
    launches : int
        How often it was started, past reruns included.
    """

    fw_id: int
    state: str
    name: str
    campaign: str | None
    kind: str | None
    key: str | None
    category: str | None
    priority: int
    launches: int
    created_on: Any
    updated_on: Any

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> JobSummary:
        """Read a document of FireWorks' collection."""
        spec = document["spec"]
        return cls(
            fw_id=document["fw_id"],
            state=document["state"],
            name=document.get("name", ""),
            campaign=spec.get("_campaign"),
            kind=spec.get("_kind"),
            key=spec.get("_key"),
            category=spec.get("_category"),
            priority=spec.get("_priority", 0),
            launches=len(document.get("launches", [])) + len(document.get("archived_launches", [])),
            created_on=document.get("created_on"),
            updated_on=document.get("updated_on"),
        )


@dataclass(frozen=True)
class LaunchSummary:
    """One start of a firework.

    Attributes
    ----------
    state : str
        FireWorks' state of the launch.
    directory : Path
        Where it ran.
    log : Path or None
        What it printed; None when there is no such file.
    error : str or None
        Traceback, or the reason it was given up.
    reason : str or None
        The word an error of ours gave for counting (`errors.CalculationError.reason`).
    host, pid : str, int
        Which process ran it.
    runtime_s : float or None
        Seconds from start to end.
    """

    launch_id: int
    state: str
    directory: Path
    log: Path | None
    error: str | None
    reason: str | None
    host: str | None
    pid: int | None
    started: datetime | None
    ended: datetime | None
    runtime_s: float | None

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> LaunchSummary:
        """Read a document of FireWorks' collection."""
        directory = Path(document.get("launch_dir") or ".")
        log = directory / LOG_NAME
        stored = ((document.get("action") or {}).get("stored_data")) or {}
        exception = stored.get("_exception") or {}
        trace = exception.get("_stacktrace")
        process = ((document.get("fworker") or {}).get("env")) or {}
        return cls(
            launch_id=document["launch_id"],
            state=document["state"],
            directory=directory,
            log=log if log.exists() else None,
            error=trace or stored.get("_message"),
            reason=(exception.get("_details") or {}).get("reason"),
            host=process.get("host") or document.get("host"),
            pid=process.get("pid"),
            started=document.get("time_start"),
            ended=document.get("time_end"),
            runtime_s=document.get("runtime_secs"),
        )


@dataclass(frozen=True)
class JobDetails:
    """A firework with all its launches, the past ones first."""

    job: JobSummary
    launches: tuple[LaunchSummary, ...] = ()
    uuids: tuple[str, ...] = ()
    load_error: str | None = None  # FireWorks could not even make the job, mostly for want of its module

    @property
    def log(self) -> Path | None:
        """The log of the last launch that has one."""
        return next((launch.log for launch in reversed(self.launches) if launch.log is not None), None)

    @property
    def error(self) -> str | None:
        """The error of the last launch."""
        return self.launches[-1].error if self.launches else self.load_error

    @property
    def reason(self) -> str | None:
        """The word for the error of the last launch."""
        return self.launches[-1].reason if self.launches else None


def _selection(campaign: str | None, states: Iterable[str] | None, kind: str | None) -> dict[str, Any]:
    condition: dict[str, Any] = {}
    if campaign is not None:
        condition["spec._campaign"] = campaign
    if kind is not None:
        condition["spec._kind"] = kind
    if states is not None:
        condition["state"] = {"$in": list(states)}
    return condition


def count_states(project: Project, campaign: str | None = None, kind: str | None = None) -> dict[str, int]:
    """Count fireworks by state, from an index alone.

    Parameters
    ----------
    project : Project
        An open project.
    campaign, kind : str, optional
        Only these.

    Returns
    -------
    dict
        Number of fireworks by FireWorks state; states without any are left out.
    """
    return project.count_by(FIREWORKS, "state", _selection(campaign, None, kind))


def list_fireworks(
    project: Project,
    campaign: str | None = None,
    states: Iterable[str] | None = None,
    kind: str | None = None,
    limit: int = 0,
) -> list[JobSummary]:
    """List fireworks in the order they were added.

    Parameters
    ----------
    project : Project
        An open project.
    campaign, kind : str, optional
        Only these.
    states : iterable of str, optional
        Only these FireWorks states.
    limit : int
        At most so many; 0 for all.
    """
    documents = project.select(FIREWORKS, _selection(campaign, states, kind), limit=limit)
    return [JobSummary.from_document(document) for document in documents]


def firework_details(project: Project, fw_id: int) -> JobDetails:
    """Return a firework with its launches, errors and logs.

    Raises
    ------
    CampaignError
        There is no such firework.
    """
    found = project.select(FIREWORKS, {"fw_id": fw_id}, limit=1)
    if not found:
        raise CampaignError(f"there is no job {fw_id} in this project; `cflow jobs list` lists them")
    launches = sorted(
        project.select(LAUNCHES, {"launch_id": {"$in": _launch_ids(found[0])}}), key=lambda d: d["launch_id"]
    )
    return _details(found[0], tuple(LaunchSummary.from_document(launch) for launch in launches))


def last_launches(project: Project, fw_ids: Sequence[int]) -> Iterator[JobDetails]:
    """Yield fireworks, each with nothing but its last launch, in few queries whatever their number.

    Parameters
    ----------
    project : Project
        An open project.
    fw_ids : sequence of int
        Those that are not there are left out.
    """
    for start in range(0, len(fw_ids), _BATCH):
        fireworks = project.select(FIREWORKS, {"fw_id": {"$in": list(fw_ids[start : start + _BATCH])}})
        last = {d["fw_id"]: max(ids) for d in fireworks if (ids := _launch_ids(d))}
        found = project.select(LAUNCHES, {"launch_id": {"$in": sorted(last.values())}}) if last else []
        launches = {d["launch_id"]: LaunchSummary.from_document(d) for d in found}
        for document in fireworks:
            launch = launches.get(last.get(document["fw_id"], -1))
            yield _details(document, () if launch is None else (launch,))


def _launch_ids(document: dict[str, Any]) -> list[int]:
    return [*document.get("archived_launches", []), *document.get("launches", [])]


def _details(document: dict[str, Any], launches: tuple[LaunchSummary, ...]) -> JobDetails:
    trouble = (document["spec"].get("_exception_details") or {}).get("_stacktrace")
    return JobDetails(JobSummary.from_document(document), launches, tuple(job_uuids(document)), trouble)


def job_uuids(document: dict[str, Any]) -> list[str]:
    """Return the uuids of the jobflow jobs that a firework's document holds."""
    tasks = document.get("spec", {}).get("_tasks", [])
    return [task["job"]["uuid"] for task in tasks if isinstance(task.get("job"), dict) and "uuid" in task["job"]]
