"""Pages of the dashboard at 100,000 jobs and 100,000 candidates, with their queries. Aim: at most 0.5 s each."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from werkzeug.test import Client

from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.dispatch.launchpad import project_launchpad
from cathodeflow.records.campaign import CampaignRecord, StageTime
from cathodeflow.records.host import HostSpec
from cathodeflow.records.outcomes import Reason, Stage
from cathodeflow.storage.connection import Project, create_project
from cathodeflow.web.access import AccessFile, Role, new_token_account
from cathodeflow.web.site import create_site
from cathodeflow.web.throughput import Ledger

NAME = "bench"
LEVELS = ("Na4", "Na3", "Na2", "Na1")
RULES = ("relaxation_energy_variation", "step_shape", "V43_window")
KINDS = (("label", "dft"), ("train", "gpu"), ("predict", "gpu"), ("follow_up", "dft"))
RUNS = 5
AIM_S = 0.5


def fill(project: Project, jobs: int, candidates: int) -> None:
    """Write a campaign in the middle of its follow-ups.

    Parameters
    ----------
    project : Project
        A fresh one.
    jobs, candidates : int
        How many.
    """
    project_launchpad(project)  # makes the indexes of its kind of store
    started = datetime.now(UTC) - timedelta(days=20)
    project.insert_missing("campaigns", [_campaign(started).to_mongo()])
    project.insert_missing("candidates", (_candidate(number) for number in range(candidates)))
    project.insert_missing("predictions", (_prediction(number) for number in range(candidates)))
    project.insert_missing("verdicts", (_verdict(number) for number in range(max(candidates // 20, 1))))
    project.insert_missing("labels", (_label(number) for number in range(candidates // 50)))
    project.insert_missing("workflows", (_workflow(number) for number in range(1, jobs + 1)))
    project.insert_missing("fireworks", (_firework(number) for number in range(1, jobs + 1)))
    project.insert_missing("launches", (_launch(number, started) for number in range(1, jobs + 1) if _ran(number)))
    project.insert_missing("attempts", _attempts(jobs))
    events = ({"kind": "stage", "message": f"line {n}", "details": {}} for n in range(max(jobs // 50, 20)))
    project.insert_missing("events", (_stamp(f"{NAME}/{n:08d}") | event for n, event in enumerate(events)))


def key_of(number: int) -> str:
    """Return the key of a candidate."""
    return f"nvpf-{LEVELS[number % 4]}-{_composition(number)}-{number:05x}"


def _composition(number: int) -> str:
    return f"Cu2Mo6x{number // 20}"


def _stamp(identity: str) -> dict[str, Any]:
    return {"_id": identity, "schema_version": 1, "created_at": datetime.now(UTC), "campaign": NAME}


def _campaign(started: datetime) -> CampaignRecord:
    definition = CampaignDefinition.model_validate({"name": NAME, "host": {"packaged": "nvpf"}})
    entered = [
        StageTime(stage=s, round=0, entered_at=started + timedelta(hours=h)) for h, s in enumerate(list(Stage)[1:8])
    ]
    return CampaignRecord(
        id=NAME,
        definition=definition.model_dump(mode="json"),
        definition_sha256=definition.sha256(),
        host=HostSpec(packaged="nvpf"),
        provenance="vasp:s0_relax",
        stage=Stage.FOLLOW_UP,
        selections={"0": [key_of(number) for number in range(2000)]},
        shortlist=[_composition(0), _composition(20)],
        harvested={"screen:r0": 1},
        stage_times=entered,
        started_at=started,
    )


def _candidate(number: int) -> dict[str, Any]:
    fields = {"key": key_of(number), "host": "nvpf", "level": LEVELS[number % 4], "composition": _composition(number)}
    fields |= {"elements": ["Cu", "Mo"], "counts": [2, 6], "mask": 3, "multiplicity": 4}
    return _stamp(f"{NAME}/{key_of(number)}") | fields


def _prediction(number: int) -> dict[str, Any]:
    energies = dict.fromkeys(
        ("formation_energy", "formation_energy_std", "relaxation_energy", "relaxation_energy_std"), 0.1
    )
    fields = {"round": 0, "key": key_of(number), "level": LEVELS[number % 4], "composition": _composition(number)}
    return _stamp(f"{NAME}/r0/{key_of(number)}") | fields | energies


def _verdict(number: int) -> dict[str, Any]:
    rejected = None if number % 5 == 0 else RULES[number % 3]
    rules = [{"rule": rule, "passed": rule != rejected, "margin": 0.1, "unit": "V"} for rule in RULES]
    fields = {"round": 0, "composition": _composition(20 * number), "elements": ["Cu", "Mo"], "counts": [2, 6]}
    fields |= {"noble": number % 2 == 0, "voltages": {"V43": 2.2, "V32": 2.8, "V21": 3.5}, "uncertainty": 0.01}
    fields |= {"relaxation_energies": {}, "formation_energies": {}, "rules": rules, "score": 0.5}
    fields |= {"representatives": {level: key_of(20 * number + place) for place, level in enumerate(LEVELS)}}
    fields |= {
        "passed": rejected is None,
        "rejected_by": rejected,
        "rank": number // 5 + 1 if rejected is None else None,
    }
    return _stamp(f"{NAME}/r0/{_composition(20 * number)}") | fields


def _label(number: int) -> dict[str, Any]:
    crystal = {"lattice": [[9.0, 0, 0], [0, 9.0, 0], [0, 0, 10.7]], "species": ["O"] * 72}
    crystal["fractional_coordinates"] = [[0.1, 0.2, 0.3]] * 72
    relaxation = dict.fromkeys(("formation_energy", "relaxation_energy", "volume_change_percent", "max_force"), 0.1)
    relaxation |= {"steps": 20, "wall_s": 7200.0, "cores": 68, "crystal": crystal, "forces": [[0.0, 0.0, 0.01]] * 72}
    fields = {"key": key_of(number), "level": LEVELS[number % 4], "composition": _composition(number), "round": 0}
    fields |= {"purpose": "training", "outcome": "done", "reason": None, "message": "", "relaxation": relaxation}
    origin = {"provenance": "vasp:s0_relax", "software": {}, "job_uuid": None, "fw_id": 1 + 4 * number, "attempt": 1}
    return _stamp(f"{NAME}/{key_of(number)}") | fields | {"origin": origin}


def _ran(number: int) -> bool:
    return _state(number) in {"COMPLETED", "FIZZLED", "RUNNING"}


def _state(number: int) -> str:
    if number % 40 == 0:
        return "FIZZLED"
    return ("COMPLETED", "COMPLETED", "COMPLETED", "READY")[number % 4] if number % 1000 else "RUNNING"


def _natural_key(number: int) -> tuple[str, str, str]:
    kind, category = KINDS[(number - 1) % 4]
    return kind, category, key_of(number // 4) if kind in {"label", "follow_up"} else f"r0-{number}"


def _workflow(number: int) -> dict[str, Any]:
    kind, _, key = _natural_key(number)
    metadata = {"campaign": NAME, "kind": kind, "key": key, "attempt": number}
    fields = {"nodes": [number], "state": _state(number), "name": f"{NAME}/{kind}/{key}", "metadata": metadata}
    return {"_id": number, "links": {}, "parent_links": {}, "fw_states": {}, "created_on": datetime.now(UTC), **fields}


def _firework(number: int) -> dict[str, Any]:
    kind, category, key = _natural_key(number)
    spec: dict[str, Any] = {"_campaign": NAME, "_kind": kind, "_key": key, "_category": category, "_priority": 0}
    spec["_tasks"] = [
        {"_fw_name": "{{jobflow.managers.fireworks.JobFiretask}}", "job": {"uuid": key, "function": "x" * 900}}
    ]
    when = datetime.now(UTC).isoformat()
    fields = {"fw_id": number, "name": f"{NAME}/{kind}/{key}", "state": _state(number), "spec": spec}
    launches = [number] if _ran(number) else []
    return {
        "_id": number,
        "launches": launches,
        "archived_launches": [],
        "created_on": when,
        "updated_on": when,
        **fields,
    }


def _launch(number: int, started: datetime) -> dict[str, Any]:
    ended = started + timedelta(seconds=17 * number)
    env = {"host": "node001", "pid": number, "slurm_job_id": str(number)}
    fields = {"launch_id": number, "fw_id": number, "state": _state(number), "fworker": {"env": env}}
    fields |= {"time_start": ended.isoformat(), "time_end": ended.isoformat(), "runtime_secs": 100.0}
    return {"_id": number, "launch_dir": "launches", "action": None, **fields}


def _attempts(jobs: int) -> Iterator[dict[str, Any]]:
    reasons = list(Reason)
    for number in range(40, jobs + 1, 40):
        kind, _, key = _natural_key(number)
        fields = {"kind": kind, "key": key, "attempt": 1, "fw_id": number, "launch_id": number, "outcome": "failed"}
        fields |= {
            "reason": reasons[number // 40 % 12].value,
            "message": "it failed",
            "considered": [],
            "action": "rerun",
        }
        yield _stamp(f"{NAME}/{kind}/{key}/{number}") | fields


class CountedQueries:
    """Counts what a project is asked, from outside: its methods are wrapped."""

    METHODS = ("get", "select", "count", "count_by", "any_matches", "campaign_names")

    def __init__(self, project: Project) -> None:
        self.number = 0
        for name in self.METHODS:
            setattr(project, name, self._counted(getattr(project, name)))

    def _counted(self, method: Any) -> Any:
        def ask(*args: Any, **options: Any) -> Any:
            self.number += 1
            return method(*args, **options)

        return ask


def paths(jobs: int) -> list[str]:
    """Return the pages that are timed."""
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
        f"{campaign}/candidates?composition={_composition(40)}",
        f"{campaign}/candidates/{key_of(3)}",
        f"{campaign}/log?kind=stage",
        "/jobs/40",
        f"/jobs/{jobs}",
        "/metrics",
        "/fireworks/fw/",
        "/fireworks/fw/40",
        "/fireworks/wf/40",
        "/fireworks/",
        "/fireworks/wf/",
    ]


def main() -> int:
    """Fill a store and time the pages."""
    jobs = candidates = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    slow = []
    with tempfile.TemporaryDirectory() as scratch:
        project = create_project(Path(scratch))
        start = time.perf_counter()
        fill(project, jobs, candidates)
        print(f"filled a store with {candidates:,} candidates and {jobs:,} jobs in {time.perf_counter() - start:.1f} s")
        access = AccessFile(Path(scratch) / "access.json")
        account, token = new_token_account("bench", Role.OPERATOR, None)
        access.add_for_this_process(account)
        ledger = Ledger(project)
        start = time.perf_counter()
        ledger.advance()
        print(f"running sums of all launches, once and in the background: {time.perf_counter() - start:.1f} s")
        client = Client(create_site(project, access, ledger=ledger))
        queries = CountedQueries(project)
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
        for path in paths(jobs):
            times = []
            for _ in range(RUNS):
                queries.number = 0
                start = time.perf_counter()
                answer = client.get(path, headers=headers)
                times.append(time.perf_counter() - start)
                assert answer.status_code == 200, (path, answer.status_code)
            worst = max(times[1:])
            print(f"{path:<66} {worst:6.3f} s, ratio to the aim {worst / AIM_S:5.2f}, {queries.number:3d} queries")
            slow += [path] if worst > AIM_S and not path.startswith("/fireworks") else []
    return len(slow)


if __name__ == "__main__":
    sys.exit(main())
