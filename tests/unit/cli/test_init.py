from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cathodeflow.campaign.definition_file import load_host, read_definition
from cathodeflow.cli.app import build_app
from cathodeflow.cli.init import Template, template_text
from cathodeflow.errors import CampaignError, DefinitionError

ROOT = Path(__file__).parents[3]
WORKFLOW = ROOT / "workflows" / "nvpf_inverse_design"


@pytest.mark.parametrize("template", list(Template))
def test_a_template_is_a_definition(template: Template, tmp_path: Path):
    result = CliRunner().invoke(build_app(None), ["init", str(tmp_path / "made"), "--template", template])
    assert result.exit_code == 0, result.output
    loaded = read_definition(tmp_path / "made" / "campaign.yaml")
    if template == Template.OWN_HOST:
        with pytest.raises(DefinitionError, match=r"host.levels.0.file: no such file: Na1.cif"):
            load_host(loaded)
    else:
        assert load_host(loaded).n_sites == 8


def test_the_paper_template_has_the_papers_size():
    from cathodeflow.campaign.definition_file import substituents

    definition = read_definition(WORKFLOW / "campaign.yaml").definition
    assert definition.labels.total == 1171
    assert definition.labels.acquisition == "random"
    assert len(substituents(definition)) == 30
    assert definition.engine.max_force == 0.01
    assert definition.validation.per_list == 10
    assert definition.screening.voltage_windows == {"V21": (3.49, 3.90), "V43": (2.0, None)}


@pytest.mark.parametrize(
    ("template", "file"),
    [(Template.DEMO, "demo.yaml"), (Template.PAPER, "campaign.yaml"), (Template.VASP, "vasp.yaml")],
)
def test_templates_and_workflow_are_the_same_text(template: Template, file: str):
    where = f"copy workflows/nvpf_inverse_design/{file} over flows/cathodeflow/cli/templates/{template}.yaml"
    assert template_text(template) == (WORKFLOW / file).read_text(encoding="utf-8"), where


def test_an_existing_definition_is_never_overwritten(tmp_path: Path):
    (tmp_path / "campaign.yaml").write_text("mine")
    result = CliRunner().invoke(build_app(None), ["init", str(tmp_path)])
    assert isinstance(result.exception, CampaignError)
    assert (tmp_path / "campaign.yaml").read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "taken").write_text("")
    result = CliRunner().invoke(build_app(None), ["init", str(tmp_path / "taken")])
    assert isinstance(result.exception, CampaignError)
