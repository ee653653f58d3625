"""The loop: worker processes, one tick after another, until the campaign ends. Killing it anywhere loses nothing."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cathodeflow.campaign import transitions
from cathodeflow.campaign.event_log import lost_runs_line
from cathodeflow.campaign.notifications import Notifier
from cathodeflow.errors import StoreError
from cathodeflow.records.outcomes import CampaignState
from cathodeflow.settings import get_settings

if TYPE_CHECKING:
    from types import FrameType

    from cathodeflow.campaign.stages.work import Recipes
    from cathodeflow.records.campaign import CampaignRecord
    from cathodeflow.storage.connection import Project


class Pool(Protocol):
    """Where a campaign's jobs run: worker processes here, or allocations of a cluster."""

    def keep_alive(self) -> int:
        """Start what is missing; returns how many had died since the last call."""

    def top_up(self) -> None:
        """Make room for jobs that this tick made READY; they need not wait for the next one."""

    def alive(self) -> int:
        """Return how many are running that the driver has to wait for."""

    def ask_to_finish(self) -> None:
        """Ask them to end after their present job."""

    def end(self) -> None:
        """Let go of them."""

    def messages(self) -> list[str]:
        """Return what people should know, once each."""


_LOGGER = logging.getLogger(__name__)


LIVED_S = 20.0
"""A worker that dies sooner has most likely refused to work, and would again."""
FIRST_DELAY_S, LONGEST_DELAY_S = 2.0, 60.0


class WorkerPool:
    """Worker processes of this machine; one that dies is started anew, later and later if it dies at once.

    Parameters
    ----------
    folder : Path
        The project.
    campaign : str
        Only its jobs are run.
    size : int
        How many processes.
    threads : int
        Threads of each.
    """

    def __init__(self, folder: Path, campaign: str, size: int, threads: int) -> None:
        self._folder = folder
        self._campaign = campaign
        self._size = size
        self._threads = threads
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._started: dict[int, float] = {}
        self._early_deaths: dict[int, int] = {}
        self._again_at: dict[int, float] = {}

    def keep_alive(self) -> int:
        """Start what is missing.

        Returns
        -------
        int
            How many had died since the last call.
        """
        died = 0
        for number in range(self._size):
            process = self._processes.get(number)
            if process is not None and process.poll() is None:
                continue
            if process is not None:
                died += 1
                del self._processes[number]
                self._again_at[number] = time.monotonic() + self._delay(number)
            if time.monotonic() >= self._again_at.get(number, 0.0):
                self._started[number] = time.monotonic()
                self._processes[number] = self._start(number)
        return died

    def _delay(self, number: int) -> float:
        """Return after how long a worker that has just died is started again, s: the first time at once."""
        early = time.monotonic() - self._started[number] < LIVED_S
        deaths = self._early_deaths[number] = self._early_deaths.get(number, 0) + 1 if early else 0
        return min(FIRST_DELAY_S * 2.0 ** (deaths - 2), LONGEST_DELAY_S) if deaths > 1 else 0.0

    def top_up(self) -> None:
        """Leave it to the workers: they ask for jobs themselves."""

    def alive(self) -> int:
        """Return how many are running."""
        return sum(process.poll() is None for process in self._processes.values())

    def ask_to_finish(self) -> None:
        """Ask the workers to end after their present job."""
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """End the workers at once.

        A job ended so stays RUNNING in the store; the next driver finds its process gone and runs it again.
        """
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()

    def messages(self) -> list[str]:
        """Return what people should know, once each."""
        return []

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        logs = self._folder / "logs"
        logs.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "cathodeflow.dispatch.worker", "--project", str(self._folder)]
        command += ["--campaign", self._campaign, "--worker-id", str(number), "--threads", str(self._threads)]
        command += ["--parent", str(os.getpid())]
        with (logs / f"worker-{number}.log").open("ab") as log:
            # An own session: Ctrl-C in the terminal reaches the driver only, which then decides for the workers.
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


@dataclass
class Interruption:
    """How often a person asked the driver to end (Ctrl-C, or SIGTERM)."""

    asked: int = 0

    def __call__(self, _signum: int, _frame: FrameType | None) -> None:
        """Count a signal."""
        self.asked += 1


@contextmanager
def watch_interruptions() -> Iterator[Interruption]:
    """Count SIGINT and SIGTERM instead of dying by them, as long as the block lasts."""
    interruption = Interruption()
    before = {number: signal.signal(number, interruption) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def driver_name() -> str:
    """Return the name a driver holds leases under: host, process and its start, so that a reused pid is another."""
    import psutil

    process = psutil.Process()
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.2f}"


def drive(
    project: Project,
    name: str,
    workers: int | Pool,
    on_tick: Callable[[CampaignRecord], None] | None = None,
    recipes: Recipes | None = None,
) -> CampaignRecord:
    """Run a campaign until it is done, stopped or interrupted.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    workers : int or Pool
        Worker processes of this machine to keep; 0 only ticks (workers run elsewhere). Or the pool of a site.
    on_tick : callable, optional
        Called after each tick with the campaign as it stands.
    recipes : Recipes, optional
        Replace the workflows that are submitted.

    Returns
    -------
    CampaignRecord
        As it stands at the end.

    Raises
    ------
    LeaseError
        Another driver holds the campaign.
    StoreError
        A person interrupted while the server was away.
    """
    from cathodeflow.dispatch.repair import clear_told_outboxes

    settings = get_settings()
    _free_lease_of_the_dead(project, name)
    pool = (
        WorkerPool(project.folder, name, workers, settings.threads_per_worker) if isinstance(workers, int) else workers
    )
    driver = _Driver(project, name, driver_name(), pool)
    driver.renew_lease()
    try:
        with watch_interruptions() as interruption:
            try:
                campaign = driver.loop(interruption, on_tick, recipes)
            except StoreError:
                if interruption.asked:  # while the server is away: the present jobs wait for it, and are waited for
                    driver.let_jobs_finish(interruption)
                raise
            driver.let_jobs_finish(interruption)
            driver.unless_away(lambda: driver.notifier.finish(project))
            driver.unless_away(lambda: clear_told_outboxes(project))
    finally:
        driver.pool.end()
        driver.unless_away(lambda: transitions.release_lease(project, name, driver.holder))
    return campaign


