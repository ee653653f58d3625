"""`cflow status` and the dashboard's pages at 100,000 jobs and 100,000 candidates, on both kinds of store.

Aim: at most 0.5 s each, the command with its imports. The floor is an interpreter that imports nothing. The server is a
`mongod` on PATH, else mongo-java-server (`make services`), which counts by reading every document where MongoDB reads
an index. Arguments: NUMBER of jobs and candidates, then `embedded` or `server` for one of the two only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from pymongo import monitoring

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

AIM_S = 0.5
RUNS = 7
PAGE_RUNS = 4
SLOWEST_TOLD = 4
QUICK_START = "-XX:TieredStopAtLevel=1"


class TimedReads(monitoring.CommandListener):
    """Every command that a server has answered, with its seconds, one after the other."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, str]] = []
        self._command = ""

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Remember what is asked."""
        asked = event.command.get("pipeline", event.command.get("filter", ""))
        self._command = f"{event.command_name} {event.command.get(event.command_name)} {asked}"

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Note how long it took."""
        self.sent.append((event.duration_micros / 1e6, self._command))

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing: the command raises."""


def best_of(command: list[str]) -> float:
    """Shortest wall time of several runs, seconds; standard output goes to a pipe."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment)
        times.append(time.perf_counter() - start)
    return min(times)


def paths(jobs: int) -> list[str]:
    """Return the pages that are timed; those of FireWorks' own site last."""
    from tests.large_campaign import FAILED_EVERY, NAME, composition_of, key_of

    campaign = f"/campaigns/{NAME}"
    return [
        "/",
        campaign,
        f"{campaign}?parts=1",
        f"{campaign}/jobs",
        f"{campaign}/jobs?state=FIZZLED",
        f"{campaign}/jobs?kind=label&state=COMPLETED&page=20",
        f"{campaign}/jobs?category=gpu",
        f"{campaign}/jobs?kind=train&category=gpu",
        f"{campaign}/jobs?key={key_of(7)}",
        f"{campaign}/compositions",
        f"{campaign}/compositions?outcome=passed&element=Cu",
        f"{campaign}/candidates?level=Na3&page=40",
        f"{campaign}/candidates?composition={composition_of(40)}",
        f"{campaign}/candidates/{key_of(3)}",
        f"{campaign}/log?kind=stage",
        f"/jobs/{FAILED_EVERY}",
        f"/jobs/{jobs}",
        "/metrics",
        "/fireworks/fw/",
        f"/fireworks/fw/{FAILED_EVERY}",
        f"/fireworks/wf/{FAILED_EVERY}",
        "/fireworks/",
        "/fireworks/wf/",
    ]


def told(what: str, seconds: float, note: str = "", aim: float = AIM_S) -> int:
    """Print a figure; returns 1 where it misses its aim."""
    print(f"  {what:<62} {seconds:6.3f} s   ratio to the aim {seconds / aim:5.2f}{note}", flush=True)
    return int(seconds > aim)


def time_commands(folder: Path, number: int) -> int:
    """Time `cflow status` as a shell starts it, and its reading alone in a process that is warm."""
    from tests.large_campaign import NAME

    from cathodeflow.campaign.status import read_status
    from cathodeflow.storage.connection import open_project

    reads = TimedReads()
    monitoring.register(reads)  # for the client that is made below
    cflow = [sys.executable, "-m", "cathodeflow.cli.app"]
    missed = told("cflow status", best_of([*cflow, "status", "-p", str(folder)]))
    missed += told("cflow status --json", best_of([*cflow, "status", "-p", str(folder), "--json"]))
    project = open_project(folder)
    alone = []
    for _ in range(RUNS):
        start = time.perf_counter()
        report = read_status(project, NAME, beside=True)
        alone.append(time.perf_counter() - start)
    assert (sum(report.jobs.values()), report.candidates) == (number, number)
    told("its reading alone", min(alone))
    reads.sent.clear()
    read_status(project, NAME)
    for seconds, sent in sorted(reads.sent, reverse=True)[:SLOWEST_TOLD]:
        print(f"    {seconds:.3f} s of it {sent}"[:116], flush=True)
    return missed


