"""The workflow's submit script, with a stand-in for cflow that writes down how it was called."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
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


def test_a_site_runs_the_jobs_and_only_the_driver_runs_here(tmp_path: Path):
    result, calls = submit(tmp_path, "--site", "ours", "mine")
    assert result.returncode == 0, result.stderr
    assert "run --project mine --campaign nvpf_paper --site ours" in calls


def test_the_driver_as_a_job_runs_this_script_on_the_site(tmp_path: Path):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sbatch").write_text(f'#!/bin/sh\nfor word; do echo "$word"; done > {tmp_path}/sbatch\n')
    (tools / "sbatch").chmod(0o755)
    result, calls = submit(tmp_path, "--site", "ours", "--as-job", "my project")
    assert result.returncode == 0, result.stderr
    assert calls == ["site show ours"], "the rest is the job's"
    *options, flag, command = (tmp_path / "sbatch").read_text().splitlines()
    assert flag == "--wrap"
    assert "--cpus-per-task=1" in options
    assert {"--requeue", "--open-mode=append"} <= set(options), "it goes on by itself when its node fails"
    # What the job would run, run here.
    environment = {"PATH": f"{tools}:/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", command], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    last = (tmp_path / "calls").read_text().splitlines()
    assert "run --project my project --campaign nvpf_paper --site ours" in last


@pytest.mark.parametrize("options", [[], ["--as-job"]])
def test_a_site_that_is_not_there_is_refused_before_anything_is_launched_or_submitted(
    tmp_path: Path, options: list[str]
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "cflow").write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n[ "$1" != site ] || exit 2\n')
    (tools / "sbatch").write_text(f"#!/bin/sh\necho sbatch >> {tmp_path}/calls\n")
    for program in tools.iterdir():
        program.chmod(0o755)
    done = subprocess.run(
        ["bash", str(SCRIPT), "--site", "moon", *options],
        env={"PATH": f"{tools}:/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert (tmp_path / "calls").read_text() == "site show moon\n"


def test_the_driver_as_a_job_needs_a_site(tmp_path: Path):
    result, calls = submit(tmp_path, "--as-job")
    assert result.returncode == 2
    assert "needs --site" in result.stderr
    assert calls == []


def test_in_a_job_the_signal_before_its_end_reaches_the_driver(tmp_path: Path):
    tools = tmp_path / "bin"
    tools.mkdir()
    cflow = tools / "cflow"
    cflow.write_text(
        f'#!/bin/bash\necho "$*" >> {tmp_path}/calls\n[ "$1" = run ] || exit 0\n'
        f"trap 'sleep 0.5; echo ended in good order >> {tmp_path}/calls; exit 130' TERM\n"
        f"touch {tmp_path}/ready\nfor i in {{1..200}}; do sleep 0.1; done\n"
    )
    cflow.chmod(0o755)
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "SLURM_JOB_ID": "7"}
    shell = subprocess.Popen(["bash", str(SCRIPT), "--site", "ours", "mine"], env=environment, cwd=tmp_path)
    deadline = time.monotonic() + 20
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    shell.terminate()
    assert shell.wait(20) == 130, "the driver's own exit code"
    *_, last = (tmp_path / "calls").read_text().splitlines()
    assert last == "ended in good order", "and no report of a campaign that is not done"


@pytest.mark.parametrize("line", ["name: mine", "name: 'mine'  # of us", 'name: "mine"'])
def test_the_name_is_read_as_yaml_has_it(tmp_path: Path, line: str):
    (tmp_path / "d.yaml").write_text(f"# name: other\n{line}\n")
    _, calls = submit(tmp_path, "--definition", "d.yaml")
    assert "report --project nvpf --campaign mine" in calls


def test_a_definition_without_a_name_in_sight_is_refused_before_anything_runs(tmp_path: Path):
    (tmp_path / "d.yaml").write_text('{"name": "mine"}')
    result, calls = submit(tmp_path, "--definition", "d.yaml")
    assert result.returncode == 2
    assert "name:" in result.stderr
    assert calls == []


def test_the_script_may_change_while_its_driver_runs(tmp_path: Path):
    folder = tmp_path / "workflow"
    shutil.copytree(SCRIPT.parent, folder)
    tools = tmp_path / "bin"
    tools.mkdir()
    script = folder / SCRIPT.name
    (tools / "cflow").write_text(
        f'#!/bin/sh\necho "$1" >> {tmp_path}/calls\n[ "$1" != run ] || echo "(" > {script}\n[ "$1" != status ]\n'
    )
    (tools / "cflow").chmod(0o755)
    path = f"{tools}:/usr/bin:/bin"
    done = subprocess.run(["bash", str(script)], env={"PATH": path}, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text().split() == ["model", "status", "launch", "run", "report"]
