from __future__ import annotations

import json
from pathlib import Path

from cathodeflow.calculators.attempt import FILE_NAME, Attempt, write_attempt
from cathodeflow.campaign.launch_files import LOG_BYTES, log_tail, read_run


def test_custodians_log_is_read_from_the_folder_of_the_launch(tmp_path: Path):
    correction = {"errors": ["brmix"], "actions": [{"dict": "INCAR", "action": {"_set": {"ISTART": 1}}}]}
    entry = {"job": {}, "corrections": [correction | {"handler": {"@class": "VaspErrorHandler", "@module": "m"}}]}
    (tmp_path / "custodian.json").write_text(json.dumps([entry]))
    write_attempt(tmp_path, Attempt("c", "label", "k", 2, continue_from=tmp_path / "earlier"))
    run = read_run(tmp_path)
    assert (run.attempt, run.continues_from, run.trouble) == (2, str(tmp_path / "earlier"), "")
    (done,) = run.interventions
    assert (done["folder"], done["handler"], done["errors"]) == (".", "VaspErrorHandler", ["brmix"])


def test_what_is_gone_or_damaged_is_said(tmp_path: Path):
    assert "not on this machine" in read_run(tmp_path / "gone").trouble
    (tmp_path / FILE_NAME).write_text("{")
    assert "is not what a worker writes" in read_run(tmp_path).trouble
    assert "cannot be read" in log_tail(tmp_path / "no.log")[0]
    assert log_tail(None) == []


def test_only_the_end_of_a_log_is_read(tmp_path: Path):
    log = tmp_path / "job.log"
    log.write_text("\n".join(f"line {n}" for n in range(200_000)))
    assert log_tail(log)[-1] == "line 199999"
    assert len(log_tail(log)) == 60
    assert log_tail(log, 0) == []
    assert sum(map(len, log_tail(log, 10**6))) <= LOG_BYTES