@dataclass(frozen=True)
class _Driver:
    """One run of the loop."""

    project: Project
    name: str
    holder: str
    pool: Pool
    notifier: Notifier = field(default_factory=Notifier)

    def renew_lease(self) -> None:
        transitions.take_lease(self.project, self.name, self.holder, get_settings().lease_s)

    def loop(
        self,
        interruption: Interruption,
        on_tick: Callable[[CampaignRecord], None] | None,
        recipes: Recipes | None,
    ) -> CampaignRecord:
        phase: tuple[object, ...] = ()

        def once() -> tuple[CampaignRecord, bool]:
            nonlocal phase
            campaign = self.tick(recipes)
            self.notifier.after_tick(self.project, campaign)
            if on_tick is not None:
                on_tick(campaign)
            before, phase = phase, (campaign.stage, campaign.round)
            ended = campaign.state in {CampaignState.DONE, CampaignState.STOPPED}
            return campaign, ended or self._is_interrupted_while_waiting(interruption, moved=phase != before)

        while True:
            campaign, ended = once() if self.project.file is not None else self._patiently(once, interruption)
            if ended:
                return campaign

    def _patiently(
        self, act: Callable[[], tuple[CampaignRecord, bool]], interruption: Interruption
    ) -> tuple[CampaignRecord, bool]:
        """Wait for a server that is away as long as it takes: ending would take jobs down that wait for it, too."""
        from cathodeflow.storage.server import explain, with_patience

        def told(delay: float, error: Exception) -> None:
            sentence = explain(error, self.project.address)
            if interruption.asked:
                raise StoreError(sentence) from error
            _LOGGER.warning("%s Asking again in %.1f s.", sentence, delay)

        return with_patience(act, math.inf, told)

    def _is_interrupted_while_waiting(self, interruption: Interruption, *, moved: bool) -> bool:
        """Wait for the next tick; a cluster is asked less often than this machine, the lease is kept all the same.

        A stage that has just begun is not made to wait: its jobs come with the next tick.
        """
        settings = get_settings()
        soon = moved or isinstance(self.pool, WorkerPool)
        wake_at = time.monotonic() + (settings.tick_s if soon else settings.site_tick_s)
        renew_at = time.monotonic() + settings.lease_s / 3
        while time.monotonic() < wake_at:
            if interruption.asked:
                return True
            if time.monotonic() >= renew_at:
                self.renew_lease()
                renew_at = time.monotonic() + settings.lease_s / 3
            time.sleep(0.1)
        return False

    def tick(self, recipes: Recipes | None) -> CampaignRecord:
        from cathodeflow.campaign.advance import advance
        from cathodeflow.dispatch.reconcile import reconcile

        self.renew_lease()
        died = self.pool.keep_alive()
        if died and isinstance(self.pool, WorkerPool):  # a site says itself which allocation ended, and how
            message = f"{died} worker(s) died and were started anew; see the logs folder"
            transitions.append_event(self.project, self.name, "worker_died", message)
        for message in self.pool.messages():
            transitions.append_event(self.project, self.name, "site", message)
        lost = lost_runs_line(reconcile(self.project, self.name))
        if lost is not None:
            transitions.append_event(self.project, self.name, *lost)
        campaign = advance(self.project, self.name, recipes, keep_lease=self.renew_lease)
        if campaign.state == CampaignState.RUNNING:
            self.pool.top_up()
        return campaign

    def let_jobs_finish(self, interruption: Interruption) -> None:
        """Let the present jobs end by themselves; a second Ctrl-C gives up on them. A server that is away does not."""
        self.unless_away(self.pool.ask_to_finish)
        renew_at = time.monotonic()
        while self.pool.alive() and interruption.asked < 2:
            if time.monotonic() >= renew_at:
                self.unless_away(self.renew_lease)
                renew_at = time.monotonic() + get_settings().lease_s / 3
            time.sleep(0.1)

    def unless_away(self, act: Callable[[], object]) -> None:
        """Do what a server may miss, such as a lease let go of: it runs out by itself."""
        if self.project.file is not None:
            act()
            return
        from pymongo.errors import PyMongoError

        from cathodeflow.storage.server import explain, is_unreachable

        try:
            act()
        except (PyMongoError, StoreError) as error:
            if not is_unreachable(error):
                raise
            _LOGGER.warning("%s", explain(error, self.project.address))


def _free_lease_of_the_dead(project: Project, name: str) -> None:
    """Let go of a lease whose driver ran on this host and is gone: nobody need wait for it to expire."""
    import psutil

    lease = transitions.read_campaign(project, name).lease
    if lease is None:
        return
    host, pid, created = lease.holder.rsplit(":", 2)
    if host != socket.gethostname():
        return
    try:
        alive = abs(psutil.Process(int(pid)).create_time() - float(created)) < 1.0
    except psutil.NoSuchProcess:
        alive = False
    if not alive:
        transitions.release_lease(project, name, lease.holder)
