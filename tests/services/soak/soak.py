"""The soak: a campaign of many small jobs through Slurm and a MongoDB server that are both disturbed all the while.

`python -m tests.services.soak.soak` runs the long one; SOAK_JOBS and SOAK_MINUTES change its size (`make soak`).
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.services.mongo_server import why_unavailable
from tests.services.slurm_cluster import REMEDY, SlurmCluster, missing_programs
from tests.services.soak.audit import Audit, Facts
from tests.services.soak.fates import fate_of
from tests.services.soak.faults import Faults
from tests.services.soak.world import CAMPAIGN, Plan, World, world

from cathodeflow.dispatch.repair import repair
from cathodeflow.dispatch.slurm.submissions import SUBMISSIONS
from cathodeflow.storage.connection import open_project

PATIENCE_S = 1500.0  # after the last fault


@dataclass
class Report:
    """What came of a soak.

    Attributes
    ----------
    complaints : dict of str to list of str
        What is not as it should be.
    rows : list of (str, str)
        The table.
    """

    complaints: dict[str, list[str]] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether there is nothing to complain of."""
        return not any(self.complaints.values())

    def table(self) -> str:
        """The table, and the complaints below it."""
        width = max(len(name) for name, _ in self.rows)
        lines = [f"{name:<{width}}  {value}" for name, value in self.rows]
        for about, found in self.complaints.items():
            lines += [f"{about}: {len(found)}", *(f"    {one}" for one in found[:12])]
        return "\n".join([*lines, "sound" if self.sound else "NOT SOUND"])


def soak(folder: Path, cluster: SlurmCluster, plan: Plan) -> Report:
    """Run a campaign among faults to its end and audit it."""
    began = time.monotonic()
    with world(folder, cluster, plan) as here:
        faults = Faults(here, plan)
        ended_well = _run(here, faults, began + plan.minutes * 60 + PATIENCE_S)
        wall_s = time.monotonic() - began
        faults.end()
        left = _wait_for_the_end(here)
        report = _report(here, faults, wall_s)
        if not ended_well:
            report.complaints["the campaign did not end"] = [_last_words(here)]
        if left:
            report.complaints["processes left behind"] = left
        if faults.left():
            report.complaints["faults that did not happen"] = [f"{faults.left()}: let the jobs take longer"]
        return report


def _run(here: World, faults: Faults, deadline: float) -> bool:
    shown = 0.0
    while time.monotonic() < deadline:
        faults.strike()
        if here.driver is None or here.driver.poll() is not None:
            code = None if here.driver is None else here.driver.returncode
            if code == 0:
                return True
            if code is not None and code != -9:
                here.drivers_ended.append(code)
                time.sleep(2.0)
            here.start_driver()
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            lines = Counter(line["event"] for line in here.lines())
            print(f"{time.strftime('%H:%M:%S')} {dict(faults.counts())} {dict(lines)}", flush=True)
        time.sleep(0.2)
    return False


def _last_words(here: World) -> str:
    return (here.folder / "driver.log").read_text(errors="replace")[-1500:]


