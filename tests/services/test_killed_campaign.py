from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.campaign_world import COMPUTED, GATE, definition, final_documents, launch, run_to_end
from tests.services.gate import Gate
from tests.services.waiting import AMPLE_S, wait_for

from cathodeflow.campaign import transitions
from cathodeflow.dispatch.jobs import count_states
from cathodeflow.storage.connection import open_project

KILLS = 22
ROOT = Path(__file__).parents[2]
WANTED = definition(
    elements=["V", "Mo", "Fe"],
    labels={"total": 60, "rounds": 2, "acquisition": "uncertainty"},
    engine={"name": "pair", "parameters": {"delay_s": 0.25}},
)


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "CATHODEFLOW_TICK_S": "0.2",
        # Longer than any test: what is let go of was not only waited for.
        "CATHODEFLOW_LEASE_S": "3600",
        COMPUTED: str(folder / "computed.txt"),
        GATE: str(folder / "gate"),
    }


def start(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "driver.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.killable_driver", str(folder)],
            env=environment(folder),
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )


def campaign_processes(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if str(folder) in line:
            found.append(process)
    return found


def kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_a_campaign_killed_at_random_moments_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    folder = tmp_path / "disturbed"
    folder.mkdir()
    project = launch(folder, WANTED)
    gate = Gate(folder / "gate")
    gate.close(passes=45)  # of the 60: it does not end before all kills are done
    dice = random.Random(20)
    driver = start(folder)
    killed = 0
    while killed < KILLS:
        if driver.poll() is not None:
            driver = start(folder)
        if dice.random() < 0.7:
            # At work: else a slow machine would see kills of processes that are starting, and no other.
            finished = count_states(project, "trial").get("COMPLETED", 0)
            gate.forget_who_waits()
            wait_for(lambda driver=driver, done=finished: has_worked(driver, gate, folder, done), pause_s=0.2)  # type: ignore[misc]
            time.sleep(dice.uniform(0.0, 0.5))
        else:
            time.sleep(dice.uniform(0.3, 4.5))
        victims = campaign_processes(folder)
        # Sometimes everything at once, sometimes a worker or the driver alone.
        for victim in victims if dice.random() < 0.5 else dice.sample(victims, min(1, len(victims))):
            kill(victim)
            killed += 1
        assert_readable(folder)
    gate.open()
    if driver.poll() is not None or driver.pid in {victim.pid for victim in victims}:
        driver.wait()
        driver = start(folder)
    assert driver.wait(AMPLE_S) == 0, (folder / "driver.log").read_text()[-3000:]
    assert killed >= 20

    project = open_project(folder)
    calm = launch(tmp_path / "calm", WANTED)
    run_to_end(calm)
    assert final_documents(project) == final_documents(calm)
    assert set(count_states(project, "trial")) == {"COMPLETED"}
    assert_nothing_computed_after_it_was_recorded(folder)


def has_worked(driver: subprocess.Popen[bytes], gate: Gate, folder: Path, finished: int) -> bool:
    """Whether jobs have ended since, or wait for leave to end; or there is no driver that could see to it."""
    states = count_states(open_project(folder), "trial")
    return driver.poll() is not None or gate.somebody_waits() or states.get("COMPLETED", 0) > finished


def assert_readable(folder: Path) -> None:
    connection = sqlite3.connect(folder / "cathodeflow.sqlite", timeout=60.0)
    assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    connection.close()


def assert_nothing_computed_after_it_was_recorded(folder: Path) -> None:
    project = open_project(folder)
    recorded = {
        label["key"]: label["created_at"].timestamp()
        for label in project.database["labels"].find({}, {"key": 1, "created_at": 1})
    }
    lines = [line.split() for line in (folder / "computed.txt").read_text().splitlines()]
    late = [key for key, moment in lines if float(moment) > recorded[key] + 0.001]
    assert late == []
    assert {key for key, _ in lines} == set(recorded)


@pytest.mark.slow
def test_a_second_driver_is_refused_while_the_first_lives_and_takes_over_when_it_is_dead(tmp_path: Path) -> None:
    launch(tmp_path, WANTED)
    first = start(tmp_path)
    try:
        wait_for(lambda: holder(tmp_path) is not None or first.poll() is not None)
        assert first.poll() is None
        second = start(tmp_path)
        assert second.wait(AMPLE_S) == 5
        assert "is driven by" in (tmp_path / "driver.log").read_text()
        first.kill()
        first.wait()
        third = start(tmp_path)
        wait_for(lambda: f":{third.pid}:" in (holder(tmp_path) or "") or third.poll() is not None)
        assert third.poll() is None, "the lease of a dead driver must not keep another one out"
        wait_until_it_ticks(tmp_path)
        third.send_signal(signal.SIGINT)
        assert third.wait(AMPLE_S) == 1  # ended in good order, the campaign not done
        assert holder(tmp_path) is None
        wait_for(lambda: campaign_processes(tmp_path) == [])  # the first one's workers miss it by themselves
    finally:
        for process in campaign_processes(tmp_path):
            kill(process)


def holder(folder: Path) -> str | None:
    lease = transitions.read_campaign(open_project(folder), "trial").lease
    return None if lease is None else lease.holder


def wait_until_it_ticks(folder: Path) -> None:
    """It has taken its lease, and counts interrupts from its first tick on, which renews it."""

    def until() -> object:
        lease = transitions.read_campaign(open_project(folder), "trial").lease
        return lease and lease.expires_at

    taken = until()
    wait_for(lambda: until() != taken)
