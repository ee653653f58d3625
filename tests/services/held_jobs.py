"""Jobs that go on when their test lets them; workers import them by this module's name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from jobflow import Response, job
from tests.services.gate import LONGEST_S, Gate
from tests.unit.dispatch.noop_jobs import noop


def wait_at(gate: str, patience_s: float | None) -> None:
    """Wait at a gate; behind it the worker has so much patience with a store that is away."""
    Gate(Path(gate)).wait()
    if patience_s is not None:
        os.environ["CATHODEFLOW_STORE_PATIENCE_S"] = str(patience_s)


@job
def held(gate: str, number: float = 1.0, patience_s: float | None = None) -> float:
    wait_at(gate, patience_s)
    return number


@job
def held_then_add(gate: str, number: int, patience_s: float | None = None) -> Response:
    wait_at(gate, patience_s)
    return Response(output=number, addition=noop(number + 1))


@job
def held_then_fail(gate: str, message: str, patience_s: float | None = None) -> None:
    wait_at(gate, patience_s)
    raise ValueError(message)


@job
def until_asked_to_end() -> int:
    """End when the worker has been asked (SIGTERM) to end after its present job; the log says that it waits."""
    asked = False  # no threading.Event: its lock may be held where the handler breaks in
    of_worker = signal.getsignal(signal.SIGTERM)
    assert callable(of_worker)

    def also_tell(*received: Any) -> None:
        nonlocal asked
        of_worker(*received)
        asked = True

    signal.signal(signal.SIGTERM, also_tell)
    print("waits to be asked", flush=True)
    try:
        deadline = time.monotonic() + LONGEST_S
        while not asked:
            assert time.monotonic() < deadline, "nobody asked"
            time.sleep(0.05)
    finally:
        signal.signal(signal.SIGTERM, of_worker)
    return 1
