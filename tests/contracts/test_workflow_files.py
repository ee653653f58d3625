"""What ships as a definition can be launched, and what ships as a script can be run."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from cathodeflow.campaign.definition_file import load_host, read_definition
from cathodeflow.campaign.launch import prepare
from cathodeflow.records.campaign import CampaignRecord

REPOSITORY = Path(__file__).parents[2]
WORKFLOWS = REPOSITORY / "workflows"
TEMPLATES = Path(str(files("cathodeflow.cli") / "templates"))

DEFINITIONS = sorted([*WORKFLOWS.rglob("*.yaml"), *TEMPLATES.glob("*.yaml")])
SCRIPTS = sorted([*WORKFLOWS.rglob("*.sh"), *REPOSITORY.joinpath("site_configs").rglob("*.sh")])


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def with_crystals(path: Path, folder: Path) -> Path:
    """The definition in `folder`, beside the crystals it names, for which packaged ones stand in."""
    copy = folder / path.name
    shutil.copy(path, copy)
    packaged = files("cathodeflow.science.hosts") / "data" / "nvpf"
    for level in read_definition(copy).definition.host.levels:
        (folder / level.file).write_text((packaged / f"{level.label}.cif").read_text())
    return copy


def test_there_are_definitions_and_scripts():
    names = {path.name for path in DEFINITIONS}
    assert names == {"campaign.yaml", "demo.yaml", "paper.yaml", "own-host.yaml", "vasp.yaml", "rehearse.yaml"}
    assert {path.name for path in SCRIPTS} == {"submit.sh"}


@pytest.mark.parametrize("path", DEFINITIONS, ids=relative)
def test_every_shipped_definition_can_be_launched(path: Path, tmp_path: Path):
    loaded = read_definition(with_crystals(path, tmp_path))
    record = prepare(loaded, load_host(loaded))
    assert CampaignRecord.from_mongo(record.to_mongo()) == record


def test_the_campaigns_of_the_paper_have_its_size():
    definition = read_definition(WORKFLOWS / "nvpf_inverse_design" / "campaign.yaml").definition
    assert (definition.labels.total, definition.elements, definition.ratios) == (1171, "d-block", "all")
    assert definition.engine.max_force == 0.01
    assert definition.surrogate.held_out_fraction == 0.2
    assert (definition.surrogate.learning_rate, definition.surrogate.batch_size) == (1e-3, 128)
    assert definition.screening.relaxation_energy_variation == 0.05
    assert definition.screening.voltage_windows == {"V21": (3.49, 3.90), "V43": (2.0, None)}


def test_the_rehearsal_is_the_production_definition_with_another_engine_and_nothing_else():
    folder = WORKFLOWS / "nvpf_inverse_design"
    production, rehearsal = ((folder / name).read_text().splitlines() for name in ("vasp.yaml", "rehearse.yaml"))
    different = [pair for pair in zip(production, rehearsal, strict=True) if pair[0] != pair[1]]
    assert different == [("  name: vasp", "  name: rehearsal")]


def test_the_production_definition_asks_for_all_that_the_paper_computed():
    definition = read_definition(WORKFLOWS / "nvpf_inverse_design" / "vasp.yaml").definition
    assert (definition.labels.total, definition.elements, definition.ratios) == (1171, "d-block", "all")
    assert set(definition.followups.branches) == {"pdos", "gap", "bonding", "bader", "density_difference"}
    assert definition.engine.parameters == {"preset": "s0_relax"}


def test_the_demonstration_is_real_and_validates_enough():
    definition = read_definition(WORKFLOWS / "nvpf_inverse_design" / "demo.yaml").definition
    assert definition.host.packaged == "nvpf"
    assert definition.engine.name == "mlff", "a real potential"
    assert definition.surrogate.pretrained == "megnet-2019"
    assert 2 * definition.validation.per_list >= 3, "at least three validated candidates"


@pytest.mark.parametrize("path", SCRIPTS, ids=relative)
def test_every_script_is_executable_and_parses(path: Path):
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)
    asked = subprocess.run([path, "--help"], capture_output=True, text=True, check=True)
    assert asked.stdout.startswith("Usage: ")