def _wait_for_the_end(here: World) -> list[str]:
    """Let the allocations run out of work and end; returns what does not."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if not here.processes() and not here.cluster.output("squeue", "-h"):
            return []
        time.sleep(1.0)
    found = []
    for process in here.processes():
        with suppress(Exception):
            found.append(" ".join(process.cmdline()))
    return found or [here.cluster.output("squeue", "-h")]


def _slurm_ends(here: World) -> dict[str, str]:
    said = here.cluster.output("sacct", "-X", "-n", "-P", "-S", "now-1days", "-o", "JobIDRaw,State")
    return {line.split("|")[0]: line.split("|")[1].split()[0] for line in said.splitlines() if "|" in line}


def collect(here: World, faults: Faults) -> Facts:
    """Gather what is compared."""
    project = open_project(here.project.folder)
    campaign = project.get("campaigns", CAMPAIGN) or {}
    wanted = [key for keys in campaign.get("selections", {}).values() for key in keys]
    database = project.database
    return Facts(
        labels=list(database["labels"].find()),
        attempts=list(database["attempts"].find()),
        launches=list(database["launches"].find()),
        fireworks=list(database["fireworks"].find({}, {"fw_id": 1, "state": 1, "spec._kind": 1, "spec._key": 1})),
        ledger=here.lines(),
        injured=faults.injured,
        slurm=_slurm_ends(here),
        wanted=tuple(wanted),
    )


def _report(here: World, faults: Faults, wall_s: float) -> Report:
    from cathodeflow.dispatch.reconcile import reconcile
    from cathodeflow.dispatch.slurm.submit import settle
    from cathodeflow.dispatch.slurm.truth import SlurmTruth

    project = open_project(here.project.folder)
    with _environment(here):
        # What the next driver would do first.
        settle(project, "one_node", SlurmTruth())
        lost = reconcile(project, CAMPAIGN)
    facts = collect(here, faults)
    complaints = Audit(facts).run()
    repaired = repair(project, thorough=True)
    held = {
        "locks": project.count("workflows", {"locked": {"$exists": True}}),
        "writes pending": project.count("workflows", {"pending": {"$exists": True}}),
        "claims": project.count("fireworks", {"state": {"$in": ["RESERVED", "RUNNING"]}}),
        "open submissions": project.count(SUBMISSIONS, {"open": True}),
        "outboxes": len(list(project.folder.glob("launches/*/*/*/outbox"))),
        "lost runs": len(lost),
        "repairs": int(bool(repaired)),
    }
    if any(held.values()):
        complaints["left behind"] = [f"{name}: {count}" for name, count in held.items() if count]
        if repaired:
            complaints["left behind"].append(str(repaired))
    return Report(complaints, _rows(here, faults, facts, wall_s))


def _rows(here: World, faults: Faults, facts: Facts, wall_s: float) -> list[tuple[str, str]]:
    def words(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"

    kinds = Counter(str(d["spec"].get("_kind")) for d in facts.fireworks)
    states = Counter(d["state"] for d in facts.fireworks)
    outcomes = Counter(d["outcome"] for d in facts.labels)
    quarantined = Counter(f"{d['reason']}" for d in facts.labels if d["outcome"] != "done")
    return [
        ("jobs", f"{len(facts.fireworks)}: {words(kinds)}"),
        ("their states", words(states)),
        ("wall time", f"{wall_s / 60:.1f} min"),
        ("drivers", f"{here.drivers_started} started, ended by themselves early: {here.drivers_ended or 'none'}"),
        ("faults", words(faults.counts())),
        ("fates of labels", words(Counter(fate_of(key) for key in facts.wanted))),
        ("labels", words(outcomes)),
        ("quarantined for", words(quarantined)),
        ("failed attempts", words(Counter(d["reason"] for d in facts.attempts))),
        ("allocations", words(Counter(facts.slurm.values()))),
        ("launches", words(Counter(d["state"] for d in facts.launches))),
        ("ledger of the jobs", words(Counter(d["event"] for d in facts.ledger))),
    ]


class _environment:
    """The cluster's variables in this process, for a while."""

    def __init__(self, here: World) -> None:
        self._wanted = {name: here.cluster.environment[name] for name in ("SLURM_CONF", "PATH")}

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._wanted}
        os.environ.update(self._wanted)

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def plan_from_environment() -> Plan:
    """The long plan, with SOAK_JOBS, SOAK_MINUTES and SOAK_ALLOCATION_MIN in place of its own."""
    plan = Plan()
    return replace(
        plan,
        labels=int(os.environ.get("SOAK_JOBS", plan.labels)),
        minutes=float(os.environ.get("SOAK_MINUTES", plan.minutes)),
        allocation_min=int(os.environ.get("SOAK_ALLOCATION_MIN", plan.allocation_min)),
    )


def main() -> int:
    """Run the long soak and print its table."""
    missing = [*missing_programs()[:1], *filter(None, [why_unavailable()])]
    if missing:
        print(f"skipped: {missing[0]}; {REMEDY}")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    slurm = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = SlurmCluster(slurm)
    report = None
    try:
        cluster.start()
        report = soak(folder, cluster, plan_from_environment())
        print(report.table())
        return 0 if report.sound else 1
    finally:
        cluster.stop()
        if report is not None and report.sound:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(slurm, ignore_errors=True)
        else:
            print(f"kept for a look: {folder} {slurm}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
