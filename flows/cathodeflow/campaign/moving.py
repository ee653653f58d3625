"""Moving a project that is at work to another store: its campaigns rest meanwhile and go on there.

Resting is being stopped: a driver then ends by itself and its workers start no further job, wherever they run. What
the campaign was stands in its own document, so a move that was killed is repeated, or given up with `cflow resume`.
In the store that is left the campaigns stay stopped: a worker that still knows it finds nothing to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions
from cathodeflow.campaign.event_log import Line, change_and_tell
from cathodeflow.errors import CathodeflowError, StoreError
from cathodeflow.records.campaign import BeforeMove, CampaignRecord
from cathodeflow.records.outcomes import CampaignState
from cathodeflow.storage.collections import IndexSpec, ensure_indexes
from cathodeflow.storage.migrate import CopiedCollection, busy_with, migrate, place_of, refuse_if_busy
from cathodeflow.storage.project_file import store_of

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

AT_WORK = frozenset({CampaignState.RUNNING, CampaignState.PAUSED})
LOOK_S = 1.0
MOVED = "moved"


def move_project(
    source: Project,
    target: Project,
    indexes: Sequence[IndexSpec],
    *,
    wait: bool = False,
    on_wait: Callable[[str], None] | None = None,
    on_progress: Callable[[str, int], None] | None = None,
) -> list[CopiedCollection]:
    """Stop a project's campaigns, copy everything, and let them go on in the other store.

    Parameters
    ----------
    source, target : Project
        The same folder, with the store it has and the store it shall have.
    indexes : sequence of IndexSpec
        To be made in the target before anybody works there.
    wait : bool
        Wait for drivers and running jobs to end; refused otherwise.
    on_wait : callable, optional
        Told what is waited for, each time that it changes.
    on_progress : callable, optional
        Told a collection's name and how many of its documents are compared.

    Returns
    -------
    list of CopiedCollection
        By name.

    Raises
    ------
    StoreError
        Somebody works on the project; the target holds another project; the copy does not come to agree. The project
        stays where it is, and its campaigns go on.
    """
    from pymongo.errors import PyMongoError

    set_right(source)
    if not wait:
        refuse_if_busy(source)
    try:
        rest(source, f"stopped to be moved to {place_of(target)}")
        if wait:
            _let_work_end(source, on_wait)

        def settle() -> None:
            ensure_indexes(target, tuple(indexes))
            go_on(target, f"moved here from {place_of(source)}")

        return migrate(source, target, on_progress, settle)
    except (CathodeflowError, PyMongoError, KeyboardInterrupt):
        with suppress(PyMongoError):  # the source's own server is away: a repeat, or `cflow resume`, lets them go on
            if _is_home(source):
                go_on(source, f"stays in {place_of(source)}")
        raise


def set_right(project: Project) -> None:
    """Complete what killed processes have left half done."""
    from cathodeflow.dispatch.reconcile import reconcile
    from cathodeflow.dispatch.repair import repair

    if project.count("fireworks"):
        reconcile(project)
        repair(project, thorough=True)


def rest(project: Project, message: str) -> None:
    """Stop all campaigns at work, remembering what they were."""
    for name in project.campaign_names():
        _change(project, name, lambda campaign: _at_rest(campaign, message))


def go_on(project: Project, message: str) -> None:
    """Let the campaigns that rest be what they were."""
    for name in project.campaign_names():
        _change(project, name, lambda campaign: _awake(campaign, message))


Change = tuple[dict[str, Any], Line]


def _at_rest(campaign: CampaignRecord, message: str) -> Change | None:
    if campaign.state not in AT_WORK:
        return None
    before = BeforeMove(state=campaign.state, message=campaign.message)
    changes = {"state": CampaignState.STOPPED.value, "message": message, "before_move": before.model_dump(mode="json")}
    return changes, Line(MOVED, message)


def _awake(campaign: CampaignRecord, message: str) -> Change | None:
    before = campaign.before_move
    if before is None:
        return None
    changes: dict[str, Any] = {"before_move": None}
    if campaign.state == CampaignState.STOPPED:  # else a person has resumed it since
        changes |= {"state": before.state.value, "message": before.message}
    return changes, Line(MOVED, message)


def _change(project: Project, name: str, decide: Callable[[CampaignRecord], Change | None]) -> None:
    """Change a campaign by compare-and-set, again and again while others change it, too."""
    with project.transaction():
        while (change := decide(campaign := transitions.read_campaign(project, name))) is not None:
            changes, line = change
            if change_and_tell(project, name, {"version": campaign.version}, changes, [line]):
                return


def _let_work_end(project: Project, on_wait: Callable[[str], None] | None) -> None:
    told: str | None = None
    while (busy := busy_with(project)) is not None:
        if on_wait is not None and busy != told:
            on_wait(busy)
        told = busy
        time.sleep(LOOK_S)
        set_right(project)


def _is_home(project: Project) -> bool:
    """Whether the project's folder still names this store."""
    try:
        address = store_of(project.folder, moving=True)
    except StoreError:
        return False
    return (None if address is None else address.uri) == project.uri
