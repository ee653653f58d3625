"""Whether a launch that runs in Slurm is over, and why: from what Slurm says and from the allocation's own notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cathodeflow.dispatch.slurm.notes import STORE_AWAY, Death, read_death
from cathodeflow.dispatch.slurm.truth import Finding, SlurmTruth, Standing
from cathodeflow.records.outcomes import Reason


@dataclass(frozen=True)
class Judgement:
    """Why a launch is over.

    Attributes
    ----------
    reason : Reason
        For the policy.
    message : str
        For people.
    """

    reason: Reason
    message: str


def slurm_job_of(process: Mapping[str, Any]) -> str | None:
    """Return the Slurm job of a worker's identity as squeue writes it, None when it ran outside Slurm."""
    if process.get("slurm_array_job_id") is not None:
        return f"{process['slurm_array_job_id']}_{process.get('slurm_array_task_id', 0)}"
    found = process.get("slurm_job_id")
    return None if found is None else str(found)


def judge(finding: Finding, death: Death | None) -> Judgement | None:
    """Decide whether a launch is over.

    Parameters
    ----------
    finding : Finding
        Where its Slurm job stands.
    death : Death or None
        The allocation's note on its worker.

    Returns
    -------
    Judgement or None
        None while it may be alive. Not knowing counts as that.
    """
    job = finding.job
    if finding.standing == Standing.ENDED and job is not None:
        if death is not None and job.reason not in (_KILLED_BY_SLURM if _may_be_slurms(death) else _TOLD_BY_SLURM):
            return _of_the_dead(death)  # its worker died before the allocation ended, whatever of
        if job.reason is not None:
            return Judgement(job.reason, job.sentence())
        return Judgement(Reason.VANISHED, f"{job.sentence()}, but the job it was running left no result")
    if finding.standing == Standing.GONE:
        return (
            _of_the_dead(death) if death else Judgement(Reason.VANISHED, "its Slurm job is gone and nobody knows why")
        )
    if death is not None and job is not None and job.state == "RUNNING" and not _may_be_slurms(death):
        return _of_the_dead(death)
    return None


def _may_be_slurms(death: Death) -> bool:
    """Whether Slurm may have sent the signal: it has the last word where it says so, once it has said it."""
    return death.ending and death.signal > 0


# Slurm kills by signal 9 for these, and an allocation that sees it first takes it for somebody's kill.
_TOLD_BY_SLURM = frozenset({Reason.OUT_OF_MEMORY, Reason.NODE_FAIL, Reason.PREEMPTED})
_KILLED_BY_SLURM = _TOLD_BY_SLURM | {Reason.TIMEOUT, Reason.CANCELLED}


def _of_the_dead(death: Death) -> Judgement:
    where = f"worker {death.pid} on {death.host}"
    if death.exit_code == STORE_AWAY:
        return Judgement(Reason.VANISHED, f"{where} gave up waiting for the store")
    if death.exit_code:
        return Judgement(Reason.EXIT_CODE, f"{where} was ended by its job with exit code {death.exit_code}")
    if not death.signal:
        return Judgement(Reason.VANISHED, f"{where} ended while its job was open")
    if death.out_of_memory:
        return Judgement(Reason.OUT_OF_MEMORY, f"{where} was ended by the kernel for want of memory")
    return Judgement(Reason.VANISHED, f"{where} was ended by signal {death.signal}")


def judge_launches(folder: Path, launches: Sequence[Mapping[str, Any]]) -> dict[int, Judgement]:
    """Judge the launches that run in Slurm jobs, asking Slurm once for all of them.

    Parameters
    ----------
    folder : Path
        The project folder.
    launches : sequence of mapping
        FireWorks' documents of launches that are open; those outside Slurm are left out.

    Returns
    -------
    dict of int to Judgement
        By launch_id, those that are over.
    """
    processes = {launch["launch_id"]: ((launch.get("fworker") or {}).get("env")) or {} for launch in launches}
    jobs = {number: job for number, env in processes.items() if (job := slurm_job_of(env)) is not None}
    if not jobs:
        return {}
    seen: dict[str, float] = {}
    for number, job_id in jobs.items():
        seen[job_id] = max(float(processes[number].get("process_started") or 0.0), seen.get(job_id, 0.0))
    findings = SlurmTruth().look(set(jobs.values()), seen)
    found = {}
    for number, job_id in jobs.items():
        env = processes[number]
        death = read_death(folder, job_id, str(env.get("host")), int(env.get("pid") or 0))
        judgement = judge(findings[job_id], death)
        if judgement is not None:
            found[number] = judgement
    return found
