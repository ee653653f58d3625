"""A job that failed by its own fault is tried again behind those that were never tried."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jobflow.core.job import job
from tests.campaign_world import LAWFUL, definition, key_of, launch, lawful_label, run_to_end, work_one

from cathodeflow.calculators.attempt import read_attempt
from cathodeflow.campaign.advance import advance
from cathodeflow.errors import CalculationError
from cathodeflow.recipes.label import label_flow
from cathodeflow.records.outcomes import Reason, Stage

FAILING = key_of(["V", "Mo"], 0b1111, 8)
ENGINE = {"name": "pair", "parameters": {"fail_compositions": [FAILING]}}


def test_a_failed_job_waits_behind_fresh_ones_and_ends_all_the_same(tmp_path: Path) -> None:
    failures = {"tolerated_fraction": 0.9, "max_attempts": 2}
    project = launch(tmp_path, definition(engine=ENGINE, failures=failures, labels={"total": 12, "rounds": 1}))
    while advance(project, "trial", LAWFUL).stage != Stage.LABEL:
        while work_one(project):
            pass
    advance(project, "trial", LAWFUL)
    while work_one(project):
        pass
    advance(project, "trial", LAWFUL)
    again = list(project.database["fireworks"].find({"state": "READY"}))
    assert again
    assert {firework["spec"]["_priority"] for firework in again} == {-1}
    assert run_to_end(project).state == "done"


@job
def label_short_of_memory(key: str, *arguments: Any, **options: Any) -> dict[str, Any]:
    """Fails by itself, then for want of memory, then not."""
    number = read_attempt(Path.cwd()).number
    if number < 3 and FAILING in key:
        raise CalculationError(f"attempt {number}", [Reason.CALCULATION_ERROR, Reason.OUT_OF_MEMORY][number - 1])
    return lawful_label.original(key, *arguments, **options)


def test_a_job_that_needs_a_larger_allocation_is_first_in_it_again(tmp_path: Path) -> None:
    failures = {"tolerated_fraction": 0.9, "max_attempts": 4}
    recipes = replace(LAWFUL, label=partial(label_flow, label=label_short_of_memory))
    project = launch(tmp_path, definition(failures=failures, labels={"total": 12, "rounds": 1}))
    assert run_to_end(project, recipes=recipes).state == "done"
    again = [d["spec"] for d in project.select("fireworks", {}) if d["spec"].get("_memory_factor")]
    assert again
    assert {spec["_priority"] for spec in again} == {0}
    assert {spec["_memory_factor"] for spec in again} == {2.0}
