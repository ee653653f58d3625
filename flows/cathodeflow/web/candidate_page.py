"""One candidate: its crystal, what was predicted, computed and judged of it, and the jobs that did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify
from werkzeug.exceptions import NotFound

from cathodeflow.dispatch.jobs import FIREWORKS
from cathodeflow.records.crystal import Crystal
from cathodeflow.records.outcomes import JobKind
from cathodeflow.web import scope
from cathodeflow.web.rendering import answer
from cathodeflow.web.scope import asked

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

VERDICTS_SHOWN = 20
MOST_WORKFLOWS = 20
MOST_ATOMS = 2000
STATES_OF_CRYSTAL = ("relaxed", "unrelaxed")

pages = Blueprint("candidate", __name__)


@pages.get("/campaigns/<name>/candidates/<key>")
def candidate(name: str, key: str) -> Response:
    """Answer with one candidate."""
    campaign = scope.campaign_document(name)
    project = scope.project()
    found = _candidate(project, name, key)
    composition = found["composition"]
    rounds = [f"{name}/r{number}/{key}" for number in range(campaign["round"] + 1)]
    chosen = {"campaign": name, "composition": composition}
    follow_ups = [entry for entry in project.select("follow_ups", chosen) if entry["key"] == key]
    verdicts = _verdicts(project, chosen)
    label = project.get("labels", f"{name}/{key}")
    return answer(
        "candidate.html",
        ("candidate_results", "candidate_jobs"),
        title=key,
        name=name,
        campaign=campaign,
        candidate=found,
        label=label,
        relaxation=None if label is None else label.get("relaxation"),
        predictions=sorted(project.select("predictions", {"_id": {"$in": rounds}}), key=lambda entry: entry["round"]),
        verdicts=verdicts,
        validation=project.get("validations", f"{name}/{composition}"),
        follow_ups=[entry | {"found": finding(entry)} for entry in follow_ups],
        siblings=_siblings(verdicts, found["level"]),
        jobs=_jobs(project, name, key),
        model_round=campaign["round"],
    )


def _candidate(project: Project, name: str, key: str) -> dict[str, Any]:
    """Return a candidate; labels that were ingested from elsewhere may have no document of it."""
    found = project.get("candidates", f"{name}/{key}") or project.get("labels", f"{name}/{key}")
    if found is None:
        raise NotFound("There is no such candidate.")
    return found


def _verdicts(project: Project, chosen: dict[str, Any]) -> list[dict[str, Any]]:
    found = project.select("verdicts", chosen, limit=VERDICTS_SHOWN)
    return sorted(found, key=lambda entry: -entry["round"])


def _siblings(verdicts: list[dict[str, Any]], level: str) -> dict[str, str]:
    """Return the representative of the composition at every other level, as the last verdict has it."""
    last = verdicts[0]["representatives"] if verdicts else {}
    return {other: key for other, key in last.items() if other != level}


def _jobs(project: Project, name: str, key: str) -> list[dict[str, Any]]:
    kinds = [JobKind.LABEL.value, JobKind.FOLLOW_UP.value]
    chosen = {"metadata.campaign": name, "metadata.kind": {"$in": kinds}, "metadata.key": key}
    workflows = project.select("workflows", chosen, limit=MOST_WORKFLOWS)
    nodes = [node for workflow in workflows for node in workflow["nodes"]]
    found = project.select(FIREWORKS, {"fw_id": {"$in": nodes}}) if nodes else []
    return sorted(
        (
            {
                "fw_id": entry["fw_id"],
                "state": entry["state"],
                "kind": entry["spec"].get("_kind"),
                "key": entry["spec"].get("_key"),
                "updated_on": entry.get("updated_on"),
            }
            for entry in found
            if entry["spec"].get("_campaign") == name
        ),
        key=lambda entry: entry["fw_id"],
    )


def finding(entry: Mapping[str, Any]) -> str:
    """Return in a few words what a branch of the follow-ups found."""
    gap = entry.get("gap") or {}
    edges = gap.get("hybrid") or gap.get("pbe")
    if edges:
        return "metal" if edges["is_metal"] else f"gap {edges['gap']:.2f} eV ({edges['functional']})"
    if entry.get("static"):
        return f"energy {entry['static']['energy']:.3f} eV"
    bonding = entry.get("bonding") or {}
    if bonding.get("mean_strength") is not None:
        return f"mean bond strength {bonding['mean_strength']:.3f} eV"
    displaced = (entry.get("density_difference") or {}).get("displaced_charge")
    return "" if displaced is None else f"displaced charge {displaced:.3f} e"


@pages.get("/campaigns/<name>/candidates/<key>/crystal.json")
def crystal(name: str, key: str) -> Response:
    """Answer with the atoms of a candidate, for the viewer."""
    campaign = scope.campaign_document(name)
    project = scope.project()
    which = asked("which", STATES_OF_CRYSTAL) or "relaxed"
    label = project.get("labels", f"{name}/{key}") if which == "relaxed" else None
    relaxation = None if label is None else label.get("relaxation")
    if which == "relaxed":
        if relaxation is None:
            raise NotFound("This candidate was not relaxed.")
        found = Crystal.model_validate(relaxation["crystal"])
    else:
        found = unrelaxed(campaign, _candidate(project, name, key))
    response = jsonify(drawn(found))
    response.headers["Cache-Control"] = "private, max-age=300"
    response.headers["Vary"] = "Cookie"
    return response


def unrelaxed(campaign: dict[str, Any], candidate: dict[str, Any]) -> Crystal:
    """Make a candidate's crystal from its host, as the jobs do."""
    from cathodeflow.jobs.host import candidate_structure

    structure = candidate_structure(campaign["host"], candidate["level"], candidate["elements"], candidate["mask"])
    return Crystal.from_structure(structure)


def drawn(crystal: Crystal) -> dict[str, Any]:
    """Return what the viewer draws: lattice vectors (Å), and of each atom element and fractional place in [0, 1)."""
    from pymatgen.core import Element

    elements = {symbol: Element(symbol) for symbol in set(crystal.species)}
    radii = {
        symbol: float(element.atomic_radius or 1.2) if symbol != "O" else 0.66 for symbol, element in elements.items()
    }
    return {
        "lattice": crystal.lattice,
        "radii": radii,
        "atoms": [
            [symbol, *(round(value % 1.0, 5) for value in place)]
            for symbol, place in zip(crystal.species, crystal.fractional_coordinates, strict=True)
        ][:MOST_ATOMS],
    }
