"""Jobs that keep their results while what they build on runs again.

FireWorks runs all of them again. One that is given its launches back waits for what it builds on and is then COMPLETED
without being run, for FireWorks takes a job's state from its launches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project


def keep_results(project: Project, before: Iterable[Mapping[str, Any]]) -> None:
    """Give jobs their launches back, those that wait for what runs again. Safe to repeat.

    Parameters
    ----------
    project : Project
        The open project.
    before : iterable of dict
        What they were before what they build on was run again, as `dispatch.rerun.as_they_are` gives them.

    Raises
    ------
    StoreError
        The store cannot be written.
    """
    from cathodeflow.dispatch.launchpad import project_launchpad

    launchpad = project_launchpad(project)
    for was in before:
        with launchpad.alone_with(was["fw_id"]):
            # One that does not wait any more is computed again, which costs time and nothing else.
            waits = {"fw_id": was["fw_id"], "state": "WAITING", "launches": []}
            fields = {"launches": was["launches"], "archived_launches": was["archived"]}
            launchpad.fireworks.update_one(waits, {"$set": fields})
