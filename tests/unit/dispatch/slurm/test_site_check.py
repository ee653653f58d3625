"""What a site check says before it can send anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from cathodeflow.dispatch import site_check
from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.sites import Site


def test_a_live_check_without_a_project_folder_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_check, "slurm_is_here", lambda: True)
    monkeypatch.setattr(site_check, "call", lambda *_, **__: "")
    site = SiteFile(tmp_path, Site.model_validate({"title": "t", "shell": "/bin/bash", "workers": {"cpu": {}}}))
    found = {result.check: result for result in site_check.check_site(site, tmp_path / "absent", live_s=1.0)}
    assert found["live"].verdict == "broken"
    assert "cflow launch" in found["live"].message
