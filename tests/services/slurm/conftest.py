"""One real cluster for all tests that need Slurm, and a project and site to try it with."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.services.gate import Gate
from tests.services.slurm_cluster import REMEDY, SlurmCluster, missing_programs
from tests.services.waiting import wait_for

from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.sites import Site
from cathodeflow.storage.connection import Project, create_project

__all__ = ["wait_for"]
REPOSITORY = Path(__file__).parents[3]


def started_cluster(preemption: str = "") -> Iterator[SlurmCluster]:
    """A cluster for as long as it is iterated over."""
    missing = missing_programs()
    if missing:
        pytest.skip(f"no Slurm here ({missing[0]} is missing): {REMEDY}")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # sockets need a short path
    cluster = SlurmCluster(folder, preemption=preemption)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[SlurmCluster]:
    yield from started_cluster()


@pytest.fixture
def cluster(running_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """The cluster, found by what runs in this process, and empty again afterwards."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, running_cluster.environment[name])
    yield running_cluster
    running_cluster.wait_until_empty()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return create_project(tmp_path / "p")


@pytest.fixture
def make_site(tmp_path: Path) -> Callable[..., SiteFile]:
    """A site of the one-node cluster, with changes to its cpu queue."""

    def make(**changes: object) -> SiteFile:
        queue = {"partition": "cpu", "time": "00:10:00", "memory": "400M", "linger_s": 2, "signal_s": 5, **changes}
        gpu = {**queue, "partition": "gpu", "gpus": 1}
        described = {
            "title": "one node",
            "python": sys.executable,
            "shell": "/bin/bash",
            "environment": {"PYTHONPATH": str(REPOSITORY)},
            "workers": {"cpu": queue, "gpu": gpu},
        }
        (tmp_path / "one_node").mkdir(exist_ok=True)
        return SiteFile(tmp_path / "one_node", Site.model_validate(described))

    return make


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A closed gate, at which jobs run for as long as the test needs them to."""
    made = Gate(tmp_path / "gate")
    made.close()
    yield made
    made.open()
