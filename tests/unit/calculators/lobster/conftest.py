from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Structure

from cathodeflow.calculators.rehearsal.executables import private_bin
from cathodeflow.calculators.rehearsal.faults import VARIABLE as FAULTS
from cathodeflow.calculators.rehearsal.potential import VARIABLE as POTENTIAL

VANADIUM_OXYFLUORIDE = """sodium vanadium oxyfluoride, a little off its sites
1.0
4.2 0.0 0.0
0.0 4.3 0.0
0.0 0.1 4.4
Na V O F
1 2 2 1
Direct
0.00 0.00 0.02
0.50 0.50 0.50
0.50 0.02 0.00
0.50 0.50 0.00
0.00 0.50 0.52
0.50 0.00 0.50
"""
TAGS = {"ENCUT": "400", "ISMEAR": "0", "SIGMA": "0.05", "ISPIN": "2", "NBANDS": "60", "ISYM": "0", "NEDOS": "51"}


def write_inputs(folder: Path, **changes: str) -> None:
    """Write the inputs of a static run of six atoms."""
    tags = {**TAGS, **changes}
    (folder / "INCAR").write_text("".join(f"{tag} = {value}\n" for tag, value in tags.items()))
    (folder / "POSCAR").write_text(VANADIUM_OXYFLUORIDE)
    (folder / "KPOINTS").write_text("mesh\n0\nGamma\n2 1 1\n0 0 0\n")
    (folder / "POTCAR.spec").write_text("Na_pv\nV_pv\nO\nF")


@pytest.fixture(scope="session")
def static_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return the folder of a finished static run, once for each set of tags."""
    from cathodeflow.calculators.rehearsal import vasp_std

    done: dict[str, Path] = {}

    def run(**changes: str) -> Path:
        name = json.dumps(changes, sort_keys=True)
        if name not in done:
            folder = done[name] = tmp_path_factory.mktemp("static")
            write_inputs(folder, **changes)
            with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
                patched.chdir(folder)
                patched.setenv(POTENTIAL, "pair")
                patched.delenv(FAULTS, raising=False)
                assert vasp_std.main() == 0
        return done[name]

    return run


@pytest.fixture
def calculated(static_run: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Return a fresh copy of a finished static run."""

    def copy(**changes: str) -> Path:
        return Path(shutil.copytree(static_run(**changes), tmp_path / "run"))

    return copy


@pytest.fixture
def crystal() -> Structure:
    return Structure.from_str(VANADIUM_OXYFLUORIDE, fmt="poscar")


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return private_bin(tmp_path_factory.mktemp("private") / "bin")


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Ask for faults of lobster in this process and what it starts."""

    def ask(*faults: dict[str, Any]) -> dict[str, str]:
        told = [{"program": "lobster", **fault} for fault in faults]
        monkeypatch.setenv(FAULTS, json.dumps({"seed": 1, "faults": told}))
        return dict(os.environ)

    return ask
