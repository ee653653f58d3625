"""What a site check says before it can send anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cathodeflow.dispatch import site_check
from cathodeflow.dispatch.probe import Findings, what_is_absent
from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.sites import Category, Site


def test_a_live_check_without_a_project_folder_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_check, "slurm_is_here", lambda: True)
    monkeypatch.setattr(site_check, "call", lambda *_, **__: "")
    site = SiteFile(tmp_path, Site.model_validate({"title": "t", "shell": "/bin/bash", "workers": {"cpu": {}}}))
    found = {result.check: result for result in site_check.check_site(site, tmp_path / "absent", live_s=1.0)}
    assert found["live"].verdict == "broken"
    assert "cflow launch" in found["live"].message


def test_programs_that_a_queue_names_and_that_are_not_there_are_said(tmp_path: Path) -> None:
    (tmp_path / "pps").mkdir()
    there = {"ATOMATE2_VASP_CMD": "env -i sh", "PMG_VASP_PSP_DIR": str(tmp_path / "pps")}
    assert what_is_absent(there) == []
    assert what_is_absent({}) == []
    missing = {"ATOMATE2_VASP_CMD": "nosuchrun --ntasks=$SLURM_NTASKS nosuchvasp", "PMG_VASP_PSP_DIR": "/no/pps"}
    assert what_is_absent(missing) == [
        "nosuchrun (of ATOMATE2_VASP_CMD)",
        "nosuchvasp (of ATOMATE2_VASP_CMD)",
        "/no/pps (PMG_VASP_PSP_DIR)",
    ]


def test_a_check_says_which_program_of_vasp_is_missing_in_the_environment_of_the_script(tmp_path: Path) -> None:
    described = {
        "title": "t",
        "shell": "/bin/bash",
        "python": sys.executable,
        "workers": {"dft": {"environment": {"ATOMATE2_VASP_CMD": "nosuchvasp"}}},
    }
    found = {r.check: r for r in site_check.check_site(SiteFile(tmp_path, Site.model_validate(described)), tmp_path)}
    assert found["imports"].verdict == "ok", "a potential needs no VASP"
    assert found["imports"].message.endswith("for VASP not there: nosuchvasp (of ATOMATE2_VASP_CMD)")


def test_a_machine_without_a_scheduler_is_asked_with_the_python_and_environment_of_cflow_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATOMATE2_VASP_CMD", "nosuchvasp")
    described = {"title": "t", "scheduler": "none", "workers": {"cpu": {"also": ["gpu", "dft"]}}}
    (found,) = site_check.check_site(SiteFile(tmp_path, Site.model_validate(described)), tmp_path, live_s=1.0)
    assert (found.check, found.verdict) == ("imports", "ok"), found.message
    assert "nosuchvasp" in found.message


def test_a_category_without_a_queue_is_said(tmp_path: Path) -> None:
    described = {"title": "t", "scheduler": "none", "workers": {"cpu": {"also": ["dft"]}}}
    found = list(site_check.check_site(SiteFile(tmp_path, Site.model_validate(described)), tmp_path))
    assert [(r.category, r.check) for r in found if r.verdict == "absent"] == [("gpu", "queue")]
    assert "also: [gpu]" in found[0].message


def test_a_place_whose_clock_is_wrong_is_broken() -> None:
    findings = Findings(store="answers", clock="the clock of n1 is 300 s ahead of that of the store's server")
    found = site_check._judge(Category.CPU, "live", findings, "on n1")
    assert (found.verdict, found.message) == ("broken", findings.clock)
    assert not findings.healthy
