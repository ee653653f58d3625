"""A server that is killed may lose what it confirmed last: the outbox keeps all of it until the end is in, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymongo.errors import AutoReconnect

from cathodeflow.storage.outbox import ENDING, Outbox

DOCUMENTS = [{"uuid": "u", "output": 1}]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outbox:
    monkeypatch.setenv("CATHODEFLOW_STORE_FIRST_DELAY_S", "0.01")
    return Outbox(tmp_path)


class Server:
    """Keeps what is written, and loses it when it goes away."""

    def __init__(self) -> None:
        self.outputs = 0
        self.ended = False
        self.goes_away = 0

    def write(self) -> None:
        self.outputs += 1

    def complete(self) -> str:
        if self.goes_away:
            self.goes_away -= 1
            self.outputs = 0
            raise AutoReconnect("gone")
        self.ended = True
        return "ended"


def test_what_was_written_before_the_server_went_away_is_written_again(box: Outbox) -> None:
    server = Server()
    server.goes_away = 2
    box.deliver("outputs", "uuid", DOCUMENTS, server.write)
    assert box.end(1, {}, "COMPLETED", server.complete) == "ended"
    assert (server.outputs, server.ended) == (1, True)
    assert not box.folder.exists()


def test_a_server_that_stayed_gets_everything_once(box: Outbox) -> None:
    server = Server()
    box.deliver("outputs", "uuid", DOCUMENTS, server.write)
    box.end(1, {}, "COMPLETED", server.complete)
    assert server.outputs == 1


def test_a_job_killed_before_its_end_leaves_its_confirmed_outputs_too(box: Outbox) -> None:
    server = Server()
    box.deliver("outputs", "uuid", DOCUMENTS, server.write)
    assert [path.name for path in box.folder.iterdir()] == ["0000.bson"]
    assert box.ending() is None
    assert not (box.folder / ENDING).exists()
