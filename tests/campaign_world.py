"""A whole campaign in one process: the real store, FireWorks, recipes and screening, with jobs that take microseconds.

The jobs follow a stated law in place of a potential and a network, so that what a campaign must end with is known.
"""

from __future__ import annotations

import base64
import hashlib
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from jobflow import SETTINGS, Flow
from jobflow.core.job import job
from tests.services.gate import Gate

from cathodeflow.campaign import transitions
from cathodeflow.campaign.advance import advance
from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.campaign.stages.work import Recipes
from cathodeflow.dispatch.worker import Worker, WorkerOptions
from cathodeflow.errors import CalculationError
from cathodeflow.jobs.host import candidate_structure, host_from
from cathodeflow.recipes.label import label_flow
from cathodeflow.recipes.prediction import prediction_flow
from cathodeflow.recipes.reference import reference_flow
from cathodeflow.recipes.screening import screening_flow
from cathodeflow.recipes.training import training_flow
from cathodeflow.records.campaign import CampaignRecord
from cathodeflow.records.crystal import Crystal
from cathodeflow.records.host import HostSpec
from cathodeflow.records.outcomes import Reason
from cathodeflow.storage.connection import Project, create_project

COMPUTED = "COMPUTED_LABELS"  # names the file to which each computed label adds a line
GATE = "LABELS_GATE"  # names the file of a gate that each label has to pass
FINISHED = {"done", "stopped", "paused"}


def fraction(text: str) -> float:
    """A number between 0 and 1 that depends on nothing but the text."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


def lawful_energy(level: str, composition: str, mask: int, n_atoms: int) -> float:
    """Formation energy, eV/atom: voltages of every composition lie about the paper's windows."""
    v43, v32 = 1.8 + 0.6 * fraction(composition), 2.7 + 0.3 * fraction(composition + "b")
    v21 = 3.3 + 0.8 * fraction(composition + "c")
    total = {"Na1": 0.0, "Na2": v21, "Na3": v21 + v32, "Na4": v21 + v32 + v43}[level] * -4.0
    return (-150.0 + total + 0.01 * fraction(f"{composition}{mask}")) / n_atoms


def key_of(elements: list[str], mask: int, n_sites: int) -> str:
    if len(elements) == 1:
        return f"{elements[0]}{n_sites}"
    return f"{elements[0]}{n_sites - mask.bit_count()}{elements[1]}{mask.bit_count()}"


@job
def lawful_reference(element: str, engine: dict[str, Any]) -> dict[str, Any]:
    crystal = Crystal(lattice=[[3, 0, 0], [0, 3, 0], [0, 0, 3]], species=[element], fractional_coordinates=[[0, 0, 0]])
    return {
        "element": element,
        "energy_per_atom": -1.0,
        "phase": "lawful",
        "n_atoms": 1,
        "max_force": 0.0,
        "crystal": crystal.model_dump(),
        "origin": {"provenance": "pair", "software": {}},
    }


@job
def lawful_label(
    key: str,
    host: dict[str, Any],
    level: str,
    elements: list[str],
    mask: int,
    engine: dict[str, Any],
    references: dict[str, float],
    max_volume_change: float,
) -> dict[str, Any]:
    n_sites = host_from(host).n_sites
    composition = key_of(elements, mask, n_sites)
    if composition in engine["parameters"].get("fail_compositions", []):
        raise CalculationError(f"rehearsed failure of {composition}")
    if GATE in os.environ:
        Gate(Path(os.environ[GATE])).wait()
    time.sleep(engine["parameters"].get("delay_s", 0.0))
    if COMPUTED in os.environ:
        with Path(os.environ[COMPUTED]).open("a") as computed:
            computed.write(f"{key} {time.time()}\n")
    structure = candidate_structure(host, level, elements, mask)
    energy = lawful_energy(level, composition, mask, len(structure))
    relaxation = {
        "n_atoms": len(structure),
        "energy_before": energy * len(structure) + 0.5,
        "energy_after": energy * len(structure),
        "formation_energy_before": energy + 0.01,
        "formation_energy": energy,
        "relaxation_energy": 0.01,
        "volume_before": structure.volume,
        "volume_after": structure.volume * 1.01,
        "volume_change_percent": 1.0,
        "max_force": 0.01,
        "steps": 3,
        "converged": True,
        "wall_s": 1.0,
        "crystal": Crystal.from_structure(structure).model_dump(),
        "forces": [],
    }
    n_second = mask.bit_count()
    return {
        "key": key,
        "level": level,
        "composition": composition,
        "elements": elements,
        "counts": [n_sites] if len(elements) == 1 else [n_sites - n_second, n_second],
        "mask": mask,
        "outcome": "done",
        "reason": None,
        "message": "",
        "relaxation": relaxation,
        "origin": {"provenance": "pair", "software": {}},
    }


