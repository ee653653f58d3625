"""Ports for the servers of tests."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

# Below those that the kernel gives to outgoing connections: one of these could sit on the port of a server that is
# to come back, even one that was made in looking for that server.
FIRST, LAST = 12000, 32000
_DICE = random.Random()  # from the system: two test processes must not look in the same order


def free_ports(number: int) -> int:
    """Return the first of so many ports in a row that nothing listens on."""
    for _ in range(1000):
        first = _DICE.randrange(FIRST, LAST)
        with ExitStack() as probes:
            try:
                for place in range(number):
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", first + place))
            except OSError:
                continue
        return first
    raise AssertionError(f"no {number} free ports in a row")