def time_pages(folder: Path, number: int, counting: Callable[[Any], AbstractContextManager[Any]]) -> int:
    """Time the pages, the worst of several requests after the first; FireWorks' own have no aim."""
    from werkzeug.test import Client

    from cathodeflow.storage.connection import open_project
    from cathodeflow.web.access import AccessFile, Role, new_token_account
    from cathodeflow.web.site import create_site
    from cathodeflow.web.throughput import Ledger

    project = open_project(folder)
    access = AccessFile(folder / "access.json")
    account, token = new_token_account("bench", Role.OPERATOR, None)
    access.add_for_this_process(account)
    ledger = Ledger(project)
    start = time.perf_counter()
    ledger.advance()
    print(f"  running sums of all launches, once and in the background: {time.perf_counter() - start:.1f} s")
    client = Client(create_site(project, access, ledger=ledger))
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
    missed = 0
    for path in paths(number):
        times = []
        for _ in range(1 + PAGE_RUNS):
            with counting(project) as asked:
                start = time.perf_counter()
                answer = client.get(path, headers=headers)
                times.append(time.perf_counter() - start)
            assert answer.status_code == 200, (path, answer.status_code)
        is_own = not path.startswith("/fireworks")
        note = f", {asked.total():3d} queries, first {times[0]:6.3f} s"
        missed += told(path, max(times[1:]), note) if is_own else told(path, max(times[1:]), note) * 0
    return missed


def measure(what: str, folder: Path, uri: str | None, number: int, counting: Any) -> int:
    """Fill a store and print what reading it costs; returns how many aims were missed."""
    from tests.large_campaign import fill

    from cathodeflow.storage.connection import create_project

    project = create_project(folder, uri)
    start = time.perf_counter()
    fill(project, number, number)
    print(f"{what}, {number:,} jobs and candidates, filled in {time.perf_counter() - start:.0f} s", flush=True)
    return time_commands(folder, number) + time_pages(folder, number, counting)


def in_memory(command: list[str]) -> list[str]:
    """Return the command of a server that keeps all in memory and runs as one that has been up for long.

    mongo-java-server's file compares keys by serialising them: filling it takes ten times as long. The tests' servers
    live for seconds, and are spared the compiler that makes this one two to three times as fast. A `mongod` is left as
    it is.
    """
    if "WireServer" not in command:
        return command
    words = [word for word in command[:-1] if word != QUICK_START]
    return ["-Xmx6g" if word.startswith("-Xmx") else word for word in words]


def measure_server(folder: Path, number: int) -> int:
    """Start a server and measure on it."""
    from tests.counted_queries import CountedCommands
    from tests.services.mongo_server import MongoServer, why_unavailable

    if missing := why_unavailable():
        print(f"MongoDB server skipped: {missing}")
        return 0
    commands = CountedCommands()
    monitoring.register(commands)

    @contextmanager
    def counting(_: Any) -> Any:
        commands.sent.clear()
        yield commands.sent

    class Server(MongoServer):
        def command(self) -> list[str]:
            return in_memory(super().command())

    server = Server(folder / "mongo")
    server.start()
    try:
        return measure("MongoDB server", folder / "server", server.database_uri("bench"), number, counting)
    finally:
        server.stop()


def main() -> int:
    """Print the figures; returns how many aims were missed."""
    from tests.counted_queries import counted_methods

    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    with tempfile.TemporaryDirectory() as name:
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(name) / "bytecode")  # else some sources are compiled at each start
        python, cflow = [sys.executable, "-c", "pass"], [sys.executable, "-m", "cathodeflow.cli.app"]
        print(f"python alone {best_of(python):.3f} s")
        missed = told("cflow --help", best_of([*cflow, "--help"]))
        if only != "server":
            missed += measure("embedded store", Path(name) / "embedded", None, number, counted_methods)
        if only != "embedded":
            missed += measure_server(Path(name), number)
    return missed


if __name__ == "__main__":
    sys.exit(main())
