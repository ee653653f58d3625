"""The worker: a long-lived process that claims jobs of a project and runs them one after another.

`python -m cathodeflow.dispatch.worker --project FOLDER --worker-id 0`. It ends after its present job on SIGTERM, at
once on SIGKILL (the driver's `reconcile` then finds its job), and when the process that started it is gone.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.calculators.attempt import Attempt, write_attempt
from cathodeflow.dispatch.claimed import ClaimedLaunchPad, Told, say
from cathodeflow.dispatch.processes import process_identity, processors
from cathodeflow.dispatch.slurm.notes import STORE_AWAY
from cathodeflow.errors import CathodeflowError, StoreError
from cathodeflow.settings import get_settings
from cathodeflow.storage.outbox import Outbox, Undelivered

if TYPE_CHECKING:
    from cathodeflow.dispatch.allotment import Allotment, Estimates
    from cathodeflow.dispatch.launchpad import ProjectLaunchPad
    from cathodeflow.storage.connection import Project

LAUNCHES_FOLDER = "launches"
IDLE_S = 0.2  # between two looks for a job; a look costs a read of one index
MOST_IDLE_S = 2.0
# A campaign in one of these states starts no further job.
HELD_STATES = ("paused", "stopped")
TOLD_KEPT = 8  # ends of jobs that a worker can tell a server again
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker is asked to do.

    Attributes
    ----------
    project : Path
        The project folder.
    worker_id : int
        Tells the workers of one machine apart.
    categories : tuple of str
        Only jobs of these; empty for all.
    campaign : str or None
        Only jobs of this campaign; None for all.
    threads : int
        For torch and BLAS.
    parent : int or None
        Process whose death ends the worker; None for the one that started it. Given, it is noticed even if that one
        died before the worker came to look.
    until_empty : bool
        End when there is nothing to run, in place of waiting for more.
    allotment : Allotment or None
        What an allocation gives; jobs that need more are left to others. None on a machine of one's own.
    expected : mapping of str to float
        Seconds that jobs of a kind take, until some have been measured.
    """

    project: Path
    worker_id: int = 0
    categories: tuple[str, ...] = ()
    campaign: str | None = None
    threads: int = 1
    parent: int | None = None
    until_empty: bool = False
    allotment: Allotment | None = None
    expected: Mapping[str, float] = field(default_factory=dict)


