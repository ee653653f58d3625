"""`jobs show`: what custodian did to a job's runs, from the record when it is settled, else from the launch folder."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.report import factories, followup_factories

from cathodeflow.calculators.attempt import Attempt, write_attempt
from cathodeflow.records.campaign import AttemptRecord
from cathodeflow.records.outcomes import Branch, JobKind, Outcome, Reason
from cathodeflow.storage.connection import Project, create_project

Cflow = Callable[..., Any]
CONTENTS = factories.campaign_contents(factories.DEMO_ELEMENTS, 5, 1, seeds=1)
PRISTINE = CONTENTS.validations[0]


def correction(error: str, **incar: Any) -> dict[str, Any]:
    """As custodian writes one."""
    return {
        "errors": [error],
        "actions": [{"dict": "INCAR", "action": {"_set": incar}}] if incar else None,
        "handler": {"@module": "custodian.vasp.handlers", "@class": "VaspErrorHandler"},
    }


def custodian_log(*corrections: dict[str, Any]) -> bytes:
    return json.dumps([{"job": {}, "corrections": list(corrections)}]).encode()


def add_job(project: Project, number: int, kind: str, key: str, states: dict[int, str], folder: Path) -> None:
    """Put a firework and its launches into the store, as FireWorks leaves them."""
    spec = {"_campaign": factories.NAME, "_kind": kind, "_key": key, "_tasks": []}
    firework = {"_id": f"f{number}", "fw_id": number, "state": list(states.values())[-1], "name": kind, "spec": spec}
    project.insert_missing("fireworks", [firework | {"launches": list(states), "archived_launches": []}])
    launches = [
        {
            "_id": f"l{launch}",
            "launch_id": launch,
            "fw_id": number,
            "state": state,
            "launch_dir": str(folder / str(launch)),
            "time_start": datetime(2026, 11, 21, 9, tzinfo=UTC),
            "runtime_secs": 60.0,
        }
        for launch, state in states.items()
    ]
    project.insert_missing("launches", launches)
    for launch in states:
        (folder / str(launch)).mkdir(parents=True)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = create_project(tmp_path)
    campaign = CONTENTS.campaign.model_copy(update={"provenance": followup_factories.VASP})
    made.insert_missing("campaigns", [campaign.to_mongo()])
    return made


def test_a_failed_launch_shows_what_custodian_did_in_its_folder_and_where_it_went_on(
    cflow: Cflow, project: Project, tmp_path: Path
):
    key = PRISTINE.labels["Na3"]
    add_job(project, 1, "label", key, {4: "FIZZLED", 5: "FIZZLED"}, tmp_path / "launches")
    first, second = tmp_path / "launches/4", tmp_path / "launches/5"
    write_attempt(first, Attempt(factories.NAME, "label", key, 1))
    write_attempt(second, Attempt(factories.NAME, "label", key, 2, continue_from=first))
    (first / "relax_1").mkdir()
    log = custodian_log(correction("zbrent", IBRION=1), correction("edddav", ALGO="Fast"))
    (first / "relax_1/custodian.json.gz").write_bytes(gzip.compress(log))
    (second / "custodian.json").write_bytes(custodian_log())
    attempt = AttemptRecord(
        _id=f"{factories.NAME}/label/{key}/1",
        campaign=factories.NAME,
        kind=JobKind.LABEL,
        key=key,
        attempt=1,
        fw_id=1,
        outcome=Outcome.FAILED,
        reason=Reason.WALLTIME,
        message="stopped in time",
        considered=["1 of 20 for walltime", "it left a geometry"],
        action="continue",
    )
    project.insert_missing("attempts", [attempt.to_mongo()])
    shown = cflow("jobs", "show", 1, "-p", tmp_path).stdout
    assert "custodian  2 interventions in relax_1\n" in shown
    assert "VaspErrorHandler saw zbrent: changed INCAR IBRION = 1" in shown
    assert "VaspErrorHandler saw edddav: changed INCAR ALGO = Fast" in shown
    assert f"attempt 2, continues from {first}" in shown
    assert "custodian  no intervention\n" in shown
    assert "attempt    1 walltime: stopped in time" in shown
    assert "then continue (1 of 20 for walltime; it left a geometry)" in shown
    assert "record" not in shown
    details = json.loads(cflow("jobs", "show", 1, "-p", tmp_path, "--json").stdout)
    assert details["record"] is None
    assert [run["attempt"] for run in details["runs"]] == [1, 2]
    assert details["runs"][1]["continues_from"] == str(first)
    assert [done["errors"] for done in details["runs"][0]["custodian"]["relax_1"]] == [["zbrent"], ["edddav"]]


def test_a_settled_branch_shows_its_record_once(cflow: Cflow, project: Project, tmp_path: Path):
    record = followup_factories.follow_up(
        PRISTINE,
        "Na3",
        Branch.GAP,
        interventions=[followup_factories.ZRBENT, followup_factories.WALLTIME],
        overrides=[{"key": "hybrid.incar.EDIFF", "preset_value": 1e-6, "value": 1e-5}, followup_factories.OVERRIDE],
        folder="launches/7",
    )
    project.insert_missing("follow_ups", [record.to_mongo()])
    add_job(project, 2, "follow_up", f"{record.key}/gap", {7: "COMPLETED"}, tmp_path / "launches")
    (tmp_path / "launches/7/custodian.json").write_bytes(custodian_log(correction("zbrent", IBRION=1)))
    shown = cflow("jobs", "show", 2, "-p", tmp_path).stdout
    assert "record     done, vasp:s0_relax\n" in shown
    assert "presets s0_hse_band_edges" in shown
    assert "override   hybrid.incar.EDIFF: 1e-06 → 1e-05\n" in shown
    assert "override   incar.NCORE: the Materials Project set's → 4\n" in shown
    assert "ran in launches/7" in shown
    assert shown.count("custodian ") == 1
    assert "custodian  2 interventions, earlier attempts that it continued included" in shown
    assert "WalltimeHandler saw Walltime reached: ended the run" in shown


def test_a_quarantined_label_says_why(cflow: Cflow, project: Project, tmp_path: Path):
    label = followup_factories.validation_labels(PRISTINE, followup_factories.VASP)[0].model_copy(
        update={
            "outcome": Outcome.QUARANTINED,
            "reason": Reason.NOT_CONVERGED,
            "message": "NSW steps were not enough",
            "relaxation": None,
        }
    )
    project.insert_missing("labels", [label.to_mongo()])
    add_job(project, 3, "label", label.key, {8: "COMPLETED"}, tmp_path / "launches")
    shown = cflow("jobs", "show", 3, "-p", tmp_path).stdout
    assert "record     quarantined, not_converged, vasp:s0_relax: NSW steps were not enough" in shown


def test_a_reference_is_found_by_the_engine_of_its_campaign(cflow: Cflow, project: Project, tmp_path: Path):
    reference = CONTENTS.references[0].model_copy(
        update={"id": f"{followup_factories.VASP}/Fe", "interventions": [followup_factories.ZRBENT]}
    )
    project.insert_missing("references", [reference.to_mongo()])
    add_job(project, 4, "reference", "Fe", {9: "COMPLETED"}, tmp_path / "launches")
    shown = cflow("jobs", "show", 4, "-p", tmp_path).stdout
    assert "custodian  1 intervention," in shown


@pytest.mark.parametrize("content", [b"", b'[{"corrections": [', b"\x1f\x8b"])
def test_a_log_that_is_cut_off_and_an_attempt_that_cannot_be_read_do_not_stop_the_command(
    cflow: Cflow, project: Project, tmp_path: Path, content: bytes
):
    add_job(project, 5, "label", PRISTINE.labels["Na1"], {10: "RUNNING"}, tmp_path / "launches")
    folder = tmp_path / "launches/10"
    (folder / "custodian.json.gz").write_bytes(content)
    (folder / "attempt.json").write_text('{"number": ')
    shown = cflow("jobs", "show", 5, "-p", tmp_path).stdout
    assert "is not what a worker writes" in shown
    assert "custodian  no intervention" in shown


def test_follow_ups_are_queried_under_either_spelling(cflow: Cflow, project: Project, tmp_path: Path):
    record = followup_factories.follow_up(PRISTINE, "Na4", Branch.GAP)
    project.insert_missing("follow_ups", [record.to_mongo()])
    for name in ("follow_ups", "followups", "follow-up"):
        rows = cflow("query", name, "-p", tmp_path, "--format", "csv").stdout.splitlines()
        assert rows[0].startswith("composition,level,branch,outcome,reason,gap.pbe.gap,gap.hybrid.gap")
        assert rows[1].startswith("V8,Na4,gap,done,,0.385,0.7,")
