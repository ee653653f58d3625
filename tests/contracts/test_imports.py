"""The layers of the house hold, and what the command line reads a definition with loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

ENGINES_AND_NETWORKS = ("torch", "matgl", "chgnet", "atomate2", "fireworks", "jobflow", "plotly")
ALL_HEAVY = (*ENGINES_AND_NETWORKS, "pymatgen", "pymongo", "mongomock_ng", "ase", "scipy", "pandas", "numpy")


def test_the_import_contracts_hold():
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("cathodeflow.errors", ALL_HEAVY),
        ("cathodeflow.settings", ALL_HEAVY),
        ("cathodeflow.campaign.definition", ALL_HEAVY),
        ("cathodeflow.campaign.definition_file", ALL_HEAVY),
        ("cathodeflow.campaign.policy", ALL_HEAVY),
        ("cathodeflow.campaign.status", ALL_HEAVY),
        ("cathodeflow.campaign.query", ALL_HEAVY),
        ("cathodeflow.records.campaign", ALL_HEAVY),
        ("cathodeflow.records.label", ALL_HEAVY),
        ("cathodeflow.storage.connection", ALL_HEAVY),
        ("cathodeflow.campaign.transitions", ENGINES_AND_NETWORKS),
        ("cathodeflow.science.hosts.candidates", ENGINES_AND_NETWORKS),
        ("cathodeflow.calculators.engines", ENGINES_AND_NETWORKS),
        ("cathodeflow.report.collect", ENGINES_AND_NETWORKS),
    ],
)
def test_importing_a_module_loads_nothing_it_can_do_without(module: str, forbidden: tuple[str, ...]):
    program = f"import sys\nimport {module}\nprint(' '.join(m for m in {forbidden!r} if m in sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
