"""`cflow site` shows what would be submitted, and says what is broken with its exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cathodeflow.errors import DefinitionError

SITE = """\
title: here
shell: /bin/bash
python: {python}
workers:
  cpu:
    environment:
      ATOMATE2_VASP_CMD: vasp_std
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "site_configs" / "here"
    folder.mkdir(parents=True)
    (folder / "site.yaml").write_text(SITE.format(python=sys.executable))
    return folder


def test_sites_are_listed_with_what_they_are(cflow: Callable[..., Any], here: Path) -> None:
    printed = cflow("site", "list").stdout
    assert "large_centre" in printed
    assert "here" in printed


def test_a_new_site_can_be_checked_after_it_was_filled_in(cflow: Callable[..., Any], here: Path) -> None:
    assert "cflow site check mine" in cflow("site", "new", "mine").stdout
    assert "#SBATCH --partition=gpu" in cflow("site", "show", "mine").stdout


def test_show_writes_scripts_and_fireworks_files(cflow: Callable[..., Any], here: Path, tmp_path: Path) -> None:
    cflow("site", "show", "here", "--write", tmp_path / "out")
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert written == {
        *("cpu/job.sh", "cpu/my_fworker.yaml", "cpu/my_qadapter.yaml", "jobflow.yaml", "my_launchpad.yaml"),
    }


def test_fireworks_files_name_the_database_of_the_project(
    cflow: Callable[..., Any], here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "project.json").write_text('{"store": "mongodb", "uri": "mongodb://ada@db.example/lab"}')
    cflow("site", "show", "here", "-p", tmp_path / "p", "--write", tmp_path / "out")
    for name in ("my_launchpad.yaml", "jobflow.yaml"):
        text = (tmp_path / "out" / name).read_text()
        assert ": lab\n" in text
        assert "db.example" not in text
    monkeypatch.setenv("CATHODEFLOW_STORE_URI", "mongodb://ada@db.example/other")
    assert "name: other\n" in cflow("site", "show", "here").stdout


def test_a_check_imports_every_job_where_the_script_would(cflow: Callable[..., Any], here: Path) -> None:
    result = cflow("site", "check", "here", "--json")
    found = {check["check"]: check for check in json.loads(result.stdout)["checks"]}
    assert (found["script"]["verdict"], found["imports"]["verdict"]) == ("ok", "ok")
    assert "modules imported here" in found["imports"]["message"]


def test_a_broken_environment_ends_with_exit_code_one(cflow: Callable[..., Any], here: Path) -> None:
    path = here / "site.yaml"
    path.write_text(path.read_text().replace(sys.executable, "/no/such/python"))
    result = cflow("site", "check", "here")
    assert result.exit_code == 1
    assert "BROKEN" in result.stdout
    assert "correct modules, pre_commands, activate or python" in result.stdout


def test_a_slip_names_its_line(cflow: Callable[..., Any], here: Path) -> None:
    path = here / "site.yaml"
    path.write_text(path.read_text().replace("    environment", "    partion: x\n    environment"))
    with pytest.raises(DefinitionError, match=r"site.yaml, line 6: workers.cpu.partion: there is no such key"):
        cflow("site", "check", "here")