@job
def lawful_train(
    target: str, seed: int, host: Any, rows: list[dict[str, Any]], surrogate: Any, split_seed: int
) -> dict[str, Any]:
    weights = f"{target} {seed} {len(rows)}".encode()
    metrics = {"r2": 1.0, "mae": 0.0, "rmse": 0.0, "n": 1}
    return {
        "target": target,
        "seed": seed,
        "pretrained": "none",
        "weights": base64.b64encode(weights).decode(),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "data_hash": hashlib.sha256(repr(sorted(row["key"] for row in rows)).encode()).hexdigest(),
        "n_train": len(rows) - 1,
        "n_held_out": 1,
        "epochs": 1,
        "wall_s": 0.1,
        "scaling": {"mean": 0.0, "std": 1.0},
        "metrics": metrics,
        "pretrained_metrics": metrics,
        "curve": [],
        "parity": [],
    }


@job
def lawful_predict(
    shard: dict[str, Any], host: dict[str, Any], elements: list[str], ratios: Any, weights: dict[str, list[str]]
) -> dict[str, Any]:
    from itertools import islice

    from cathodeflow.science.hosts.candidates import enumerate_candidates

    built = host_from(host)
    level = shard["level"]
    ratio_set = None if ratios is None else {tuple(ratio) for ratio in ratios}
    members = list(
        islice(enumerate_candidates(built, elements, [level], ratios=ratio_set), shard["start"], shard["stop"])
    )
    assert all(base64.b64decode(text) for ensemble in weights.values() for text in ensemble)
    n_atoms = len(built.level(level).structure)
    formation = [lawful_energy(level, member.composition, member.mask, n_atoms) for member in members]
    small = [0.001] * len(members)
    return {
        "number": shard["number"],
        "level": level,
        "start": shard["start"],
        "stop": shard["stop"],
        "keys": [member.key for member in members],
        "compositions": [member.composition for member in members],
        "masks": [member.mask for member in members],
        "means": {"formation_energy": formation, "relaxation_energy": [0.01] * len(members)},
        "stds": {"formation_energy": [fraction(member.key) for member in members], "relaxation_energy": small},
    }


UNSOUND = "UNSOUND_BRANCHES"  # parts of the keys whose follow-ups fail, with `:reason` for another than non_finite
FOLLOWED = "COMPUTED_FOLLOW_UPS"  # names the file to which each branch adds a line


@job
def lawful_branch(key: str, branch: str, static: Any = None) -> dict[str, Any]:
    if FOLLOWED in os.environ:
        with Path(os.environ[FOLLOWED]).open("a") as computed:
            computed.write(f"{key}/{branch}\n")
    unsound = dict(part.partition(":")[::2] for part in os.environ.get(UNSOUND, "").split())
    if reasons := [reason for part, reason in unsound.items() if part in f"{key}/{branch}"]:
        raise CalculationError(f"rehearsed failure of {key}/{branch}", reasons[0] or Reason.NON_FINITE)
    edges = {"functional": "PBE", "gap": 1.0, "is_metal": False, "is_direct": True, "vbm": None, "cbm": None}
    results = {
        "static": {"energy": -1.0, "edges": edges, "volume": 1.0, "n_bands": 4, "density_grid": [2, 2, 2]},
        "gap": {"pbe": edges, "hybrid": None},
        "pdos": {"energies": [0.0], "curves": [], "centres": [], "fermi_energy": 0.0},
    }
    assert branch == "static" or static["static"]["energy"] == -1.0
    return {branch: results[branch], "outcome": "done", "origin": {"provenance": "pair", "software": {}}}


