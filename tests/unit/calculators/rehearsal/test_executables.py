from __future__ import annotations

import os
import shutil
import sysconfig
from importlib.metadata import entry_points
from pathlib import Path

from cathodeflow.calculators.rehearsal.executables import PROGRAMS, private_bin


def test_programs_are_only_where_they_were_asked_for(tmp_path: Path) -> None:
    folder = private_bin(tmp_path / "a b" / "bin")
    assert sorted(file.name for file in folder.iterdir()) == sorted(PROGRAMS)
    assert all(os.access(folder / name, os.X_OK) for name in PROGRAMS)
    installed = {script.name for script in entry_points(group="console_scripts") if "cathodeflow" in script.value}
    assert not installed & set(PROGRAMS)
    for name in PROGRAMS:
        script = Path(sysconfig.get_path("scripts")) / name  # pybader installs a `bader` of its own
        assert not script.exists() or b"cathodeflow.calculators" not in script.read_bytes()
        assert shutil.which(name, path=str(folder)) == str(folder / name)


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    before = {file: file.read_text() for file in private_bin(tmp_path / "bin").iterdir()}
    assert {file: file.read_text() for file in private_bin(tmp_path / "bin").iterdir()} == before
