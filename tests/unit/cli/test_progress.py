"""How far a command is: told on standard error, and only of what takes long."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from cathodeflow.cli import progress
from cathodeflow.cli.progress import counting

LONG = """
from cathodeflow.cli import progress
progress.PATIENCE_S = 0.0
with progress.counting("resubmitting 3 jobs") as told:
    for number in range(1, 4):
        told(number, 3)
    {then}
print("done")
"""


def test_a_line_now_and_then_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with counting("resubmitting 4,000 jobs") as told:
        for done in range(1, 4001):
            now[0] += 1 / 128
            told(done, 4000)
    said = capsys.readouterr()
    assert said.out == "", "what a program reads stays clean"
    assert said.err.splitlines() == [
        "resubmitting 4,000 jobs: 256 of 4,000",
        "resubmitting 4,000 jobs: 2,176 of 4,000",
    ]


def test_what_is_quick_is_not_told_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.time, "monotonic", lambda: 0.0)
    with counting("resubmitting 1 job") as told:
        told(1, 1)
    assert capsys.readouterr() == ("", "")


def on_a_terminal(program: str) -> tuple[int, bytes, bytes]:
    """Run a program whose standard error is a terminal; exit code, output, and what stands on the terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
        env=environment,
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            shown += part
        assert process.stdout is not None
        said = process.stdout.read()
    os.close(ours)
    return process.returncode, said, shown


def test_a_terminal_has_a_bar_that_is_gone_afterwards() -> None:
    code, said, shown = on_a_terminal(LONG.format(then=""))
    assert (code, said) == (0, b"done\n")
    assert b"resubmitting 3 jobs" in shown
    assert b"3/3" in shown
    assert shown.rstrip(b"\r\n").endswith(b"\x1b[2K"), "its line is cleared"


def test_the_terminal_is_left_in_order_by_what_fails() -> None:
    code, said, shown = on_a_terminal(LONG.format(then="raise SystemExit(4)"))
    assert (code, said) == (4, b"")
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h") == 1, "the cursor is back"
