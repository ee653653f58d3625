"""What is done to a soaked campaign, and the ledger of it."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
from tests.services.soak.world import Plan, World


@dataclass
class Faults:
    """Strikes at its times, each kind as often as the plan says.

    Attributes
    ----------
    injured : list of dict
        What was done: `fault`, `time`, and `slurm` or `pid` of the victim.
    """

    world: World
    plan: Plan
    injured: list[dict[str, Any]] = field(default_factory=list)
    _due: list[tuple[float, str]] = field(default_factory=list)
    _back_at: float | None = None

    def __post_init__(self) -> None:
        self.dice = random.Random(self.plan.seed)
        span = self.plan.minutes * 60.0
        counts = {
            "kill_driver": self.plan.driver_kills,
            "kill_worker": self.plan.worker_kills,
            "scancel": self.plan.scancels,
            "restart_slurmd": self.plan.slurmd_restarts,
        }
        for fault, count in counts.items():
            # One in each part of the time, at a random moment of it.
            self._due += [(span * (part + self.dice.random()) / count, fault) for part in range(count)]
        for part in range(self.plan.outages):
            self._due.append((span * (part + 0.3 + 0.3 * self.dice.random()) / self.plan.outages, "stop_database"))
        self._due.sort()
        self._began = time.monotonic()

    def left(self) -> int:
        """How many are still to come."""
        return len(self._due)

    def counts(self) -> Counter[str]:
        """How many struck, by kind."""
        return Counter(injury["fault"] for injury in self.injured)

    def strike(self) -> None:
        """Do what is due."""
        now = time.monotonic() - self._began
        if self._back_at is not None and now >= self._back_at:
            self._back_at = None
            self.world.server.start()
        for place, (due, fault) in enumerate(self._due):
            if now < due:
                return
            action: Callable[[], bool] = getattr(self, f"_{fault}")
            if action():
                del self._due[place]
                return

    def end(self) -> None:
        """Let the database be there again."""
        if self._back_at is not None:
            self._back_at = None
            self.world.server.start()

    def _note(self, fault: str, **victim: Any) -> bool:
        self.injured.append({"fault": fault, "time": time.time(), **victim})
        with (self.world.folder / "faults.jsonl").open("a") as file:
            file.write(json.dumps(self.injured[-1]) + "\n")
        return True

    def _kill_driver(self) -> bool:
        driver = self.world.driver
        if driver is None or driver.poll() is not None:
            return False
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        self._note("kill_driver", pid=driver.pid)
        return True

    def _kill_worker(self) -> bool:
        workers = self.world.workers()
        if not workers:
            return False
        victim = self.dice.choice(workers)
        self._note("kill_worker", pid=victim.pid)
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)
        return True

    def _scancel(self) -> bool:
        running = self.world.allocations()
        if not running:
            return False
        victim = self.dice.choice(sorted(running))
        self._note("scancel", slurm=victim)
        self.world.cluster.run("scancel", running[victim])
        return True

    def _restart_slurmd(self) -> bool:
        self.world.cluster.kill("slurmd")
        time.sleep(self.dice.uniform(0.0, 3.0))
        self.world.cluster.start_slurmd()
        return self._note("restart_slurmd")

    def _stop_database(self) -> bool:
        if self._back_at is not None:
            return False
        killed = self.dice.random() < 0.5
        (self.world.server.kill if killed else self.world.server.stop)()
        self._back_at = time.monotonic() - self._began + self.plan.outage_s
        return self._note("stop_database", killed=killed)
