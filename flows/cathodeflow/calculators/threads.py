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


def limit_threads() -> int:
    """Keep torch to the worker's share of threads and return it.

    Two torch processes with two threads each on two cores are forty times slower than with one each.
    """
    import torch

    allowed = allowed_threads()
    if torch.get_num_threads() != allowed:
        torch.set_num_threads(allowed)
    return allowed
