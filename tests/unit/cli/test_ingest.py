from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.stand_in_runs import finish_run, quick_preset, unrelaxed
from tests.unit.campaign.test_ingest import MIXED, launched

from cathodeflow.errors import CampaignError

Cflow = Callable[..., Any]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    finish_run(folder / "good", unrelaxed(MIXED), quick_preset())
    shutil.copytree(folder / "good", folder / "cut")
    content = (folder / "cut" / "vasprun.xml").read_bytes()
    (folder / "cut" / "vasprun.xml").write_bytes(content[: len(content) // 2])
    return folder


def test_each_folder_is_listed_with_its_reason(cflow: Cflow, runs: Path, tmp_path: Path):
    project = launched(tmp_path)
    dry = cflow("ingest", runs, "--campaign", "trial", "-p", tmp_path, "--dry-run")
    assert "1 of 2 would go into trial; 0 known, 1 refused." in dry.stdout
    assert "nothing was written" in dry.stdout
    assert project.count("labels") == 0
    result = cflow("ingest", runs, "-p", tmp_path)
    assert result.exit_code == 0
    assert "1 of 2 went into trial; 0 known, 1 refused." in result.stdout
    assert "vasprun.xml: it is cut off" in result.stdout
    assert project.count("labels") == 1


def test_programs_get_the_same_as_json(cflow: Cflow, runs: Path, tmp_path: Path):
    launched(tmp_path)
    said = json.loads(cflow("ingest", runs, "-p", tmp_path, "--json").stdout)
    assert said["campaign"] == "trial"
    assert [(Path(run["folder"]).name, run["verdict"], run["key"]) for run in said["runs"]] == [
        ("cut", "refused", None),
        ("good", "ingested", MIXED),
    ]
    again = json.loads(cflow("ingest", runs, "-p", tmp_path, "--json").stdout)
    assert [run["verdict"] for run in again["runs"]] == ["refused", "known"]


def test_the_exit_code_says_whether_anything_was_usable(cflow: Cflow, runs: Path, tmp_path: Path):
    launched(tmp_path)
    assert cflow("ingest", runs / "cut", "-p", tmp_path).exit_code == 1
    assert cflow("ingest", tmp_path / "nowhere", "-p", tmp_path).exit_code == 1


def test_a_definition_that_was_not_launched_is_refused_with_the_remedy(cflow: Cflow, runs: Path, tmp_path: Path):
    with pytest.raises(CampaignError, match=r"cflow launch campaign\.yaml"):
        cflow("ingest", runs, "--campaign", "campaign.yaml", "-p", tmp_path)
    with pytest.raises(CampaignError, match="no project in"):
        cflow("ingest", runs, "-p", tmp_path)
