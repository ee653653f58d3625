"""A static run that was done and whose files are lost or damaged since: it runs again for the branches that read it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from jobflow import Flow
from jobflow.core.job import job
from tests.campaign_world import (
    FOLLOWED,
    LAWFUL,
    UNSOUND,
    definition,
    final_documents,
    launch,
    lawful_branch,
    run_to_end,
    work_one,
)

from cathodeflow.campaign.failures import Selection
from cathodeflow.campaign.resubmit import plan_resubmission, resubmit, select
from cathodeflow.campaign.undo import plan_undo, undo_resubmission
from cathodeflow.errors import CalculationError
from cathodeflow.records.outcomes import CampaignState, Reason
from cathodeflow.storage.connection import Project, open_project

DAMAGED = "DAMAGED_STATIC_RUNS"  # names a folder: what it has a file of, the gap cannot read
FAILS, GIVES_UP = "nvpf-Na1-V8-00", "nvpf-Na2-V8-00"
"""Of one the gap fails and is tried again; of the other its job quarantines it, which knows that trying repeats it."""


@job
def reading_branch(key: str, branch: str, static: Any = None) -> dict[str, Any]:
    """A lawful branch; a static run writes anew what was damaged, and the gap reads that."""
    damage = Path(os.environ[DAMAGED]) / key
    made: dict[str, Any] = lawful_branch.original(key, branch, static)
    if branch == "static" and Counter(Path(os.environ[FOLLOWED]).read_text().split())[f"{key}/static"] > 1:
        damage.unlink(missing_ok=True)
    if branch == "gap" and damage.exists():
        if key == FAILS:
            raise CalculationError("there is no CHGCAR", Reason.BROKEN_OUTPUT)
        return made | {"gap": None, "outcome": "quarantined", "reason": "broken_output", "message": "EIGENVAL is cut"}
    return made


def flow(
    campaign: str, key: str, crystal: Any, engine: Any, followups: Any, uuids: dict[str, str], *, category: str = "cpu"
) -> Flow:
    jobs: list[Any] = []
    for branch, identity in uuids.items():
        made = reading_branch(key, branch, *([jobs[0].output] if jobs else []))
        made.set_uuid(identity)
        made.name = f"{campaign}/follow_up/{key}/{branch}"
        made.config.manager_config = {"_category": category, "_key": f"{key}/{branch}"}
        jobs.append(made)
    return Flow(jobs, name=f"{campaign}/follow_up/{key}")


READING = replace(LAWFUL, follow_up=flow)


@pytest.fixture(scope="module")
def damaged_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that ended without two gaps."""
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "damage").mkdir()
    for key in (FAILS, GIVES_UP):
        (folder / "damage" / key).touch()
    small = {"surrogate": {"seeds": 1}, "validation": {"per_list": 1}, "labels": {"total": 12, "rounds": 1}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DAMAGED, str(folder / "damage"))
        patch.setenv(FOLLOWED, str(folder / "computed"))
        project = launch(folder / "project", definition(followups={"branches": ["gap", "pdos"]}, **small))
        assert run_to_end(project, recipes=READING).state == CampaignState.DONE
    lost = {key: d["reason"] for key, d in follow_ups(project).items() if d["outcome"] == "quarantined"}
    assert lost == {f"{FAILS}/gap": "broken_output", f"{GIVES_UP}/gap": "broken_output"}
    return folder


@dataclass(frozen=True)
class Candidate:
    """One of the two; the other's static run stays as it is."""

    project: Project
    key: str

    def __post_init__(self) -> None:
        assert self.key in {FAILS, GIVES_UP}

    @property
    def static(self) -> str:
        return f"{self.key}/static"

    @property
    def gap(self) -> str:
        return f"{self.key}/gap"

    @property
    def pdos(self) -> str:
        return f"{self.key}/pdos"

    def outcomes(self) -> dict[str, str]:
        """Reason or outcome of each of its branches that has a record."""
        found = follow_ups(self.project)
        return {one: d["reason"] or d["outcome"] for one, d in found.items() if d["key"] == self.key}

    def resubmit(self, *keys: str) -> set[str]:
        """Run again what is named; the keys of what is."""
        return {job.key for job in resubmit(self.project, "trial", select(keys=keys)).jobs}

    def run_to_end(self) -> None:
        campaign = run_to_end(self.project, recipes=READING)
        assert campaign.state == CampaignState.DONE, campaign.message

    def fireworks(self) -> dict[str, tuple[Any, ...]]:
        found = self.project.select("fireworks", {"spec._key": {"$in": [self.static, self.gap, self.pdos]}})
        return {d["spec"]["_key"]: (d["state"], d["launches"], d["archived_launches"]) for d in found}


