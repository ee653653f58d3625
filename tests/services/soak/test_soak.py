"""A short soak: what `make soak` does at length, with each kind of fault and each kind of end in a few minutes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.services.mongo_server import why_unavailable
from tests.services.slurm_cluster import REMEDY, SlurmCluster, missing_programs
from tests.services.soak.soak import soak
from tests.services.soak.world import Plan

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.soak]
SHORT = Plan(
    labels=60,
    minutes=3.0,
    driver_kills=5,
    worker_kills=3,
    scancels=3,
    slurmd_restarts=1,
    outages=1,
    outage_s=15.0,
    work_s=1.0,
    shard_size=150,
    rounds=1,
)


@pytest.fixture
def cluster() -> Iterator[SlurmCluster]:
    missing = missing_programs()
    if missing:
        pytest.skip(f"no Slurm here ({missing[0]} is missing): {REMEDY}")
    if why := why_unavailable():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # sockets need a short path
    made = SlurmCluster(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_campaign_among_faults_ends_with_the_truth(cluster: SlurmCluster, tmp_path: Path) -> None:
    report = soak(tmp_path, cluster, SHORT)
    print(report.table())
    assert report.sound, report.table()
