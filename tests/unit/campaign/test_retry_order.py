"""A job that failed by its own fault is tried again behind those that were never tried."""

from __future__ import annotations

from pathlib import Path

from tests.campaign_world import LAWFUL, definition, key_of, launch, run_to_end, work_one

from cathodeflow.campaign.advance import advance
from cathodeflow.records.outcomes import Stage

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
