"""Running jobs again; for a person so that it can be repeated after a kill and taken back.

What a job and those that build on it were is kept before it is run again: a repeat leaves alone what has been run
again already, and taking back restores exactly that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cathodeflow.dispatch.generations import PARTS, added_by, reinstate, supersede
from cathodeflow.dispatch.jobs import FIREWORKS, WORKFLOWS
from cathodeflow.dispatch.launchpad import CONTINUE_FROM, MEMORY_FACTOR, TIME_FACTOR, factor_of, project_launchpad
from cathodeflow.dispatch.loadable import load

if TYPE_CHECKING:
    from cathodeflow.dispatch.launchpad import ProjectLaunchPad
    from cathodeflow.storage.connection import Project

ASKED = {MEMORY_FACTOR: "_memory_asked", TIME_FACTOR: "_time_asked"}
"""Keys of a spec: the factors that a job had when a person last asked for it; the policy multiplies them."""
SPEC_KEYS = (*ASKED, *ASKED.values(), CONTINUE_FROM)
"""What running a job again may change of its spec."""
_BATCH = 500
_ENDED = ("FIZZLED", "COMPLETED")


def causes(project: Project, fw_ids: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Find which jobs have to run so that given ones end otherwise.

    Parameters
    ----------
    project : Project
        The open project.
    fw_ids : sequence of int
        FIZZLED or COMPLETED ones.

    Returns
    -------
    dict of int to tuple of int
        The FIZZLED ones among those that a job builds on, when these build on no other that is; else the job itself.
        A job that others were added to while it ran, or that was replaced by others, is not among them when those
        failed and it did not: what it has made stays.
    """
    found: dict[int, tuple[int, ...]] = {}
    for workflow in _workflows(project, fw_ids):
        parents, first = _parents(workflow["links"]), first_failed(workflow)
        for fw_id in set(workflow["nodes"]) & set(fw_ids):
            above = _reached(parents, fw_id)
            found[fw_id] = tuple(one for one in first if one in above) or (fw_id,)
    return {fw_id: found.get(fw_id, (fw_id,)) for fw_id in fw_ids}


