from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cathodeflow.campaign.launch_folders import launches_of
from cathodeflow.cli.app import build_app
from cathodeflow.errors import CampaignError
from cathodeflow.storage.connection import open_project

Cflow = Callable[..., Any]
SIZE = 30_000


@pytest.fixture
def dirty(finished: Path) -> Iterator[Path]:
    """The finished campaign with a WAVECAR in every label's folder."""
    labels = [one for one in launches_of(open_project(finished), "trial") if one.kind == "label"]
    for one in labels:
        (one.folder / "WAVECAR").write_bytes(bytes(SIZE))
    yield finished
    for one in labels:
        (one.folder / "WAVECAR").unlink(missing_ok=True)


def wavecars(folder: Path) -> int:
    return len(list(folder.rglob("WAVECAR")))


def test_a_dry_run_tells_the_bytes_per_kind_and_changes_nothing(cflow: Cflow, dirty: Path):
    before = wavecars(dirty)
    words = cflow("gc", "-p", dirty, "--dry-run").stdout
    assert wavecars(dirty) == before > 0
    assert words.startswith("Campaign trial\n")
    assert words.endswith("Dry run: nothing was changed.\n")
    assert "its kind of job leaves no files of a program" in words
    (told,) = json.loads(cflow("gc", "-p", dirty, "--dry-run", "--json").stdout)
    jobs = {entry["kind"]: entry for entry in told["jobs"]}
    assert jobs["label"]["bytes_now"] - jobs["label"]["bytes_after"] >= before * SIZE
    assert f"({told['bytes_to_free']:,} bytes)" in words


def test_it_frees_what_it_said(cflow: Cflow, dirty: Path):
    (told,) = json.loads(cflow("gc", "-p", dirty, "--dry-run", "--json").stdout)
    (done,) = json.loads(cflow("gc", "-p", dirty, "--yes", "--json", "-c", "trial").stdout)
    assert done["bytes_freed"] == told["bytes_to_free"] == done["bytes_to_free"]
    assert wavecars(dirty) == 0
    assert json.loads(cflow("gc", "-p", dirty, "--yes", "--json").stdout)[0]["bytes_to_free"] == 0


def test_it_asks_first(dirty: Path):
    before = wavecars(dirty)
    runner = CliRunner()
    refused = runner.invoke(build_app(None), ["gc", "-p", str(dirty)], input="n\n")
    assert "Free " in refused.stdout
    assert wavecars(dirty) == before
    agreed = runner.invoke(build_app(None), ["gc", "-p", str(dirty)], input="y\n")
    assert "Freed " in agreed.stdout
    assert wavecars(dirty) == 0


def test_young_and_named_files_stay(cflow: Cflow, dirty: Path):
    before = wavecars(dirty)
    words = cflow("gc", "-p", dirty, "--yes", "--older-than", "1").stdout
    assert "it is younger than asked" in words
    cflow("gc", "-p", dirty, "--yes", "--keep", "WAVECAR")
    assert len(list(dirty.rglob("WAVECAR*"))) == before


def test_a_resubmission_that_is_to_go_on_says_what_has_nothing_left(cflow: Cflow, failed: Path):
    told = json.loads(cflow("resubmit", "-p", failed, "--continue", "--dry-run", "--json").stdout)
    keys = [job["key"] for job in told["jobs"]]
    assert told["start_anew"] == keys
    words = cflow("resubmit", "-p", failed, "--continue", "--dry-run")
    assert f"would start from the beginning: {keys[0]}" in words.stderr
    assert "freed by `cflow gc`" in words.stderr
    assert json.loads(cflow("resubmit", "-p", failed, "--anew", "--dry-run", "--json").stdout)["start_anew"] == []
    assert "from the beginning" not in cflow("resubmit", "-p", failed, "--dry-run").stderr


def test_json_cannot_ask(cflow: Cflow, dirty: Path):
    with pytest.raises(CampaignError, match="--yes"):
        cflow("gc", "-p", dirty, "--json")


def test_a_folder_without_a_project_is_refused(cflow: Cflow, tmp_path: Path):
    with pytest.raises(CampaignError, match="no project"):
        cflow("gc", "-p", tmp_path)
