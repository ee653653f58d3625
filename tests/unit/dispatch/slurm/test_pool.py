"""What a pool submits and takes back, with stand-ins for Slurm's programs that refuse what a test says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.unit.dispatch.noop_jobs import noop

from cathodeflow.dispatch.launchpad import MEMORY_FACTOR, TIME_FACTOR, add_workflow_once
from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.sites import Site
from cathodeflow.dispatch.slurm import commands, submissions
from cathodeflow.dispatch.slurm.pool import SitePool
from cathodeflow.storage.connection import Project, create_project

PROGRAM = """\
#!{python}
# One of sbatch, squeue, scancel and sacct of a cluster in a folder: a line per job, which waits for ever.
import re, sys
from pathlib import Path
here, name, arguments = Path({folder!r}), Path(sys.argv[0]).name, sys.argv[1:]
jobs = here / "jobs"
lines = jobs.read_text().splitlines() if jobs.exists() else []
if name == "sbatch":
    text = Path(arguments[-1]).read_text()
    with (here / "calls").open("a") as calls:
        print(*arguments, file=calls)
    if (here / "refuse").exists() and re.search((here / "refuse").read_text(), text):
        sys.exit("sbatch: error: Batch job submission failed: Requested time limit is invalid")
    number = 10 + len(lines)
    given = dict(a.split("=", 1) for a in arguments if "=" in a)
    last = int(given["--array"].split("-")[1]) if "--array" in given else None
    tasks = [str(number)] if last is None else [f"{{number}}_{{task}}" for task in range(last + 1)]
    why = (here / "why").read_text() if (here / "why").exists() else "Priority"
    lines += [f"{{t}}|{{t}}|N/A|PENDING|{{why}}|N/A||cpu|{{given['--job-name']}}|(null)" for t in tasks]
    print(number)
elif name == "squeue":
    print(*lines, sep="\\n")
elif name == "scancel":
    lines = [re.sub("PENDING", "CANCELLED", line) if line.split("|")[0] in arguments else line for line in lines]
jobs.write_text("\\n".join(lines))
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name in ("sbatch", "squeue", "scancel", "sacct"):
        (folder / name).write_text(PROGRAM.format(python=sys.executable, folder=str(folder)))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(commands, "SYSTEM_PATH", f"{folder}:{commands.SYSTEM_PATH}")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return create_project(tmp_path / "p")


def pool_of(project: Project, **queue: object) -> SitePool:
    described = {"title": "t", "workers": {"cpu": {"time": "01:00:00", **queue}}}
    return SitePool(project, "c", SiteFile(project.folder / "s", Site.model_validate(described)))


def add(project: Project, key: str, **spec: float) -> None:
    (fw_id,) = add_workflow_once(project, noop(1), campaign="c", kind="label", key=key, category="cpu").fw_ids
    project.database.fireworks.update_one({"fw_id": fw_id}, {"$set": {f"spec.{k}": v for k, v in spec.items()}})


def factors(project: Project) -> list[tuple[float, float]]:
    return [(r.time_factor, r.memory_factor) for r in submissions.open_submissions(project, "s")]


def calls(slurm: Path) -> list[str]:
    return (slurm / "calls").read_text().splitlines()


def test_a_queue_with_one_seat_gives_it_to_the_larger_job_first(project: Project, slurm: Path) -> None:
    for number in range(5):
        add(project, str(number))
    add(project, "large", **{MEMORY_FACTOR: 2.0})
    pool = pool_of(project, max_running=1, max_queued=1, memory="1G")
    pool.keep_alive()
    assert factors(project) == [(1.0, 2.0)], "else the usual size would take the seat as long as it has jobs"
    pool.keep_alive()
    assert len(calls(slurm)) == 1


def test_a_larger_allocation_that_is_refused_keeps_none_of_the_usual(project: Project, slurm: Path) -> None:
    (slurm / "refuse").write_text("--time=04:00:00")
    add(project, "usual")
    add(project, "long", **{TIME_FACTOR: 4.0})
    pool = pool_of(project, max_running=1, max_queued=1)
    pool.keep_alive()
    assert factors(project) == [(1.0, 1.0)]
    (message,) = pool.messages()
    assert "nothing was submitted for cpu with 4 times the time" in message
    assert "Requested time limit is invalid; max_time of workers.cpu in" in message
    pool.keep_alive()
    assert len(calls(slurm)) == 2, "and is not tried with every tick"


