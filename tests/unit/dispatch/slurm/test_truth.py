"""Not knowing is not being dead; a note of the allocation counts while its job runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cathodeflow.dispatch.slurm.answers import SlurmJob
from cathodeflow.dispatch.slurm.judgement import judge, judge_launches, slurm_job_of
from cathodeflow.dispatch.slurm.notes import STORE_AWAY, Death, read_death, write_death
from cathodeflow.dispatch.slurm.truth import Finding, SlurmTruth, Standing
from cathodeflow.records.outcomes import Reason

QUEUE_LINE = "{}|{}|N/A|{}|None|2026-11-21T13:39:47|n1|cpu|cflow-x|(null)"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Stand-ins that print what a test says, or fail: states that a real cluster shows only by chance."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(squeue: str | None = "", sacct: str | None = "") -> None:
        for name, text in (("squeue", squeue), ("sacct", sacct)):
            script = folder / name
            failure = f"echo '{name}: error: Unable to contact slurm controller' >&2; exit 1"
            script.write_text("#!/bin/sh\n" + (failure if text is None else f"cat <<'END'\n{text}\nEND\n"))
            script.chmod(0o755)

    return make


def look(job_id: str, seen: float | None = None) -> Finding:
    return SlurmTruth().look([job_id], None if seen is None else {job_id: seen})[job_id]


def test_a_young_job_keeps_no_old_one_from_being_gone(programs) -> None:
    programs("", "")
    found = SlurmTruth().look(["7", "8"], {"7": time.time() - 1000.0, "8": time.time()})
    assert (found["7"].standing, found["8"].standing) == (Standing.GONE, Standing.UNKNOWN)


def test_squeue_is_believed_first(programs) -> None:
    programs(QUEUE_LINE.format("7", "7", "RUNNING"), "7|TIMEOUT|0:0|n1|||x")
    assert look("7").standing == Standing.RUNNING


BY_OTHERS = """#!/bin/sh
case " $* " in
*" --me "*) exit 0 ;;
*" -j 7 "* | *" -j 7,8 "*) echo '{line}' ;;
*) echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1 ;;
esac
"""


def test_a_job_of_a_colleague_runs_on(programs, tmp_path: Path) -> None:
    """Two people may drive one project, one after the other: what the first submitted is not gone for the second."""
    programs("", "7|RUNNING|0:0|n1|||x")
    (tmp_path / "bin" / "squeue").write_text(BY_OTHERS.format(line=QUEUE_LINE.format("7", "7", "RUNNING")))
    found = SlurmTruth().look(["7", "8"])
    assert (found["7"].standing, found["8"].standing) == (Standing.RUNNING, Standing.GONE)
    assert look("7").standing == Standing.RUNNING
    truth = SlurmTruth()
    assert truth.look(["8"])["8"].standing == Standing.GONE
    assert truth.complaints == []


def test_sacct_knows_what_squeue_has_forgotten(programs) -> None:
    programs("", "7|TIMEOUT|0:0|n1|||x")
    finding = look("7")
    assert finding.standing == Standing.ENDED
    assert finding.job is not None
    assert finding.job.reason == Reason.TIMEOUT


def test_sacct_is_asked_for_the_cause_of_a_failure(programs) -> None:
    programs(QUEUE_LINE.format("7", "7", "FAILED"), "7|FAILED|3:0|n1|||x")
    job = look("7").job
    assert job is not None
    assert job.exit_code == 3


def test_without_accounting_squeue_alone_decides(programs) -> None:
    programs(QUEUE_LINE.format("7", "7", "OUT_OF_MEMORY"), None)
    job = look("7").job
    assert job is not None
    assert job.reason == Reason.OUT_OF_MEMORY
    assert look("8").standing == Standing.GONE


def test_a_controller_that_is_away_kills_nobody(programs) -> None:
    programs(None, "7|TIMEOUT|0:0|n1|||x")
    truth = SlurmTruth()
    assert truth.look(["7"])["7"].standing == Standing.UNKNOWN
    assert truth.queue() is None
    assert truth.complaints[0] == "squeue refused: Unable to contact slurm controller"


def test_a_job_nobody_knows_is_gone_only_when_it_is_old(programs) -> None:
    programs("", "")
    assert look("7", time.time()).standing == Standing.UNKNOWN, "accounts are written with a delay"
    assert look("7", time.time() - 600).standing == Standing.GONE


def test_what_is_unknown_or_alive_is_not_over() -> None:
    for standing, state in [(Standing.UNKNOWN, None), (Standing.PENDING, "PENDING"), (Standing.RUNNING, "RUNNING")]:
        assert judge(Finding(standing, None if state is None else SlurmJob("7", state)), None) is None


DEATH = Death("n1", 42, 9, out_of_memory=False)


def test_a_note_counts_while_the_job_runs_and_not_while_it_ends() -> None:
    judgement = judge(Finding(Standing.RUNNING, SlurmJob("7", "RUNNING")), DEATH)
    assert judgement is not None
    assert judgement.reason == Reason.VANISHED
    assert judge(Finding(Standing.RUNNING, SlurmJob("7", "COMPLETING")), DEATH) is None, "Slurm will say why"
    for_memory = judge(Finding(Standing.RUNNING, SlurmJob("7", "RUNNING")), Death("n1", 42, 9, out_of_memory=True))
    assert for_memory is not None
    assert for_memory.reason == Reason.OUT_OF_MEMORY


@pytest.mark.parametrize("state", ["OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED"])
def test_slurms_reason_goes_before_the_note_where_slurm_kills_by_the_same_signal(state: str) -> None:
    judgement = judge(Finding(Standing.ENDED, SlurmJob("7", state)), DEATH)
    assert judgement is not None
    assert judgement.reason == state.lower()


@pytest.mark.parametrize("state", ["TIMEOUT", "CANCELLED", "COMPLETED"])
def test_a_worker_that_died_before_its_allocation_ended_is_told_from_it(state: str) -> None:
    """A driver that was down meanwhile sees only the end of both."""
    judgement = judge(Finding(Standing.ENDED, SlurmJob("7", state)), DEATH)
    assert judgement is not None
    assert judgement.reason == Reason.VANISHED


AT_THE_END = Death("n1", 42, 9, out_of_memory=False, ending=True)


@pytest.mark.parametrize("state", ["TIMEOUT", "CANCELLED", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED"])
def test_of_an_ending_allocation_slurm_says_why_it_sent_the_signal(state: str) -> None:
    assert judge(Finding(Standing.RUNNING, SlurmJob("7", "RUNNING")), AT_THE_END) is None, "it has not said it yet"
    judgement = judge(Finding(Standing.ENDED, SlurmJob("7", state)), AT_THE_END)
    assert judgement is not None
    assert judgement.reason == state.lower()


@pytest.mark.parametrize(("state", "exit_code"), [("FAILED", 3), ("COMPLETED", 0)])
def test_the_exit_of_an_ending_allocation_says_nothing_of_a_worker_that_a_signal_took(
    state: str, exit_code: int
) -> None:
    """The soak: the allocation ended with the code of another worker's job, and that was told of the killed one."""
    judgement = judge(Finding(Standing.ENDED, SlurmJob("7", state, exit_code)), AT_THE_END)
    assert judgement is not None
    assert judgement.reason == Reason.VANISHED


