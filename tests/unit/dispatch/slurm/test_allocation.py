"""Slots share an allocation fairly, know its end, and are started again when a signal takes them."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.dispatch.slurm import allocation
from cathodeflow.dispatch.slurm.allocation import (
    Allocation,
    AllocationOptions,
    end_of,
    gpu_names,
    oom_kills,
    parse,
    shares,
    times,
    worker_command,
)
from cathodeflow.dispatch.slurm.notes import STORE_AWAY


@given(st.integers(1, 16), st.integers(0, 64), st.integers(0, 8))
def test_every_core_goes_to_one_slot_and_every_slot_sees_a_gpu(slots: int, n_cores: int, n_gpus: int) -> None:
    dealt = shares(slots, range(n_cores), [str(number) for number in range(n_gpus)])
    assert len(dealt) == slots
    cores = [core for share in dealt for core in share.cores]
    assert sorted(cores) == (list(range(n_cores)) if n_cores >= slots else [])
    assert all(bool(share.gpus) == bool(n_gpus) for share in dealt)
    if n_gpus >= slots:
        assert sorted(gpu for share in dealt for gpu in share.gpus) == [str(number) for number in range(n_gpus)]


def test_gpus_are_those_that_slurm_gave() -> None:
    assert gpu_names({"CUDA_VISIBLE_DEVICES": "2,3"}, 2) == ["2", "3"]
    assert gpu_names({"CUDA_VISIBLE_DEVICES": "GPU-ab,MIG-cd"}, 0) == ["GPU-ab", "MIG-cd"]
    assert gpu_names({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, 0) == []
    assert gpu_names({}, 2) == ["0", "1"], "whole nodes are given without a word"
    assert gpu_names({}, 0) == []


def test_the_end_is_read_from_the_environment_or_from_squeue() -> None:
    assert times({"SLURM_JOB_START_TIME": "100", "SLURM_JOB_END_TIME": "400"}) == (100.0, 400.0)
    assert times({})[1] is None
    moment = time.mktime(time.strptime("2026-11-21T13:39:47", "%Y-%m-%dT%H:%M:%S"))
    assert end_of("2026-11-21T13:39:47\n") == moment
    assert end_of("N/A") is None
    assert end_of("") is None


def test_a_task_of_an_array_asks_for_its_own_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def squeue(command: list[str]) -> str:
        asked.extend(command)
        return "2026-11-21T17:45:09"

    monkeypatch.setattr(allocation, "call", squeue)
    task = {"SLURM_JOB_ID": "10000", "SLURM_ARRAY_JOB_ID": "10000", "SLURM_ARRAY_TASK_ID": "2"}
    assert times(task)[1] == end_of("2026-11-21T17:45:09")
    assert "10000_2" in asked


def test_a_worker_may_not_count_on_the_time_after_the_signal() -> None:
    options = AllocationOptions(Path("p"), "c", ("cpu", "dft"), signal_s=120, linger_s=5, memory_factor=2.0)
    command = worker_command(options, 3, 1000.0, 5000.0)
    from cathodeflow.dispatch.worker import parse as parse_worker

    given_options = parse_worker(command[3:])
    assert given_options.allotment is not None
    assert (given_options.allotment.begins, given_options.allotment.ends) == (1000.0, 4880.0)
    assert (given_options.allotment.memory_factor, given_options.allotment.linger_s) == (2.0, 5.0)
    assert (given_options.worker_id, given_options.categories, given_options.until_empty) == (3, ("cpu", "dft"), True)
    assert given_options.parent == os.getpid()


def test_what_a_script_says_is_understood() -> None:
    options = parse(["--project", "p", "--category", "gpu", "--slots", "2", "--token", "t"])
    assert (options.slots, options.categories, options.campaign) == (2, ("gpu",), None)


def test_kills_for_memory_are_counted_in_either_version_of_control_groups() -> None:
    assert oom_kills() >= 0
    assert oom_kills("4:memory:/none/such\n0::/none/such\n") == 0


def run_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, slots: int = 1) -> Allocation:
    script = tmp_path / "worker.py"
    script.write_text(program)
    monkeypatch.setattr(
        allocation, "worker_command", lambda options, number, *_: [sys.executable, str(script), str(number)]
    )
    monkeypatch.setattr(allocation, "RESTART_DELAY_S", 0.0)
    made = Allocation(AllocationOptions(tmp_path, slots=slots, gpus=slots), time.time(), None)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.chdir(tmp_path)
    made.run()
    return made


def notes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (folder / "logs" / "slurm" / "deaths" / "77").glob("*.json")]


def test_each_slot_sees_its_own_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    program = "import os, sys; open(sys.argv[1], 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])"
    made = run_with(tmp_path, monkeypatch, program, 2)
    assert made.exit_code == 0
    assert [(tmp_path / str(number)).read_text() for number in range(2)] == ["4", "5"]


@pytest.mark.parametrize(("gpus", "told"), [("4", ["2 2", "2 2"]), ("4,5", ["2 1", "2 1"]), ("", ["2 1", "2 1"])])
def test_each_slot_is_told_with_how_many_it_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: str, told: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    shared = "os.environ['CATHODEFLOW_SLOTS'] + ' ' + os.environ['CATHODEFLOW_SLOTS_OF_A_GPU']"
    assert run_with(tmp_path, monkeypatch, f"import os, sys; open(sys.argv[1], 'w').write({shared})", 2).exit_code == 0
    assert [(tmp_path / str(number)).read_text() for number in range(2)] == told


def test_a_killed_worker_is_noted_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import os, pathlib\nif not pathlib.Path('x').exists():\n pathlib.Path('x').touch(); os.kill(os.getpid(), 9)"
    )
    made = run_with(tmp_path, monkeypatch, program)
    assert (made.restarts, made.exit_code) == (1, 0)
    assert sorted(note["signal"] for note in notes(tmp_path)) == [0, signal.SIGKILL]


def test_an_allocation_that_kills_all_its_workers_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "MOST_RESTARTS", 3)
    assert run_with(tmp_path, monkeypatch, "import os; os.kill(os.getpid(), 9)").restarts == 4


def test_a_worker_that_cannot_work_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "LIVED_S", 3600.0)
    made = run_with(tmp_path, monkeypatch, "raise SystemExit(3)", 2)
    assert (made.restarts, made.exit_code) == (0, 3)


def test_a_job_that_exits_costs_its_worker_and_not_the_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "LIVED_S", 0.0)
    program = "import pathlib\nif not pathlib.Path('x').exists():\n pathlib.Path('x').touch(); raise SystemExit(9)"
    made = run_with(tmp_path, monkeypatch, program)
    assert (made.restarts, made.exit_code) == (1, 0)
    assert sorted(note["exit_code"] for note in notes(tmp_path)) == [0, 9]


def test_a_worker_that_exits_again_and_again_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "LIVED_S", 0.0)
    made = run_with(tmp_path, monkeypatch, "raise SystemExit(9)")
    assert (made.restarts, made.exit_code) == (allocation.MOST_EXITS, 9)


def test_a_worker_that_gave_up_waiting_for_the_store_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocation, "LIVED_S", 0.0)
    assert run_with(tmp_path, monkeypatch, f"raise SystemExit({STORE_AWAY})").restarts == 0


@pytest.mark.parametrize(
    ("how", "noted"), [("raise SystemExit(3)", (3, 0, True)), ("os.kill(os.getpid(), signal.SIGKILL)", (0, 9, True))]
)
def test_in_an_ending_allocation_each_death_is_noted_as_one_of_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, noted: tuple[int, int, bool]
) -> None:
    program = (
        "import os, pathlib, signal, sys, time\n"
        "asked = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: asked.append(1))\n"
        "pathlib.Path('ready').touch()\n"
        "while not asked: time.sleep(0.01)\n"
        f"{how}\n"
    )
    ask = allocation.Allocation.ask_to_end
    tend = allocation.Allocation._tend

    def asked_when_ready(self: Allocation, slot: allocation.Slot) -> None:
        if Path("ready").exists():
            ask(self)
        tend(self, slot)

    monkeypatch.setattr(allocation.Allocation, "_tend", asked_when_ready)
    run_with(tmp_path, monkeypatch, program)
    assert [(note["exit_code"], note["signal"], note["ending"]) for note in notes(tmp_path)] == [noted]