def lawful_follow_up_flow(
    campaign: str,
    key: str,
    crystal: Any,
    engine: Any,
    followups: dict[str, Any],
    uuids: dict[str, str],
    *,
    category: str = "cpu",
) -> Flow:
    jobs: list[Any] = []
    for branch, identity in uuids.items():
        made = lawful_branch(key, branch, *([jobs[0].output] if jobs else []))
        made.set_uuid(identity)
        made.name = f"{campaign}/follow_up/{key}/{branch}"
        made.config.manager_config = {"_category": category, "_key": f"{key}/{branch}"}
        jobs.append(made)
    return Flow(jobs, name=f"{campaign}/follow_up/{key}")


LAWFUL = Recipes(
    reference=partial(reference_flow, reference=lawful_reference),
    label=partial(label_flow, label=lawful_label),
    train=partial(training_flow, train=lawful_train),
    predict=partial(prediction_flow, predict=lawful_predict),
    screen=screening_flow,
    follow_up=lawful_follow_up_flow,
)


def definition(name: str = "trial", **changes: Any) -> CampaignDefinition:
    """A small campaign on the packaged NVPF host."""
    fields: dict[str, Any] = {
        "name": name,
        "host": {"packaged": "nvpf"},
        "elements": ["V", "Mo"],
        "ratios": ["4/4"],
        "engine": {"name": "pair"},
        "labels": {"total": 12, "rounds": 2, "acquisition": "uncertainty"},
        "surrogate": {"seeds": 2},
        "prediction": {"shard_size": 25},
        "screening": {"voltage_windows": {"V43": [1.0, None]}},
        "validation": {"per_list": 2},
        "failures": {"tolerated_fraction": 0.3, "max_attempts": 2},
    }
    return CampaignDefinition.model_validate(fields | changes)


def launch(folder: Path, wanted: CampaignDefinition, uri: str | None = None) -> Project:
    """A project with one launched campaign."""
    project = create_project(folder, uri)
    record = CampaignRecord(
        id=wanted.name,
        definition=wanted.model_dump(mode="json"),
        definition_sha256=wanted.sha256(),
        host=HostSpec(packaged="nvpf"),
        provenance="pair",
    )
    transitions.create_campaign(project, record)
    return project


def work_one(project: Project) -> bool:
    """Run the next job in this process; whether there was one."""
    SETTINGS.JOB_STORE = project.job_store()
    return Worker(project, WorkerOptions(project.folder)).run_one()


def run_to_end(project: Project, name: str = "trial", recipes: Recipes = LAWFUL, ticks: int = 400) -> CampaignRecord:
    """Tick and work until the campaign ends."""
    for _ in range(ticks):
        campaign = advance(project, name, recipes)
        if campaign.state.value in FINISHED:
            return campaign
        while work_one(project):
            pass
    raise AssertionError(f"the campaign did not end in {ticks} ticks; it stands at {campaign.stage}")


VOLATILE = {
    "created_at",
    "fw_id",
    "software",
    "attempt",
    "started_at",
    "finished_at",
    "stage_times",
    "version",
    "counters",
    "lease",
    "events",
    "harvested",
}


def settled(value: Any) -> Any:
    """A document without what may differ between two runs: times, Firework numbers, version counters."""
    if isinstance(value, dict):
        return {key: settled(item) for key, item in sorted(value.items()) if key not in VOLATILE}
    if isinstance(value, list):
        return [settled(item) for item in value]
    return value


def final_documents(project: Project) -> dict[str, list[Any]]:
    """What a campaign ends with, per collection."""
    names = ["campaigns", "candidates", "labels", "predictions", "verdicts", "models", "validations", "references"]
    names.append("follow_ups")
    return {
        name: [settled(document) for document in sorted(project.database[name].find(), key=lambda d: d["_id"])]
        for name in names
    }


@job
def broken_train(target: str, seed: int, *_: Any) -> dict[str, Any]:
    raise CalculationError("this network does not train")
