from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Cflow = Callable[..., Any]
DEMO = Path(__file__).parents[3] / "workflows" / "nvpf_inverse_design" / "demo.yaml"


def test_a_plan_adds_up_and_writes_nothing(cflow: Cflow, tmp_path: Path):
    plan = json.loads(cflow("plan", DEMO, "-p", tmp_path, "--json").stdout)
    assert sum(level["distinct"] for level in plan["space"]["levels"]) == plan["candidates"]
    assert sum(plan["core_hours"].values()) == plan["total_core_hours"] > 0.0
    assert plan["jobs"]["label"] > 0
    assert (plan["paper"]["compounds"], plan["paper"]["structures"]) == (3480, 87870)
    assert plan["cost_basis"] == "stated"
    assert list(tmp_path.iterdir()) == []


def test_the_papers_counts_stand_beside_ours(cflow: Cflow, tmp_path: Path):
    words = cflow("plan", DEMO, "-p", tmp_path).stdout
    assert "S0 states 3,480 compounds and 87,870 structures" in words
    assert [line.split()[0] for line in words.splitlines() if line.startswith("Na")] == ["Na4", "Na3", "Na2", "Na1"]
    assert "core-hours" in words


def test_costs_are_measured_where_labels_are(cflow: Cflow, finished: Path, tmp_path: Path):
    definition = tmp_path / "campaign.yaml"
    definition.write_text(
        "name: next\nhost: {packaged: nvpf}\nelements: [V, Mo]\nengine: {name: pair}\nlabels: {total: 20}\n"
    )
    assert "Unit costs: measured on" in cflow("plan", definition, "-p", finished).stdout
    assert "Unit costs: stated" in cflow("plan", definition, "-p", tmp_path).stdout


def test_a_dry_launch_is_a_plan(cflow: Cflow, tmp_path: Path):
    words = cflow("launch", DEMO, "-p", tmp_path / "new", "--dry-run").stdout
    assert words.endswith("Dry run: nothing was written.\n")
    assert not (tmp_path / "new").exists()
