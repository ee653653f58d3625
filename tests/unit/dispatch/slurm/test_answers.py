"""Outputs of a real Slurm 22.05 (one node, accounting), recorded: each way of ending is told from the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.dispatch.slurm.answers import (
    Partition,
    SlurmJob,
    array_tasks,
    memory_mib,
    parse_sacct,
    parse_sinfo,
    parse_squeue,
)
from cathodeflow.records.outcomes import Reason

# squeue -h -r -t all -o SQUEUE_FORMAT: exit 3, kill -9 of the shell, memory, still running, cancelled, well ended.
SQUEUE = """\
50002|50002|N/A|FAILED|NonZeroExitCode|2026-11-21T13:38:48|node1|cpu|cflow-ex|cathodeflow:p:c:cpu:ex
50003|50003|N/A|FAILED|JobLaunchFailure|2026-11-21T13:38:48|node1|cpu|cflow-sig|cathodeflow:p:c:cpu:sig
50001|50001|N/A|OUT_OF_MEMORY|OutOfMemory|2026-11-21T13:38:48|node1|cpu|cflow-oom|cathodeflow:p:c:cpu:oom
50000|50000|N/A|RUNNING|None|2026-11-21T13:39:47|node1|cpu|cflow-t|cathodeflow:p:c:cpu:t
50005|50005|N/A|COMPLETED|None|2026-11-21T13:38:48|node1|gpu|j.sh|(null)
50006|50006|N/A|NODE_FAIL|NodeDown|2026-11-21T13:39:51|node1|cpu|cflow-nf|odd | comment
"""

# sacct -P -n -o SACCT_FIELDS of the same jobs.
SACCT = """\
50000|TIMEOUT|0:0|node1|100M||cflow-t
50000.batch|CANCELLED||node1||2412K|batch
50001|OUT_OF_MEMORY|0:125|node1|100M||cflow-oom
50001.batch|OUT_OF_MEMORY|0:125|node1||102300K|batch
50002|FAILED|3:0|node1|100M||cflow-ex
50002.batch|FAILED|3:0|node1|||batch
50003|FAILED|0:9|node1|100M||cflow-sig
50003.batch|CANCELLED|0:9|node1|||batch
50004|CANCELLED by 0|0:0|node1|100M||cflow-can
50004.batch|CANCELLED|0:15|node1|||batch
50005|COMPLETED|0:0|node1|400M||j.sh
50005.batch|COMPLETED|0:0|node1|||batch
50006|NODE_FAIL|0:0|node1|100M||cflow-nf
50006.batch|CANCELLED||node1|||batch
"""

# Where the watching plugin keeps the limit in place of the kernel (JobAcctGatherParams=OverMemoryKill), the job fails
# by signal 9 like any other: only what its step had used says why.
OVER_MEMORY_KILL = """\
3|FAILED|0:9|node1|100M||cflow-oom
3.batch|CANCELLED by 0|0:9|node1||166412K|batch
"""


@pytest.mark.parametrize(
    ("job_id", "reason"),
    [
        ("50000", Reason.TIMEOUT),
        ("50001", Reason.OUT_OF_MEMORY),
        ("50002", Reason.EXIT_CODE),
        ("50003", Reason.KILLED),
        ("50004", Reason.CANCELLED),
        ("50005", None),
        ("50006", Reason.NODE_FAIL),
    ],
)
def test_each_way_of_ending_has_its_reason(job_id: str, reason: Reason | None) -> None:
    job = parse_sacct(SACCT)[job_id]
    assert job.ended
    assert job.reason == reason


def test_squeue_gives_states_names_and_comments() -> None:
    jobs = {job.job_id: job for job in parse_squeue(SQUEUE)}
    assert len(jobs) == 6
    assert jobs["50000"].running
    assert jobs["50000"].comment == "cathodeflow:p:c:cpu:t"
    assert jobs["50005"].comment == ""
    assert jobs["50006"].comment == "odd | comment"
    assert jobs["50001"].reason == Reason.OUT_OF_MEMORY
    assert parse_squeue("slurm_load_jobs error: Unable to contact\n\n") == []


def test_a_kill_for_memory_is_seen_without_the_kernels_word() -> None:
    job = parse_sacct(OVER_MEMORY_KILL)["3"]
    assert job.reason == Reason.OUT_OF_MEMORY
    assert "all the memory" in job.sentence()


def test_sentences_name_job_node_and_how() -> None:
    jobs = parse_sacct(SACCT)
    assert jobs["50002"].sentence() == "Slurm job 50002 on node1 ended FAILED with exit code 3"
    assert jobs["50003"].sentence() == "Slurm job 50003 on node1 ended FAILED by signal 9"
    assert jobs["50004"].sentence() == "Slurm job 50004 on node1 ended CANCELLED"


def test_array_tasks_heterogeneous_steps_and_requeued_jobs_are_read() -> None:
    text = (
        "77_3|PREEMPTED|0:0|n1|4Gn||x\n77_3.batch|CANCELLED|0:15|n1|||batch\n77_3.extern|COMPLETED|0:0|n1|||extern\n"
        "78|NODE_FAIL|0:0|n1|4Gn||y\n78|COMPLETED|0:0|n2|4Gn||y\n79_[4-9]|PENDING|0:0|None assigned|4Gn||z\n"
    )
    jobs = parse_sacct(text)
    assert jobs["77_3"].reason == Reason.PREEMPTED
    assert jobs["78"].state == "COMPLETED", "the last run of a requeued job counts"
    never_begun = [jobs[f"79_{task}"] for task in range(4, 10)]
    assert all(job.pending and job.nodes == "" and job.name == "z" for job in never_begun)


@pytest.mark.parametrize(
    ("text", "amount"), [("166412K", 162.51), ("4Gn", 4096), ("2000Mc", 2000), ("", None), ("0", 0), ("16?", None)]
)
def test_slurms_amounts_of_memory(text: str, amount: float | None) -> None:
    assert memory_mib(text) == (None if amount is None else pytest.approx(amount, abs=0.01))


@pytest.mark.parametrize(
    ("job_id", "tasks"),
    [
        ("79", ["79"]),
        ("79_4", ["79_4"]),
        ("79_[0-2]", ["79_0", "79_1", "79_2"]),
        ("79_[0,3-7:2%2]", ["79_0", "79_3", "79_5", "79_7"]),
        ("79_[0-3,...]", ["79_[0-3,...]"]),
        ("79_[-]", ["79_[-]"]),
    ],
)
def test_tasks_that_never_began_share_an_id(job_id: str, tasks: list[str]) -> None:
    assert array_tasks(job_id) == tasks


@pytest.mark.parametrize(
    ("why", "in_vain"),
    [
        *((why, True) for why in ("PartitionTimeLimit", "PartitionNodeLimit", "BadConstraints", "InvalidQOS")),
        *((why, True) for why in ("QOSMaxWallDurationPerJobLimit", "QOSMaxMemoryPerJob", "AssocMaxCpuPerJobLimit")),
        *((why, False) for why in ("Priority", "Resources", "None", "BeginTime", "ReqNodeNotAvail", "PartitionDown")),
        *((why, False) for why in ("QOSMaxJobsPerUserLimit", "AssocGrpCPUMinutesLimit", "QOSGrpNodeLimit")),
    ],
)
def test_waiting_in_vain_is_told_from_waiting(why: str, in_vain: bool) -> None:
    line = "7|7|N/A|{}|" + why + "|N/A||cpu|cflow-x|(null)"
    (waiting,) = parse_squeue(line.format("PENDING"))
    (running,) = parse_squeue(line.format("RUNNING"))
    assert waiting.waits_in_vain == in_vain
    assert not running.waits_in_vain


def test_what_partitions_give_is_read() -> None:
    assert parse_sinfo("cpu*|1:00:00|8\ngpu|infinite|2\nlong|7-00:00:00|640\nn/a\n\n") == [
        Partition("cpu", True, 3600, 8),
        Partition("gpu", False, None, 2),
        Partition("long", False, 7 * 86400, 640),
    ]


@given(st.text(max_size=300))
def test_no_text_breaks_the_readers(text: str) -> None:
    parse_squeue(text)
    parse_sinfo(text)
    parse_sacct(text)


@pytest.mark.parametrize("state", ["EXPLODED", "RECONFIG_FAIL", "UPDATE_DB"])
def test_a_job_in_an_unknown_state_is_left_alone(state: str) -> None:
    job = SlurmJob("1", state)
    assert job.running
    assert not job.ended
    assert job.reason is None


@pytest.mark.parametrize("state", ["EXPEDITING", "POWER_UP_NODE", "CONFIGURING", "REQUEUED"])
def test_a_job_whose_node_is_made_ready_or_that_goes_back_to_the_queue_waits(state: str) -> None:
    job = SlurmJob("1", state)
    assert job.pending
    assert not job.running
    assert not job.ended
