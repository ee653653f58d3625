"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.stores import mongo_server, stores

__all__ = ["demo", "mongo_server", "stores"]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished campaign with something to ask about; never write to it."""
    from tests.demo_store import make_demo

    return make_demo(tmp_path_factory.mktemp("demo")).folder
