"""A finished campaign with something to ask about: failures, repairs, follow-ups, errors that fall from round to round.

Its numbers follow laws stated here, so that the answer to any question is known without the store.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jobflow import Flow
from jobflow.core.job import job
from tests.campaign_world import (
    LAWFUL,
    definition,
    fraction,
    launch,
    lawful_label,
    lawful_predict,
    lawful_train,
    run_to_end,
)

from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.recipes.label import label_flow
from cathodeflow.recipes.prediction import prediction_flow
from cathodeflow.recipes.training import training_flow
from cathodeflow.storage.connection import Project, create_project

NAME = "nvpf"
CORES = 4
LEVELS = ("Na4", "Na3", "Na2", "Na1")
LOST = {"V4Mo4": "exploded_volume", "V4Cr4": "broken_polyhedra", "Cr4Mo4": "broken_polyhedra"}
SPREAD = 0.06  # eV/atom between the arrangements of a composition, as predicted
FREE_ENERGIES = [-2.0, -1.0, 0.0, 1.0]


def wanted() -> CampaignDefinition:
    """Sixteen labels in two rounds, rules that reject some, three branches of follow-ups."""
    return definition(
        NAME,
        elements=["V", "Mo", "Cr"],
        labels={"total": 16, "rounds": 2, "acquisition": "uncertainty"},
        surrogate={"seeds": 2},
        prediction={"shard_size": 200},
        screening={"voltage_windows": {"V43": [1.0, 2.2], "V21": [3.4, 3.9]}},
        followups={"branches": ["gap", "pdos", "bonding"]},
        failures={"tolerated_fraction": 0.6, "max_attempts": 2},
        validation={"per_list": 1},
    )


def wall_s(key: str) -> float:
    """How long the label of a candidate took, s."""
    return 100.0 + round(900 * fraction(f"{key} took"))


def repairs(key: str) -> list[dict[str, Any]]:
    """What custodian did to the label of a candidate."""
    if "Mo" not in key:
        return []
    first = {"handler": "VaspErrorHandler", "errors": ["zbrent"], "changes": ["INCAR IBRION = 1"]}
    second = {"handler": "UnconvergedErrorHandler", "errors": ["unconverged"], "changes": ["INCAR ALGO = Normal"]}
    return [first, second] if "Mo8" in key else [first]


def lost(key: str) -> str | None:
    """Why the label of a candidate of a mixed composition was quarantined; half of them."""
    reason = LOST.get(key.split("-")[2])
    return reason if reason and fraction(f"{key} lost") < 0.5 else None


def volume_change(key: str) -> float:
    """Of the relaxed against the unrelaxed cell, percent."""
    return 4.0 * fraction(f"{key} swells")


def gaps(key: str) -> tuple[float, float | None]:
    """Gap with PBE and with HSE06, eV; the second is None for a metal."""
    pbe = 0.0 if "Na1-Mo8" in key else 0.5 + fraction(f"{key} gap")
    return (pbe, pbe + 1.2) if pbe else (0.0, None)


def strengths(key: str) -> dict[str, float]:
    """−ICOHP of each pair of a candidate, eV."""
    metals = [metal for metal in ("V", "Mo", "Cr") if metal in key.split("-")[2]]
    return {f"{metal}-{ligand}": 2.0 + fraction(f"{key} {metal}-{ligand}") for metal in metals for ligand in "OF"}


def mae(n_labels: int) -> float:
    """Error of a network on its held-out labels, eV/atom."""
    return 0.3 / n_labels


def shift(key: str) -> float:
    """By how much an arrangement is predicted above its composition's law, eV/atom."""
    return 0.0 if key.endswith("-00") else SPREAD * fraction(f"{key} lies")


@job
def demo_label(key: str, *arguments: Any, **options: Any) -> dict[str, Any]:
    label = lawful_label.original(key, *arguments, **options)
    relaxation = label["relaxation"]
    change = volume_change(key)
    relaxation |= {"wall_s": wall_s(key), "cores": CORES, "volume_change_percent": change}
    relaxation["volume_after"] = relaxation["volume_before"] * (1 + change / 100)
    reason = lost(key)
    if reason:
        label |= {"outcome": "quarantined", "reason": reason, "message": f"rehearsed {reason}"}
    return label | {"interventions": repairs(key)}


