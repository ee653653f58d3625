"""What squeue and sacct print, read into records. Pure functions of text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cathodeflow.dispatch.sites import seconds_of
from cathodeflow.records.outcomes import Reason

SQUEUE_FORMAT = "%i|%F|%K|%T|%r|%e|%N|%P|%j|%k"
"""Job, array job, array task, state, reason, end, nodes, partition, name, comment: the free text comes last."""

SINFO_FORMAT = "%P|%l|%D"
"""Partition, time limit, nodes."""

SACCT_FIELDS = ("JobID", "State", "ExitCode", "NodeList", "ReqMem", "MaxRSS", "JobName")

PENDING = frozenset(
    {
        *("PENDING", "CONFIGURING", "POWER_UP_NODE", "RESV_DEL_HOLD", "SPECIAL_EXIT"),
        *("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "EXPEDITING"),
    }
)

_NEVER = re.compile(
    r"Partition(?:Time|Node)Limit|BadConstraints|Invalid(?:Account|QOS)|(?:QOS|Assoc)Max\w*Per(?:Job|Node)\w*"
)
"""Why a job waits, in squeue's words, that no waiting ends: it asks for more than it can ever be given."""

_REASONS = {
    "TIMEOUT": Reason.TIMEOUT,
    "DEADLINE": Reason.TIMEOUT,
    "OUT_OF_MEMORY": Reason.OUT_OF_MEMORY,
    "NODE_FAIL": Reason.NODE_FAIL,
    "BOOT_FAIL": Reason.NODE_FAIL,
    "LAUNCH_FAILED": Reason.NODE_FAIL,
    "PREEMPTED": Reason.PREEMPTED,
    "CANCELLED": Reason.CANCELLED,
    "REVOKED": Reason.CANCELLED,
}
ENDED = frozenset({"COMPLETED", "FAILED", *_REASONS})
"""All others count as running: each version has new words, and a job that lives must not be run a second time. One that
ended under such a word is found out when squeue lets go of it."""

_OVER_MEMORY_FRACTION = 0.98  # jobacct_gather kills at the limit, having last measured just below or above it


@dataclass(frozen=True)
class SlurmJob:
    """A Slurm job as squeue or sacct describes it.

    Attributes
    ----------
    job_id : str
        `123`, or `123_4` for the task of an array.
    state : str
        Slurm's word, without additions such as `by 1000`.
    exit_code, signal : int or None
        Of the batch script; None where it is not said.
    nodes : str
        Slurm's node list.
    name, comment, partition : str
        As it was submitted; sacct gives the name only.
    over_memory : bool
        A step was ended for memory, or used all the job had asked for and was killed.
    waits_for : str
        Why it waits, in squeue's words.
    """

    job_id: str
    state: str
    exit_code: int | None = None
    signal: int | None = None
    nodes: str = ""
    name: str = ""
    comment: str = ""
    partition: str = ""
    over_memory: bool = False
    waits_for: str = ""

    @property
    def pending(self) -> bool:
        """Whether it waits."""
        return self.state in PENDING

    @property
    def running(self) -> bool:
        """Whether it runs, or ends just now, or is in a state that nobody told us of."""
        return not self.pending and not self.ended

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.state in ENDED

    @property
    def waits_in_vain(self) -> bool:
        """Whether it waits for what it can never be given."""
        return self.pending and _NEVER.fullmatch(self.waits_for) is not None

    @property
    def reason(self) -> Reason | None:
        """Why it did not end well; None while it lives, and for COMPLETED."""
        if not self.ended or self.state == "COMPLETED":
            return None
        if self.over_memory:
            return Reason.OUT_OF_MEMORY
        if self.state in _REASONS:
            return _REASONS[self.state]
        if self.signal:
            return Reason.KILLED
        return Reason.EXIT_CODE

    def sentence(self) -> str:
        """Say how it ended, for people."""
        detail = ""
        if self.state == "FAILED" and self.signal:
            detail = f" by signal {self.signal}"
        elif self.state == "FAILED" and self.exit_code:
            detail = f" with exit code {self.exit_code}"
        if self.over_memory and self.state != "OUT_OF_MEMORY":
            detail += ", having used all the memory it asked for"
        where = f" on {self.nodes}" if self.nodes else ""
        return f"Slurm job {self.job_id}{where} ended {self.state}{detail}"


def parse_squeue(text: str) -> list[SlurmJob]:
    """Read the output of `squeue -h -o SQUEUE_FORMAT`; lines that are none are left out."""
    found = []
    for line in text.splitlines():
        parts = line.split("|", 9)
        if len(parts) < 10:
            continue
        job_id, _array, _task, state, why, _end, nodes, partition, name, comment = parts
        said = "" if comment == "(null)" else comment
        job = SlurmJob(
            job_id.strip(), state.split()[0], nodes=nodes, name=name, comment=said, partition=partition, waits_for=why
        )
        found += [replace(job, job_id=task) for task in array_tasks(job.job_id)]
    return found


@dataclass(frozen=True)
class Partition:
    """A partition as sinfo describes it.

    Attributes
    ----------
    name : str
        Its own.
    is_default : bool
        Whether jobs go there that name none.
    time_s : int or None
        The longest that a job may take, seconds; None without a limit.
    nodes : int
        How many it has.
    """

    name: str
    is_default: bool
    time_s: int | None
    nodes: int


def parse_sinfo(text: str) -> list[Partition]:
    """Read the output of `sinfo -h -o SINFO_FORMAT`; lines that are none are left out."""
    found = []
    for line in text.splitlines():
        name, limit, nodes = ([*line.split("|"), "", ""])[:3]
        if not name or not nodes.strip().isdigit():
            continue
        limited = re.fullmatch(r"(?:\d+-)?\d+(?::\d+){0,2}", limit.strip()) is not None
        time_s = seconds_of(limit) if limited else None
        found.append(Partition(name.rstrip("*"), name.endswith("*"), time_s, int(nodes)))
    return found


def parse_sacct(text: str) -> dict[str, SlurmJob]:
    """Read the output of `sacct -P -n -X-less -o SACCT_FIELDS`, steps included.

    Parameters
    ----------
    text : str
        Lines of `SACCT_FIELDS`, joined by `|`. A job that was requeued has several: the last one counts.

    Returns
    -------
    dict of str to SlurmJob
        By job id, the steps joined to their job.
    """
    jobs: dict[str, SlurmJob] = {}
    asked: dict[str, float | None] = {}
    for line in text.splitlines():
        parts = line.split("|", len(SACCT_FIELDS) - 1)
        if len(parts) < len(SACCT_FIELDS) or not parts[0] or not parts[1].strip():
            continue
        job_id, state_text, code, nodes, required, resident, name = parts
        state = state_text.split()[0].rstrip("+")
        exit_code, number = _exit_of(code)
        parent, _, step = job_id.partition(".")
        if not step:
            for task in array_tasks(parent):
                jobs[task] = SlurmJob(task, state, exit_code, number, _node_list(nodes), name)
                asked[task] = memory_mib(required)
        elif parent in jobs and _over_memory(state, number, memory_mib(resident), asked[parent]):
            jobs[parent] = replace(jobs[parent], over_memory=True)
    return jobs


def array_tasks(job_id: str) -> list[str]:
    """Return the jobs that an id stands for: tasks of an array that never began share one, `79_[0,4-9:2%3]`."""
    found = re.fullmatch(r"(\d+)_\[([\d,:-]+)(?:%\d+)?\]", job_id)
    if found is None:
        return [job_id]
    tasks: list[str] = []
    for part in found[2].split(","):
        ends = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if ends is None:
            return [job_id]
        first, last, step = int(ends[1]), int(ends[2] or ends[1]), int(ends[3] or 1)
        tasks += [f"{found[1]}_{task}" for task in range(first, last + 1, max(step, 1))]
    return tasks


def memory_mib(text: str) -> float | None:
    """Read Slurm's amounts of memory: `400M`, `166412K`, `4Gn`, `2000Mc`; MiB, None for none."""
    found = re.fullmatch(r"([0-9.]+)([KMGT]?)[nc]?", text.strip())
    if found is None:
        return None
    return float(found[1]) * {"": 1.0, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}[found[2]]


def by_job(found: Iterable[SlurmJob]) -> dict[str, SlurmJob]:
    """Return jobs by their id."""
    return {job.job_id: job for job in found}


def _over_memory(state: str, number: int | None, resident: float | None, asked: float | None) -> bool:
    if state == "OUT_OF_MEMORY":
        return True
    if number != 9 or resident is None or not asked:
        return False
    return resident >= _OVER_MEMORY_FRACTION * asked


def _exit_of(text: str) -> tuple[int | None, int | None]:
    code, _, number = text.partition(":")
    return (int(code) if code.isdigit() else None, int(number) if number.isdigit() else None)


def _node_list(text: str) -> str:
    return "" if text in {"None assigned", "(null)", ""} else text
