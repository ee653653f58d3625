from __future__ import annotations

import os

import pytest

from cathodeflow.dispatch.worker import processors


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
