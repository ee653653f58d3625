"""What a person's command is about to do to many jobs of a campaign: one at a time, noted before it is begun.

On a MongoDB server each write stands alone. So the whole work is first written into the campaign's document, with the
process that does it; each of its steps may be repeated; and the last write takes the note away together with the
change of the campaign and the line of its log. Who finds the note of a process that is gone, the driver or the next
command, does the rest. Two persons at once come one after the other. On the embedded store all is one transaction.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions
from cathodeflow.campaign.event_log import Line, change_and_tell, deliver
from cathodeflow.dispatch.processes import SIGN_OF_LIFE_S, TOKENS_IN_USE, is_abandoned, moment, this_process
from cathodeflow.errors import CampaignError
from cathodeflow.storage.collections import CAMPAIGNS

if TYPE_CHECKING:
    from cathodeflow.records.campaign import CampaignRecord
    from cathodeflow.storage.connection import Project

FIELD = "intent"
PATIENCE_S = 60.0
RESUBMIT = "resubmit"
UNDO = "undo"


class Intent:
    """A command that has a campaign to itself.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    """

    def __init__(self, project: Project, name: str) -> None:
        self.project = project
        self.name = name
        self.token = uuid.uuid4().hex
        self.begun = False
        self.done = False
        self._heard = time.monotonic()

    def _owner(self) -> dict[str, Any]:
        return {**this_process(), "token": self.token, "since": moment(), "left": False}

    def _write(self, held: str | None, fields: Mapping[str, Any]) -> bool:
        """Write fields of the note while it stands under a token; None: while there is none."""
        condition = {"_id": self.name, **({FIELD: None} if held is None else {f"{FIELD}.token": held})}
        return bool(self.project.database[CAMPAIGNS].update_one(condition, {"$set": dict(fields)}).matched_count)

    def take(self) -> dict[str, Any] | None:
        """Take the campaign, or take over from a process that is gone, waiting for one that lives.

        Returns
        -------
        dict or None
            Work that was left half done.

        Raises
        ------
        CampaignError
            There is no such campaign, or another process has it for too long.
        """
        TOKENS_IN_USE.add(self.token)
        deadline = time.monotonic() + PATIENCE_S
        while not self._write(None, {FIELD: self._owner()}):
            note = (self.project.database[CAMPAIGNS].find_one({"_id": self.name}, {FIELD: 1}) or {}).get(FIELD)
            if note is None:
                transitions.read_campaign(self.project, self.name)
            elif _is_left(note) and self._write(
                note["token"], {f"{FIELD}.{key}": value for key, value in self._owner().items()}
            ):
                self.begun = "work" in note
                return note.get("work")
            elif time.monotonic() > deadline:
                raise CampaignError(
                    f"jobs of {self.name} are being resubmitted by process {note['pid']} on {note['host']}: "
                    "try again when it is done"
                )
            else:
                time.sleep(0.1)
        return None

    def note(self, work: Mapping[str, Any]) -> None:
        """Write down what will be done.

        Raises
        ------
        CampaignError
            The campaign was taken by somebody who took this process for dead.
        """
        if not self._write(self.token, {f"{FIELD}.work": dict(work)}):
            raise self._lost()
        self.begun = True

    def beat(self) -> None:
        """Give a sign of life now and then; others, who cannot see this process, wait for it.

        Raises
        ------
        CampaignError
            As `note`.
        """
        if time.monotonic() - self._heard > SIGN_OF_LIFE_S:
            self._heard = time.monotonic()
            if not self._write(self.token, {f"{FIELD}.since": moment()}):
                raise self._lost()

    def finish(self, campaign: CampaignRecord, changes: Mapping[str, Any], lines: Sequence[Line]) -> bool:
        """Take the note away, change the campaign and tell of it, all in one write.

        Parameters
        ----------
        campaign : CampaignRecord
            As it was read; compare-and-set on its version.
        changes : dict
            Further fields of the campaign.
        lines : sequence of Line
            For the log.

        Returns
        -------
        bool
            False, and nothing is written, where the campaign has moved on since it was read: read it again.

        Raises
        ------
        CampaignError
            As `note`.
        """
        condition = {"version": campaign.version, f"{FIELD}.token": self.token}
        self.done = change_and_tell(self.project, self.name, condition, {**changes, FIELD: None}, lines)
        if not self.done and not self.project.count(CAMPAIGNS, {"_id": self.name, f"{FIELD}.token": self.token}):
            raise self._lost()
        return self.done

    def leave(self) -> None:
        """After an error: what is left half done is for the next one; on the embedded store nothing is."""
        from pymongo.errors import PyMongoError

        TOKENS_IN_USE.discard(self.token)
        if self.project.file is None:
            # A server that is away learns nothing; then the end of this process tells.
            with suppress(PyMongoError):
                self._write(self.token, {f"{FIELD}.left": True} if self.begun else {FIELD: None})

    def release(self) -> None:
        """Let go."""
        if not self.done:
            self._write(self.token, {FIELD: None})
        TOKENS_IN_USE.discard(self.token)

    def _lost(self) -> CampaignError:
        return CampaignError(
            f"this process was silent for so long that another one went on with its work on the jobs of {self.name}: "
            f'`cflow query events \'{{"kind": "resubmitted"}}\'` shows what was done'
        )


def _is_left(note: Mapping[str, Any]) -> bool:
    """Whether nobody will finish what a note tells of."""
    return bool(note.get("left")) or is_abandoned(note)


@contextmanager
def alone(project: Project, name: str) -> Iterator[Intent]:
    """Have a campaign's jobs to oneself, after what a killed process has left half done is done.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.

    Raises
    ------
    CampaignError
        There is no such campaign, or a living process has it for too long.
    """
    with project.transaction():
        while True:
            intent = Intent(project, name)
            left = intent.take()
            try:
                deliver(project, name)  # the number of a resubmission, and which is the last, stands in the log
                if left is None:
                    yield intent
                else:
                    _do(project, name, left, intent)
            except BaseException:
                intent.leave()
                raise
            intent.release()
            if left is None:
                return


def _do(project: Project, name: str, work: Mapping[str, Any], intent: Intent) -> None:
    from cathodeflow.campaign.resubmit import carry_out
    from cathodeflow.campaign.undo import carry_back

    (carry_out if work["what"] == RESUBMIT else carry_back)(project, name, work, intent)


def complete_abandoned(project: Project, campaign: CampaignRecord) -> bool:
    """Do what a killed command has left half done; nothing where it lives.

    Parameters
    ----------
    project : Project
        The open project.
    campaign : CampaignRecord
        As it was read.

    Returns
    -------
    bool
        Whether there was something.
    """
    if campaign.intent is None or not _is_left(campaign.intent):
        return False
    with alone(project, campaign.id):
        return True