@pytest.fixture(params=[FAILS, GIVES_UP], ids=["gap that failed", "gap that gave up"])
def lost(
    damaged_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Candidate:
    """A copy of the campaign."""
    copy = shutil.copytree(damaged_folder, tmp_path / "copy")
    monkeypatch.setenv(DAMAGED, str(copy / "damage"))
    monkeypatch.setenv(FOLLOWED, str(copy / "computed"))
    return Candidate(open_project(copy / "project"), request.param)


def follow_ups(project: Project) -> dict[str, dict[str, Any]]:
    return {f"{d['key']}/{d['branch']}": d for d in project.database["follow_ups"].find()}


def runs() -> Counter[str]:
    """How often each branch was computed."""
    return Counter(Path(os.environ[FOLLOWED]).read_text().split())


def test_the_failure_says_how_to_run_the_static_run_again(lost: Candidate) -> None:
    made = plan_resubmission(lost.project, "trial", Selection())
    assert {job.key for job in made.jobs} == {f"{FAILS}/gap", f"{GIVES_UP}/gap"}, "no static run by itself"
    said = {job.key: job.message for job in made.jobs}
    assert said[lost.gap].endswith(f"`cflow resubmit --key {lost.static}` runs that one again")
    alone = plan_resubmission(lost.project, "trial", select(keys=[lost.gap]))
    assert f"`cflow resubmit --key {lost.static}`" in alone.warning


def test_the_static_run_is_run_again_when_it_is_named_and_cannot_be_read(lost: Candidate) -> None:
    made = plan_resubmission(lost.project, "trial", select(keys=[lost.static]))
    (static,) = made.jobs
    assert (static.key, static.state, static.reason) == (lost.static, "damaged", Reason.BROKEN_OUTPUT)
    assert "gap" in static.message
    assert made.warning == ""
    assert plan_resubmission(lost.project, "trial", select(keys=["nvpf-Na3-V8-00/static"])).jobs == ()


def test_what_could_not_be_read_comes_back_with_it_and_the_others_keep_their_results(lost: Candidate) -> None:
    before, ran = follow_ups(lost.project), runs()
    assert lost.resubmit(lost.static) == {lost.static}
    assert set(before) - set(follow_ups(lost.project)) == {lost.static, lost.gap}
    lost.run_to_end()
    assert set(lost.outcomes().values()) == {"done"}
    assert follow_ups(lost.project)[lost.pdos] == before[lost.pdos]
    assert runs() - ran == Counter([lost.static, lost.gap]), "nothing else is computed again"
    assert {state for state, *_ in lost.fireworks().values()} == {"COMPLETED"}
    (attempt,) = lost.project.select("attempts", {"key": lost.static})
    assert (attempt["outcome"], attempt["reason"], attempt["action"]) == ("failed", "broken_output", "resubmit")


def test_a_branch_alone_is_run_again_where_the_files_were_brought_back(lost: Candidate) -> None:
    ran = runs()
    (Path(os.environ[DAMAGED]) / lost.key).unlink()
    assert lost.resubmit(lost.gap) == {lost.gap}
    lost.run_to_end()
    assert set(lost.outcomes().values()) == {"done"}
    assert runs() - ran == Counter([lost.gap])


def test_it_and_its_branch_may_be_asked_for_together(lost: Candidate) -> None:
    ran = runs()
    assert lost.resubmit(lost.gap, lost.static) == {lost.gap, lost.static}
    lost.run_to_end()
    assert set(lost.outcomes().values()) == {"done"}
    assert runs() - ran == Counter([lost.static, lost.gap])


def test_it_is_taken_back_whole(lost: Candidate) -> None:
    documents, was, ran = final_documents(lost.project), lost.fireworks(), runs()
    lost.resubmit(lost.static)
    assert lost.fireworks()[lost.static][0] == "READY"
    assert plan_undo(lost.project, "trial").taken_back == (lost.static,)
    assert undo_resubmission(lost.project, "trial").taken_back == (lost.static,)
    assert final_documents(lost.project) == documents
    assert lost.fireworks() == was
    assert not work_one(lost.project)
    assert runs() == ran


def test_what_has_started_is_not_taken_back(lost: Candidate) -> None:
    lost.resubmit(lost.static)
    assert work_one(lost.project)
    assert undo_resubmission(lost.project, "trial").started == (lost.static,)
    lost.run_to_end()
    assert set(lost.outcomes().values()) == {"done"}


def test_a_static_run_that_then_fails_costs_no_result(lost: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    lost.resubmit(lost.static)
    monkeypatch.setenv(UNSOUND, lost.static)
    lost.run_to_end()
    assert lost.outcomes() == {lost.static: "non_finite", lost.gap: "prerequisite_failed", lost.pdos: "done"}
    monkeypatch.delenv(UNSOUND)
    assert lost.resubmit(lost.static) == {lost.static}
    lost.run_to_end()
    assert set(lost.outcomes().values()) == {"done"}
