"""The DFT path from launch to report with stand-in programs, every fifth run going wrong on purpose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.published_weights import megnet_2019
from tests.services.waiting import wait_for

from cathodeflow.storage.connection import Project, open_project

LIMIT_S = 6000
PROBABILITY = 0.2  # of one run of vasp_std going wrong

# What each fault of the stand-in may be told as, where custodian does not repair it.
TOLD_AS: dict[str, set[str]] = {
    "zbrent": {"calculation_error", "not_converged", "exit_code"},
    "edddav": {"calculation_error", "not_converged", "exit_code"},
    "brmix": {"calculation_error", "not_converged"},
    "unconverged_electronic": {"not_converged"},
    "unconverged_ionic": {"not_converged"},
    "frozen": {"frozen"},
    "out_of_memory": {"out_of_memory", "killed"},
    "killed": {"killed"},
    "walltime": {"walltime", "timeout", "killed"},
    "truncated_xml": {"broken_output"},
    "disk_full": {"disk_full"},
    "exit_code": {"exit_code"},
}

DEFINITION: dict[str, Any] = {
    "name": "rehearsed",
    "host": {"packaged": "nvpf"},
    "elements": ["V", "Mo"],
    "ratios": ["4/4"],
    "engine": {
        "name": "rehearsal",
        "model": "chgnet-0.3.0",
        "parameters": {
            "preset": "s0_relax",
            "overrides": {"incar.EDIFFG": -0.1},
            "frozen_s": 90,
            "faults": {
                "seed": 11,
                "faults": [{"kind": kind, "probability": PROBABILITY / len(TOLD_AS)} for kind in TOLD_AS],
            },
        },
    },
    "labels": {"total": 11, "rounds": 1},
    "surrogate": {"seeds": 1, "max_epochs": 2, "patience": 2},
    "screening": {"relaxation_energy_variation": None, "step_shape": False, "voltage_windows": {}},
    "validation": {"per_list": 1},
    "followups": {
        "branches": ["pdos", "gap", "bonding", "bader", "density_difference"],
        "overrides": {"static.kpoints.grid": [1, 1, 2]},
    },
    "failures": {"tolerated_fraction": 0.5, "max_attempts": 3},
}


def cflow(*words: str) -> str:
    """Run a command as a user would; return what it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "CATHODEFLOW_TICK_S": "0.5"}
    result = subprocess.run(
        [sys.executable, "-m", "cathodeflow.cli.app", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of a finished campaign."""
    megnet_2019()
    folder = tmp_path_factory.mktemp("rehearsed")
    (folder / "campaign.yaml").write_text(json.dumps(DEFINITION))
    project = str(folder / "project")
    cflow("launch", str(folder / "campaign.yaml"), "--project", project)
    cflow("run", "--project", project, "--workers", "2")
    return folder / "project"


@pytest.fixture(scope="module")
def project(folder: Path) -> Project:
    return open_project(folder)


def faults_in(launch: Path) -> set[str]:
    """What went wrong on purpose in a launch folder, in any of its runs."""
    found: set[str] = set()
    for path in launch.rglob("rehearsal.json"):
        found |= {fault["kind"] for fault in json.loads(path.read_text())["faults"]}
    return found


def launches_of(project: Project, kind: str, key: str) -> list[Path]:
    fireworks = project.database["fireworks"].find({"spec._kind": kind, "spec._key": key})
    numbers = [number for d in fireworks for number in (*d.get("archived_launches", []), *d["launches"])]
    launches = project.database["launches"].find({"launch_id": {"$in": numbers}})
    return [Path(d["launch_dir"]) for d in sorted(launches, key=lambda d: d["launch_id"])]


@pytest.mark.slow
@pytest.mark.service
class TestRehearsedCampaign:
    def test_the_campaign_ends_with_every_label_done_or_quarantined(self, project: Project) -> None:
        campaign = project.database["campaigns"].find_one({"_id": "rehearsed"})
        assert campaign["state"] == "done", campaign["message"]
        chosen = {key for keys in campaign["selections"].values() for key in keys}
        labels = {d["key"]: d for d in project.database["labels"].find()}
        assert chosen <= set(labels)
        assert {d["outcome"] for d in labels.values()} <= {"done", "quarantined"}
        assert sum(d["outcome"] == "done" for d in labels.values()) >= 8

    def test_faults_have_struck_and_custodian_has_repaired_some(self, project: Project) -> None:
        struck = {path: faults_in(path) for path in (project.folder / "launches").glob("*/*/*")}
        assert sum(bool(kinds) for kinds in struck.values()) >= 5
        labels = list(project.database["labels"].find())
        assert any(d["interventions"] for d in labels if d["outcome"] == "done")

    def test_every_failed_attempt_is_told_by_the_fault_that_struck_it(self, project: Project) -> None:
        checked = 0
        for attempt in project.database["attempts"].find():
            folders = launches_of(project, attempt["kind"], attempt["key"])
            kinds = set().union(*(faults_in(folder) for folder in folders)) if folders else set()
            told = set().union(*(TOLD_AS[kind] for kind in kinds if kind in TOLD_AS)) if kinds else set()
            assert attempt["reason"] in told, (attempt["key"], attempt["reason"], attempt["message"], kinds)
            checked += 1
        assert checked, "no attempt failed: the faults are too few to test anything"

    def test_every_branch_of_every_validated_candidate_is_written(self, project: Project) -> None:
        validated = [key for d in project.database["validations"].find() for key in d["labels"].values()]
        done = {d["key"] for d in project.database["labels"].find({"outcome": "done"})}
        expected = {
            f"{key}/{branch}"
            for key in validated
            if key in done
            for branch in ("static", *DEFINITION["followups"]["branches"])
        }
        found = {f"{d['key']}/{d['branch']}": d for d in project.database["follow_ups"].find()}
        assert set(found) == expected
        for name, record in found.items():
            branch = name.rpartition("/")[2]
            assert (record[branch] is not None) == (record["outcome"] == "done"), (name, record["message"])
        assert sum(d["outcome"] == "done" for d in found.values()) >= 0.7 * len(found)

    def test_every_number_says_that_it_was_rehearsed(self, project: Project) -> None:
        for name in ("labels", "references", "follow_ups"):
            origins = {d["origin"]["provenance"] for d in project.database[name].find()}
            assert len(origins) == 1, name
            assert origins.pop().startswith("rehearsal:chgnet-0.3.0:s0_"), name
        assert all(d["provenance"].startswith("rehearsal:") for d in project.database["models"].find())

    def test_no_program_and_no_wave_function_is_left_behind(self, folder: Path) -> None:
        import psutil

        def left() -> list[dict[str, Any]]:
            processes = psutil.process_iter(["pid", "cwd", "name"])
            return [process.info for process in processes if str(folder) in (process.info["cwd"] or "")]

        wait_for(lambda: left() == [], seconds=120.0, why_not=left)
        project = open_project(folder)
        done = [Path(d["folder"]) for d in project.database["labels"].find({"outcome": "done"}) if d["folder"]]
        assert done
        assert not [path for folder in done for path in (project.folder / folder).rglob("WAVECAR*")]

    def test_the_report_shows_the_follow_ups_and_says_rehearsal(self, folder: Path) -> None:
        output = folder / "report.html"
        cflow("report", "--project", str(folder), "--output", str(output))
        text = output.read_text()
        assert "REHEARSAL" in text
        assert "ICOHP" in text
        assert "HSE06" in text
