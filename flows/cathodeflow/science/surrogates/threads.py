"""How many threads torch uses while one of our functions runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let torch use one thread.

    The matrices of one crystal are small, and a sum shared out among threads rounds differently: one thread gives the
    same numbers on a laptop and on a node. Two processes with two threads each on two cores were forty times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