class Worker:
    """The loop of one worker.

    Parameters
    ----------
    project : Project
        An open project.
    options : WorkerOptions
        What to do.
    """

    def __init__(self, project: Project, options: WorkerOptions) -> None:
        from cathodeflow.dispatch.launchpad import project_launchpad

        self.project = project
        self.options = options
        self.launchpad: ProjectLaunchPad = project_launchpad(project)
        self.identity = process_identity() | processors(options.threads) | {"worker_id": options.worker_id}
        self._parent = options.parent or os.getppid()
        self._asked_to_end = False
        self._estimates: Estimates | None = None
        self._told: deque[Told] = deque(maxlen=TOLD_KEPT)

    def end_after_this_job(self, *_signal: Any) -> None:
        """Ask for the end; also the handler of SIGTERM."""
        self._asked_to_end = True

    def loop(self) -> int:
        """Run jobs until asked to end, orphaned or (if so asked) out of work.

        Returns
        -------
        int
            How many were run.
        """
        count, idle, last = 0, IDLE_S, time.monotonic()
        linger_s = 0.0 if self.options.allotment is None else self.options.allotment.linger_s
        while not self._asked_to_end and os.getppid() == self._parent:
            if self._run_one_patiently():
                count, idle, last = count + 1, IDLE_S, time.monotonic()
            elif self.options.until_empty and time.monotonic() - last >= linger_s:
                break
            else:
                self._rest(idle)
                idle = min(idle * 1.5, MOST_IDLE_S)
        return count

    def _run_one_patiently(self) -> bool:
        """Run a job; a server that is away when one is claimed is waited for."""
        from pymongo.errors import PyMongoError

        from cathodeflow.storage.server import explain, is_unreachable, with_patience

        try:
            return self.run_one()
        except PyMongoError as error:
            if self.project.file is not None or not is_unreachable(error):
                raise StoreError(explain(error, self.project.address)) from error
            say(explain(error, self.project.address))
        try:
            with_patience(self.set_right_after_outage, get_settings().store_patience_s)
        except PyMongoError as error:
            raise StoreError(explain(error, self.project.address)) from error
        return True

    def set_right_after_outage(self) -> None:
        """Tell the server again what it has forgotten, and give back what is open in this process's name.

        A server that is killed loses the last writes that it had confirmed. What was claimed without an answer is given
        back, too: this process will never know of it. Only between two jobs.
        """
        for told in self._told:
            if self.launchpad.holds(told.launch_id, told.fw_id, state="RUNNING"):
                for write in told.writes:
                    write()
                self.launchpad.complete_launch(told.launch_id, told.action, told.state)
                say(f"the server had forgotten the end of job {told.fw_id}: it was told again")
        self.launchpad.release_claims()

    def _rest(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._asked_to_end and os.getppid() == self._parent:
            time.sleep(min(0.1, seconds))

    def run_one(self) -> bool:
        """Claim a job and run it; returns whether there was one."""
        from fireworks.core import rocket
        from fireworks.core.fworker import FWorker

        # FireWorks' ping is a thread that outlives a job that ends by an error, for up to an hour. The launch names
        # this process instead, and `reconcile` asks the operating system whether it lives.
        rocket.start_ping_launch = _no_ping
        fworker = FWorker(
            name=f"{self.identity['host']}:{self.identity['pid']}",
            category=list(self.options.categories),
            query=self._query(),
            env=self.identity,
        )
        claim = self.launchpad.claim(fworker, self.options.campaign, HELD_STATES, self._directory)
        if claim is None:
            return False
        firework, launch_id, directory = claim
        directory.mkdir(parents=True, exist_ok=True)
        write_attempt(directory, self._attempt(firework))
        began = time.monotonic()
        box = None if self.project.file is not None else Outbox(directory, say)
        claimed = ClaimedLaunchPad(self.launchpad, firework, launch_id, box)
        try:
            with _inside(directory), nullcontext() if box is None else box.opened():
                rocket.Rocket(claimed, fworker, firework.fw_id).run()
        except Undelivered:
            raise StoreError(
                f"the MongoDB server stayed away: what job {firework.fw_id} has made is kept in {directory} and handed "
                "in by the next driver or `cflow store repair`"
            ) from None
        if box is not None:
            self._told.extend(claimed.told)
            if box.went_away:
                self.set_right_after_outage()
        say(f"job {firework.fw_id} ({firework.name}) ended after {time.monotonic() - began:.2f} s, log in {directory}")
        return True

    def _attempt(self, firework: Any) -> Attempt:
        from cathodeflow.dispatch.launchpad import CONTINUE_FROM

        spec = firework.spec
        previous = spec.get(CONTINUE_FROM)
        return Attempt(
            campaign=spec.get("_campaign", ""),
            kind=spec.get("_kind", ""),
            key=spec.get("_key", ""),
            number=len(firework.launches) + len(firework.archived_launches),
            continue_from=None if previous is None else Path(previous),
            seconds_left=None if self.options.allotment is None else self.options.allotment.seconds_left(),
        )

    def _query(self) -> dict[str, Any]:
        query: dict[str, Any] = {} if self.options.campaign is None else {"spec._campaign": self.options.campaign}
        if self.options.allotment is None:
            return query
        from cathodeflow.dispatch.allotment import Estimates, condition

        self._estimates = self._estimates or Estimates(self.project, self.options.campaign, self.options.expected)
        return query | condition(self.options.allotment, self._estimates)

    def _directory(self, spec: dict[str, Any], fw_id: int, launch_id: int) -> Path:
        """Folder of one launch: `launches/<kind>/<key>/<launch>` in the project."""
        kind, key = (_as_name(str(spec.get(name) or "other")) for name in ("_kind", "_key"))
        return self.project.folder / LAUNCHES_FOLDER / kind / key / f"{fw_id}-{launch_id}"


def _no_ping(_launchpad: Any, _launch_id: int) -> None:
    """Stand in for FireWorks' `start_ping_launch`."""


def _as_name(text: str) -> str:
    """Make a key fit for a folder name: short, and without separators."""
    return re.sub(r"[^A-Za-z0-9._+=-]+", "_", text)[:120] or "_"


@contextmanager
def _inside(directory: Path) -> Iterator[None]:
    """Work in a folder with everything printed, by C libraries and child processes too, going to its log."""
    from cathodeflow.dispatch.jobs import LOG_NAME

    before = Path.cwd()
    directory.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with (directory / LOG_NAME).open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def give_threads(threads: int) -> None:
    """Hold torch and BLAS to some threads; two processes with two threads each on two cores are 40 times slower."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def work(options: WorkerOptions) -> int:
    """Open the project and run its jobs.

    Returns
    -------
    int
        How many were run.

    Raises
    ------
    StoreError
        The project cannot be opened.
    """
    give_threads(options.threads)
    import jobflow
    from fireworks.core import rocket

    from cathodeflow.storage.connection import open_project

    rocket.PRINT_FW_JSON = False  # FW.json only repeats what the store holds, crystals included
    from cathodeflow.storage.server import with_patience

    project = with_patience(lambda: open_project(options.project), get_settings().store_patience_s)
    # Workflows are added without a store: each job leaves its output where its worker says.
    jobflow.SETTINGS.JOB_STORE = project.job_store()
    worker = Worker(project, options)
    signal.signal(signal.SIGTERM, worker.end_after_this_job)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which then asks us
    say(f"worker {options.worker_id} (pid {os.getpid()}) works on {project.folder}")
    count = worker.loop()
    say(f"worker {options.worker_id} ends after {count} job(s)")
    return count


def parse(arguments: Sequence[str] | None = None) -> WorkerOptions:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m cathodeflow.dispatch.worker", description="Run a project's jobs.")
    parser.add_argument("--project", type=Path, required=True, help="the project folder")
    parser.add_argument("--worker-id", type=int, default=0, help="tells the workers of one machine apart")
    parser.add_argument("--category", action="append", default=[], help="only jobs of this category; may be repeated")
    parser.add_argument("--campaign", help="only jobs of this campaign")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch and BLAS")
    parser.add_argument("--parent", type=int, help="end when this process does; the one that started it by default")
    parser.add_argument("--until-empty", action="store_true", help="end when there is nothing to run")
    parser.add_argument("--from-time", type=float, help="when the allocation began, seconds since 1970")
    parser.add_argument("--until-time", type=float, help="when the allocation ends; no job is begun that takes longer")
    parser.add_argument("--time-factor", type=float, default=1.0, help="times the site's time that was asked for")
    parser.add_argument("--memory-factor", type=float, default=1.0, help="times the site's memory that was asked for")
    parser.add_argument("--linger-s", type=float, default=0.0, help="with --until-time: wait so long for more work")
    parser.add_argument(
        "--expected", type=_kind_and_seconds, action="append", default=[], help="KIND=SECONDS, until jobs were measured"
    )
    given = parser.parse_args(arguments)
    return WorkerOptions(
        given.project,
        given.worker_id,
        tuple(given.category),
        given.campaign,
        given.threads,
        given.parent,
        given.until_empty,
        _allotment(given),
        dict(given.expected),
    )


def _kind_and_seconds(text: str) -> tuple[str, float]:
    kind, _, seconds = text.partition("=")
    return kind, float(seconds)


def _allotment(given: argparse.Namespace) -> Allotment | None:
    if given.until_time is None:
        return None
    from cathodeflow.dispatch.allotment import Allotment

    begins = time.time() if given.from_time is None else given.from_time
    return Allotment(begins, given.until_time, given.time_factor, given.memory_factor, given.linger_s)


def main() -> int:
    """Entry point of `python -m cathodeflow.dispatch.worker`."""
    try:
        work(parse())
    except CathodeflowError as error:
        say(str(error))
        return STORE_AWAY if isinstance(error, StoreError) else error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
