"""A result that the database confirmed and then lost costs one job, not the campaign."""

from __future__ import annotations

from pathlib import Path

from tests.campaign_world import LAWFUL, definition, final_documents, launch, run_to_end, work_one

from cathodeflow.campaign.advance import advance
from cathodeflow.campaign.stages.work import job_uuid
from cathodeflow.records.outcomes import JobKind, Stage
from cathodeflow.storage.connection import Project


def run_to_labels(folder: Path, **changes: object) -> tuple[Project, str]:
    """Run until the first labels are computed and none is harvested; returns one of them."""
    project = launch(folder, definition(**changes))
    while advance(project, "trial", LAWFUL).stage != Stage.LABEL:
        while work_one(project):
            pass
    advance(project, "trial", LAWFUL)
    while work_one(project):
        pass
    return project, project.database["campaigns"].find_one()["selections"]["0"][0]


def lose(project: Project, key: str) -> None:
    project.database["outputs"].delete_many({"uuid": job_uuid("trial", JobKind.LABEL, key)})


def test_a_lost_result_is_computed_again_and_the_campaign_ends_as_it_would_have(tmp_path: Path) -> None:
    project, key = run_to_labels(tmp_path / "lossy")
    lose(project, key)
    assert run_to_end(project).state == "done"
    (attempt,) = project.database["attempts"].find()
    assert (attempt["key"], attempt["reason"], attempt["action"]) == (key, "broken_output", "rerun")
    assert "its result is not in the store" in attempt["message"]
    calm = launch(tmp_path / "calm", definition())
    run_to_end(calm)
    assert final_documents(project) == final_documents(calm)


def test_a_result_that_is_lost_at_every_attempt_is_quarantined(tmp_path: Path) -> None:
    project, key = run_to_labels(tmp_path)
    for _ in range(2):
        lose(project, key)
        advance(project, "trial", LAWFUL)
        while work_one(project):
            pass
    label = project.get("labels", f"trial/{key}")
    assert label is not None
    assert (label["outcome"], label["reason"]) == ("quarantined", "broken_output")
    assert project.count("attempts", {"key": key}) == 2
