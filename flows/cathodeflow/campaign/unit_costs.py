"""What one of each costs on one core: stated, or measured on what a project has computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp, log
from statistics import median, pstdev
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign.dft_plan import RELAXATION, Calibration, price_of
from cathodeflow.records.outcomes import Branch, Outcome

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from cathodeflow.campaign.definition import CampaignDefinition
    from cathodeflow.storage.connection import Project

# What `UnitCosts` counts relaxations in: cells of 72 atoms, from about 5 to 0.05 eV/Å.
REFERENCE_ATOMS = 72
START_FORCE = 5.0
REFERENCE_FORCE = 0.05


@dataclass(frozen=True)
class UnitCosts:
    """What one of each costs on one core of this machine, in seconds; disk in bytes.

    The defaults are stated, measured on two cores of a 2026 x86-64 virtual machine with CHGNet 0.3.0 and cells of 72
    atoms; a project that has labels replaces what it has measured (`measured_unit_costs`).

    Attributes
    ----------
    relaxation_step_s : float
        One energy, force and stress call of the potential.
    relaxation_steps : float
        Calls of one relaxation to 0.05 eV/Å; scaled with the logarithm of the force threshold.
    training_s_per_label_epoch : float
        One label once through the network, forward and backward, with one block that learns.
    basis : str
        ``stated``, or what it was measured on.
    """

    relaxation_step_s: float = 0.15
    relaxation_steps: float = 40.0
    training_s_per_label_epoch: float = 0.02
    prediction_s: float = 0.003
    job_overhead_s: float = 0.05
    candidate_bytes: int = 400
    prediction_bytes: int = 400
    label_bytes: int = 20_000
    model_bytes: int = 2_000_000
    basis: str = "stated"


def relaxation_scale(max_force: float) -> float:
    """Return the calls of a relaxation to `max_force` (eV/Å) for each call of one to 0.05 eV/Å.

    Forces fall about exponentially with the calls of an optimizer, so the calls grow with the logarithm.
    """
    return max(log(START_FORCE / max_force), 0.1) / log(START_FORCE / REFERENCE_FORCE)


def training_scale(trained_blocks: int) -> float:
    """Return what an epoch costs against one with a single learning block: measured 1 and 2 for one block and three."""
    return 0.5 + 0.5 * trained_blocks


def measured_unit_costs(project: Project, engine: Mapping[str, Any]) -> UnitCosts | None:
    """Return what labels and trainings have cost in a project with this engine.

    Parameters
    ----------
    project : Project
        The open project.
    engine : mapping
        The `engine` section of a definition.

    Returns
    -------
    UnitCosts or None
        None without a usable label of that engine. What was not measured keeps its stated cost.
    """
    from cathodeflow.calculators.engines import provenance, relaxation_settings

    labels = project.database["labels"].find(
        {"outcome": Outcome.DONE.value, "origin.provenance": provenance(engine)},
        dict.fromkeys(("campaign", *(f"relaxation.{part}" for part in ("wall_s", "cores", "steps", "n_atoms"))), 1),
    )
    definitions = {entry["_id"]: entry["definition"] for entry in project.database["campaigns"].find({})}
    thresholds = {name: relaxation_settings(definition["engine"]).max_force for name, definition in definitions.items()}
    blocks = {name: definition["surrogate"]["trained_blocks"] for name, definition in definitions.items()}
    n, seconds, calls, comparable = 0, 0.0, 0.0, 0.0
    for label in labels:
        relaxation, threshold = label["relaxation"], thresholds[label["campaign"]]
        n += 1
        seconds += relaxation["wall_s"] * relaxation.get("cores", 1) * REFERENCE_ATOMS / relaxation["n_atoms"]
        calls += max(relaxation["steps"], 1)
        comparable += relaxation["steps"] / relaxation_scale(threshold)
    if not n:
        return None
    costs = UnitCosts(
        relaxation_step_s=seconds / calls, relaxation_steps=comparable / n, basis=f"measured on {n} labels here"
    )
    epochs = [
        (entry["wall_s"], entry["n_train"] * entry["epochs"] * training_scale(blocks[entry["campaign"]]))
        for entry in project.database["models"].find({}, {"campaign": 1, "wall_s": 1, "n_train": 1, "epochs": 1})
        if entry["epochs"]
    ]
    if not epochs:
        return costs
    return replace(
        costs,
        training_s_per_label_epoch=sum(wall for wall, _ in epochs) / sum(seen for _, seen in epochs),
        basis=f"{costs.basis} and {len(epochs)} trainings",
    )


SMALLEST_SPREAD = 1.2
"""A handful of alike runs says too little of the next ones for less."""


def measured_dft_costs(project: Project, definition: CampaignDefinition, working_ion: str) -> dict[str, Calibration]:
    """Return what runs of VASP, or of its rehearsal, have cost in a project against the model, by kind.

    Parameters
    ----------
    project : Project
        The open project.
    definition : CampaignDefinition
        Its engine's provenance decides which runs are comparable: numbers of others are never mixed in.
    working_ion : str
        Of its host.

    Returns
    -------
    dict of str to Calibration
        ``relaxation`` and the branches of follow-ups; only what was measured.
    """
    from cathodeflow.calculators.engines import provenance
    from cathodeflow.records.crystal import Crystal
    from cathodeflow.storage.collections import FOLLOW_UPS

    own = provenance(definition.engine.model_dump())
    ratios: dict[str, list[float]] = {}
    cells: dict[tuple[str, str], tuple[Structure, int]] = {}
    wanted = ("campaign", "key", "relaxation.crystal", "relaxation.wall_s", "relaxation.cores")
    of_engine = {"outcome": Outcome.DONE.value, "origin.provenance": own}
    for label in project.database["labels"].find(of_engine, dict.fromkeys(wanted, 1)):
        relaxation = label["relaxation"]
        crystal = Crystal.model_validate(relaxation["crystal"]).to_structure()
        cores = int(relaxation.get("cores", 1))
        cells[label["campaign"], label["key"]] = crystal, cores
        _note(
            ratios,
            RELAXATION,
            relaxation["wall_s"] * cores,
            price_of(definition, RELAXATION, crystal, working_ion, cores),
        )
    # Curves and densities, most of a record, are left where they are.
    told = ("campaign", "key", "branch", "wall_s", "cores", "presets")
    for found in project.database[FOLLOW_UPS].find({"outcome": Outcome.DONE.value}, dict.fromkeys(told, 1)):
        known = cells.get((found["campaign"], found["key"]))
        if known is None:
            continue  # of another engine
        branch = Branch(found["branch"])
        if branch == Branch.GAP and not found.get("presets"):
            continue  # a metal without a hybrid run says nothing of what one costs
        crystal, cores = known[0], found.get("cores") or known[1]
        _note(ratios, branch.value, found["wall_s"] * cores, price_of(definition, branch, crystal, working_ion, cores))
    return {kind: _calibration(values) for kind, values in ratios.items()}


def _note(ratios: dict[str, list[float]], kind: str, measured_s: float, expected_s: float) -> None:
    if measured_s > 0 and expected_s > 0:
        ratios.setdefault(kind, []).append(measured_s / expected_s)


def _calibration(ratios: list[float]) -> Calibration:
    spread = exp(pstdev(log(ratio) for ratio in ratios))
    return Calibration(median(ratios), len(ratios), max(spread, SMALLEST_SPREAD))
