"""A whole campaign on a MongoDB server ends with the documents it ends with in the embedded store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.campaign_world import definition, final_documents, launch, run_to_end
from tests.services.mongo_server import MongoServer
from tests.stores import Stores

from cathodeflow.dispatch import rerun
from cathodeflow.dispatch.jobs import count_states
from cathodeflow.dispatch.repair import repair
from cathodeflow.storage.connection import create_project, open_project

pytestmark = pytest.mark.service
ROOT = Path(__file__).parents[3]
FAILING = {"name": "pair", "parameters": {"fail_compositions": ["V4Mo4"]}}


def events(project) -> list[tuple[str, str, str]]:
    return [(d["_id"], d["kind"], d["message"]) for d in sorted(project.database.events.find(), key=lambda d: d["_id"])]


def test_a_campaign_with_failures_ends_alike_on_both_stores(tmp_path: Path, mongo_server: MongoServer) -> None:
    wanted = definition(engine=FAILING, failures={"tolerated_fraction": 0.9, "max_attempts": 2})
    embedded = launch(tmp_path / "embedded", wanted)
    create_project(tmp_path / "server", Stores(mongo_server).uri())
    served = launch(tmp_path / "server", wanted)
    assert served.file is None
    assert run_to_end(embedded).state == run_to_end(served).state == "done"
    assert final_documents(served) == final_documents(embedded)
    assert events(served) == events(embedded)
    assert count_states(served) == count_states(embedded)
    assert not repair(served, thorough=True)


@pytest.mark.slow
def test_two_workers_and_a_driver_bring_a_campaign_to_its_end(tmp_path: Path, mongo_server: MongoServer) -> None:
    wanted = definition()
    folder = tmp_path / "server"
    create_project(folder, Stores(mongo_server).uri())
    launch(folder, wanted)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CATHODEFLOW_TICK_S": "0.2"}
    command = [sys.executable, "-m", "tests.killable_driver", str(folder)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr + "".join(p.read_text() for p in (folder / "logs").glob("*"))
    embedded = launch(tmp_path / "embedded", wanted)
    run_to_end(embedded)
    served = open_project(folder)
    assert final_documents(served) == final_documents(embedded)
    assert count_states(served) == count_states(embedded)
    assert served.count("workflows", {"locked": {"$exists": True}}) == 0
    assert not list(folder.glob("launches/**/outbox"))


def test_a_failure_written_down_before_a_kill_is_followed_by_the_next_tick(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = definition(engine=FAILING, failures={"tolerated_fraction": 0.9, "max_attempts": 2})
    create_project(tmp_path / "server", Stores(mongo_server).uri())
    served = launch(tmp_path / "server", wanted)
    as_it_is, killed = rerun.rerun, []

    def killed_at_first(*arguments: Any) -> list[int]:
        if not killed:
            killed.append(served.count("attempts"))
            raise KeyboardInterrupt
        return as_it_is(*arguments)

    monkeypatch.setattr(rerun, "rerun", killed_at_first)
    with pytest.raises(KeyboardInterrupt):
        run_to_end(served)
    assert killed == [1]
    run_to_end(served)
    embedded = launch(tmp_path / "embedded", wanted)
    run_to_end(embedded)
    assert final_documents(served) == final_documents(embedded)
    attempts = [
        [(d["_id"], d["action"]) for d in p.database.attempts.find(sort=[("_id", 1)])] for p in (served, embedded)
    ]
    assert attempts[0] == attempts[1]
    assert len(attempts[0]) > 1
