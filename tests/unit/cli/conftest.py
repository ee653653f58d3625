from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.campaign_world import definition, launch, run_to_end
from typer.testing import CliRunner

from cathodeflow.cli.app import build_app
from cathodeflow.records.outcomes import CampaignState


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished campaign, whose jobs followed a law in place of a potential."""
    folder = tmp_path_factory.mktemp("finished")
    project = launch(folder, definition(labels={"total": 14}, surrogate={"seeds": 1}))
    assert run_to_end(project).state == CampaignState.DONE
    return folder


@pytest.fixture(scope="session")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a campaign that stopped: every label of one composition fails."""
    folder = tmp_path_factory.mktemp("failed")
    engine = {"name": "pair", "parameters": {"fail_compositions": ["V4Mo4"]}}
    failures = {"tolerated_fraction": 0.0, "max_attempts": 2}
    project = launch(folder, definition(labels={"total": 14}, engine=engine, failures=failures))
    assert run_to_end(project).state == CampaignState.STOPPED
    return folder


@pytest.fixture
def cflow(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command in this process; errors of our own kinds are raised as `main` sees them."""
    monkeypatch.delenv("CATHODEFLOW_PROJECT", raising=False)

    def invoke(*arguments: str | Path) -> Any:
        result = CliRunner().invoke(build_app(None), [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke
