"""What runs in an allocation: one worker per slot, each with its share of cores and GPUs, until time or work is over.

`python -m cathodeflow.dispatch.slurm.allocation --project FOLDER --category cpu --slots 4` is what batch scripts run.
Slurm's signal before the end (USR1) and SIGTERM ask the workers to end after their present job.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cathodeflow.dispatch.processes import SLOTS, SLOTS_OF_A_GPU
from cathodeflow.dispatch.slurm.commands import call
from cathodeflow.dispatch.slurm.notes import STORE_AWAY, Death, write_death
from cathodeflow.errors import MissingDependencyError, SchedulerError

POLL_S = 0.2
MOST_RESTARTS = 20
"""Workers killed so often in one allocation are not started again: something here kills them all."""

RESTART_DELAY_S = 1.0

MOST_EXITS = 5
"""The same of workers that exited: a job may have taken its worker along, or the worker refuses to work."""

LIVED_S = 20.0
"""A worker that exits sooner has most likely refused to work, and would again."""


@dataclass(frozen=True)
class AllocationOptions:
    """What an allocation is asked to do.

    Attributes
    ----------
    project : Path
        The project folder.
    campaign : str or None
        Only jobs of this campaign.
    categories : tuple of str
        Only jobs of these.
    token : str
        Of the submission, for the log.
    slots, threads, gpus : int
        Workers, threads of each, GPUs of this node.
    linger_s : float
        How long a worker without work waits for more.
    signal_s : int
        Seconds before the end at which Slurm sends its signal: no job may count on them.
    time_factor, memory_factor : float
        Times what the site gives.
    expected : tuple of str
        ``KIND=SECONDS``, handed on to the workers.
    """

    project: Path
    campaign: str | None = None
    categories: tuple[str, ...] = ()
    token: str = ""
    slots: int = 1
    threads: int = 1
    gpus: int = 0
    linger_s: float = 30.0
    signal_s: int = 0
    time_factor: float = 1.0
    memory_factor: float = 1.0
    expected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Share:
    """What one slot may use.

    Attributes
    ----------
    cores : tuple of int
        Cores to be bound to; empty for no binding.
    gpus : tuple of str
        Values for CUDA_VISIBLE_DEVICES; empty hides every GPU.
    """

    cores: tuple[int, ...]
    gpus: tuple[str, ...]


def shares(slots: int, cores: Sequence[int], gpus: Sequence[str]) -> list[Share]:
    """Deal out cores and GPUs to slots.

    Every core goes to one slot. GPUs do too where there are enough, else slots share them in turn.

    Parameters
    ----------
    slots : int
        How many.
    cores : sequence of int
        Numbers of the cores; fewer than slots: no binding.
    gpus : sequence of str
        Names of the GPUs as CUDA_VISIBLE_DEVICES has them.

    Returns
    -------
    list of Share
    """
    found = []
    for slot in range(slots):
        mine = tuple(cores[slot::slots]) if len(cores) >= slots else ()
        in_turn = (gpus[slot % len(gpus)],) if gpus else ()
        found.append(Share(mine, tuple(gpus[slot::slots]) if len(gpus) >= slots else in_turn))
    return found


def gpu_names(environment: Mapping[str, str], number: int) -> list[str]:
    """Return the GPUs of this allocation: as Slurm says, else numbered where whole nodes are given."""
    said = environment.get("CUDA_VISIBLE_DEVICES", "")
    names = [name for name in said.split(",") if name and name not in {"NoDevFiles", "-1"}]
    return names or [str(place) for place in range(number)]


def bound_cores(wanted: int) -> list[int]:
    """Return the cores to deal out: none where Slurm has not confined this process, for they are not ours alone."""
    mine = sorted(os.sched_getaffinity(0))
    return mine if len(mine) == wanted else []


def times(environment: Mapping[str, str]) -> tuple[float, float | None]:
    """Return begin and end of this allocation, seconds since 1970; None where nobody knows of an end.

    Newer Slurm puts both into the environment; older ones are asked.
    """
    begins = float(environment.get("SLURM_JOB_START_TIME") or time.time())
    said = environment.get("SLURM_JOB_END_TIME")
    if said:
        return begins, float(said)
    job_id = slurm_job_id(environment)  # the plain number of an array's last task is that of the whole array
    if job_id is None:
        return begins, None
    try:
        return begins, end_of(call(["squeue", "-h", "-j", job_id, "-o", "%e"]))
    except (SchedulerError, MissingDependencyError):
        return begins, None  # a worker without an end leaves it to Slurm to end it


def end_of(text: str) -> float | None:
    """Read squeue's local time of an end; None for `N/A`."""
    first = next(iter(text.split()), "")
    try:
        return datetime.fromisoformat(first).astimezone().timestamp()
    except ValueError:
        return None


