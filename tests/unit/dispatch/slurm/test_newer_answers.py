"""What Slurm 23.11, 24.11 and 26.05 print, recorded: read like that of 22.05, whatever differs."""

from __future__ import annotations

import pytest

from cathodeflow.dispatch.slurm.answers import SlurmJob, parse_sacct, parse_sinfo, parse_squeue
from cathodeflow.dispatch.slurm.commands import _said
from cathodeflow.records.outcomes import Reason

# squeue -h -r -t all -o SQUEUE_FORMAT of 26.05. The reason of a kill was JobLaunchFailure up to 22.05, and a reason may
# be a sentence.
SQUEUE = """\
60002|60002|N/A|COMPLETED|None|2026-11-21T20:17:33|n1x0|cpu|cflow-ok|cathodeflow:p:c:cpu:ok
60003|60003|N/A|FAILED|NonZeroExitCode|2026-11-21T20:17:33|n1x0|cpu|cflow-ex|cathodeflow:p:c:cpu:ex
60004|60004|N/A|FAILED|RaisedSignal:9(Killed)|2026-11-21T20:17:33|n1x0|cpu|cflow-sig|cathodeflow:p:c:cpu:sig
60005|60005|N/A|OUT_OF_MEMORY|OutOfMemory|2026-11-21T20:17:34|n1x0|cpu|cflow-oom|cathodeflow:p:c:cpu:oom
60001|60001|N/A|CANCELLED|None|2026-11-21T20:17:39|n1x0|cpu|cflow-can|cathodeflow:p:c:cpu:can
30000|30000|N/A|TIMEOUT|TimeLimit|2026-11-21T20:48:52|n1x0|cpu|cflow-t|(null)
30002|30002|N/A|PREEMPTED|None|2026-11-21T20:47:52|n1x0|cpu|cflow-a|(null)
60007_0|60007|0|RUNNING|None|2026-11-21T20:18:33|n1x0|cpu|cflow-arr|cathodeflow:p:c:cpu:arr
60007_1|60007|1|PENDING|Resources|2026-11-21T20:19:33||cpu|cflow-arr|cathodeflow:p:c:cpu:arr
60007_3|60007|3|CANCELLED|Resources|2026-11-21T20:18:59||cpu|cflow-arr|cathodeflow:p:c:cpu:arr
60006|60006|N/A|PENDING|PartitionTimeLimit|N/A||cpu|cflow-lim|cathodeflow:p:c:cpu:lim
60008|60008|N/A|PENDING|JobHeldUser|N/A||cpu|cflow-hold|cathodeflow:p:c:cpu:hold
60010|60010|N/A|PENDING|Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions|\
2026-11-21T20:23:00||gpu|cflow-gres|cathodeflow:p:c:cpu:gres
"""

# sacct -P -n -o SACCT_FIELDS of 26.05. Plain jobs go before arrays, whatever their numbers; a node that fails leaves an
# exit code of 1, which was 0; tasks that never began share a line in every version.
SACCT = """\
30000|TIMEOUT|0:0|n1x0|100M||cflow-t
30000.batch|CANCELLED|0:15|n1x0||5356K|batch
30002|PREEMPTED|0:0|n1x0|2600M||cflow-a
30002.batch|CANCELLED|0:9|n1x0||13796K|batch
60000|NODE_FAIL|1:0|n1x0|100M||cflow-t
60000.batch|CANCELLED||n1x0|||batch
60001|CANCELLED by 0|0:0|n1x0|100M||cflow-can
60001.batch|CANCELLED|0:15|n1x0||5180K|batch
60002|COMPLETED|0:0|n1x0|100M||cflow-ok
60002.batch|COMPLETED|0:0|n1x0||3548K|batch
60003|FAILED|3:0|n1x0|100M||cflow-ex
60003.batch|FAILED|3:0|n1x0||1092K|batch
60004|FAILED|0:9|n1x0|100M||cflow-sig
60004.batch|CANCELLED|0:9|n1x0||1112K|batch
60005|OUT_OF_MEMORY|0:125|n1x0|100M||cflow-oom
60005.batch|OUT_OF_MEMORY|0:125|n1x0||1084K|batch
60006|PENDING|0:0|None assigned|100M||cflow-lim
60010|RUNNING|0:0|n1x0|100M||cflow-gres
60010.batch|RUNNING|0:0|n1x0|||batch
60007_0|CANCELLED by 0|0:0|n1x0|3000M||cflow-arr
60007_0.batch|CANCELLED||n1x0|||batch
60007_[1,3]|CANCELLED by 0|0:0|None assigned|3000M||cflow-arr
"""

ENDS = {
    "30000": Reason.TIMEOUT,
    "30002": Reason.PREEMPTED,
    "60001": Reason.CANCELLED,
    "60002": None,
    "60003": Reason.EXIT_CODE,
    "60005": Reason.OUT_OF_MEMORY,
    "60007_3": Reason.CANCELLED,
}


def queue() -> dict[str, SlurmJob]:
    return {job.job_id: job for job in parse_squeue(SQUEUE)}


@pytest.mark.parametrize(("job_id", "reason"), ENDS.items())
def test_squeue_and_sacct_tell_the_same_end(job_id: str, reason: Reason | None) -> None:
    for job in (queue()[job_id], parse_sacct(SACCT)[job_id]):
        assert job.ended
        assert job.reason == reason


def test_what_sacct_alone_tells() -> None:
    jobs = parse_sacct(SACCT)
    assert jobs["60000"].reason == Reason.NODE_FAIL
    assert jobs["60000"].sentence() == "Slurm job 60000 on n1x0 ended NODE_FAIL"
    assert jobs["60004"].reason == Reason.KILLED
    assert jobs["60007_0"].reason == jobs["60007_1"].reason == Reason.CANCELLED
    assert jobs["60007_1"].nodes == ""


def test_a_reason_to_wait_may_be_a_sentence() -> None:
    jobs = queue()
    assert jobs["60010"].pending
    assert jobs["60010"].waits_for.startswith("Nodes required for job are DOWN, DRAINED")
    assert (jobs["60010"].name, jobs["60010"].partition) == ("cflow-gres", "gpu")
    assert jobs["60010"].comment == "cathodeflow:p:c:cpu:gres"
    assert [job_id for job_id, job in jobs.items() if job.waits_in_vain] == ["60006"]


def test_partitions_are_read() -> None:
    partitions = parse_sinfo("cpu*|1:00:00|1\ngpu|1:00:00|1\n")
    assert [(one.name, one.is_default, one.time_s) for one in partitions] == [("cpu", True, 3600), ("gpu", False, 3600)]


def test_refusals_are_said_without_the_programs_name() -> None:
    said = "sbatch: error: invalid partition specified: nowhere\nallocation failure: Invalid partition name specified\n"
    assert _said(said) == ("invalid partition specified: nowhere; allocation failure: Invalid partition name specified")