def first_failed(workflow: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the FIZZLED jobs of a workflow's document that build on no other that is."""
    failed = {int(one) for one, state in workflow["fw_states"].items() if state == "FIZZLED"}
    parents = _parents(workflow["links"])
    return tuple(sorted(one for one in failed if not _reached(parents, one) & failed))


def specs_of(project: Project, fw_ids: Sequence[int], keys: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Return some keys of the specs of jobs, those they have."""
    fields = {"fw_id": 1, **{f"spec.{key}": 1 for key in keys}}
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(fw_ids), _BATCH):
        batch = {"fw_id": {"$in": list(fw_ids[start : start + _BATCH])}}
        found |= {d["fw_id"]: d.get("spec") or {} for d in project.database[FIREWORKS].find(batch, fields)}
    return found


def asked_factor(project: Project, fw_id: int, factor: str) -> float:
    """Return what a person's last request gave a job of `MEMORY_FACTOR` or `TIME_FACTOR`; 1 where nobody asked."""
    spec = specs_of(project, [fw_id], (ASKED[factor],)).get(fw_id) or {}
    return factor_of(spec, ASKED[factor])


def as_they_are(project: Project, fw_ids: Sequence[int], spec_keys: Sequence[str]) -> dict[int, list[dict[str, Any]]]:
    """Keep what jobs, and those that build on them, are.

    Parameters
    ----------
    project : Project
        The open project.
    fw_ids : sequence of int
        Jobs that are to run again.
    spec_keys : sequence of str
        Keys of their specs that will change.

    Returns
    -------
    dict of int to list of dict
        For each job, itself first: ``fw_id``, ``state``, ``launches``, ``archived``, and of itself ``spec``; where it,
        or one that builds on it, has added jobs when it ran, also these as ``superseded`` and the parts of their
        ``workflow``.
    """
    below = dict.fromkeys(fw_ids, frozenset[int]())
    superseded: dict[int, dict[str, Any]] = {}
    for workflow in _workflows(project, fw_ids):
        if len(workflow["nodes"]) == 1:
            continue
        links = {int(one): children for one, children in workflow["links"].items()}
        for fw_id in set(workflow["nodes"]) & set(fw_ids):
            below[fw_id] = _reached(links, fw_id)
            old = added_by(project, {fw_id, *below[fw_id]}, below[fw_id]) if spec_keys and below[fw_id] else []
            if old:
                superseded[fw_id] = {"superseded": old, "workflow": {part: workflow[part] for part in PARTS}}
    wanted = sorted({*fw_ids, *(one for reached in below.values() for one in reached)})
    fields = {"fw_id": 1, "state": 1, "launches": 1, "archived_launches": 1, **{f"spec.{key}": 1 for key in spec_keys}}
    documents: dict[int, dict[str, Any]] = {}
    for start in range(0, len(wanted), _BATCH):
        batch = {"fw_id": {"$in": wanted[start : start + _BATCH]}}
        documents |= {d["fw_id"]: d for d in project.database[FIREWORKS].find(batch, fields)}
    kept = {}
    for fw_id in fw_ids:
        entries = [_entry(documents[one]) for one in (fw_id, *sorted(below[fw_id])) if one in documents]
        if fw_id in documents:
            spec = documents[fw_id].get("spec") or {}
            entries[0] |= {"spec": {key: spec.get(key) for key in spec_keys}, **superseded.get(fw_id, {})}
        kept[fw_id] = entries
    return kept


def _entry(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "fw_id": document["fw_id"],
        "state": document["state"],
        "launches": list(document.get("launches", [])),
        "archived": list(document.get("archived_launches", [])),
    }


def rerun(project: Project, fw_ids: Iterable[int], changes: Mapping[str, Any] | None = None) -> list[int]:
    """Make jobs READY again, in one transaction; their past launches are kept.

    A job that waits for one that failed is run again by running that one. Archived, defused and running jobs are
    left alone.

    Parameters
    ----------
    project : Project
        An open project.
    fw_ids : iterable of int
        Which.
    changes : mapping of str to object, optional
        Keys of their specs to set before, such as `CONTINUE_FROM`.

    Returns
    -------
    list of int
        Those that run again.

    Raises
    ------
    StoreError
        The store cannot be written; nothing was changed.
    """
    launchpad = project_launchpad(project)
    again: list[int] = []
    with launchpad.transaction():
        for fw_id in fw_ids:
            with launchpad.alone_with(fw_id):
                for failed in _failed_in_workflow(launchpad, fw_id):
                    if failed not in again:
                        _change_spec(launchpad, failed, changes or {})
                        again.extend(launchpad.rerun_fw(failed, rerun_duplicates=False))
    return again


def _change_spec(launchpad: ProjectLaunchPad, fw_id: int, changes: Mapping[str, Any]) -> None:
    """Set keys of a job's spec; FireWorks' `update_spec` would not where a job has COMPLETED, and say nothing."""
    idle = {"fw_id": fw_id, "state": {"$nin": ["RESERVED", "RUNNING"]}}
    if changes:
        launchpad.fireworks.update_one(idle, {"$set": {f"spec.{key}": value for key, value in changes.items()}})


def _failed_in_workflow(launchpad: ProjectLaunchPad, fw_id: int) -> list[int]:
    """Return the job itself, or the failed ones of its workflow when it has only been waiting."""
    found = launchpad.fireworks.find_one({"fw_id": fw_id}, {"state": 1})
    if found is None or found["state"] in {"ARCHIVED", "DEFUSED", "RUNNING", "RESERVED", "READY"}:
        return []
    if found["state"] != "WAITING":
        return [fw_id]
    nodes = (launchpad.workflows.find_one({"nodes": fw_id}, {"nodes": 1}) or {}).get("nodes", [])
    failed = launchpad.fireworks.find({"fw_id": {"$in": nodes}, "state": "FIZZLED"}, {"fw_id": 1})
    return sorted(d["fw_id"] for d in failed)


def run_again(project: Project, before: Sequence[Mapping[str, Any]], changes: Mapping[str, Any]) -> bool:
    """Make a job READY again unless that has been done since it was looked at. Safe to repeat.

    Parameters
    ----------
    project : Project
        The open project.
    before : sequence of dict
        As `as_they_are` gives them for the job.
    changes : dict
        Keys of its spec to set.

    Returns
    -------
    bool
        Whether it is run again by this call.

    Raises
    ------
    MissingDependencyError
        FireWorks loads a job to run it again, and its module cannot be imported here; nothing was changed.
    StoreError
        The store cannot be written.
    """
    was = before[0]
    launchpad = project_launchpad(project)
    unchanged = {"fw_id": was["fw_id"], "state": {"$in": list(_ENDED)}, "launches": was["launches"]}
    if launchpad.fireworks.find_one(unchanged, {"_id": 1}) is None:
        return False
    load(launchpad, was["fw_id"])
    if "superseded" in was:
        supersede(launchpad, was["fw_id"], was["superseded"])
    return bool(rerun(project, [was["fw_id"]], changes))


def take_back(project: Project, before: Sequence[Sequence[Mapping[str, Any]]]) -> list[bool]:
    """Undo `run_again` of jobs that have not started since. Safe to repeat.

    Parameters
    ----------
    project : Project
        The open project.
    before : sequence of sequence of dict
        For each job, as `as_they_are` gave them.

    Returns
    -------
    list of bool
        For each, whether it is what it was; False for one that has started or ended meanwhile.

    Raises
    ------
    StoreError
        The store cannot be written.
    """
    launchpad = project_launchpad(project)
    back = [bool(entries) and _restore(launchpad, entries[0]) for entries in before]
    # What builds on a job that goes on waits for it.
    going_on = {entry["fw_id"] for entries, done in zip(before, back, strict=True) if not done for entry in entries}
    for entries, done in zip(before, back, strict=True):
        if not done:
            continue
        restored = [entry for entry in entries if entry["fw_id"] not in going_on]
        if "superseded" in entries[0]:
            reinstate(launchpad, entries[0]["fw_id"], entries[0]["workflow"])
        for entry in restored[1:]:
            _restore(launchpad, entry)
        for entry in restored:  # the workflow's own list of states
            launchpad._refresh_wf(entry["fw_id"])  # noqa: SLF001  FireWorks has no public name for it
    return back


def not_started(project: Project, before: Sequence[Sequence[Mapping[str, Any]]]) -> list[bool]:
    """Return for each job whether `take_back` would make it what it was; changes nothing."""
    now = as_they_are(project, [entries[0]["fw_id"] for entries in before if entries], ())
    return [bool(entries) and _how(now[entries[0]["fw_id"]][:1], entries[0]) is not None for entries in before]


def _how(now: Sequence[Mapping[str, Any]], was: Mapping[str, Any]) -> str | None:
    """Say whether a job is what it was (``same``) or only waits to run again (``waits``); None: it has started."""
    if not now:
        return None
    parts = ("state", "launches", "archived")
    if all(now[0][part] == was[part] for part in parts):
        return "same"
    if now[0]["state"] == "ARCHIVED" and now[0]["launches"] == was["launches"]:
        return "waits"  # superseded by a job that has not run yet
    waits = now[0]["state"] in {"READY", "WAITING", "PAUSED"} and not now[0]["launches"]
    return "waits" if waits and sorted(now[0]["archived"]) == sorted([*was["archived"], *was["launches"]]) else None


def _restore(launchpad: ProjectLaunchPad, was: Mapping[str, Any]) -> bool:
    """Make one job what it was, alone with its workflow; returns whether it is."""
    with launchpad.alone_with(was["fw_id"]):
        now = as_they_are(launchpad.project, [was["fw_id"]], ())[was["fw_id"]][:1]
        how = _how(now, was)
        if how != "waits":
            return how == "same"
        fields = {"state": was["state"], "launches": was["launches"], "archived_launches": was["archived"]}
        fields |= {f"spec.{key}": value for key, value in (was.get("spec") or {}).items()}
        # By the state it was seen in: a worker claims a READY job without the lock of its workflow.
        seen = {"fw_id": was["fw_id"], "state": now[0]["state"]}
        return bool(launchpad.fireworks.update_one(seen, {"$set": fields}).modified_count)


def _workflows(project: Project, fw_ids: Sequence[int]) -> Iterable[dict[str, Any]]:
    fields = dict.fromkeys(PARTS, 1)
    for start in range(0, len(fw_ids), _BATCH):
        yield from project.database[WORKFLOWS].find({"nodes": {"$in": list(fw_ids[start : start + _BATCH])}}, fields)


def _parents(links: Mapping[str, Iterable[int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for one, children in links.items():
        for child in children:
            found.setdefault(child, []).append(int(one))
    return found


def _reached(links: Mapping[int, Iterable[int]], start: int) -> frozenset[int]:
    """Return all that is reached from a job along links, without itself."""
    reached: set[int] = set()
    ahead = list(links.get(start, ()))
    while ahead:
        one = ahead.pop()
        if one not in reached:
            reached.add(one)
            ahead.extend(links.get(one, ()))
    return frozenset(reached)
