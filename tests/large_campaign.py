"""A campaign of any size, its documents shaped as real ones and through the same indexes; for benchmarks and tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.dispatch.launchpad import project_launchpad
from cathodeflow.records.campaign import CampaignRecord, Space, StageTime
from cathodeflow.records.host import HostSpec
from cathodeflow.records.outcomes import Reason, Stage
from cathodeflow.storage.connection import Project

NAME = "large"
LEVELS = ("Na4", "Na3", "Na2", "Na1")
RULES = ("relaxation_energy_variation", "step_shape", "V43_window")
KINDS = (("label", "dft"), ("train", "gpu"), ("predict", "gpu"), ("follow_up", "dft"))
FAILED_EVERY = 41  # shares no factor with the number of kinds: jobs of each kind fail
RUNNING_EVERY = 999
CHUNK = 1000
ROUND = 1  # the present one; the one before was screened


def fill(project: Project, jobs: int, candidates: int) -> None:
    """Write a campaign in the middle of the labelling of its second round.

    Parameters
    ----------
    project : Project
        A fresh one.
    jobs, candidates : int
        How many.
    """
    project_launchpad(project)  # makes the indexes of its kind of store
    started = datetime.now(UTC) - timedelta(days=20)
    labels = max(candidates // 50, 10)
    write(project, "campaigns", [_campaign(started, labels, candidates).to_mongo()])
    write(project, "candidates", (_candidate(number) for number in range(candidates)))
    write(project, "predictions", (_prediction(number) for number in range(candidates)))
    write(project, "verdicts", (_verdict(number) for number in range(max(candidates // 20, 1))))
    write(project, "labels", (_label(number) for number in range(labels)))
    write(project, "workflows", (_workflow(number) for number in range(1, jobs + 1)))
    write(project, "fireworks", (_firework(number) for number in range(1, jobs + 1)))
    write(project, "launches", (_launch(number, started) for number in range(1, jobs + 1) if _ran(number)))
    write(project, "attempts", _attempts(jobs))
    lines = ({"kind": "stage", "message": f"line {n}", "details": {}} for n in range(max(jobs // 50, 20)))
    write(project, "events", (_stamp(f"{NAME}/{n:08d}") | line for n, line in enumerate(lines)))


def write(project: Project, collection: str, documents: Iterable[dict[str, Any]]) -> None:
    """Insert new documents, many at a time: on a server `insert_missing` asks for each whether it is there."""
    if project.file is not None:
        project.insert_missing(collection, documents)
        return
    waiting = iter(documents)
    while chunk := list(islice(waiting, CHUNK)):
        project.database[collection].insert_many(chunk, ordered=False)


def key_of(number: int) -> str:
    """Return the key of a candidate."""
    return f"nvpf-{LEVELS[number % 4]}-{composition_of(number)}-{number:05x}"


def composition_of(number: int) -> str:
    """Return its composition, which twenty share."""
    return f"Cu2Mo6x{number // 20}"


def _stamp(identity: str) -> dict[str, Any]:
    return {"_id": identity, "schema_version": 1, "created_at": datetime.now(UTC), "campaign": NAME}


def _campaign(started: datetime, labels: int, candidates: int) -> CampaignRecord:
    definition = CampaignDefinition.model_validate({"name": NAME, "host": {"packaged": "nvpf"}})
    passed = [(Stage.REFERENCE, 0), (Stage.LABEL, 0), (Stage.TRAIN, 0), (Stage.PREDICT, 0), (Stage.SCREEN, 0)]
    passed.append((Stage.LABEL, ROUND))
    return CampaignRecord(
        id=NAME,
        definition=definition.model_dump(mode="json"),
        definition_sha256=definition.sha256(),
        host=HostSpec(packaged="nvpf"),
        space=Space(
            levels=Counter(LEVELS[number % 4] for number in range(candidates)), substituted=-(-candidates // 20)
        ),
        provenance="vasp:s0_relax",
        stage=Stage.LABEL,
        round=ROUND,
        selections={
            "0": [key_of(number) for number in range(labels // 2)],
            "1": [key_of(number) for number in range(labels // 2, labels + labels // 10)],
        },
        harvested={"screen:r0": 1},
        stage_times=[
            StageTime(stage=stage, round=of, entered_at=started + timedelta(hours=20 * hour))
            for hour, (stage, of) in enumerate(passed)
        ],
        started_at=started,
    )


def _candidate(number: int) -> dict[str, Any]:
    key, level = key_of(number), LEVELS[number % 4]
    fields = {"key": key, "host": "nvpf", "level": level, "composition": composition_of(number)}
    fields |= {"elements": ["Cu", "Mo"], "counts": [2, 6], "mask": 3, "multiplicity": 4}
    return _stamp(f"{NAME}/{key}") | fields


def _prediction(number: int) -> dict[str, Any]:
    energies = dict.fromkeys(
        ("formation_energy", "formation_energy_std", "relaxation_energy", "relaxation_energy_std"), 0.1
    )
    key, level = key_of(number), LEVELS[number % 4]
    fields = {"round": 0, "key": key, "level": level, "composition": composition_of(number)}
    return _stamp(f"{NAME}/r0/{key}") | fields | energies


def _verdict(number: int) -> dict[str, Any]:
    rejected = None if number % 5 == 0 else RULES[number % 3]
    rules = [{"rule": rule, "passed": rule != rejected, "margin": 0.1, "unit": "V"} for rule in RULES]
    fields = {"round": 0, "composition": composition_of(20 * number), "elements": ["Cu", "Mo"], "counts": [2, 6]}
    fields |= {"noble": number % 2 == 0, "voltages": {"V43": 2.2, "V32": 2.8, "V21": 3.5}, "uncertainty": 0.01}
    fields |= {"relaxation_energies": {}, "formation_energies": {}, "rules": rules, "score": 0.5}
    fields |= {"representatives": {level: key_of(20 * number + place) for place, level in enumerate(LEVELS)}}
    passed = {"passed": rejected is None, "rejected_by": rejected, "rank": number // 5 + 1 if not rejected else None}
    return _stamp(f"{NAME}/r0/{composition_of(20 * number)}") | fields | passed


def _label(number: int) -> dict[str, Any]:
    crystal = {"lattice": [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 10.7]], "species": ["O"] * 72}
    crystal["fractional_coordinates"] = [[0.1, 0.2, 0.3]] * 72
    relaxation = dict.fromkeys(("formation_energy", "relaxation_energy", "volume_change_percent", "max_force"), 0.1)
    relaxation |= {"steps": 20, "wall_s": 7200.0, "cores": 68, "crystal": crystal, "forces": [[0.0, 0.0, 0.01]] * 72}
    fields = {"key": key_of(number), "level": LEVELS[number % 4], "composition": composition_of(number), "round": 0}
    fields |= {"purpose": "training", "outcome": "done", "reason": None, "message": "", "relaxation": relaxation}
    if number % 50 == 7:
        fields |= {"outcome": "quarantined", "reason": "not_converged", "relaxation": None}
    origin = {"provenance": "vasp:s0_relax", "software": {}, "job_uuid": None, "fw_id": 1 + 4 * number, "attempt": 1}
    return _stamp(f"{NAME}/{key_of(number)}") | fields | {"origin": origin}


def _ran(number: int) -> bool:
    return _state(number) in {"COMPLETED", "FIZZLED", "RUNNING"}


def _state(number: int) -> str:
    if number % FAILED_EVERY == 0:
        return "FIZZLED"
    return ("COMPLETED", "COMPLETED", "COMPLETED", "READY")[number % 4] if number % RUNNING_EVERY else "RUNNING"


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
    launches = {"launches": [number] if _ran(number) else [], "archived_launches": []}
    return {"_id": number, "created_on": when, "updated_on": when, **launches, **fields}


def _launch(number: int, started: datetime) -> dict[str, Any]:
    ended = started + timedelta(seconds=17 * number)
    env = {"host": "node001", "pid": number, "slurm_job_id": str(number)}
    fields = {"launch_id": number, "fw_id": number, "state": _state(number), "fworker": {"env": env}}
    fields |= {"time_start": ended.isoformat(), "time_end": ended.isoformat(), "runtime_secs": 100.0}
    return {"_id": number, "launch_dir": "launches", "action": None, **fields}


def _attempts(jobs: int) -> Iterator[dict[str, Any]]:
    reasons = list(Reason)
    for number in range(FAILED_EVERY, jobs + 1, FAILED_EVERY):
        kind, _, key = _natural_key(number)
        fields = {"kind": kind, "key": key, "attempt": 1, "fw_id": number, "launch_id": number, "outcome": "failed"}
        told = {"reason": reasons[number // FAILED_EVERY % 12].value, "message": "it failed"}
        yield _stamp(f"{NAME}/{kind}/{key}/{number}") | fields | told | {"considered": [], "action": "rerun"}