def oom_kills(cgroup: str | None = None) -> int:
    """Return how often the kernel has ended a process of this allocation's control group for memory.

    Parameters
    ----------
    cgroup : str, optional
        Content of `cgroup` in this process's entry of the proc filesystem; read there by default.
    """
    text = Path("/proc/self/cgroup").read_text(encoding="utf-8") if cgroup is None else cgroup
    for line in text.splitlines():
        _number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            file = Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
        elif not controllers:
            file = Path(f"/sys/fs/cgroup{path}/memory.events")
        else:
            continue
        if file.is_file():
            found = re.search(r"^oom_kill (\d+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            if found is not None:
                return int(found[1])
    return 0


@dataclass
class Slot:
    """A worker process, started again when a signal takes it."""

    number: int
    share: Share
    process: subprocess.Popen[bytes] | None = None
    over: bool = False
    again_at: float = 0.0
    started: float = 0.0
    exits: int = 0


@dataclass
class Allocation:
    """The slots of one allocation.

    Attributes
    ----------
    options : AllocationOptions
        What to do.
    begins, ends : float, float or None
        Of the allocation, seconds since 1970.
    """

    options: AllocationOptions
    begins: float
    ends: float | None
    slots: list[Slot] = field(default_factory=list)
    restarts: int = 0
    exit_code: int = 0
    _asked_to_end: bool = False
    _oom_kills: int = 0

    def ask_to_end(self, *_signal: Any) -> None:
        """Pass the request on: workers end after their present job. Handler of SIGUSR1 and SIGTERM."""
        self._asked_to_end = True

    def run(self) -> int:
        """Keep the workers going until all are done.

        Returns
        -------
        int
            0, or the exit code of the first worker that refused to work.
        """
        self._oom_kills = oom_kills()
        cores = bound_cores(self.options.slots * self.options.threads)
        dealt = shares(self.options.slots, cores, gpu_names(os.environ, self.options.gpus))
        self.slots = [Slot(number, share) for number, share in enumerate(dealt)]
        passed_on = False
        while not all(slot.over for slot in self.slots):
            for slot in self.slots:
                self._tend(slot)
            if self._asked_to_end and not passed_on:
                passed_on = True
                for slot in self.slots:
                    if slot.process is not None and slot.process.poll() is None:
                        slot.process.terminate()
            time.sleep(POLL_S)
        return self.exit_code

    def _tend(self, slot: Slot) -> None:
        if slot.over:
            return
        if slot.process is None:
            if self._asked_to_end:
                slot.over = True
            elif time.monotonic() >= slot.again_at:
                slot.process = self._start(slot)
            return
        code = slot.process.poll()
        if code is None:
            return
        pid, slot.process = slot.process.pid, None
        self._note(pid, code)
        if code == 0:
            slot.over = True
            return
        if code > 0 and not self._may_go_on(slot, code):
            slot.over = True
            self.exit_code = self.exit_code or code
            return
        self.restarts += 1
        slot.over = self._asked_to_end or self.restarts > MOST_RESTARTS
        slot.again_at = time.monotonic() + RESTART_DELAY_S

    def _may_go_on(self, slot: Slot, code: int) -> bool:
        """Whether an exit was rather the job's doing than the worker's."""
        slot.exits += 1
        lived = time.monotonic() - slot.started >= LIVED_S
        return lived and slot.exits <= MOST_EXITS and code != STORE_AWAY

    def _note(self, pid: int, code: int) -> None:
        """Write down a death.

        Also of a worker that ended well: if a job of it is open, a library has ended the process under it.
        """
        kills = oom_kills()
        out_of_memory, self._oom_kills = kills > self._oom_kills, kills
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        if code:
            say(f"worker {pid} was ended by {how}{', for memory' if out_of_memory else ''}")
        job_id = slurm_job_id(os.environ)
        if job_id is not None:
            killed = out_of_memory and code < 0
            death = Death(socket.gethostname(), pid, max(-code, 0), killed, max(code, 0), self._asked_to_end)
            try:
                write_death(self.options.project, job_id, death)
            except OSError as error:  # a full disk must not take the other slots along
                say(f"the end of worker {pid} cannot be noted in the project folder: {error.strerror}")

    def _start(self, slot: Slot) -> subprocess.Popen[bytes]:
        slot.started = time.monotonic()
        sharing = sum(bool(set(other.share.gpus) & set(slot.share.gpus)) for other in self.slots)
        own = {"CUDA_VISIBLE_DEVICES": ",".join(slot.share.gpus), SLOTS_OF_A_GPU: str(max(sharing, 1))}
        process = subprocess.Popen(
            worker_command(self.options, slot.number, self.begins, self.ends),
            env={**os.environ, **own, SLOTS: str(self.options.slots)},
        )
        if slot.share.cores:
            os.sched_setaffinity(process.pid, slot.share.cores)
        return process


def slurm_job_id(environment: Mapping[str, str]) -> str | None:
    """Return Slurm's name of this job as squeue writes it: `123`, or `123_4` for the task of an array."""
    if "SLURM_ARRAY_JOB_ID" in environment:
        return f"{environment['SLURM_ARRAY_JOB_ID']}_{environment.get('SLURM_ARRAY_TASK_ID', '0')}"
    return environment.get("SLURM_JOB_ID")


def worker_command(options: AllocationOptions, number: int, begins: float, ends: float | None) -> list[str]:
    """Return the command of one slot's worker."""
    command = [sys.executable, "-m", "cathodeflow.dispatch.worker", "--project", str(options.project)]
    command += ["--worker-id", str(number), "--threads", str(options.threads), "--parent", str(os.getpid())]
    command += ["--until-empty"]
    for category in options.categories:
        command += ["--category", category]
    if options.campaign is not None:
        command += ["--campaign", options.campaign]
    if ends is not None:
        command += ["--from-time", f"{begins:.0f}", "--until-time", f"{ends - options.signal_s:.0f}"]
        command += ["--linger-s", f"{options.linger_s:g}"]
        command += ["--time-factor", f"{options.time_factor:g}", "--memory-factor", f"{options.memory_factor:g}"]
        for stated in options.expected:
            command += ["--expected", stated]
    return command


def say(message: str) -> None:
    """Write a line to the allocation's log."""
    sys.stdout.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")
    sys.stdout.flush()


def parse(arguments: Sequence[str] | None = None) -> AllocationOptions:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m cathodeflow.dispatch.slurm.allocation", description="Run a project's jobs in an allocation."
    )
    parser.add_argument("--project", type=Path, required=True, help="the project folder")
    parser.add_argument("--campaign", help="only jobs of this campaign")
    parser.add_argument("--category", action="append", default=[], help="only jobs of this category; may be repeated")
    parser.add_argument("--token", default="", help="of the submission")
    parser.add_argument("--slots", type=int, default=1, help="jobs at once")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of this node, where Slurm does not say which")
    parser.add_argument("--linger-s", type=float, default=30.0, help="wait so long for more work")
    parser.add_argument("--signal-s", type=int, default=0, help="seconds before the end that jobs may not count on")
    parser.add_argument("--time-factor", type=float, default=1.0, help="times the site's time that was asked for")
    parser.add_argument("--memory-factor", type=float, default=1.0, help="times the site's memory that was asked for")
    parser.add_argument("--expected", action="append", default=[], help="KIND=SECONDS, until jobs were measured")
    given = vars(parser.parse_args(arguments))
    categories, expected = tuple(given.pop("category")), tuple(given.pop("expected"))
    return AllocationOptions(**given, categories=categories, expected=expected)


def main() -> int:
    """Entry point of `python -m cathodeflow.dispatch.slurm.allocation`."""
    options = parse()
    begins, ends = times(os.environ)
    allocation = Allocation(options, begins, ends)
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, allocation.ask_to_end)
    left = "without a known end" if ends is None else f"for {ends - time.time():.0f} s"
    say(f"allocation {slurm_job_id(os.environ)} ({options.token}) with {options.slots} slot(s) {left}")
    code = allocation.run()
    say(f"allocation ends after {time.time() - begins:.0f} s with exit code {code}")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