def test_what_slurm_would_never_start_gives_its_seat_back(project: Project, slurm: Path) -> None:
    (slurm / "why").write_text("PartitionTimeLimit")
    add(project, "long", **{TIME_FACTOR: 4.0})
    add(project, "usual")
    pool = pool_of(project, max_running=1, max_queued=1)
    pool.keep_alive()
    assert factors(project) == [(4.0, 1.0)]
    (slurm / "why").write_text("Priority")
    assert pool.keep_alive() == 0, "no allocation has died"
    assert factors(project) == [(1.0, 1.0)], "the usual one has the seat"
    (message,) = pool.messages()
    assert "taken back, since Slurm would never start it (PartitionTimeLimit)" in message
    assert "max_time of workers.cpu" in message
    (taken,) = project.select(submissions.SUBMISSIONS, {"open": False})
    assert (taken["state"], taken["outcome"]) == ("refused", "PartitionTimeLimit")


def test_people_are_told_once_what_keeps_an_allocation_waiting(project: Project, slurm: Path) -> None:
    (slurm / "why").write_text("QOSMaxJobsPerUserLimit")
    add(project, "k")
    pool = pool_of(project)
    for _ in range(3):
        pool.keep_alive()
    assert pool.messages() == ["allocation 10 for cpu waits: QOSMaxJobsPerUserLimit"]
    assert len(factors(project)) == 1


def test_people_are_told_once_of_jobs_that_no_queue_takes(project: Project, slurm: Path) -> None:
    pool = pool_of(project, also=["dft"])
    pool.keep_alive()
    assert pool.messages() == []
    add_workflow_once(project, noop(1), campaign="c", kind="train", key="k", category="gpu")
    for _ in range(3):
        pool.keep_alive()
    (message,) = pool.messages()
    assert "jobs of gpu are READY and no queue of site s takes them" in message
    assert "also: [gpu]" in message


def test_an_allocation_that_started_before_it_was_taken_back_stays(
    project: Project, slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slurm / "why").write_text("PartitionTimeLimit")
    add(project, "k")
    pool = pool_of(project)
    pool.keep_alive()
    (slurm / "scancel").write_text("#!/bin/sh\nexit 0\n")  # with --state=PENDING it leaves what runs alone
    pool.keep_alive()
    assert len(factors(project)) == 1


def test_equal_allocations_go_as_one_array_with_a_seat_each(project: Project, slurm: Path) -> None:
    for number in range(9):
        add(project, str(number))
    pool = pool_of(project, max_running=4, max_queued=3, array=True)
    pool.keep_alive()
    (call,) = calls(slurm)
    assert "--array=0-2" in call
    records = submissions.open_submissions(project, "s")
    assert [record.job_id for record in records] == ["10_0", "10_1", "10_2"]
    assert {record.name_token for record in records} == {records[0].token.removesuffix("-0")}
    (script,) = (project.folder / "logs" / "slurm").glob("*.sh")
    assert "cpu-%A_%a.log" in script.read_text(), "so that a log is found by the number of its job"
    pool.keep_alive()
    assert len(calls(slurm)) == 1
    assert pool.cancel() == 3
    assert submissions.open_submissions(project, "s") == []


def test_a_single_allocation_is_no_array(project: Project, slurm: Path) -> None:
    add(project, "k")
    pool_of(project, array=True).keep_alive()
    assert "--array" not in calls(slurm)[0]


def test_an_array_that_is_refused_gives_all_its_seats_back(project: Project, slurm: Path) -> None:
    (slurm / "refuse").write_text("--time")
    for number in range(9):
        add(project, str(number))
    pool_of(project, array=True).keep_alive()
    assert submissions.open_submissions(project, "s") == []
    assert project.count(submissions.SUBMISSIONS, {"state": "refused"}) == 2
