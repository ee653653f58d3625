"""Jobs that a job has added while it ran: when it runs again it adds others, and these are superseded.

FireWorks would run both. The superseded generation is taken out of the workflow and ARCHIVED: its launches and results
stay to be looked at, and it is put back when the rerun is taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cathodeflow.dispatch.jobs import FIREWORKS, LAUNCHES

if TYPE_CHECKING:
    from cathodeflow.dispatch.launchpad import ProjectLaunchPad
    from cathodeflow.storage.connection import Project

PARTS = ("nodes", "links", "parent_links", "fw_states")
"""Of a workflow's document: which jobs it has."""


def added_by(project: Project, fw_ids: Iterable[int], candidates: Iterable[int]) -> list[int]:
    """Return which jobs were added by others while these ran.

    Parameters
    ----------
    project : Project
        The open project.
    fw_ids : iterable of int
        Those that may have added some.
    candidates : iterable of int
        Those that may have been added.

    Returns
    -------
    list of int
        In ascending order.
    """
    import gridfs
    from fireworks.core.launchpad import GRIDFS_FALLBACK_COLLECTION, get_action_from_gridfs

    condition = {"fw_id": {"$in": sorted(fw_ids)}, "state": "COMPLETED"}
    added: set[tuple[str, int]] = set()
    for launch in project.database[LAUNCHES].find(condition, {"action": 1}):
        action = launch.get("action") or {}
        if "gridfs_id" in action:
            action = get_action_from_gridfs(action, gridfs.GridFS(project.database, GRIDFS_FALLBACK_COLLECTION))
        for workflow in (*(action.get("additions") or ()), *(action.get("detours") or ())):
            for firework in workflow.get("fws", [workflow]):
                added |= _made_by(firework)
    if not added:
        return []
    found = project.database[FIREWORKS].find({"fw_id": {"$in": sorted(candidates)}}, {"fw_id": 1, "spec._tasks": 1})
    return sorted(document["fw_id"] for document in found if _made_by(document) & added)


def _made_by(firework: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Return uuid and index of the jobs of jobflow that a firework's document holds."""
    jobs = (task.get("job") for task in (firework.get("spec") or {}).get("_tasks", []))
    return {(job["uuid"], job["index"]) for job in jobs if isinstance(job, Mapping) and "uuid" in job}


def supersede(launchpad: ProjectLaunchPad, fw_id: int, old: Iterable[int]) -> None:
    """Take jobs out of a job's workflow; safe to repeat."""
    gone = set(old)
    with launchpad.alone_with(fw_id):
        # ARCHIVED first: one that is in no workflow must not look like a failure.
        launchpad.fireworks.update_many({"fw_id": {"$in": sorted(gone)}}, {"$set": {"state": "ARCHIVED"}})
        there = launchpad.workflows.find_one({"nodes": fw_id}, dict.fromkeys(PARTS, 1))
        kept = {
            "nodes": [one for one in there["nodes"] if one not in gone],
            "links": _without(there["links"], gone),
            "parent_links": _without(there["parent_links"], gone),
            "fw_states": {one: state for one, state in there["fw_states"].items() if int(one) not in gone},
        }
        launchpad.workflows.update_one({"_id": there["_id"]}, {"$set": kept})


def _without(links: Mapping[str, list[int]], gone: set[int]) -> dict[str, list[int]]:
    return {one: [o for o in others if o not in gone] for one, others in links.items() if int(one) not in gone}


def reinstate(launchpad: ProjectLaunchPad, fw_id: int, workflow: Mapping[str, Any]) -> None:
    """Put a workflow's jobs back as they were; safe to repeat. The jobs' own states are for the caller."""
    with launchpad.alone_with(fw_id):
        launchpad.workflows.update_one({"nodes": fw_id}, {"$set": {part: workflow[part] for part in PARTS}})
