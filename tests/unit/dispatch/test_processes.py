from __future__ import annotations

import os

import psutil
import pytest

from cathodeflow.dispatch.processes import SLOTS, SLOTS_OF_A_GPU, is_alive, processors


def test_a_worker_of_this_machine_holds_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert processors(3) == {"cores": 3, "gpus": 0}


def test_a_worker_of_an_allocation_holds_what_it_is_bound_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert processors(1) == {"cores": len(os.sched_getaffinity(0)), "gpus": 2}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert processors(1)["gpus"] == 0


def test_the_cores_and_gpus_of_all_nodes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "128(x2),64")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert processors(1) == {"cores": 320, "gpus": 6}


def test_slots_hold_their_share_of_cores_and_of_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "16")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv(SLOTS, "8")
    monkeypatch.setenv(SLOTS_OF_A_GPU, "2")
    assert repr(processors(1)) == "{'cores': 2, 'gpus': 0.5}", "whole numbers stay so"


def test_a_running_process_is_alive_and_a_reused_number_is_not() -> None:
    me = psutil.Process()
    assert is_alive(me.pid, me.create_time())
    assert not is_alive(me.pid, me.create_time() - 100)
    assert not is_alive(2**22 + 5, 0.0)
