"""Threads of a worker."""

from __future__ import annotations

import os

from cathodeflow.settings import get_settings


def allowed_threads() -> int:
    """Return how many threads this process may use: what its worker was given by its site, else the setting.

    A worker says it in OMP_NUM_THREADS, which BLAS and the programs it starts read, too.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) > 0 else get_settings().threads_per_worker


def threads_of_one_program() -> int:
    """Return the threads for a program without MPI ranks that the job runs alone, such as LOBSTER.

    Where Slurm gives the job ranks, the worker's threads are those of one rank: such a program may use the cores of
    all ranks on this node.
    """
    ranks, cores = (os.environ.get(name, "") for name in ("SLURM_NTASKS", "SLURM_CPUS_ON_NODE"))
    if not (ranks.isdigit() and int(ranks) > 1 and cores.isdigit()):
        return allowed_threads()
    return max(allowed_threads(), min(int(cores), len(os.sched_getaffinity(0))))


def limit_threads() -> int:
    """Keep torch to the worker's share of threads and return it.

    Two torch processes with two threads each on two cores are forty times slower than with one each.
    """
    import torch

    allowed = allowed_threads()
    if torch.get_num_threads() != allowed:
        torch.set_num_threads(allowed)
    return allowed
