from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.campaign_world import definition, launch

from cathodeflow.campaign.status import read_status
from cathodeflow.cli.run import (
    FIRST_INTERRUPT,
    INTERRUPT_OF_A_SITE,
    INTERRUPTED_EXIT_CODE,
    SECOND_INTERRUPT,
    _lines,
    _notices,
)
from cathodeflow.errors import CampaignError
from cathodeflow.settings import unknown_variables
from cathodeflow.storage.connection import open_project

Cflow = Callable[..., Any]


def test_running_a_campaign_that_is_done_says_so(cflow: Cflow, finished: Path, tmp_path: Path):
    result = cflow("run", "-p", shutil.copytree(finished, tmp_path / "copy"), "--workers", 0)
    assert result.exit_code == 0
    assert "trial is done: cflow report" in result.stdout


def test_running_a_campaign_that_stopped_says_why_and_what_to_do(cflow: Cflow, failed: Path, tmp_path: Path):
    with pytest.raises(CampaignError, match=r"stopped in stage label: .*tolerates 0%.*calculation_error|resubmit"):
        cflow("run", "-p", shutil.copytree(failed, tmp_path / "copy"), "--workers", 0)


def test_a_site_without_a_scheduler_gives_each_worker_its_share_of_the_cores(
    cflow: Cflow, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from cathodeflow.campaign import driver

    made: list[tuple[Any, ...]] = []

    class Noted(driver.WorkerPool):
        def __init__(self, *arguments: Any) -> None:
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(driver, "WorkerPool", Noted)
    site = tmp_path / "box"
    site.mkdir()
    (site / "site.yaml").write_text(
        "title: t\nscheduler: none\nworkers:\n  cpu: {slots: 3, cpus: 12, also: [gpu, dft]}\n"
    )
    folder = shutil.copytree(finished, tmp_path / "copy")
    assert cflow("run", "-p", folder, "--site", site).exit_code == 0
    assert made == [(folder, "trial", 3, 4)]


def test_a_variable_that_is_no_setting_is_named_with_what_may_be_meant(
    cflow: Cflow, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.setenv("CATHODEFLOW_STORE_PASSWORD", "x")
    assert "Warning" not in cflow("run", "-p", folder, "--workers", 0).stderr
    monkeypatch.setenv("CATHODEFLOW_STORE_URL", "mongodb://db.example/lab")
    said = cflow("run", "-p", folder, "--workers", 0).stderr
    assert "CATHODEFLOW_STORE_URL is no setting and has no effect (did you mean CATHODEFLOW_STORE_URI?)" in said
    assert "db.example" not in said


def test_every_variable_on_the_pages_is_one(monkeypatch: pytest.MonkeyPatch):
    root = Path(__file__).parents[3]
    pages = [*root.glob("docs/**/*.md"), *root.glob("site_configs/**/*.yaml"), root / "docker-compose.yml"]
    named = {name for page in pages for name in re.findall(r"CATHODEFLOW_[A-Z_]*[A-Z]", page.read_text("utf-8"))}
    assert len(named) > 10
    for name in named - {"CATHODEFLOW_STORE"}:
        monkeypatch.setenv(name, "x")
    assert unknown_variables() == {}


def test_each_interrupt_says_what_it_does():
    said: list[str] = []
    heard = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        heard.set()

    with _notices(say):
        signal.signal(signal.SIGINT, lambda *_: None)  # as the driver does
        for _ in range(2):
            heard.clear()
            os.kill(os.getpid(), signal.SIGINT)
            assert heard.wait(120.0)
        heard.clear()
        os.kill(os.getpid(), signal.SIGINT)
        heard.wait(0.1)
    assert said == [FIRST_INTERRUPT, SECOND_INTERRUPT]
    assert signal.set_wakeup_fd(-1) == -1


def test_an_interrupt_of_a_driver_of_a_site_says_that_what_runs_there_goes_on():
    said: list[str] = []
    heard = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        heard.set()

    with _notices(say, INTERRUPT_OF_A_SITE):
        signal.signal(signal.SIGINT, lambda *_: None)  # as the driver does
        os.kill(os.getpid(), signal.SIGINT)
        assert heard.wait(60.0)
    assert said == [INTERRUPT_OF_A_SITE]


def test_plain_lines_come_when_the_stage_changes(finished: Path, capsys: pytest.CaptureFixture[str]):
    report = read_status(open_project(finished), "trial")
    with _lines() as show:
        show(report)
        show(report)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1
    assert "trial done: done, round 1/1" in printed[0]
    assert "left" not in printed[0]


def wait_for(words: str, file: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 300
    while words not in file.read_text():
        assert process.poll() is None, file.read_text()
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_an_interrupted_run_leaves_the_campaign_to_be_gone_on_with(tmp_path: Path):
    launch(tmp_path, definition())
    command = [sys.executable, "-m", "cathodeflow.cli.app", "run", "-p", str(tmp_path)]
    with (tmp_path / "said").open("w") as said, (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(command, stdout=said, stderr=errors)
    wait_for("trial running", tmp_path / "said", process)
    process.send_signal(signal.SIGINT)
    wait_for(FIRST_INTERRUPT, tmp_path / "errors", process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) == INTERRUPTED_EXIT_CODE
    lines = (tmp_path / "errors").read_text().splitlines()
    assert lines[0] == FIRST_INTERRUPT
    assert lines[-1].startswith("trial is left in stage ")
    asked = [sys.executable, "-m", "cathodeflow.cli.app", "status", "-p", str(tmp_path), "--json"]
    status = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    assert status["state"] == "running"
    assert status["lease_holder"] is None
