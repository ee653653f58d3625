from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

from cathodeflow.dispatch.orphans import end_orphans

SLEEP = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


def start(folder: Path, code: str = SLEEP) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


def test_programs_of_a_launch_folder_are_ended_and_no_others(tmp_path: Path) -> None:
    here, below, stubborn = start(tmp_path / "a"), start(tmp_path / "a" / "phase"), start(tmp_path / "a", STUBBORN)
    elsewhere = start(tmp_path / "ab")
    try:
        assert end_orphans(tmp_path / "a", grace_s=0.5) == 3
        until = time.monotonic() + 120
        while any(psutil.pid_exists(process.pid) for process in (here, below, stubborn)):
            assert time.monotonic() < until  # the kernel takes its time to bury what was killed
            time.sleep(0.01)
        assert elsewhere.poll() is None
    finally:
        for process in (here, below, stubborn, elsewhere):
            process.kill()
            process.wait()


def test_a_folder_that_nobody_works_in_is_left_alone(tmp_path: Path) -> None:
    assert end_orphans(tmp_path) == 0
