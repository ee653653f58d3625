from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cathodeflow.calculators.rehearsal.faults import DIARY, KINDS, RUN_VARIABLE, VARIABLE, faults_of_run
from cathodeflow.errors import CalculationError


def drawn(folder: Path) -> list[tuple[str, int, float]]:
    (folder / DIARY).unlink(missing_ok=True)
    return [(fault.kind, fault.step, fault.fraction) for fault in faults_of_run(folder)]


def test_draws_are_repeated_by_the_same_seed_and_differ_between_runs(
    write_run: Callable[..., Path], environment: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run()
    everything = [{"kind": kind} for kind in KINDS]
    environment(*everything, seed=1)
    first = drawn(folder)
    assert len(first) == len(KINDS)
    assert drawn(folder) == first
    monkeypatch.setenv(RUN_VARIABLE, "second attempt")
    assert drawn(folder) != first
    monkeypatch.delenv(RUN_VARIABLE)
    environment(*everything, seed=2)
    assert drawn(folder) != first


def test_probability_is_the_share_of_runs_that_a_fault_strikes(
    write_run: Callable[..., Path], environment: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run()
    environment({"kind": "zbrent", "probability": 0.2})
    struck = 0
    for number in range(500):
        monkeypatch.setenv(RUN_VARIABLE, str(number))
        struck += len(drawn(folder))
    assert 70 <= struck <= 130  # 100 expected, standard deviation 9


def test_a_fault_comes_in_as_many_attempts_as_it_says(
    write_run: Callable[..., Path], environment: Callable[..., Any]
) -> None:
    folder = write_run()
    environment({"kind": "brmix", "step": 1, "times": 2})
    assert [len(faults_of_run(folder)) for _ in range(4)] == [1, 1, 0, 0]
    assert json.loads((folder / DIARY).read_text())["attempts"] == 4


@pytest.mark.parametrize("text", ['{"faults": [{"kind": "gremlin"}]}', "{not json", "no/such/file", '{"seed": 1}'])
def test_a_definition_that_cannot_be_used_is_refused(
    write_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(CalculationError) as caught:
        faults_of_run(write_run())
    assert caught.value.reason == "refused"


def test_a_definition_may_stand_in_a_file(write_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run()
    (folder / "faults.json").write_text('{"seed": 3, "faults": [{"kind": "frozen", "step": 4}]}')
    monkeypatch.setenv(VARIABLE, str(folder / "faults.json"))
    assert drawn(folder)[0][:2] == ("frozen", 4)


@pytest.mark.parametrize(
    ("kind", "status"),
    [("killed", -9), ("out_of_memory", -9), ("walltime", 143), ("disk_full", 38), ("exit_code", 7), ("zbrent", 1)],
)
def test_each_end_has_its_exit_status(
    write_run: Callable[..., Path],
    environment: Callable[..., Any],
    start: Callable[..., subprocess.Popen[str]],
    kind: str,
    status: int,
) -> None:
    folder = write_run()
    process = start(folder, environment({"kind": kind, "step": 1, "code": 7}))
    process.communicate(timeout=600)
    assert process.returncode == status


def test_a_shell_sees_137_of_a_killed_run(
    write_run: Callable[..., Path], environment: Callable[..., Any], programs: Path
) -> None:
    folder = write_run()
    shell = shutil.which("sh")
    assert shell
    command = [shell, "-c", f"{programs / 'vasp_std'}; exit $?"]
    asked = environment({"kind": "killed", "step": 1})
    done = subprocess.run(command, cwd=folder, env=asked, capture_output=True, check=False)
    assert done.returncode == 137


@pytest.mark.parametrize("file", ["OSZICAR", "vasprun.xml", "CHGCAR"])
def test_a_truly_full_disk_ends_as_the_rehearsed_one(
    write_run: Callable[..., Path],
    environment: Callable[..., Any],
    start: Callable[..., subprocess.Popen[str]],
    file: str,
) -> None:
    folder = write_run(NSW="2")
    (folder / file).symlink_to("/dev/full")
    process = start(folder, environment())
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 38
    assert "No space left on device" in errors
    assert "Traceback" not in errors
