"""The same pages over a MongoDB server, and what they say when it is away."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.services.mongo_server import MongoServer, why_unavailable
from tests.unit.web.conftest import make_site

from cathodeflow.storage.connection import create_project

pytestmark = pytest.mark.service
BENCH = str(Path(__file__).parents[3] / "bench")


def test_every_page_works_over_a_server_and_says_so_when_it_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    missing = why_unavailable()
    if missing:
        pytest.skip(missing)
    monkeypatch.syspath_prepend(BENCH)
    import dashboard as bench

    monkeypatch.setenv("CATHODEFLOW_STORE_TIMEOUT_S", "1")
    server = MongoServer(tmp_path / "mongo")
    server.start()
    try:
        project = create_project(tmp_path / "project", server.database_uri("dashboard"))
        bench.fill(project, 400, 400)
        site = make_site(project, tmp_path)
        answers = {path: site.operator.get(path) for path in bench.paths(400)}
        assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(answers, 200)
        assert "Na3" in answers[f"/campaigns/{bench.NAME}/candidates?composition=Cu2Mo6x2"].text
        assert site.held.get("/fireworks/fw/40/details").status_code == 404
    finally:
        server.stop()
    for path in (f"/campaigns/{bench.NAME}", "/metrics", "/fireworks/", "/fireworks/fw/40"):
        answer = site.operator.get(path)
        assert answer.status_code == 503, path
        assert "cannot be reached" in answer.text
        assert "Traceback" not in answer.text
