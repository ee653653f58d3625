"""How long a run may take: the definition's limit or what the allocation has left, whichever ends first."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cathodeflow.calculators.attempt import FILE_NAME, Attempt, read_attempt, write_attempt
from cathodeflow.calculators.vasp import relaxing
from cathodeflow.calculators.vasp.preset import load_preset
from cathodeflow.calculators.vasp.programs import Programs
from cathodeflow.errors import CalculationError


def both(folder: Path, wall_time_s: int | None) -> tuple[int | None, int | None]:
    """Return the limit of a relaxation and that of a follow-up."""
    relaxation = relaxing._maker(relaxing.Request(load_preset("s0_relax"), wall_time_s=wall_time_s), folder)
    return relaxation.wall_time_s, Programs(attempt=read_attempt(folder), wall_time_s=wall_time_s).seconds_left()


@pytest.mark.parametrize(
    ("left", "asked", "expected"),
    [(None, None, None), (None, 86400, 86400), (3600.0, None, 3600), (3600.0, 86400, 3600), (3600.0, 600, 600)],
)
def test_the_earlier_end_is_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: float | None, asked: int | None, expected: int | None
) -> None:
    monkeypatch.chdir(tmp_path)
    write_attempt(tmp_path, replace(Attempt("c", "label", "k", 1), seconds_left=left))
    for limit in both(tmp_path, asked):
        assert limit == (expected if expected is None else pytest.approx(expected, abs=120))


def test_no_run_starts_in_an_allocation_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_attempt(tmp_path, replace(Attempt("c", "label", "k", 1), seconds_left=60.0))
    earlier = time.time() - 120
    os.utime(tmp_path / FILE_NAME, (earlier, earlier))
    request = relaxing.Request(load_preset("s0_relax"), wall_time_s=600)
    for limit in (
        lambda: relaxing._maker(request, tmp_path),
        Programs(attempt=read_attempt(tmp_path), wall_time_s=600).seconds_left,
    ):
        with pytest.raises(CalculationError) as caught:
            limit()
        assert caught.value.reason == "walltime"
