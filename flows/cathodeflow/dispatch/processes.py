"""What names a process for good, on its host and in Slurm, and whether one that left its name is gone."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from cathodeflow.settings import get_settings

_SAME_START_S = 0.05
SLOTS, SLOTS_OF_A_GPU = "CATHODEFLOW_SLOTS", "CATHODEFLOW_SLOTS_OF_A_GPU"
"""Variables by which an allocation tells a worker with how many it shares its cores, and each of its GPUs."""

SIGN_OF_LIFE_S = 10.0
"""How often whoever holds a mark for long says that it lives, to those who cannot see its process."""
TOKENS_IN_USE: set[str] = set()
"""Of the marks that this process is at work with; others of its own were left by an error."""

# What names the place in Slurm where a process runs; `reconcile` asks Slurm about it.
SLURM_IDENTITY = {
    "slurm_job_id": "SLURM_JOB_ID",
    "slurm_array_job_id": "SLURM_ARRAY_JOB_ID",
    "slurm_array_task_id": "SLURM_ARRAY_TASK_ID",
    "slurm_step_id": "SLURM_STEP_ID",
    "slurm_nodes": "SLURM_JOB_NODELIST",
}


@lru_cache(maxsize=1)
def _identity(pid: int) -> dict[str, Any]:
    import psutil

    return {"host": socket.gethostname(), "pid": pid, "process_started": psutil.Process(pid).create_time()}


def this_process() -> dict[str, Any]:
    """Return what names this process for good; a forked child is another."""
    return dict(_identity(os.getpid()))


def is_own(mark: Mapping[str, Any]) -> bool:
    """Whether this very process left a mark that names its process."""
    return all(mark.get(name) == value for name, value in this_process().items())


def process_identity() -> dict[str, Any]:
    """Return what names this process for good: host, pid and start, so that a reused pid is noticed.

    In an allocation of Slurm also the job, the array task, the step and the nodes.
    """
    return this_process() | {key: os.environ[name] for key, name in SLURM_IDENTITY.items() if name in os.environ}


def processors(threads: int) -> dict[str, float]:
    """Return the cores and GPUs a worker holds, for the hours that pages and metrics add up.

    In an allocation its share of what Slurm gave, all nodes included: slots that share one GPU hold parts of it, and
    what a worker is bound to says nothing where Slurm confines nobody. Elsewhere its threads.
    """
    if "SLURM_JOB_ID" not in os.environ:
        return {"cores": threads, "gpus": 0}
    given = sum(
        int(cpus) * int(nodes or 1)
        for cpus, nodes in re.findall(r"(\d+)(?:\(x(\d+)\))?", os.environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
    )
    cores = given / int(os.environ.get(SLOTS, "1")) if given else len(os.sched_getaffinity(0))
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    gpus = len(visible) * int(os.environ.get("SLURM_JOB_NUM_NODES", "1")) / int(os.environ.get(SLOTS_OF_A_GPU, "1"))
    return {"cores": _short(cores), "gpus": _short(gpus)}


def _short(number: float) -> float:
    return int(number) if number == int(number) else round(number, 3)


def moment() -> datetime:
    """Return the time as BSON keeps it: UTC without zone, to the millisecond."""
    now = datetime.now(UTC).replace(tzinfo=None)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def is_alive(pid: int, started: float) -> bool:
    """Whether the process with this pid and start time lives.

    Parameters
    ----------
    pid : int
        Process number; numbers are used again, hence the next argument.
    started : float
        Its start, seconds since 1970.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < _SAME_START_S
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def is_gone(owner: Any, since: datetime | None) -> bool:
    """Whether the process that left a mark is gone for good.

    Parameters
    ----------
    owner : Any
        ``host``, ``pid`` and ``process_started`` as `this_process` gives them; anything else says nothing.
    since : datetime or None
        When it was last heard of, UTC without zone.

    Returns
    -------
    bool
        On this host the operating system says; of another host's process only its silence is known.
    """
    known = owner if isinstance(owner, dict) else {}
    if known.get("host") == socket.gethostname() and "pid" in known:
        return not is_alive(known["pid"], known.get("process_started", 0.0))
    limit = timedelta(seconds=get_settings().store_claim_expiry_s)
    return since is not None and moment() - since.replace(tzinfo=None) > limit


def is_abandoned(mark: Mapping[str, Any]) -> bool:
    """Whether nobody will finish what a mark tells of: its process is gone, or an error of this process left it.

    Parameters
    ----------
    mark : dict
        As `this_process` names a process, with ``token`` and ``since``.
    """
    return mark.get("token") not in TOKENS_IN_USE if is_own(mark) else is_gone(mark, mark.get("since"))
