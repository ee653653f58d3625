"""A batch script asks for what the site says, times what a job needs, and holds no secret."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.dispatch.site_file import SiteFile, read_site
from cathodeflow.dispatch.sites import Category, Site
from cathodeflow.dispatch.slurm.commands import clean_environment
from cathodeflow.dispatch.slurm.script import (
    Request,
    array_option,
    comment,
    in_double_quotes,
    job_name,
    render,
    sbatch_command,
    task_token,
    token_of,
)
from cathodeflow.errors import DefinitionError

REQUEST = Request(Path("/p"), "camp", Category.CPU, "0a1b2c3d4e5f")


def site(tmp_path: Path, queue: dict[str, object] | None = None, **keys: object) -> SiteFile:
    return SiteFile(tmp_path, Site.model_validate({"title": "t", "workers": {"cpu": queue or {}}, **keys}))


def options(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]


def test_every_key_of_a_queue_reaches_the_script(tmp_path: Path) -> None:
    queue = {
        "partition": "p",
        "qos": "q",
        "account": "a",
        "constraint": "gpu&hbm80g",
        "reservation": "r",
        "time": "02:00:00",
        "nodes": 2,
        "ranks": 8,
        "cpus": 4,
        "gpus": 3,
        "gpu_type": "a100",
        "memory": "8G",
        "exclusive": True,
        "signal_s": 90,
        "modules": ["vasp/6"],
        "pre_commands": ["ulimit -s unlimited"],
        "environment": {"X": "$HOME/x"},
        "directives": ["--mail-type=FAIL"],
    }
    text = render(site(tmp_path, queue, modules=["gcc"], activate=["source env"]), REQUEST, "log-%j")
    assert options(text)[4:] == [
        *("--partition=p", "--qos=q", "--account=a", "--constraint=gpu&hbm80g", "--reservation=r"),
        *("--time=02:00:00", "--nodes=2", "--ntasks=8", "--cpus-per-task=4", "--gres=gpu:a100:3", "--mem=8192M"),
        *("--exclusive", "--signal=B:USR1@90", "--mail-type=FAIL"),
    ]
    body = [line for line in text.splitlines() if not line.startswith("#")]
    assert body[:3] == ["set -eo pipefail", "trap 'exit 0' USR1", "module load gcc vasp/6"]
    assert body[-5:-1] == ['export X="$HOME/x"', "ulimit -s unlimited", "source env", "trap '' USR1"]
    assert "--no-requeue" in options(text), "a job that Slurm starts again would run beside its replacement"


def signalled(tmp_path: Path, pre_command: str, command: str) -> subprocess.CompletedProcess[str]:
    """Run a script that says when it is to be asked to end (`here`) and goes on (`on`) after that."""
    script = tmp_path / "job.sh"
    script.write_text(render(site(tmp_path, {"pre_commands": [pre_command]}), REQUEST, "log", command))
    running = subprocess.Popen(["bash", str(script)], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "here").exists():
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGUSR1)
    (tmp_path / "on").touch()
    said, _ = running.communicate(timeout=600)
    return subprocess.CompletedProcess(script, running.returncode, said)


PAUSE = "touch here; until [ -e on ]; do sleep 0.01; done"


def test_a_script_that_is_asked_to_end_while_it_loads_modules_ends_well(tmp_path: Path) -> None:
    done = signalled(tmp_path, PAUSE, "echo began")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_signal_does_not_end_workers_that_do_not_listen_yet(tmp_path: Path) -> None:
    done = signalled(tmp_path, "true", f"sh -c '{PAUSE}; echo began'")
    assert (done.returncode, done.stdout) == (0, "began\n")


@pytest.mark.parametrize(
    ("option", "asked"), [("gpus", "--gpus=4"), ("gpus-per-node", "--gpus-per-node=2"), ("none", None)]
)
def test_gpus_are_asked_for_as_the_cluster_wants(tmp_path: Path, option: str, asked: str | None) -> None:
    text = render(site(tmp_path, {"gpus": 2, "nodes": 2, "gpu_option": option}), REQUEST, "log")
    assert [line for line in options(text) if "gpu" in line or "gres" in line] == ([] if asked is None else [asked])


@pytest.mark.parametrize(
    ("queue", "factors", "asked"),
    [
        ({"time": "01:00:00"}, (2.0, 1.0), ["--time=02:00:00"]),
        ({"time": "01:00:00", "max_time": "01:30:00"}, (4.0, 1.0), ["--time=01:30:00"]),
        ({"memory": "4G"}, (1.0, 2.0), ["--mem=8192M"]),
        ({"memory": "4G", "max_memory": "6G"}, (1.0, 4.0), ["--mem=6144M"]),
        ({}, (1.0, 2.0), ["--mem=0"]),
    ],
)
def test_what_ran_out_gets_more_up_to_the_sites_limit(tmp_path: Path, queue, factors, asked: list[str]) -> None:
    request = Request(Path("/p"), "c", Category.CPU, "t", *factors)
    assert set(asked) <= set(options(render(site(tmp_path, queue), request, "log")))


@given(st.text(st.characters(blacklist_characters="\0\n$", blacklist_categories=["Cs"]), max_size=40))
def test_values_reach_the_environment_unharmed(value: str) -> None:
    script = f'export X={in_double_quotes(value)}; printf %s "$X"'
    assert subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.decode() == value


def test_a_value_cannot_run_a_command(tmp_path: Path) -> None:
    for value in ("$(touch bad)", "`touch bad`", '"; touch bad; "'):
        subprocess.run(["bash", "-c", f"export X={in_double_quotes(value)}"], cwd=tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_sites_own_template_is_used_and_its_slips_are_named(tmp_path: Path) -> None:
    own = tmp_path / "job.sh.jinja"
    own.write_text("#!/bin/sh\n#SBATCH --time={{ queue.time }}\n{{ command }}\n")
    assert options(render(site(tmp_path), REQUEST, "log")) == ["--time=01:00:00"]
    own.write_text("#!/bin/sh\n{{ walltime }}\n")
    with pytest.raises(DefinitionError, match=r"job.sh.jinja.*'walltime' is undefined; a template may use .*command"):
        render(site(tmp_path), REQUEST, "log")
    own.write_text("{% if %}\n")
    with pytest.raises(DefinitionError, match=r"job.sh.jinja, line 1"):
        render(site(tmp_path), REQUEST, "log")


def test_a_category_without_queue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="has no workers for gpu"):
        render(site(tmp_path), Request(Path("/p"), "c", Category.GPU, "t"), "log")


@pytest.mark.parametrize("name", ["academic_cpu_gpu", "compose", "large_centre", "slurm_template"])
def test_every_script_of_the_shipped_sites_is_shell(name: str) -> None:
    shipped = read_site(name)
    for category in shipped.site.workers:
        text = render(shipped, Request(Path("/a folder"), "c", category, "t"), "/a folder/log")
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
        assert '--output="/a folder/log"' in options(text)
        assert "--project '/a folder'" in text


def test_the_token_is_in_name_and_comment() -> None:
    assert token_of(job_name(REQUEST.token)) == REQUEST.token
    assert token_of("interactive") is None
    assert comment("ab12", REQUEST) == "cathodeflow:ab12:camp:cpu:0a1b2c3d4e5f"
    assert token_of("cflow-ab12", "77_3") == task_token("ab12", 3)
    assert token_of("cflow-ab12", "77_[0-3]") == "ab12", "that is no single task"


def test_a_template_cannot_lose_what_a_submission_is_found_by() -> None:
    command = sbatch_command(Path("s.sh"), "ab12", REQUEST, [array_option(3)])
    assert command[-2:] == ["--array=0-2", "s.sh"]
    assert {f"--job-name={job_name(REQUEST.token)}", "--no-requeue"} <= set(command)


def test_jobs_get_a_named_environment_and_not_the_shells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD_OF_MINE", "x")
    monkeypatch.setenv("MY_FILE", "y")
    monkeypatch.setenv("CATHODEFLOW_TICK_S", "3")
    passed = clean_environment(["MY_FILE"])
    assert "LD_PRELOAD_OF_MINE" not in passed
    assert (passed["MY_FILE"], passed["CATHODEFLOW_TICK_S"]) == ("y", "3")
    assert "VIRTUAL_ENV" not in passed
