"""What became of Slurm jobs: squeue first, which is up to date, then sacct, which remembers.

Not knowing is not being dead: while the controller does not answer, every job counts as alive.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cathodeflow.dispatch.slurm.answers import (
    SACCT_FIELDS,
    SQUEUE_FORMAT,
    SlurmJob,
    by_job,
    parse_sacct,
    parse_squeue,
)
from cathodeflow.dispatch.slurm.commands import call
from cathodeflow.errors import MissingDependencyError, SchedulerError

ACCOUNTING_LAG_S = 60.0
"""A job that neither squeue nor sacct knows has vanished once it is so old: accounts are written with a delay."""

_AT_ONCE = 400  # job ids on one command line
_NO_SUCH_JOB = "Invalid job id"


class Standing(StrEnum):
    """Where a Slurm job stands."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    GONE = "gone"  # nobody knows it, though all could be asked
    UNKNOWN = "unknown"  # could not be asked


@dataclass(frozen=True)
class Finding:
    """What is known of one Slurm job.

    Attributes
    ----------
    standing : Standing
        Where it stands.
    job : SlurmJob or None
        What Slurm says of it; None where it says nothing.
    """

    standing: Standing
    job: SlurmJob | None = None


@dataclass
class SlurmTruth:
    """Asks Slurm, each program once for all jobs; squeue's answer is kept, so one of these lasts for one look around.

    Attributes
    ----------
    complaints : list of str
        Why something could not be asked, for the log.
    """

    complaints: list[str] = field(default_factory=list)
    _queue: dict[str, SlurmJob] | None = None

    def look(self, job_ids: Collection[str], seen: Mapping[str, float] | None = None) -> dict[str, Finding]:
        """Find out where jobs stand.

        Parameters
        ----------
        job_ids : collection of str
            `123` or `123_4`.
        seen : mapping of str to float, optional
            When they were seen alive, seconds since 1970; less than `ACCOUNTING_LAG_S` ago, a job that nobody knows is
            UNKNOWN and not GONE.

        Returns
        -------
        dict of str to Finding
            One for each id.
        """
        wanted = sorted(set(job_ids))
        if not wanted:
            return {}
        queue = self._ask_queue()
        if queue is None:
            return dict.fromkeys(wanted, Finding(Standing.UNKNOWN))
        found = {job_id: _finding(queue[job_id]) for job_id in wanted if job_id in queue}
        missing = [job_id for job_id in wanted if job_id not in found or _could_say_more(found[job_id])]
        accounts = self._ask_accounts(missing) or {}
        found |= {
            job_id: _finding(accounts[job_id]) for job_id in missing if job_id in accounts and accounts[job_id].ended
        }
        others = self._ask_others([job_id for job_id in missing if job_id not in found])
        for job_id in missing:
            known = accounts.get(job_id)
            if job_id in found:
                continue
            if others is None:
                found[job_id] = Finding(Standing.UNKNOWN, known)
            elif job_id in others:
                found[job_id] = _finding(others[job_id])
            else:
                # What sacct still calls RUNNING after squeue has let go of it ended by a crash of the controller.
                found[job_id] = Finding(Standing.GONE if _is_old((seen or {}).get(job_id)) else Standing.UNKNOWN, known)
        return found

    def queue(self) -> list[SlurmJob] | None:
        """Return this user's jobs that squeue shows, ended ones of the last minutes included; None if it fails."""
        queue = self._ask_queue()
        return None if queue is None else list(queue.values())

    def by_name(self, names: Sequence[str]) -> dict[str, SlurmJob] | None:
        """Return what sacct remembers of jobs of these names, by job id; None if it cannot be asked."""
        found: dict[str, SlurmJob] = {}
        for start in range(0, len(names), _AT_ONCE):
            text = self._sacct(["--name", ",".join(names[start : start + _AT_ONCE])])
            if text is None:
                return None
            found |= parse_sacct(text)
        return found

    def _ask_queue(self) -> dict[str, SlurmJob] | None:
        if self._queue is None:
            try:
                answer = call(["squeue", "--me", "-h", "-r", "-t", "all", "-o", SQUEUE_FORMAT])
            except (SchedulerError, MissingDependencyError) as error:
                self.complaints.append(str(error))
                return None
            self._queue = by_job(parse_squeue(answer))
        return self._queue

    def _ask_others(self, job_ids: Sequence[str]) -> dict[str, SlurmJob] | None:
        """Return what squeue shows of jobs whoever submitted them: a colleague may drive the same project."""
        found: dict[str, SlurmJob] = {}
        for start in range(0, len(job_ids), _AT_ONCE):
            asked = ",".join(job_ids[start : start + _AT_ONCE])
            try:
                answer = call(["squeue", "-h", "-r", "-t", "all", "-j", asked, "-o", SQUEUE_FORMAT])
            except (SchedulerError, MissingDependencyError) as error:
                if _NO_SUCH_JOB in str(error):  # one alone that it has forgotten; of several it leaves such out
                    continue
                self.complaints.append(str(error))
                return None
            found |= by_job(parse_squeue(answer))
        return found

    def _ask_accounts(self, job_ids: Sequence[str]) -> dict[str, SlurmJob] | None:
        found: dict[str, SlurmJob] = {}
        for start in range(0, len(job_ids), _AT_ONCE):
            text = self._sacct(["-j", ",".join(job_ids[start : start + _AT_ONCE])])
            if text is None:
                return None
            found |= parse_sacct(text)
        return found

    def _sacct(self, selection: Sequence[str]) -> str | None:
        # With a start in the past, or sacct looks at today's jobs only.
        command = ["sacct", "-P", "-n", "-S", "now-30days", "-o", ",".join(SACCT_FIELDS), *selection]
        try:
            return call(command)
        except (SchedulerError, MissingDependencyError) as error:
            self.complaints.append(str(error))
            return None


def _finding(job: SlurmJob) -> Finding:
    if job.pending:
        return Finding(Standing.PENDING, job)
    return Finding(Standing.RUNNING if job.running else Standing.ENDED, job)


def _could_say_more(finding: Finding) -> bool:
    """Whether sacct may know more than squeue: of a failure, its exit code and what memory it used."""
    return finding.standing == Standing.ENDED and finding.job is not None and finding.job.state == "FAILED"


def _is_old(seen: float | None) -> bool:
    return seen is None or time.time() - seen > ACCOUNTING_LAG_S
