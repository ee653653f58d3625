"""Fixtures for all tests."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.stores import mongo_server, stores

# A test that fails on a busy machine says nothing of the code: hypothesis' deadline of 200 ms per case does, and
# so does its limit of a second for drawing some. The cases are the same in every run, so that no change is refused
# for one that was wrong before it; `pytest --hypothesis-profile explore` looks for new ones.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("cathodeflow", settings.get_profile("explore"), derandomize=True)
settings.load_profile("cathodeflow")

__all__ = ["demo", "mongo_server", "stores"]

# A shell cannot trap what was ignored when it was started: whoever started the tests may ignore SIGTERM.
_HANDLERS = {signal.SIGINT: signal.getsignal(signal.SIGINT), signal.SIGTERM: signal.SIG_DFL}
_BY_LIBRARIES = ("KMP_", "PYTORCH_", "TORCHINDUCTOR_", "PYTEST_")  # set by an import; the last by pytest itself


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished campaign with something to ask about; never write to it."""
    from tests.demo_store import make_demo

    return make_demo(tmp_path_factory.mktemp("demo")).folder


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Put signal handlers back: a signal that a test leaves ignored stays so in every process a later test starts.

    Before the test, too: fixtures of a module or a session are made before this one.
    """
    _set_handlers()
    yield
    _set_handlers()


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    """Put environment, working folder, torch's threads and jobflow's store back: no test depends on an earlier one.

    custodian leaves in the environment since when walltimes count, and `run_locally` without a store takes the one that
    a worker of an earlier test has set.
    """
    _forget_job_store()
    before, folder = _environment(), Path.cwd()
    torch = sys.modules.get("torch")
    threads = None if torch is None else torch.get_num_threads()
    yield
    for name in _environment().keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
    os.chdir(folder)
    if torch is not None:
        torch.set_num_threads(threads)
    _forget_job_store()


def _set_handlers() -> None:
    for number, handler in _HANDLERS.items():
        signal.signal(number, handler)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_BY_LIBRARIES)}


def _forget_job_store() -> None:
    """Let jobflow, where it is loaded, have a store in memory again, as it has of itself."""
    if "jobflow" in sys.modules:
        sys.modules["jobflow"].SETTINGS.JOB_STORE = _store_in_memory()


@functools.cache
def _store_in_memory() -> Any:
    from jobflow import JobStore
    from maggma.stores import MemoryStore

    return JobStore(MemoryStore())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Where the servers are installed (CI), a skipped service test is a failure: it would be missed by nobody."""
    report = yield
    needed = bool(os.environ.get("CATHODEFLOW_TESTS_NEED_SERVICES")) and item.get_closest_marker("service") is not None
    if needed and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"a service test was skipped although its servers are installed: {report.longrepr}"
    return report
