"""The script that starts the cluster of docker-compose.yml, without docker: its cluster takes the jobs of its site."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.services.ports import free_ports
from tests.services.slurm_cluster import REMEDY, missing_programs
from tests.services.waiting import AMPLE_S

pytestmark = [pytest.mark.slow, pytest.mark.service]

ROOT = Path(__file__).parents[3]
START = ROOT / "deploy" / "slurm" / "start.sh"


@pytest.fixture
def folder() -> Iterator[Path]:
    missing = missing_programs()
    if missing:
        pytest.skip(f"no Slurm here ({missing[0]} is missing): {REMEDY}")
    made = Path(tempfile.mkdtemp(prefix="one-"))  # sockets need a short path
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_it_starts_takes_the_jobs_of_its_site_and_ends_with_all_its_parts(folder: Path, tmp_path: Path) -> None:
    environment = os.environ | {"FIRST_PORT": str(free_ports(4))}
    script = subprocess.Popen(
        [str(START), str(folder)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert script.stdout is not None
        said = script.stdout.readline()
        assert said.startswith("one-node Slurm is up: export SLURM_CONF="), said
        parts = psutil.Process(script.pid).children()
        assert {part.name() for part in parts} >= {"munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd"}
        check_site(tmp_path, folder)
    finally:
        script.send_signal(signal.SIGTERM)
        assert script.wait(AMPLE_S) == 143
    assert not [part for part in parts if part.is_running() and part.status() != psutil.STATUS_ZOMBIE]


def check_site(tmp_path: Path, folder: Path) -> None:
    """Send a job through each queue of site_configs/compose, with this Python in place of the image's."""
    site = tmp_path / "site_configs" / "compose_here"
    site.mkdir(parents=True)
    text = (ROOT / "site_configs" / "compose" / "site.yaml").read_text()
    changed = text.replace("python: python3", f"python: {sys.executable}").replace("memory: 3G", "memory: 1G")
    assert changed.count(sys.executable) == 1
    (site / "site.yaml").write_text(changed)
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
    command = [sys.executable, "-m", "cathodeflow.cli.app", "site", "check", "compose_here", "--live", "--wait", "580"]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=2 * AMPLE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("live") == 2
