"""FireWorks' own core tests pass on the embedded store."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import fireworks.core
import pytest

FIREWORKS_TESTS = Path(fireworks.core.__file__).parent / "tests"
# They fail on any database: FireWorks 2.1.4 calls monty's zopen without a mode in its offline mode.
OFFLINE = "test__recover_completed or test_many_detours_offline"
# They sleep 45 s each until a lock expires; run by hand they pass as well.
SLEEPERS = "test_fix_db_inconsistencies"


@pytest.mark.slow
@pytest.mark.skipif(not (FIREWORKS_TESTS / "test_launchpad.py").exists(), reason="FireWorks came without its tests")
def test_fireworks_core_tests_pass(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    mongodb: needs a database\n")
    # A copy: FireWorks' tests write beside themselves, and several sessions may share the installation.
    copy = tmp_path / "fireworks_tests"
    copy.mkdir()
    for path in FIREWORKS_TESTS.glob("test_*.py"):
        (copy / path.name).write_text(path.read_text())
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-c"]
    command += [str(tmp_path / "pytest.ini"), "-p", "fireworks_on_embedded_store", "--import-mode=importlib"]
    command += ["-k", f"not ({OFFLINE} or {SLEEPERS})", str(copy)]
    environment = {
        **os.environ,
        "EMBEDDED_STORE_UNDER_TEST": str(tmp_path / "store.sqlite"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed.group(1)) >= 57, done.stdout[-2000:]
