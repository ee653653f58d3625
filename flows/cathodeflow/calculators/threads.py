"""Threads of a worker."""

from __future__ import annotations

from cathodeflow.settings import get_settings


def limit_threads() -> int:
    """Keep torch to the worker's share of threads and return it.

    Two torch processes with two threads each on two cores are forty times slower than with one each.
    """
    import torch

    allowed = get_settings().threads_per_worker
    if torch.get_num_threads() != allowed:
        torch.set_num_threads(allowed)
    return allowed
