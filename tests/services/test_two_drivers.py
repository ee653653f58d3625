"""Two drivers, eight workers and two dashboards on one campaign and one server, and the documents of a calm run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.campaign_world import COMPUTED, GATE, definition, final_documents, launch, run_to_end
from tests.services.gate import Gate
from tests.services.mongo_server import MongoServer
from tests.services.waiting import AMPLE_S, wait_for
from tests.stores import Stores

from cathodeflow.campaign import transitions
from cathodeflow.dispatch.jobs import count_states
from cathodeflow.dispatch.repair import repair
from cathodeflow.errors import LeaseError
from cathodeflow.storage.connection import create_project, open_project

pytestmark = [pytest.mark.service, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
WORKERS = 8
WANTED = definition(
    elements=["V", "Mo", "Fe"],
    labels={"total": 40, "rounds": 2, "acquisition": "uncertainty"},
    engine={"name": "pair", "parameters": {"delay_s": 0.2}},
)
DRIVER = """
import sys
from pathlib import Path
from tests.campaign_world import LAWFUL
from cathodeflow.campaign.driver import drive
from cathodeflow.errors import LeaseError
from cathodeflow.storage.connection import open_project
try:
    state = drive(open_project(Path(sys.argv[1])), "trial", 0, recipes=LAWFUL).state.value
except LeaseError as error:
    raise SystemExit(error.exit_code)
raise SystemExit(0 if state == "done" else 1)
"""


def start(*command: str, folder: Path, name: str) -> subprocess.Popen[bytes]:
    settings = {"PYTHONPATH": str(ROOT), "CATHODEFLOW_TICK_S": "0.2", "CATHODEFLOW_LEASE_S": "4"}
    settings |= {COMPUTED: str(folder / "computed.txt"), GATE: str(folder / "gate")}
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | settings,
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@dataclass
class Dashboard:
    """A dashboard in a process of its own, and a reader who is signed in."""

    process: subprocess.Popen[bytes]
    address: str
    reader: urllib.request.OpenerDirector
    reads: int = 0

    def page(self, path: str) -> str:
        with self.reader.open(self.address + path, timeout=AMPLE_S) as answer:
            self.reads += 1
            return str(answer.read().decode())

    def counts(self) -> list[str]:
        """Its figures of jobs and of what the campaign has made."""
        lines = self.page("/metrics").splitlines()
        return sorted(line for line in lines if line.startswith(("cathodeflow_jobs{", "cathodeflow_labels{")))


def open_dashboard(folder: Path, name: str) -> Dashboard:
    process = start(
        "-m", "cathodeflow.cli.app", "dashboard", "-p", str(folder), "--port", "0", folder=folder, name=name
    )
    log, address = folder / f"{name}.log", re.compile(r"(http://[\w.:]+)(/login\?token=\S+)")
    wait_for(lambda: address.search(log.read_text()) or process.poll() is not None)
    found = address.search(log.read_text())
    assert found is not None, log.read_text()
    reader = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    made = Dashboard(process, found[1], reader)
    made.page(found[2])
    return made


def holder_among(drivers: list[subprocess.Popen[bytes]], folder: Path) -> subprocess.Popen[bytes] | None:
    """The driver that has the lease and lives."""
    lease = transitions.read_campaign(open_project(folder), "trial").lease
    holder = "" if lease is None else lease.holder
    return next((one for one in drivers if f":{one.pid}:" in holder and one.poll() is None), None)


def agree(dashboards: list[Dashboard], figures: list[list[str]]) -> bool:
    """Ask both for their figures; a slow count may be kept for a moment."""
    figures[:] = [dashboard.counts() for dashboard in dashboards]
    return figures[0] == figures[1] != []


def test_two_drivers_eight_workers_and_two_dashboards_end_like_a_calm_run(
    tmp_path: Path, mongo_server: MongoServer
) -> None:
    folder = tmp_path / "shared"
    create_project(folder, Stores(mongo_server).uri())
    launch(folder, WANTED)
    gate = Gate(folder / "gate")
    gate.close(passes=8)  # then each worker holds a label, and the campaign waits for what is done to it
    work = ("-m", "cathodeflow.dispatch.worker", "--project", str(folder), "--campaign", "trial")
    workers = [start(*work, "--worker-id", str(n), folder=folder, name=f"worker-{n}") for n in range(WORKERS)]
    drivers = [start("-c", DRIVER, str(folder), folder=folder, name=f"driver-{n}") for n in range(2)]
    dashboards = [open_dashboard(folder, f"dashboard-{n}") for n in range(2)]
    codes: Counter[int] = Counter()
    killed: subprocess.Popen[bytes] | None = None
    figures: list[list[str]] = []
    try:
        deadline = time.monotonic() + 2 * AMPLE_S
        while time.monotonic() < deadline and not codes[0]:
            for place, driver in enumerate(drivers):
                if driver.poll() is None:
                    continue
                codes[driver.returncode] += 1
                if not codes[0]:  # whoever is turned away tries again, as a person or a system service would
                    drivers[place] = start("-c", DRIVER, str(folder), folder=folder, name=f"driver-{place}")
            for dashboard in dashboards:
                assert "trial" in dashboard.page("/campaigns/trial")
            seen = min(dashboard.reads for dashboard in dashboards)
            everybody = count_states(open_project(folder), "trial").get("RUNNING", 0) == WORKERS
            at_work = holder_among(drivers, folder)
            if killed is None and everybody and codes[LeaseError.exit_code] and seen > 5 and at_work is not None:
                at_work.send_signal(signal.SIGKILL)  # the other one has to take over
                killed = at_work
                gate.open()
            time.sleep(0.3)
        wait_for(lambda: agree(dashboards, figures))
    finally:
        everything = (*drivers, *workers, *(dashboard.process for dashboard in dashboards))
        for process in everything:
            if process.poll() is None:
                process.terminate()
        for process in everything:
            process.wait(AMPLE_S)
    logs = "".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
    assert codes[0], f"{codes}\n{logs}"
    assert codes[LeaseError.exit_code], "one of the two was turned away"
    assert killed is not None
    assert killed.returncode == -signal.SIGKILL
    assert figures[0] == figures[1] != []
    assert [process.returncode for process in workers] == [0] * WORKERS, logs

    shared, calm = open_project(folder), launch(tmp_path / "calm", WANTED)
    run_to_end(calm)
    assert final_documents(shared) == final_documents(calm)
    assert set(count_states(shared, "trial")) == {"COMPLETED"}
    computed = Counter(line.split()[0] for line in (folder / "computed.txt").read_text().splitlines())
    assert set(computed.values()) == {1}, "nothing is computed twice"
    natural = Counter(tuple(d["metadata"].get(k) for k in ("kind", "key")) for d in shared.database.workflows.find())
    assert set(natural.values()) == {1}, "nothing is submitted twice"
    assert len({d["fworker"]["name"] for d in shared.database.launches.find()}) > WORKERS // 2
    assert shared.count("workflows", {"locked": {"$exists": True}}) == 0
    assert not repair(shared, thorough=True)
