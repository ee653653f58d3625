"""A machine whose clock differs from the server's is told so before leases and claims are misjudged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from cathodeflow.dispatch.clocks import clock_ahead_s, clock_complaint
from cathodeflow.errors import StoreError
from cathodeflow.storage.connection import create_project


def served(ahead_s: float, *, aware: bool = False) -> Any:
    """A project on a server that we are ahead of by so much."""

    def command(_name: str) -> dict[str, datetime]:
        theirs = datetime.now(UTC) - timedelta(seconds=ahead_s)
        return {"localTime": theirs if aware else theirs.replace(tzinfo=None)}

    return SimpleNamespace(file=None, address=None, client=SimpleNamespace(admin=SimpleNamespace(command=command)))


@pytest.mark.parametrize("aware", [True, False])
@pytest.mark.parametrize("ahead_s", [-300.0, 300.0])
def test_a_clock_that_differs_is_measured(ahead_s: float, aware: bool) -> None:
    assert clock_ahead_s(served(ahead_s, aware=aware)) == pytest.approx(ahead_s, abs=60)


def test_clocks_that_agree_are_not_spoken_of() -> None:
    assert clock_ahead_s(served(0.0)) == 0.0
    assert clock_complaint(served(0.0)) is None


def test_the_complaint_says_which_way_and_what_to_do() -> None:
    assert "ahead of that of the store's server: set both by NTP" in (clock_complaint(served(300.0)) or "")
    assert "behind that of the store's server" in (clock_complaint(served(-300.0)) or "")


def test_the_embedded_store_has_no_clock_of_its_own(tmp_path: Path) -> None:
    assert clock_ahead_s(create_project(tmp_path)) is None


def test_a_server_that_is_away_is_a_sentence() -> None:
    def command(_name: str) -> dict[str, datetime]:
        raise AutoReconnect("connection closed")

    away: Any = SimpleNamespace(admin=SimpleNamespace(command=command))
    with pytest.raises(StoreError, match="cannot be reached"):
        clock_ahead_s(SimpleNamespace(file=None, address=None, client=away))  # type: ignore[arg-type]