@job
def demo_train(target: str, seed: int, host: Any, rows: list[dict[str, Any]], *rest: Any) -> dict[str, Any]:
    made = lawful_train.original(target, seed, host, rows, *rest)
    metrics = {"r2": 0.9, "mae": mae(len(rows)) * (1 + seed), "rmse": 2 * mae(len(rows)), "n": 1}
    points = [
        {"key": row["key"], "true": -2.0, "predicted": -1.9, "pretrained": 0.0, "held_out": place == 0}
        for place, row in enumerate(rows)
    ]
    curve = [{"epoch": epoch, "train": 1.0 / (1 + epoch), "validation": None} for epoch in range(3)]
    pretrained = metrics | {"mae": 1.0}
    return made | {
        "metrics": metrics,
        "pretrained_metrics": pretrained,
        "parity": points,
        "curve": curve,
        "wall_s": 36.0,
    }


@job
def demo_predict(shard: dict[str, Any], *arguments: Any) -> dict[str, Any]:
    made = lawful_predict.original(shard, *arguments)
    energies = made["means"]["formation_energy"]
    made["means"]["formation_energy"] = [e + shift(key) for e, key in zip(energies, made["keys"], strict=True)]
    return made


def _edges(functional: str, gap: float) -> dict[str, Any]:
    return {"functional": functional, "gap": gap, "is_metal": gap == 0, "is_direct": True, "vbm": None, "cbm": None}


def _bonding(key: str) -> dict[str, Any]:
    by_pair = strengths(key)
    bonds = [
        {"centre": place, "ligand": 40 + place, "elements": pair.split("-"), "length": 2.0, "strength": strength}
        for place, (pair, strength) in enumerate(by_pair.items())
    ]
    mean = sum(by_pair.values()) / len(by_pair)
    return {
        "bonds": bonds,
        "polyhedra": [],
        "mean_strength": mean,
        "mean_by_pair": by_pair,
        "charge_spilling": [0.01, 0.02],
        "basis": {},
        "program": "lobster 5.1.1",
    }


@job
def demo_branch(key: str, branch: str, static: Any = None) -> dict[str, Any]:
    pbe, hybrid = gaps(key)
    edges = _edges("PBE", pbe)
    curve = {"element": "V", "shell": "d", "up": [0.0, 1.0, 2.0, 0.0], "down": [0.0, 1.0, 1.0, 0.0]}
    centre = {"element": "V", "shell": "d", "centre": -1.5, "width": 1.0, "states": 4.0}
    results = {
        "static": {"energy": -500.0, "edges": edges, "volume": 900.0, "n_bands": 400, "density_grid": [2, 2, 2]},
        "gap": {"pbe": edges, "hybrid": hybrid and _edges("HSE06", hybrid)},
        "pdos": {"energies": FREE_ENERGIES, "curves": [curve], "centres": [centre], "fermi_energy": 2.5},
        "bonding": _bonding(key),
    }
    assert branch == "static" or static["static"]["energy"] == -500.0
    origin = {"provenance": "pair", "software": {}}
    return {branch: results[branch], "outcome": "done", "wall_s": 360.0, "origin": origin}


def _follow_up(
    campaign: str, key: str, crystal: Any, engine: Any, followups: Any, uuids: dict[str, str], **options: Any
):
    jobs: list[Any] = []
    for branch, identity in uuids.items():
        made = demo_branch(key, branch, *([jobs[0].output] if jobs else []))
        made.set_uuid(identity)
        made.name = f"{campaign}/follow_up/{key}/{branch}"
        made.config.manager_config = {"_category": options.get("category", "cpu"), "_key": f"{key}/{branch}"}
        jobs.append(made)
    return Flow(jobs, name=f"{campaign}/follow_up/{key}")


DEMO = replace(
    LAWFUL,
    label=partial(label_flow, label=demo_label),
    train=partial(training_flow, train=demo_train),
    predict=partial(prediction_flow, predict=demo_predict),
    follow_up=_follow_up,
)


def make_demo(folder: Path, uri: str | None = None) -> Project:
    """Run the campaign to its end in a folder, on a MongoDB server if an address is given."""
    create_project(folder, uri)
    project = launch(folder, wanted())
    campaign = run_to_end(project, NAME, DEMO)
    assert campaign.state == "done", campaign.message
    return project
