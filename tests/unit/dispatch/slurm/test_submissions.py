"""Seats are never given twice, and need is met without excess."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.dispatch.noop_jobs import noop

from cathodeflow.dispatch.allotment import Estimates
from cathodeflow.dispatch.launchpad import add_workflow_once
from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.sites import Category, Site
from cathodeflow.dispatch.slurm import submissions
from cathodeflow.dispatch.slurm.answers import SlurmJob
from cathodeflow.dispatch.slurm.need import Work, allocations_wanted
from cathodeflow.dispatch.slurm.submissions import Budget, SubmissionState
from cathodeflow.dispatch.slurm.submit import Size, in_turn, settle, wanted
from cathodeflow.dispatch.slurm.truth import Finding, SlurmTruth, Standing
from cathodeflow.storage.connection import Project, create_project

BUDGET = Budget("s", Category.CPU, max_running=3, max_queued=2)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = create_project(tmp_path / "p")
    submissions.prepare(made)
    return made


class KnownTruth(SlurmTruth):
    """What Slurm would say."""

    def __init__(self, queue: list[SlurmJob] | None, accounts: dict[str, SlurmJob] | None = None) -> None:
        super().__init__()
        self._told = queue
        self._accounts = accounts

    def queue(self) -> list[SlurmJob] | None:
        return self._told

    def look(self, job_ids, started=None):
        known = {job.job_id: job for job in self._told or []}
        standing = {True: Standing.ENDED, False: Standing.RUNNING}
        return {
            job_id: Finding(
                standing[known[job_id].ended] if not known[job_id].pending else Standing.PENDING, known[job_id]
            )
            if job_id in known
            else Finding(Standing.GONE)
            for job_id in job_ids
        }

    def by_name(self, names):
        return self._accounts


def test_waiting_and_all_seats_are_limited(project: Project) -> None:
    first, second = (submissions.reserve(project, BUDGET, "c") for _ in range(2))
    assert first is not None
    assert second is not None
    assert submissions.reserve(project, BUDGET, "c") is None, "two wait already"
    submissions.mark_submitted(project, first.token, "1")
    submissions.mark_running(project, first.token)
    assert submissions.reserve(project, BUDGET, "c") is not None, "one of them runs"
    submissions.mark_running(project, second.token)
    assert submissions.reserve(project, BUDGET, "c") is None, "three in all"
    submissions.close(project, second.token, SubmissionState.ENDED, "COMPLETED")
    assert submissions.reserve(project, BUDGET, "c") is not None
    assert submissions.reserve(project, Budget("s", Category.GPU, 1, 1), "c") is not None, "another queue"


def test_many_processes_take_no_more_seats_than_there_are(project: Project) -> None:
    command = (
        "import sys; from pathlib import Path; from cathodeflow.storage.connection import open_project;"
        "from cathodeflow.dispatch.slurm.submissions import Budget, reserve;"
        "from cathodeflow.dispatch.sites import Category;"
        "p = open_project(Path(sys.argv[1]));"
        "print(sum(reserve(p, Budget('s', Category.CPU, 7, 7), 'c') is not None for _ in range(5)))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", command, str(project.folder)], stdout=subprocess.PIPE) for _ in range(3)
    ]
    assert sum(int(process.communicate()[0]) for process in running) == 7
    held = submissions.open_submissions(project, "s")
    assert len({record.seat for record in held}) == len({record.waiting_seat for record in held}) == 7


def test_changes_are_idempotent_and_never_reopen(project: Project) -> None:
    record = submissions.reserve(project, BUDGET, "c")
    assert record is not None
    submissions.close(project, record.token, SubmissionState.ENDED, "TIMEOUT")
    submissions.close(project, record.token, SubmissionState.ENDED, "COMPLETED")
    submissions.mark_submitted(project, record.token, "9")
    submissions.mark_running(project, record.token)
    stored = project.get("submissions", record.token)
    assert stored is not None
    assert (stored["state"], stored["outcome"], stored["job_id"]) == ("ended", "TIMEOUT", None)
    assert submissions.open_submissions(project, "s") == []


def test_an_intention_is_settled_by_what_slurm_shows(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    record = submissions.reserve(project, BUDGET, "c")
    assert record is not None
    name = f"cflow-{record.token}"
    assert settle(project, "s", KnownTruth(None)) == [], "not knowing changes nothing"
    assert settle(project, "s", KnownTruth([])) == [], "sbatch may still be on its way"
    monkeypatch.setattr("cathodeflow.dispatch.slurm.submit.SETTLED_AFTER_S", -1.0)
    assert settle(project, "s", KnownTruth([], None)) == [], "without accounts it may have come and gone"
    assert settle(project, "s", KnownTruth([SlurmJob("5", "PENDING", name=name)])) == []
    (found,) = submissions.open_submissions(project, "s")
    assert (found.job_id, found.state) == ("5", "pending")
    assert settle(project, "s", KnownTruth([SlurmJob("5", "RUNNING", name=name)])) == []
    assert settle(project, "s", KnownTruth([SlurmJob("5", "NODE_FAIL", name=name)])) == [
        found.model_copy(update={"state": SubmissionState.RUNNING, "waiting_seat": None})
    ]


def test_a_token_that_slurm_never_saw_gives_its_seat_back(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    record = submissions.reserve(project, BUDGET, "c")
    monkeypatch.setattr("cathodeflow.dispatch.slurm.submit.SETTLED_AFTER_S", -1.0)
    assert settle(project, "s", KnownTruth([], {})) == [record]
    stored = project.get("submissions", record.token if record else "")
    assert stored is not None
    assert stored["state"] == "never_submitted"


@pytest.mark.parametrize(
    ("ready", "running", "slots", "expected", "number"),
    [
        ({}, 5, 2, {}, 0),
        ({"label": 1}, 0, 4, {}, 1),
        ({"label": 9}, 0, 4, {}, 3),
        ({"label": 9}, 0, 4, {"label": 100.0}, 1),
        ({"label": 60}, 0, 4, {"label": 100.0}, 3),
        ({"label": 4}, 4, 4, {}, 2),
        ({"label": 4, "train": 1}, 0, 4, {"label": 1.0}, 1),
        ({"label": 3}, 0, 1, {"label": 90000.0}, 3),
    ],
)
def test_allocations_are_worth_their_work(ready, running: int, slots: int, expected, number: int) -> None:
    assert allocations_wanted(Work(ready, running), slots, expected, 600.0) == number


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 1000)),
    st.integers(0, 50),
    st.integers(1, 64),
    st.dictionaries(st.sampled_from("abc"), st.floats(0.01, 1e6)),
)
def test_there_is_one_allocation_for_any_work_and_never_an_idle_slot_too_many(ready, running, slots, expected) -> None:
    number = allocations_wanted(Work(ready, running), slots, expected, 600.0)
    jobs = sum(ready.values())
    assert (number > 0) == (jobs > 0)
    assert number <= max(-(-(jobs + running) // slots), 1)


def test_the_tasks_of_an_array_have_a_seat_each_and_are_settled_each_for_itself(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [submissions.reserve(project, BUDGET, "c", array="ab12", task=task) for task in range(3)]
    assert [record.token if record else None for record in records] == ["ab12-0", "ab12-1", None], "two may wait"
    name = "cflow-ab12"
    assert settle(project, "s", KnownTruth([SlurmJob("7_1", "PENDING", name=name)])) == []
    first, second = submissions.open_submissions(project, "s")
    assert (first.job_id, first.name_token) == (None, "ab12"), "sbatch may not have made it yet, for all we know"
    assert second.job_id == "7_1"
    running = [SlurmJob("7_0", "RUNNING", name=name), SlurmJob("7_1", "CANCELLED", name=name)]
    (over,) = settle(project, "s", KnownTruth(running))
    assert over.token == "ab12-1"
    (left,) = submissions.open_submissions(project, "s")
    assert (left.token, left.job_id, left.state) == ("ab12-0", "7_0", "running")


def test_a_task_that_came_and_went_is_found_among_the_others_of_its_name(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for task in range(2):
        submissions.reserve(project, BUDGET, "c", array="ab12", task=task)
    monkeypatch.setattr("cathodeflow.dispatch.slurm.submit.SETTLED_AFTER_S", -1.0)
    jobs = {
        f"7_{task}": SlurmJob(f"7_{task}", state, name="cflow-ab12") for task, state in ((0, "TIMEOUT"), (1, "RUNNING"))
    }
    (over,) = settle(project, "s", KnownTruth([], jobs))
    assert over.token == "ab12-0"
    stored = project.get("submissions", "ab12-0")
    assert stored is not None
    assert (stored["job_id"], stored["outcome"]) == ("7_0", "TIMEOUT")
    (left,) = submissions.open_submissions(project, "s")
    assert (left.job_id, left.state) == ("7_1", "running")


USUAL, MEMORY, TIME = Size(), Size(1.0, 2.0), Size(4.0, 1.0)


@pytest.mark.parametrize(
    ("needed", "there", "order"),
    [
        ({USUAL: 3}, {}, [(USUAL, 3)]),
        ({USUAL: 3}, {USUAL: 3}, []),
        ({USUAL: 9, MEMORY: 1}, {}, [(MEMORY, 1), (USUAL, 9)]),
        ({USUAL: 9, MEMORY: 1}, {USUAL: 4}, [(MEMORY, 1), (USUAL, 5)]),
        ({USUAL: 2, MEMORY: 2, TIME: 1}, {}, [(TIME, 1), (MEMORY, 1), (USUAL, 1), (MEMORY, 1), (USUAL, 1)]),
        ({USUAL: 1, MEMORY: 1}, {MEMORY: 1}, [(USUAL, 1)]),
    ],
)
def test_no_size_takes_all_seats_from_the_others(needed, there, order) -> None:
    assert in_turn(needed, there) == order


SIZES = st.builds(Size, st.sampled_from([1.0, 2.0, 4.0]), st.sampled_from([1.0, 2.0]))


@given(st.dictionaries(SIZES, st.integers(1, 9)), st.dictionaries(SIZES, st.integers(0, 9)), st.sets(SIZES))
def test_taking_turns_gives_each_size_what_it_lacks_and_no_more(needed, there, put_off) -> None:
    given_out = [size for size, number in in_turn(needed, there, put_off) for _ in range(number)]
    lacking = {size: max(number - there.get(size, 0), 0) for size, number in needed.items() if size not in put_off}
    assert Counter(given_out) == Counter(lacking)
    bare = [size for size in lacking if not there.get(size)]
    assert set(given_out[: len(bare)]) == set(bare), "those without any come before those that have one"


def test_jobs_that_need_more_get_allocations_of_their_own(project: Project, tmp_path: Path) -> None:
    for key in "abc":
        add_workflow_once(project, noop(1), campaign="c", kind="label", key=key)
    add_workflow_once(project, noop(1), campaign="other", kind="label", key="x")
    add_workflow_once(project, noop(1), campaign="c", kind="train", key="t", category="gpu")
    project.database.fireworks.update_one({"spec._key": "b"}, {"$set": {"spec._memory_factor": 2.0}})
    described = {"title": "t", "workers": {"cpu": {}, "gpu": {}, "dft": {}}}
    site = SiteFile(tmp_path, Site.model_validate(described))
    estimates = Estimates(project, "c")
    assert wanted(project, site, "c", Category.CPU, estimates) == {Size(): 2, Size(1.0, 2.0): 1}
    assert wanted(project, site, "c", Category.GPU, estimates) == {Size(): 1}
    assert wanted(project, site, "c", Category.DFT, estimates) == {}
