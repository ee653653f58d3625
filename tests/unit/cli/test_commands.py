"""The commands on a real store, with campaigns that ended."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import pytest

from cathodeflow.errors import CampaignError, DefinitionError, ModelError
from cathodeflow.storage.connection import open_project

Cflow = Callable[..., Any]

DEMANDED_OF_STATUS = {
    *("campaign", "stage", "round", "candidates", "labels", "jobs", "best_candidates", "started", "elapsed_s", "eta_s"),
    *("state", "message", "lease_holder", "provenance"),
}


def test_status_in_words_and_in_json(cflow: Cflow, finished: Path):
    words = cflow("status", "-p", finished).stdout
    assert "trial: done" in words
    assert "COMPLETED" in words
    status = json.loads(cflow("status", "-p", finished, "--json").stdout)
    assert set(status) >= DEMANDED_OF_STATUS
    assert set(status["labels"]) >= {"done", "failed", "quarantined"}
    assert status["candidates"] == open_project(finished).count("candidates")
    assert status["best_candidates"][0]["voltages"]


def test_watching_a_campaign_that_has_ended_ends(cflow: Cflow, finished: Path):
    assert cflow("status", "-p", finished, "--watch").stdout.count("\n") == 1
    assert json.loads(cflow("status", "-p", finished, "--watch", "--json").stdout)["state"] == "done"


def test_several_campaigns_have_to_be_named(cflow: Cflow, finished: Path, tmp_path: Path):
    folder = shutil.copytree(finished, tmp_path / "two")
    project = open_project(folder)
    second = dict(project.get("campaigns", "trial") or {}) | {"_id": "another"}
    project.insert_missing("campaigns", [second])
    with pytest.raises(CampaignError, match=r"name one with --campaign \(another, trial\)"):
        cflow("status", "-p", folder)
    assert "another: done" in cflow("status", "-p", folder, "-c", "another").stdout
    with pytest.raises(CampaignError, match="there are another, trial"):
        cflow("status", "-p", folder, "-c", "third")


def test_jobs_are_listed_and_counted(cflow: Cflow, finished: Path):
    jobs = json.loads(cflow("jobs", "list", "-p", finished, "--limit", 0, "--json").stdout)
    assert {job["state"] for job in jobs} == {"COMPLETED"}
    assert {job["kind"] for job in jobs} == {"reference", "label", "train", "predict", "screen"}
    labels = cflow("jobs", "list", "-p", finished, "--kind", "label", "--limit", 3)
    assert len(labels.stdout.splitlines()) == 4
    assert "shown; --limit 0 shows all" in labels.stderr
    assert "no job matches" in cflow("jobs", "list", "-p", finished, "--state", "fizzled").stderr


@pytest.mark.parametrize("arguments", [["--state", "BROKEN"], ["--kind", "relax"]])
def test_a_job_state_or_kind_that_does_not_exist_is_a_usage_error(cflow: Cflow, finished: Path, arguments: list[str]):
    result = cflow("jobs", "list", "-p", finished, *arguments)
    assert result.exit_code == 2
    assert "there are" in result.stderr


def test_a_failed_job_shows_its_error_its_attempts_and_its_log(cflow: Cflow, failed: Path):
    jobs = json.loads(cflow("jobs", "list", "-p", failed, "--state", "FIZZLED", "--json").stdout)
    number = jobs[0]["fw_id"]
    log = Path(json.loads(cflow("jobs", "show", number, "-p", failed, "--json").stdout)["launches"][-1]["log"])
    log.write_text("".join(f"line {line}\n" for line in range(100)))  # pytest keeps what jobs print
    shown = cflow("jobs", "show", number, "-p", failed).stdout
    assert "FIZZLED" in shown
    assert "rehearsed failure of V4Mo4" in shown
    assert "attempt    2 calculation_error" in shown
    assert "then quarantine" in shown
    assert "log        last 30 lines" in shown
    assert "line 69\n" not in shown
    assert shown.endswith("  line 99\n")
    details = json.loads(cflow("jobs", "show", number, "-p", failed, "--json", "--lines", 5).stdout)
    assert len(details["attempts"]) == 2
    assert details["log"] == [f"line {line}" for line in range(95, 100)]
    with pytest.raises(CampaignError, match="no job 99999"):
        cflow("jobs", "show", "99999", "-p", failed)


def test_resubmitting_dry_and_in_earnest(cflow: Cflow, failed: Path, tmp_path: Path):
    folder = shutil.copytree(failed, tmp_path / "copy")
    dry = cflow("resubmit", "-p", folder, "--dry-run").stdout
    assert "Would resubmit" in dry
    assert "calculation_error" in dry
    assert "would go back to stage label" in dry
    assert json.loads(cflow("status", "-p", folder, "--json").stdout)["state"] == "stopped"
    assert "has gone back to stage label" in cflow("resubmit", "-p", folder, "--reason", "calculation_error").stdout
    status = json.loads(cflow("status", "-p", folder, "--json").stdout)
    assert (status["state"], status["labels"]["quarantined"]) == ("running", 0)
    assert "Nothing to resubmit matches. Nothing has failed." in cflow("resubmit", "-p", folder).stdout
    took_back = cflow("resubmit", "-p", folder, "--undo", "--dry-run")
    assert "Would take back resubmission 1" in took_back.stdout
    assert "is stopped again, as it was" in cflow("resubmit", "-p", folder, "--undo").stdout
    with pytest.raises(CampaignError, match="was taken back already"):
        cflow("resubmit", "-p", folder, "--undo")
    with pytest.raises(DefinitionError, match="there are"):
        cflow("resubmit", "-p", folder, "--reason", "bad luck")


def test_a_resubmission_is_asked_for_in_the_words_of_people(cflow: Cflow, failed: Path, tmp_path: Path):
    folder = shutil.copytree(failed, tmp_path / "copy")
    none = cflow("resubmit", "-p", folder, "--reason", "oom", "--memory", "2x", "--dry-run").stdout
    assert "Nothing to resubmit matches. What failed: " in none
    assert "calculation_error" in none
    asked = cflow("resubmit", "-p", folder, "--reason", "Calculation-Error", "--memory", "2", "--anew", "--dry-run")
    assert "1x → 2x" in asked.stdout
    assert ", anew" in asked.stdout
    assert "none of this project has yet" in asked.stderr
    with pytest.raises(DefinitionError, match="did you mean oom"):
        cflow("resubmit", "-p", folder, "--reason", "ooom")


def test_jobs_of_a_paused_campaign_are_said_to_wait(cflow: Cflow, failed: Path, tmp_path: Path):
    folder = shutil.copytree(failed, tmp_path / "copy")
    cflow("resume", "-p", folder)
    cflow("pause", "-p", folder)
    assert "they start after `cflow resume`" in cflow("resubmit", "-p", folder, "--dry-run").stderr
    cflow("resubmit", "-p", folder)
    assert json.loads(cflow("status", "-p", folder, "--json").stdout)["state"] == "paused"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--memory", "0x"], "is no factor such as 2x"),
        (["--time", "long"], "is no factor such as 2x"),
        (["--undo", "--reason", "oom"], "takes back the last resubmission whole"),
    ],
)
def test_what_a_resubmission_cannot_mean_is_a_usage_error(cflow: Cflow, failed: Path, wrong: list[str], said: str):
    result = cflow("resubmit", "-p", failed, *wrong)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_job_that_did_not_fail_is_refused_by_name(cflow: Cflow, failed: Path):
    jobs = json.loads(cflow("jobs", "list", "-p", failed, "--state", "COMPLETED", "--json").stdout)
    with pytest.raises(CampaignError, match=rf"{jobs[0]['key']} has not failed: job {jobs[0]['fw_id']} is COMPLETED"):
        cflow("resubmit", "-p", failed, "--key", jobs[0]["key"])
    with pytest.raises(CampaignError, match="has no job of key nothing"):
        cflow("resubmit", "-p", failed, "--key", "nothing")


def test_failed_jobs_are_listed_with_their_reason(cflow: Cflow, failed: Path):
    listed = cflow("jobs", "list", "-p", failed, "--state", "fizzled")
    assert "calculation_error" in listed.stdout
    assert "cflow resubmit --dry-run" in listed.stderr
    assert "cflow resubmit --dry-run" in cflow("status", "-p", failed).stdout
    every = json.loads(cflow("jobs", "list", "-p", failed, "--json", "--limit", 0).stdout)
    wrong = json.loads(cflow("jobs", "list", "-p", failed, "--reason", "calculation-error", "--json").stdout)
    assert wrong == [job for job in every if job["state"] == "FIZZLED"]
    assert {job["reason"] for job in every if job["state"] != "FIZZLED"} == {None}
    assert "no job matches" in cflow("jobs", "list", "-p", failed, "--reason", "oom").stderr


def test_a_failed_job_says_why_and_how_it_is_run_again(cflow: Cflow, failed: Path):
    (job, *_) = json.loads(cflow("jobs", "list", "-p", failed, "--reason", "calculation_error", "--json").stdout)
    shown = cflow("jobs", "show", job["fw_id"], "-p", failed).stdout
    assert "failed     calculation_error: rehearsed failure of V4Mo4\n" in shown
    assert f"cflow resubmit -c trial --kind label --key {job['key']}\n" in shown


def test_the_log_tells_what_happened_and_what_was_decided(cflow: Cflow, failed: Path, tmp_path: Path):
    folder = shutil.copytree(failed, tmp_path / "copy")
    cflow("resubmit", "-p", folder)
    lines = cflow("log", "-p", folder, "--limit", 1000).stdout.splitlines()
    assert lines[0].endswith("launched: campaign trial launched")
    assert lines == sorted(lines, key=lambda line: line[:19])
    assert any("calculation_error, then quarantine: rehearsed failure" in line for line in lines)
    assert any("resubmitted: a person resubmitted" in line for line in lines)
    assert cflow("log", "-p", folder, "--limit", 2).stdout.splitlines() == lines[-2:]
    (attempt, *_) = open_project(folder).select("attempts", {})
    of_one = json.loads(cflow("log", "-p", folder, "--key", attempt["key"], "--json").stdout)
    assert {entry.get("key") for entry in of_one} == {attempt["key"], None}
    assert {entry["kind"] for entry in of_one if "key" not in entry} == {"resubmitted"}
    assert cflow("log", "-p", folder, "--follow", "--json").exit_code == 2


def test_pausing_and_resuming(cflow: Cflow, failed: Path, tmp_path: Path):
    folder = shutil.copytree(failed, tmp_path / "copy")
    with pytest.raises(CampaignError, match="is stopped"):
        cflow("pause", "-p", folder)
    assert "is running" in cflow("resume", "-p", folder).stdout
    assert "is paused" in cflow("pause", "-p", folder).stdout
    assert json.loads(cflow("status", "-p", folder, "--json").stdout)["state"] == "paused"


def test_a_query_in_each_format_says_the_same(cflow: Cflow, finished: Path):
    ask = ("query", "verdicts", '{"passed": true}', "-p", finished, "--sort", "rank", "--fields", "composition,rank")
    rows = json.loads(cflow(*ask, "--format", "json").stdout)
    assert rows
    lines = [json.loads(line) for line in cflow(*ask, "--format", "jsonl").stdout.splitlines()]
    table = [line.split() for line in cflow(*ask).stdout.splitlines()[1:]]
    sheet = list(csv.DictReader(io.StringIO(cflow(*ask, "--format", "csv").stdout)))
    assert lines == rows
    assert table == [[row["composition"], str(row["rank"])] for row in rows]
    assert sheet == [{"composition": row["composition"], "rank": str(row["rank"])} for row in rows]
    assert int(cflow("query", "verdicts", '{"passed": true}', "-p", finished, "--count").stdout) == len(rows)


def test_every_collection_prints_as_a_table(cflow: Cflow, finished: Path):
    from cathodeflow.campaign.query import COLLECTIONS

    for name in COLLECTIONS:
        result = cflow("query", name, "-p", finished, "--limit", 2)
        documents = open_project(finished).count(name)
        assert len(result.stdout.splitlines()) == (1 + min(documents, 2) if documents else 0), name


def test_whole_documents_are_for_json(cflow: Cflow, finished: Path):
    label = json.loads(cflow("query", "labels", "-p", finished, "--format", "jsonl", "--limit", 1).stdout)
    assert set(label) >= {"_id", "relaxation", "origin", "schema_version"}
    assert cflow("query", "labels", "-p", finished, "--fields", "all").exit_code == 2
    with pytest.raises(DefinitionError, match="column"):
        cflow("query", "labels", "{", "-p", finished)


def test_exports_end_in_files(cflow: Cflow, finished: Path, tmp_path: Path):
    said = cflow("export", "labels", tmp_path / "labels", "-p", finished).stdout
    frames = ase.io.read(tmp_path / "labels" / "labels.xyz", ":")
    assert f"Wrote {len(frames)} labels" in said
    wanted = ("--of", "candidates", "--filter", '{"level": "Na1"}', "--limit", 3)
    cflow("export", "structures", tmp_path / "cif", "-p", finished, *wanted)
    assert len(list((tmp_path / "cif").glob("*.cif"))) == 3
    assert cflow("export", "structures", tmp_path / "x", "-p", finished, "--of", "nothing").exit_code == 2


def test_trained_models_are_listed_shown_and_exported(cflow: Cflow, finished: Path, tmp_path: Path):
    listed = json.loads(cflow("model", "list", "-p", finished, "--json").stdout)
    assert {entry["name"] for entry in listed["published"]} >= {"megnet-2019"}
    names = [entry["_id"] for entry in listed["trained"]]
    assert "trial/r0/formation_energy/s0" in names
    assert names[0] in cflow("model", "list", "-p", finished).stdout
    shown = json.loads(cflow("model", "show", names[0], "-p", finished, "--json").stdout)
    assert shown["data_hash"]
    cflow("model", "export", names[0], tmp_path / "weights.pt", "-p", finished)
    written = (tmp_path / "weights.pt").read_bytes()
    assert written == open_project(finished).blobs.get(shown["weights_blob"])
    with pytest.raises(CampaignError, match="exists already"):
        cflow("model", "export", names[0], tmp_path / "weights.pt", "-p", finished)
    with pytest.raises(ModelError, match="no model"):
        cflow("model", "show", "trial/r9", "-p", finished)


def test_a_published_model_that_does_not_exist_is_refused(cflow: Cflow):
    with pytest.raises(ModelError, match="there are megnet-2019"):
        cflow("model", "install", "megnet-1066")


def test_the_report_is_one_page(cflow: Cflow, finished: Path, tmp_path: Path):
    said = cflow("report", "-p", finished, "-o", tmp_path / "page.html").stdout
    assert "page.html" in said
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html")
    assert "trial" in page
