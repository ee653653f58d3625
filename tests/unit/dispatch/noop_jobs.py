"""Jobs for the tests of dispatch; workers import them by this module's name."""

from __future__ import annotations

import os
import signal
import time

from jobflow import Response, job


@job
def noop(number: int) -> int:
    return number


@job
def fail(message: str) -> None:
    print("about to fail")
    raise ValueError(message)


@job
def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@job
def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@job
def add_another(number: int) -> Response:
    return Response(output=number, addition=noop(number + 1))


@job
def total(numbers: list[int]) -> int:
    return sum(numbers)


@job
def see_gpus() -> str:
    """What this job may use."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all")


@job
def use_memory(mebibytes: int) -> int:
    """Touch so much memory and hold it."""
    held = bytearray(mebibytes * 1024 * 1024)
    time.sleep(60)
    return len(held)
