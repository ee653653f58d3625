from __future__ import annotations

import pytest

from cathodeflow.campaign.stage_table import CATEGORIES, category_of
from cathodeflow.records.outcomes import JobKind


@pytest.mark.parametrize("kind", list(JobKind))
@pytest.mark.parametrize("engine", ["mlff", "pair", "vasp", "rehearsal"])
def test_every_job_has_a_category(kind: JobKind, engine: str) -> None:
    assert category_of(kind, engine) in CATEGORIES


def test_programs_networks_and_the_rest_run_apart() -> None:
    assert category_of(JobKind.LABEL, "vasp") == category_of(JobKind.FOLLOW_UP, "rehearsal") == "dft"
    assert category_of(JobKind.TRAIN, "vasp") == category_of(JobKind.LABEL, "mlff") == "gpu"
    assert category_of(JobKind.SCREEN, "mlff") == "cpu"
