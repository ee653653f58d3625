"""The workflow's submit script, with a stand-in for cflow that writes down how it was called."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
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


class SlurmJob:
    """The script as the batch script of Slurm job 7, with stand-ins whose driver runs until it is told to end."""

    def __init__(self, folder: Path, *arguments: str, ends_with: int = 130, requeue: bool = True, launch: str = ""):
        self.folder = folder
        tools = folder / "bin"
        tools.mkdir()
        self._program(
            tools / "cflow",
            f'[ "$1" != status ] || exit 4\n[ "$1" != launch ] || {{ {launch or ":"}; }}\n[ "$1" = run ] || exit 0\n'
            f"trap 'echo ended in good order >> {folder}/calls; exit {ends_with}' TERM\n"
            f"touch {folder}/driver\nuntil [ -e {folder}/over ]; do sleep 0.05; done\n",
        )
        self._program(tools / "scontrol", f"exit {0 if requeue else 1}\n")
        self._program(tools / "sbatch", "")
        self.process = subprocess.Popen(
            ["bash", str(SCRIPT), *(arguments or ("--site", "ours", "mine"))],
            env={"PATH": f"{tools}:/usr/bin:/bin", "SLURM_JOB_ID": "7"},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _program(self, path: Path, body: str) -> None:
        path.write_text(f'#!/bin/bash\necho "{path.name} $*" >> {self.folder}/calls\n{body}')
        path.chmod(0o755)

    def wait_for(self, name: str) -> None:
        """Wait for a file that a stand-in makes."""
        deadline = time.monotonic() + 120
        while not (self.folder / name).exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Signal the shell alone, as Slurm does."""
        self.wait_for("driver")
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, list[str]]:
        """Exit code, what it said, and the calls after that of the driver."""
        said, _ = self.process.communicate(timeout=120)
        calls = (self.folder / "calls").read_text().splitlines()
        began = [number for number, call in enumerate(calls) if call.startswith("cflow run")]
        return self.process.returncode, said, calls[began[0] + 1 :] if began else []


@pytest.fixture
def over(tmp_path: Path) -> Iterator[Path]:
    """The folder of a job; whatever it has left running ends with the test."""
    yield tmp_path
    (tmp_path / "over").touch()


def test_a_cancelled_job_ends_its_driver_in_good_order_and_is_not_queued_again(over: Path):
    job = SlurmJob(over)
    job.signal(signal.SIGTERM)
    code, _, calls = job.end()
    assert code == 130, "the driver's own exit code"
    assert calls == ["ended in good order"], "and no report of a campaign that is not done"


def test_a_job_whose_time_is_nearly_over_goes_back_into_the_queue_once_its_driver_has_ended(over: Path):
    job = SlurmJob(over)
    job.signal(signal.SIGUSR1)
    code, said, calls = job.end()
    assert code == 0, said
    assert calls == ["ended in good order", "scontrol requeue Incomplete 7"]
    assert "back in the queue" in said


def test_where_slurm_takes_no_job_back_another_one_follows_it(over: Path):
    job = SlurmJob(over, "--site", "ours", "mine", requeue=False)
    job.signal(signal.SIGUSR1)
    code, said, calls = job.end()
    assert code == 0, said
    assert calls[1] == "scontrol requeue Incomplete 7"
    sbatch, *words = calls[2].split()
    assert sbatch == "sbatch"
    assert {"--dependency=afterany:7", "--requeue", "--signal=B:USR1@120"} <= set(words)
    command = calls[2].partition("--wrap exec ")[2]
    assert command.split() == f"{SCRIPT} --site ours mine --definition {SCRIPT.parent}/campaign.yaml".split()


def test_workers_in_the_same_job_cannot_be_submitted_as_a_driver_alone(over: Path):
    job = SlurmJob(over, "--workers", "2", "mine", requeue=False)
    job.signal(signal.SIGUSR1)
    code, said, calls = job.end()
    assert code == 130
    assert "submit it again" in said
    assert calls == ["ended in good order", "scontrol requeue Incomplete 7"]


@pytest.mark.parametrize("code", [2, 4, 5, 7])
def test_a_driver_that_ended_by_itself_is_not_started_again(over: Path, code: int):
    job = SlurmJob(over, ends_with=code)
    job.signal(signal.SIGUSR1)
    assert job.end()[::2] == (code, ["ended in good order"])


def test_a_campaign_that_is_done_when_the_time_is_nearly_over_is_reported(over: Path):
    job = SlurmJob(over, ends_with=0)
    job.signal(signal.SIGUSR1)
    code, said, calls = job.end()
    assert code == 0, said
    assert calls == ["ended in good order", "cflow report --project mine --campaign nvpf_paper"]


def test_a_job_that_is_cancelled_while_its_driver_ends_is_not_queued_again(over: Path):
    job = SlurmJob(over)
    job.wait_for("driver")
    job.process.send_signal(signal.SIGSTOP)  # so that both are there when it goes on
    job.process.send_signal(signal.SIGUSR1)
    job.process.send_signal(signal.SIGTERM)
    job.process.send_signal(signal.SIGCONT)
    code, _, calls = job.end()
    assert code == 130
    assert not [call for call in calls if not call.startswith("ended")]


def test_a_job_whose_time_is_over_before_its_driver_began_says_so_and_is_not_queued_again(over: Path):
    wait = f"touch {over}/launching; until [ -e {over}/launched ]; do sleep 0.05; done"
    job = SlurmJob(over, launch=wait)
    job.wait_for("launching")
    job.process.send_signal(signal.SIGUSR1)
    (over / "launched").touch()
    code, said, calls = job.end()
    assert code == 1
    assert "raise SBATCH_TIMELIMIT" in said
    assert calls == []
    assert "scontrol" not in (over / "calls").read_text()


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