@pytest.mark.parametrize("code", [1, 3, 9])  # 3 is what our own commands return where the store stays away
def test_the_exit_of_a_job_is_no_kill_and_a_store_that_stayed_away_no_fault_of_the_job(code: int) -> None:
    running = Finding(Standing.RUNNING, SlurmJob("7", "RUNNING"))
    by_job = judge(running, Death("n1", 42, 0, out_of_memory=False, exit_code=code))
    by_store = judge(running, Death("n1", 42, 0, out_of_memory=False, exit_code=STORE_AWAY))
    silent = judge(running, Death("n1", 42, 0, out_of_memory=False))
    assert by_job is not None
    assert by_store is not None
    assert silent is not None
    assert (by_job.reason, by_store.reason, silent.reason) == (Reason.EXIT_CODE, Reason.VANISHED, Reason.VANISHED)
    assert f"exit code {code}" in by_job.message


def test_a_job_that_ended_well_without_its_result_has_vanished() -> None:
    judgement = judge(Finding(Standing.ENDED, SlurmJob("7", "COMPLETED")), None)
    assert judgement is not None
    assert judgement.reason == Reason.VANISHED
    assert "left no result" in judgement.message


def test_notes_are_found_by_host_and_process(tmp_path: Path) -> None:
    write_death(tmp_path, "7", DEATH)
    assert read_death(tmp_path, "7", "n1", 42) == DEATH
    assert read_death(tmp_path, "7", "n2", 42) is None
    assert read_death(tmp_path, "8", "n1", 42) is None


