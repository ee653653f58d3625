"""The command line as a shell sees it: exit codes, sentences, help."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cathodeflow import __version__
from cathodeflow.cli import app as command_line
from cathodeflow.cli.reference import render_reference

COMMANDS = {
    *("init", "doctor", "plan", "launch", "run", "status", "pause", "resume", "resubmit", "query", "report"),
    *("jobs", "model", "export"),
}
REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def cflow(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cathodeflow.cli.app", *arguments]
    settings = {key: value for key, value in os.environ.items() if key != "CATHODEFLOW_PROJECT"} | environment
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=settings, timeout=600, check=False)


def test_version_and_help_end_well():
    assert cflow("--version").stdout == f"cathodeflow {__version__}\n"
    helped = cflow("--help")
    assert helped.returncode == 0
    assert "\x1b" not in helped.stdout
    assert set(re.findall(r"^  ([a-z]+)  ", helped.stdout, re.MULTILINE)) >= COMMANDS


def test_every_command_has_help():
    root = typer.main.get_command(command_line.build_app(None))
    runner = CliRunner()
    for name, command in root.commands.items():
        for path in [[name], *([name, member] for member in getattr(command, "commands", {}))]:
            result = runner.invoke(command_line.build_app(None), [*path, "--help"])
            assert result.exit_code == 0, path
            assert len(result.output) > 100


@pytest.mark.parametrize("arguments", [["nonsense"], ["status", "--nonsense"], ["jobs", "show"], ["query"]])
def test_a_wrong_command_line_exits_2(arguments: list[str], tmp_path: Path):
    result = cflow(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_an_expected_error_is_one_sentence_on_stderr(tmp_path: Path):
    result = cflow("status", cwd=tmp_path)
    assert result.returncode == 4
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: no project in ")
    assert "\x1b" not in result.stderr


def test_debug_shows_the_traceback(tmp_path: Path):
    result = cflow("--debug", "status", cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "CampaignError: no project in" in result.stderr


def test_an_unexpected_error_says_where_its_traceback_is(tmp_path: Path):
    breaks = (
        "import sys; sys.argv = ['cflow', 'status']\n"
        "from cathodeflow.cli import selection\n"
        "def broken(folder): raise ZeroDivisionError('rehearsed')\n"
        "selection.open_existing = broken\n"
        "from cathodeflow.cli.app import main\n"
        "main()\n"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", breaks], capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == command_line.UNEXPECTED_EXIT_CODE
    assert result.stderr.count("\n") == 1
    named = re.search(r"the traceback is in (\S+)$", result.stderr.strip())
    assert named
    assert "ZeroDivisionError: rehearsed" in Path(named.group(1)).read_text()


def test_the_project_folder_comes_from_the_environment(tmp_path: Path):
    result = cflow("status", CATHODEFLOW_PROJECT=str(tmp_path / "elsewhere"))
    assert result.returncode == 4
    assert str(tmp_path / "elsewhere") in result.stderr


def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path):
    result = cflow("status", cwd=tmp_path, CATHODEFLOW_TICK_S="soon")
    assert result.returncode == 2
    assert result.stderr.startswith("Error: the environment variable CATHODEFLOW_TICK_S is 'soon': ")
    assert result.stderr.count("\n") == 1


def test_a_definition_that_is_refused_leaves_nothing_behind(tmp_path: Path):
    definition = tmp_path / "campaign.yaml"
    definition.write_text("name: x\nhost: {packaged: nvpf}\nelements: [V, Mo]\nlabels:\n  total: 100000\n")
    result = cflow("launch", str(definition), "--project", str(tmp_path / "project"))
    assert result.returncode == 2
    assert "campaign.yaml, line 5: labels.total" in result.stderr
    assert not (tmp_path / "project").exists()


def test_the_reference_page_is_current():
    assert REFERENCE.read_text(encoding="utf-8") == render_reference(), (
        "write it anew: python -m cathodeflow.cli.reference > docs/reference/cli.md"
    )
