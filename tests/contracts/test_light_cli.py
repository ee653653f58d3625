"""The command line must answer at once: importing it, or asking for help, loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "matgl",
    "atomate2",
    "chgnet",
    "pymatgen",
    "fireworks",
    "jobflow",
    "mongomock_ng",
    "pymongo",
    "pandas",
    "plotly",
    "ase",
    "numpy",
)

REPORT = "print(' '.join(m for m in {heavy!r} if m in sys.modules))"


def _loaded_by(code: str) -> list[str]:
    program = f"import sys\n{code}\n" + REPORT.format(heavy=HEAVY)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return result.stdout.splitlines()[-1].split()


def test_importing_the_command_line_loads_nothing_heavy():
    assert _loaded_by("import cathodeflow.cli.app") == []


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"], ["jobs", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments):
    code = (
        f"sys.argv = ['cflow', *{arguments!r}]\n"
        "from cathodeflow.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    )
    assert _loaded_by(code) == []
