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


VASP = """name: next
host: {packaged: nvpf}
elements: [V, Mo]
engine: {name: vasp}
labels: {total: 20}
followups: {branches: [gap]}
"""


def test_the_runs_of_vasp_are_priced_kind_by_kind(cflow: Cflow, tmp_path: Path):
    definition = tmp_path / "campaign.yaml"
    definition.write_text(VASP)
    plan = json.loads(cflow("plan", definition, "-p", tmp_path, "--json").stdout)
    assert [(row["stage"], row["kind"]) for row in plan["dft"]] == [
        *(("reference", "reference"), ("label", "relaxation"), ("validate", "relaxation")),
        *(("follow_up", "static"), ("follow_up", "gap")),
    ]
    words = cflow("plan", definition, "-p", tmp_path, "--cores", "1000").stdout
    assert "wall h, 1000 cores" in words
    assert "87,870 structures × 2 h on 68 processors, one after another, are 20.0 years" in words
    assert "11,950,320 core-hours" in words
    for sentence in plan["assumptions"]:
        assert f"- {sentence}" in words


def test_the_papers_sum_is_told_of_a_potential_when_asked(cflow: Cflow, tmp_path: Path):
    assert "20.0 years" not in cflow("plan", DEMO, "-p", tmp_path).stdout
    assert "20.0 years" in cflow("plan", DEMO, "-p", tmp_path, "--worked-example").stdout
