"""Moving a project that is at work to another store: its campaigns rest meanwhile and go on there.

Resting is being stopped: a driver then ends by itself and its workers start no further job, wherever they run. What
the campaign was stands in its own document, so a move that was killed is repeated, or given up with `cflow resume`.
In the store that is left the campaigns stay stopped: a worker that still knows it finds nothing to do, and what has it
open is refused when it writes (`storage.project_file.Home`). One person moves a project at a time: a mark in the store
that it has names the process.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

from cathodeflow.campaign import transitions
from cathodeflow.campaign.event_log import Line, change_and_tell
from cathodeflow.dispatch.processes import SIGN_OF_LIFE_S, TOKENS_IN_USE, is_abandoned, moment, this_process
from cathodeflow.errors import StoreError
from cathodeflow.records.campaign import BeforeMove, CampaignRecord
from cathodeflow.records.outcomes import CampaignState
from cathodeflow.storage.collections import MARKER, IndexSpec, ensure_indexes
from cathodeflow.storage.identity import settle_identity
from cathodeflow.storage.migrate import CopiedCollection, busy_with, migrate, place_of, refuse_if_busy
from cathodeflow.storage.project_file import store_of, write_project_file

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

AT_WORK = frozenset({CampaignState.RUNNING, CampaignState.PAUSED})
LOOK_S = 1.0
MOVED = "moved"
MOVER = "mover"


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
        By name; empty where the target is the very same database by another address, which the folder then names.

    Raises
    ------
    StoreError
        Somebody works on the project, or moves it; the target holds another project; the copy does not come to agree.
        The project stays where it is, and its campaigns go on.
    """
    with _alone(source) as mover:
        set_right(source)
        if not wait:
            refuse_if_busy(source)
        moved = False
        try:
            words = f"stopped to be moved to {place_of(target)}"
            rest(source, words)
            if wait:
                _let_work_end(source, on_wait, mover)
            copied = _move(source, target, tuple(indexes), mover, words, on_progress)
            moved = True
            return copied
        finally:
            if not moved:
                _stay(source)


def _move(
    source: Project,
    target: Project,
    indexes: tuple[IndexSpec, ...],
    mover: _Mover,
    words: str,
    on_progress: Callable[[str, int], None] | None,
) -> list[CopiedCollection]:
    if mover.stands_in(target):  # the very same database
        refuse_if_busy(source)
        name = settle_identity(source)
        go_on(source, f"{place_of(source)} is called {place_of(target)} from here on")
        mover.release()
        write_project_file(target.folder, target.address, name)
        return []

    def settle() -> None:
        ensure_indexes(target, indexes)
        go_on(target, f"moved here from {place_of(source)}")
        mover.release()

    def before_round() -> None:
        mover.beat()
        rest(source, words)  # a campaign that was launched, or resumed, meanwhile

    def progress(name: str, count: int) -> None:
        mover.beat()
        if on_progress is not None:
            on_progress(name, count)

    return migrate(source, target, progress, settle, before_round)


def _stay(source: Project) -> None:
    """Let the campaigns go on where they are, unless the folder names another store."""
    with suppress(PyMongoError):  # the source's own server is away: a repeat, or `cflow resume`, lets them go on
        if _is_home(source):
            go_on(source, f"stays in {place_of(source)}")


class _Mover:
    """The mark of the process that moves a project, in the store that the project has.

    Parameters
    ----------
    source : Project
        With that store.
    """

    def __init__(self, source: Project) -> None:
        self.source = source
        self.token = uuid.uuid4().hex
        self._heard = time.monotonic()

    def take(self) -> None:
        """Leave the mark.

        Raises
        ------
        StoreError
            Another process moves the project.
        """
        mark = {"_id": MOVER, **this_process(), "token": self.token, "since": moment()}
        TOKENS_IN_USE.add(self.token)
        with self.source.transaction():
            found = self.source.get(MARKER, MOVER)
            if found is None:
                taken = self.source.insert_missing(MARKER, [mark]) == 1
            else:
                free = is_abandoned(found)
                there = {"_id": MOVER, "token": found["token"]}
                taken = free and self.source.database[MARKER].replace_one(there, mark).matched_count == 1
        if not taken:
            TOKENS_IN_USE.discard(self.token)
            other = found or self.source.get(MARKER, MOVER) or {}
            raise StoreError(
                f"Process {other.get('pid')} on {other.get('host')} moves {self.source.folder} already: wait for it, "
                "and see with `cflow store info` where the documents are then."
            )

    def beat(self) -> None:
        """Give a sign of life now and then: others, who cannot see this process, take it for dead when it is silent.

        Raises
        ------
        StoreError
            They did, and one of them moves the project.
        """
        if time.monotonic() - self._heard < SIGN_OF_LIFE_S:
            return
        self._heard = time.monotonic()
        mine = {"_id": MOVER, "token": self.token}
        if not self.source.database[MARKER].update_one(mine, {"$set": {"since": moment()}}).matched_count:
            raise StoreError(
                f"This process was silent for so long that another one moves {self.source.folder}: see with `cflow "
                "store info` where the documents are."
            )

    def stands_in(self, target: Project) -> bool:
        """Whether the mark is seen in a target: its address is another name of the store that the project has."""
        if place_of(target) == place_of(self.source):
            return False
        found = target.get(MARKER, MOVER)
        return found is not None and found["token"] == self.token

    def release(self) -> None:
        """Take the mark away."""
        self.source.database[MARKER].delete_one({"_id": MOVER, "token": self.token})
        TOKENS_IN_USE.discard(self.token)


@contextmanager
def _alone(source: Project) -> Iterator[_Mover]:
    """Be the only one to move a project.

    Raises
    ------
    StoreError
        Another process moves it.
    """
    mover = _Mover(source)
    mover.take()
    try:
        yield mover
    finally:
        # A server that is away, a store that was left: the end of this process tells.
        with suppress(PyMongoError, StoreError):
            mover.release()


def set_right(project: Project) -> None:
    """Complete what killed processes have left half done."""
    from cathodeflow.campaign.intent import complete_abandoned
    from cathodeflow.dispatch.reconcile import reconcile
    from cathodeflow.dispatch.repair import repair

    for name in project.campaign_names():
        complete_abandoned(project, transitions.read_campaign(project, name))
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


def _let_work_end(project: Project, on_wait: Callable[[str], None] | None, mover: _Mover) -> None:
    told: str | None = None
    while (busy := busy_with(project)) is not None:
        if on_wait is not None and busy != told:
            on_wait(busy)
        told = busy
        time.sleep(LOOK_S)
        mover.beat()
        set_right(project)


def _is_home(project: Project) -> bool:
    """Whether the project's folder still names this store."""
    try:
        address = store_of(project.folder, moving=True)
    except StoreError:
        return False
    return (None if address is None else address.uri) == project.uri
