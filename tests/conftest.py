"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from tests.stores import mongo_server, stores

# A test that fails on a busy machine says nothing of the code: hypothesis' deadline of 200 ms per case does.
settings.register_profile("cathodeflow", deadline=None)
settings.load_profile("cathodeflow")

__all__ = ["demo", "mongo_server", "stores"]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished campaign with something to ask about; never write to it."""
    from tests.demo_store import make_demo

    return make_demo(tmp_path_factory.mktemp("demo")).folder


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Put signal handlers back: a signal that a test leaves ignored stays so in every process a later test starts."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Where the servers are installed (CI), a skipped service test is a failure: it would be missed by nobody."""
    report = yield
    needed = bool(os.environ.get("CATHODEFLOW_TESTS_NEED_SERVICES")) and item.get_closest_marker("service") is not None
    if needed and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"a service test was skipped although its servers are installed: {report.longrepr}"
    return report
