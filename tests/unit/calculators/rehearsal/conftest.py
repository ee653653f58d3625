from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from custodian.vasp.handlers import FrozenJobErrorHandler

from cathodeflow.calculators.rehearsal.executables import private_bin
from cathodeflow.calculators.rehearsal.faults import DIARY
from cathodeflow.calculators.rehearsal.faults import VARIABLE as FAULTS
from cathodeflow.calculators.rehearsal.potential import VARIABLE as POTENTIAL

IRON_OXIDE = """iron oxide, a little off its sites
1.0
4.3 0.0 0.0
0.0 4.4 0.0
0.0 0.1 4.5
Fe O
4 4
Direct
0.00 0.00 0.02
0.00 0.50 0.50
0.50 0.00 0.50
0.50 0.51 0.00
0.50 0.50 0.50
0.50 0.00 0.00
0.01 0.50 0.00
0.00 0.00 0.50
"""
RELAXATION = {
    "ENCUT": "520",
    "EDIFF": "1E-5",
    "EDIFFG": "-0.02",
    "IBRION": "2",
    "ISIF": "3",
    "NSW": "99",
    "ISMEAR": "0",
    "SIGMA": "0.05",
    "ISPIN": "2",
    "MAGMOM": "4*4.0 4*0.6",
    "LORBIT": "11",
    "LAECHG": ".TRUE.",
    "NELM": "60",
    "ALGO": "Fast",
}


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Write the inputs of a relaxation of eight atoms; tags set to None are left out."""

    def write(**changes: str | None) -> Path:
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        tags = {tag: value for tag, value in {**RELAXATION, **changes}.items() if value is not None}
        (folder / "INCAR").write_text("".join(f"{tag} = {value}\n" for tag, value in tags.items()))
        (folder / "POSCAR").write_text(IRON_OXIDE)
        (folder / "KPOINTS").write_text("mesh\n0\nGamma\n2 2 2\n0 0 0\n")
        (folder / "POTCAR.spec").write_text("Fe_pv\nO")
        return folder

    return write


class FrozenOnceStruck(FrozenJobErrorHandler):
    """custodian's handler, which looks only where a fault is to freeze the run and the step before it is done.

    On a busy machine a program is silent for long while it starts, too, and until then the files are those of the
    attempt before.
    """

    met_at = 0

    def check(self, directory: str = "./") -> bool | None:
        """See whether the run is frozen."""
        try:
            diary = json.loads(Path(directory, DIARY).read_text())
            steps = Path(directory, "OSZICAR").read_text().count(" F= ")
        except (OSError, ValueError):  # the run has not begun, or writes at this moment
            return False
        faults = [fault for fault in diary["faults"] if fault["attempt"] == diary["attempts"]]
        struck = any(fault["kind"] == "frozen" and steps >= fault["step"] - 1 for fault in faults)
        if not struck or diary["attempts"] == self.met_at or not super().check(directory):
            return False
        self.met_at = diary["attempts"]
        return True


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return private_bin(tmp_path_factory.mktemp("private") / "bin")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Ask for the pair potential and for faults, in this process and what it starts."""

    def ask(*faults: dict[str, Any], seed: int = 0, potential: str = "pair") -> dict[str, str]:
        monkeypatch.setenv(POTENTIAL, potential)
        monkeypatch.setenv(FAULTS, json.dumps({"seed": seed, "faults": list(faults)}))
        return dict(os.environ)

    return ask


@pytest.fixture
def start(programs: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start vasp_std in a folder, as a job script would."""

    def begin(folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(programs / "vasp_std")],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return begin


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], int]:
    """Run vasp_std inside this process, which spares the start of another."""
    import signal
    import warnings

    from cathodeflow.calculators.rehearsal import vasp_std

    def run(folder: Path) -> int:
        monkeypatch.chdir(folder)
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with warnings.catch_warnings():
                return vasp_std.main()
        finally:
            signal.signal(signal.SIGTERM, handler)

    return run
