from __future__ import annotations

import os

import pytest

from cathodeflow.calculators.vasp.parameters import read_parameters


@pytest.mark.parametrize(
    ("nodes", "bound", "given", "expected"),
    [
        (None, 2, {}, 1),  # no Slurm
        ("1", 16, {}, 16),
        ("1", 2, {}, 2),  # eight slots share the allocation
        ("1", 64, {}, 16),  # Slurm does not confine its jobs: not all cores of the node are ours
        ("4", 2, {}, 16),  # this process sees one of four nodes
        ("1", 2, {"cores": 5}, 5),
    ],
)
def test_a_run_counts_the_processors_that_its_job_has(
    monkeypatch: pytest.MonkeyPatch, nodes: str | None, bound: int, given: dict[str, int], expected: int
) -> None:
    for name, value in (("NTASKS", "4"), ("CPUS_PER_TASK", "4"), ("JOB_NUM_NODES", nodes)):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
        if nodes is not None and value is not None:
            monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(bound)))
    assert read_parameters(given).cores_now == expected
