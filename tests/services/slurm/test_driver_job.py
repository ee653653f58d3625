"""The driver's own job on a real Slurm: it outlives its time limit, and ends when it is to end.

A stand-in for cflow writes down its turns; what is tried is the script, and what Slurm makes of it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.services.slurm.conftest import wait_for
from tests.services.slurm_cluster import SlurmCluster

pytestmark = [pytest.mark.slow, pytest.mark.service]

SUBMIT = Path(__file__).parents[3] / "workflows" / "nvpf_inverse_design" / "submit.sh"
PATIENCE_S = 400.0
CFLOW = """#!/bin/bash
case $1 in
    status) exit 4 ;;
    report) touch {folder}/reported; exit ;;
    run) ;;
    *) exit ;;
esac
trap 'echo "left $SLURM_JOB_ID" >> {folder}/turns; exit 130' TERM
echo "began $SLURM_JOB_ID" >> {folder}/turns
until [ -e {folder}/done ]; do sleep 0.1; done
"""


@dataclass
class Driver:
    """The driver's job, and the folder it was submitted from."""

    folder: Path
    cluster: SlurmCluster
    number: str = ""
    hurried: set[int] = field(default_factory=set)

    def submit(self, limit: str, lead_s: int) -> None:
        """Submit it as a person would."""
        tools = self.folder / "bin"
        tools.mkdir()
        cflow = tools / "cflow"
        cflow.write_text(CFLOW.format(folder=self.folder))
        cflow.chmod(0o755)
        environment = {
            **self.cluster.environment,
            "PATH": f"{tools}{os.pathsep}{self.cluster.environment['PATH']}",
            "SBATCH_TIMELIMIT": limit,
            "SBATCH_SIGNAL": f"B:USR1@{lead_s}",
            "SBATCH_MEM_PER_NODE": "100",
        }
        submitted = subprocess.run(
            ["bash", str(SUBMIT), "--site", "here", "--as-job", "project"],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.search(r"Submitted batch job (\d+)", submitted.stdout)
        assert found, submitted
        self.number = found[1]

    def turns(self) -> list[str]:
        """What its drivers wrote: ``began`` and ``left``, with the number of the job."""
        file = self.folder / "turns"
        return file.read_text().splitlines() if file.exists() else []

    def state(self) -> str:
        """Slurm's word for it; empty once it is forgotten."""
        return self.cluster.output("squeue", "-h", "-t", "all", "-j", self.number, "-o", "%T").strip()

    def has_begun(self, times: int) -> bool:
        """Take from it, once a turn, the minutes that Slurm makes a requeued job wait; whether it began so often."""
        turns = len(self.turns())
        if self.state() == "PENDING" and turns not in self.hurried:
            # Not at once: a credential of the second in which the job was ended counts as revoked.
            self.hurried.add(turns)
            assert self.cluster.succeeds("scontrol", "update", f"jobid={self.number}", "starttime=now+4")
        return sum(turn.startswith("began") for turn in self.turns()) >= times

    def log(self) -> str:
        return (self.folder / f"cathodeflow-driver-{self.number}.log").read_text()


@pytest.fixture
def driver(cluster: SlurmCluster, tmp_path: Path) -> Iterator[Driver]:
    """One that is not submitted yet; nothing of it is left afterwards."""
    made = Driver(tmp_path, cluster)
    yield made
    cluster.run("scancel", made.number)
    (tmp_path / "done").touch()


def runs_of(driver: Driver) -> list[str]:
    """How each run of the job ended, as Slurm's accounting has it."""
    lines = driver.cluster.output("sacct", "-D", "-n", "-X", "-P", "-j", driver.number, "-o", "State").splitlines()
    return [line.split()[0] for line in lines if line]


def test_it_outlives_its_time_limit_twice_and_ends_when_its_campaign_is_done(driver: Driver) -> None:
    driver.submit("00:02:00", 60)  # Slurm looks twice a minute, so that each turn has half a minute at least
    began, left = f"began {driver.number}", f"left {driver.number}"
    wait_for(lambda: driver.turns()[:2] == [began, left], PATIENCE_S)
    wait_for(lambda: driver.has_begun(2), PATIENCE_S)
    wait_for(lambda: driver.turns()[:4] == [began, left] * 2, PATIENCE_S)
    (driver.folder / "done").touch()
    wait_for(lambda: driver.has_begun(3) and driver.state() == "COMPLETED", PATIENCE_S)
    assert driver.turns() == [*[began, left] * 2, began]
    assert (driver.folder / "reported").exists()
    wait_for(lambda: runs_of(driver) == ["REQUEUED", "REQUEUED", "COMPLETED"], PATIENCE_S)
    assert driver.log().count("it is back in the queue") == 2


def test_it_ends_for_good_when_it_is_cancelled(driver: Driver) -> None:
    driver.submit("00:30:00", 60)
    wait_for(lambda: driver.turns() == [f"began {driver.number}"], PATIENCE_S)
    assert driver.cluster.succeeds("scancel", driver.number)
    wait_for(lambda: driver.turns()[1:] == [f"left {driver.number}"], PATIENCE_S)
    wait_for(lambda: driver.state() == "CANCELLED", PATIENCE_S)
    assert len(runs_of(driver)) == 1
    assert "queue" not in driver.log()
    assert not (driver.folder / "reported").exists()


def test_where_it_may_not_be_queued_again_another_one_follows(driver: Driver) -> None:
    driver.submit("00:30:00", 60)
    wait_for(lambda: driver.turns() == [f"began {driver.number}"], PATIENCE_S)
    assert driver.cluster.succeeds("scontrol", "update", f"jobid={driver.number}", "requeue=0")
    driver.cluster.run("scancel", "--batch", "--signal=USR1", driver.number)
    wait_for(lambda: driver.state() == "COMPLETED", PATIENCE_S)
    first, found = driver.number, re.search(r"Submitted batch job (\d+)", driver.log())
    assert found, driver.log()
    driver.number = found[1]
    wait_for(lambda: driver.has_begun(2), PATIENCE_S)
    assert driver.turns() == [f"began {first}", f"left {first}", f"began {driver.number}"]
    (driver.folder / "done").touch()
    wait_for(lambda: driver.state() == "COMPLETED", PATIENCE_S)
    assert (driver.folder / "reported").exists()
