"""A pytest plugin: FireWorks' own tests open the embedded store where they would open MongoDB."""

from __future__ import annotations

import os
from typing import Any

import fireworks.core.launchpad
import fireworks.fw_config

from cathodeflow.storage.embedded.client import MongoClient


class TestClient(MongoClient):
    """A client of the file that the environment names, whatever host is asked for."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        super().__init__(os.environ["EMBEDDED_STORE_UNDER_TEST"])


# Importing fw_config imports the launchpad, which keeps its own reference.
fireworks.fw_config.MongoClient = TestClient
fireworks.core.launchpad.MongoClient = TestClient
