"""The workflow's submit script, with a stand-in for cflow that writes down how it was called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "workflows" / "nvpf_inverse_design" / "submit.sh"


def submit(
    tmp_path: Path, *arguments: str, launched: bool = False
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    calls = tmp_path / "calls"
    cflow = tools / "cflow"
    cflow.write_text(f'#!/bin/sh\necho "$*" >> {calls}\n[ "$1" != status ] || exit {0 if launched else 4}\n')
    cflow.chmod(0o755)
    path = f"{tools}:/usr/bin:/bin"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")} | {"PATH": path}
    result = subprocess.run(
        ["bash", str(SCRIPT), *arguments], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    return result, calls.read_text().splitlines() if calls.exists() else []


def test_a_new_campaign_is_launched_run_and_reported(tmp_path: Path):
    result, calls = submit(tmp_path, "--workers", "3", "mine")
    assert result.returncode == 0, result.stderr
    assert calls == [
        "model install megnet-2019",
        "status --project mine --campaign nvpf_paper",
        f"launch {SCRIPT.parent}/campaign.yaml --project mine",
        "run --project mine --campaign nvpf_paper --workers 3",
        "report --project mine --campaign nvpf_paper",
    ]


def test_a_launched_campaign_goes_on(tmp_path: Path):
    result, calls = submit(tmp_path, "--definition", str(SCRIPT.parent / "demo.yaml"), launched=True)
    assert "going on with it" in result.stdout
    assert not [call for call in calls if call.startswith("launch")]
    assert any(call.startswith("run --project nvpf --campaign nvpf_demo --workers ") for call in calls)


def test_help_calls_nothing(tmp_path: Path):
    result, calls = submit(tmp_path, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: submit.sh")
    assert calls == []


@pytest.mark.parametrize(
    "arguments", [["--workers"], ["--workers", "many"], ["--nope"], ["a", "b"], ["--definition", "x"]]
)
def test_wrong_usage_is_refused_before_anything_runs(tmp_path: Path, arguments: list[str]):
    result, calls = submit(tmp_path, *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("submit.sh: ")
    assert calls == []
