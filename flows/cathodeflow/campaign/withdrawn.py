"""What a resubmission sets aside: written into the collection of withdrawn documents first, so that none is ever lost.

With the attempts that taking it back makes untrue, these are the only documents ever taken out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign.transitions import record_once
from cathodeflow.records.campaign import WithdrawnRecord
from cathodeflow.records.candidate import candidate_id
from cathodeflow.records.outcomes import Branch, Outcome, Reason
from cathodeflow.storage.collections import ATTEMPTS, FOLLOW_UPS, LABELS, VALIDATIONS, WITHDRAWN

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project


def withdraw_labels(project: Project, name: str, keys: Sequence[str], number: int) -> int:
    """Set aside quarantined labels that are run again, and the validations that were written without them.

    `restore_withdrawn` puts them back.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    keys : sequence of str
        Candidates whose quarantined labels go; usable labels stay whatever is asked.
    number : int
        Of the resubmission.

    Returns
    -------
    int
        How many labels were set aside.
    """
    ids = [f"{name}/{key}" for key in keys]
    with project.transaction():
        quarantined = {"_id": {"$in": ids}, "outcome": Outcome.QUARANTINED.value}
        # The labels last: as long as they stand, a repeat after a kill does all of it.
        for validation in list(project.database[VALIDATIONS].find({"campaign": name}, {"labels": 1, "pristine": 1})):
            if set(validation["labels"].values()) & set(keys):
                # All are held against the pristine host's voltages.
                which = {"campaign": name} if validation["pristine"] else {"_id": validation["_id"]}
                _set_aside(project, name, number, VALIDATIONS, which)
        return _set_aside(project, name, number, LABELS, quarantined)


def withdraw_follow_ups(project: Project, name: str, keys: Sequence[str], number: int) -> int:
    """Set aside quarantined branches that are run again, and those that built on a static run among them.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    keys : sequence of str
        ``<candidate key>/<branch>``; usable ones stay whatever is asked.
    number : int
        Of the resubmission.

    Returns
    -------
    int
        How many were set aside.
    """
    static = f"/{Branch.STATIC.value}"
    candidates = [key.removesuffix(static) for key in keys if key.endswith(static)]
    built_on = {"key": {"$in": candidates}, "reason": Reason.PREREQUISITE_FAILED.value}
    asked = {"_id": {"$in": [f"{name}/{key}" for key in keys]}}
    quarantined = {"campaign": name, "outcome": Outcome.QUARANTINED.value}
    with project.transaction():
        return sum(
            _set_aside(project, name, number, FOLLOW_UPS, {**quarantined, **which}) for which in (asked, built_on)
        )


def withdraw_static_runs(project: Project, name: str, keys: Sequence[str], number: int) -> int:
    """Set aside static runs that were done and are run again, and the branches that lack them or could not read them.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    keys : sequence of str
        ``<candidate key>/static``.
    number : int
        Of the resubmission.

    Returns
    -------
    int
        How many were set aside.
    """
    candidates = [key.removesuffix(f"/{Branch.STATIC.value}") for key in keys]
    of_them = {"campaign": name, "key": {"$in": candidates}}
    reasons = [Reason.PREREQUISITE_FAILED.value, Reason.BROKEN_OUTPUT.value]
    with project.transaction():
        # The static runs last: as long as they stand, a repeat after a kill does all of it.
        return sum(
            _set_aside(project, name, number, FOLLOW_UPS, {**of_them, **which})
            for which in (
                {"outcome": Outcome.QUARANTINED.value, "reason": {"$in": reasons}},
                {"branch": Branch.STATIC.value},
            )
        )


def keep_branches(project: Project, name: str, static_runs: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    """Let branches whose records stand keep their results while the static runs that they have read run again.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    static_runs : sequence of sequence of dict
        What their jobs were, as `dispatch.rerun.as_they_are` gives it.
    """
    from cathodeflow.dispatch.kept_results import keep_results
    from cathodeflow.dispatch.rerun import specs_of

    below = {entry["fw_id"]: entry for entries in static_runs for entry in entries[1:]}
    specs = specs_of(project, list(below), ("_key",))
    keys = {fw_id: candidate_id(name, spec["_key"]) for fw_id, spec in specs.items()}
    found = project.database[FOLLOW_UPS].find({"_id": {"$in": list(keys.values())}}, {"_id": 1})
    standing = {document["_id"] for document in found}
    keep_results(project, [below[fw_id] for fw_id, key in keys.items() if key in standing])


def _set_aside(project: Project, name: str, number: int, collection: str, which: dict[str, Any]) -> int:
    """Move documents into the collection of withdrawn ones: written there first, so that none is ever lost."""
    found = list(project.database[collection].find(which))
    for document in found:
        record = WithdrawnRecord(
            id=f"{name}/{number}/{collection}/{document['_id']}",
            campaign=name,
            resubmission=number,
            collection=collection,
            document=document,
        )
        record_once(project, WITHDRAWN, record)
    project.database[collection].delete_many({"_id": {"$in": [document["_id"] for document in found]}})
    return len(found)


def set_jobs_aside(project: Project, name: str, number: int, jobs: Sequence[Any]) -> None:
    """Keep what jobs were before a resubmission, as `dispatch.rerun.as_they_are` gives it, once."""
    identity = f"{name}/{number}"
    record = WithdrawnRecord(
        id=_jobs_id(name, number),
        campaign=name,
        resubmission=number,
        collection="fireworks",
        document={"_id": identity, "jobs": list(jobs)},
    )
    record_once(project, WITHDRAWN, record)


def _jobs_id(name: str, number: int) -> str:
    return f"{name}/{number}/fireworks/{name}/{number}"


def are_jobs_set_aside(project: Project, name: str, number: int) -> bool:
    """Whether `set_jobs_aside` was called for a resubmission."""
    return project.count(WITHDRAWN, {"_id": _jobs_id(name, number)}) > 0


def jobs_set_aside(project: Project, name: str, number: int) -> list[Any]:
    """Return what `set_jobs_aside` kept; empty where there is none."""
    found = project.get(WITHDRAWN, _jobs_id(name, number))
    return [] if found is None else list(found["document"]["jobs"])


def restore_withdrawn(project: Project, name: str, number: int, ids: Sequence[str] | None) -> int:
    """Put back what a resubmission had set aside, unless its successor is written already.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    number : int
        Of the resubmission.
    ids : sequence of str or None
        `_id` of the labels and branches; None for everything, what was built on them included.

    Returns
    -------
    int
        How many are back.
    """
    back = 0
    condition = {"campaign": name, "resubmission": number, "collection": {"$in": [LABELS, VALIDATIONS, FOLLOW_UPS]}}
    with project.transaction():
        for entry in project.database[WITHDRAWN].find(condition):
            document, collection = entry["document"], entry["collection"]
            if ids is None or document["_id"] in ids:
                back += project.insert_missing(collection, [document])
    return back


def withdraw_attempts(project: Project, name: str, ids: Sequence[str], number: int) -> int:
    """Set aside the attempts that a resubmission had written down, after it was taken back: the driver follows them.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    ids : sequence of str
        `_id` of the attempts.
    number : int
        Of the resubmission.

    Returns
    -------
    int
        How many were set aside.
    """
    with project.transaction():
        return _set_aside(project, name, number, ATTEMPTS, {"_id": {"$in": list(ids)}})
