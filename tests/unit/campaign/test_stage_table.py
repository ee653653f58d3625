from __future__ import annotations

from pathlib import Path

import pytest
from tests.campaign_world import LAWFUL, definition, launch, run_to_end

from cathodeflow.campaign.definition import ResourcesDefinition
from cathodeflow.campaign.stage_table import CATEGORIES, category_of, resources_of
from cathodeflow.records.outcomes import JobKind


@pytest.mark.parametrize("kind", list(JobKind))
@pytest.mark.parametrize("engine", ["mlff", "pair", "vasp", "rehearsal"])
def test_every_job_has_a_category(kind: JobKind, engine: str) -> None:
    assert category_of(kind, engine) in CATEGORIES


def test_programs_networks_and_the_rest_run_apart() -> None:
    assert category_of(JobKind.LABEL, "vasp") == category_of(JobKind.FOLLOW_UP, "rehearsal") == "dft"
    assert category_of(JobKind.TRAIN, "vasp") == category_of(JobKind.LABEL, "mlff") == "gpu"
    assert category_of(JobKind.SCREEN, "mlff") == "cpu"


def test_a_branch_needs_what_its_own_entry_says_and_others_what_their_kind_says() -> None:
    wanted = ResourcesDefinition.model_validate({"time": {"follow_up": 2, "gap": 8}, "memory": {"train": 3}})
    gap = resources_of(JobKind.FOLLOW_UP, "nvpf-Na1-V8-00/gap", wanted)
    assert gap == {"_time_factor": 8.0, "_time_asked": 8.0}
    assert resources_of(JobKind.FOLLOW_UP, "nvpf-Na1-V8-00/pdos", wanted)["_time_factor"] == 2.0
    assert resources_of(JobKind.TRAIN, "r0-formation_energy-s0", wanted)["_memory_factor"] == 3.0
    assert resources_of(JobKind.LABEL, "nvpf-Na1-V8-00", wanted) == {}


@pytest.mark.parametrize("resources", [{"time": {"gap": 0.5}}, {"time": {"gab": 2}}, {"memory": {"label": 1000}}])
def test_resources_that_cannot_be_meant_are_refused(resources: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="resources"):
        definition(resources=resources)


def test_every_job_of_a_campaign_says_what_it_needs(tmp_path: Path) -> None:
    wanted = definition(resources={"time": {"label": 2}, "memory": {"predict": 4}}, labels={"total": 12, "rounds": 1})
    project = launch(tmp_path, wanted)
    assert run_to_end(project, recipes=LAWFUL).state == "done"
    found = {
        (d["spec"]["_kind"], d["spec"].get("_time_factor"), d["spec"].get("_memory_factor"))
        for d in project.select("fireworks", {})
    }
    assert found >= {("label", 2.0, None), ("predict", None, 4.0), ("train", None, None), ("screen", None, None)}
    assert len(found) == 5, "all of a kind alike"