def test_launches_are_judged_by_their_array_task(programs, tmp_path: Path) -> None:
    assert slurm_job_of({"slurm_job_id": "9", "slurm_array_job_id": "7", "slurm_array_task_id": "3"}) == "7_3"
    assert slurm_job_of({"pid": 1}) is None
    programs("", "7_3|PREEMPTED|0:0|n1|||x")
    env = {"slurm_job_id": "9", "slurm_array_job_id": "7", "slurm_array_task_id": "3", "host": "n1", "pid": 42}
    launches = [{"launch_id": 1, "fworker": {"env": env}}, {"launch_id": 2, "fworker": {"env": {"pid": 1}}}]
    judged = judge_launches(tmp_path, launches)
    assert set(judged) == {1}
    assert judged[1].reason == Reason.PREEMPTED


def launched(folder: Path, job_id: str):
    from fireworks.core.fworker import FWorker
    from tests.unit.dispatch.noop_jobs import noop

    from cathodeflow.dispatch.launchpad import add_workflow_once, project_launchpad
    from cathodeflow.storage.connection import create_project

    project = create_project(folder)
    add_workflow_once(project, noop(1), campaign="c", kind="label", key="k")
    here = {"host": os.uname().nodename, "pid": 2**22 + 7, "process_started": 1.0, "slurm_job_id": job_id}
    project_launchpad(project).claim(FWorker(name="w", env=here), None, (), lambda *_: folder / "launch")
    return project


def test_a_lost_run_is_failed_with_slurms_reason_for_the_policy(programs, tmp_path: Path) -> None:
    from cathodeflow.dispatch.jobs import firework_details
    from cathodeflow.dispatch.reconcile import reconcile

    programs("", "7|OUT_OF_MEMORY|0:125|n1|||x")
    (tmp_path / "bin" / "sbatch").touch(0o755)
    project = launched(tmp_path / "p", "7")
    (lost,) = reconcile(project)
    assert (lost.action, lost.reason) == ("fizzle", "out_of_memory")
    details = firework_details(project, lost.fw_id)
    assert (details.job.state, details.reason) == ("FIZZLED", "out_of_memory")
    assert "Slurm job 7 on n1 ended OUT_OF_MEMORY" in (details.error or "")
    assert reconcile(project) == []


def test_in_ones_own_allocation_processes_are_seen_directly(
    programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cathodeflow.dispatch.reconcile import reconcile

    programs(QUEUE_LINE.format("7", "7", "RUNNING"), "")
    (tmp_path / "bin" / "sbatch").touch(0o755)
    project = launched(tmp_path / "p", "7")
    assert reconcile(project) == [], "another's allocation runs, and has left no note"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    (lost,) = reconcile(project)
    assert (lost.action, lost.reason) == ("rerun", "vanished")
