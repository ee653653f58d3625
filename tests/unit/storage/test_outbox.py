"""A server that is killed may lose what it confirmed last: the outbox keeps all of it until the end is in, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymongo.errors import AutoReconnect

from cathodeflow.storage.outbox import DAMAGED, ENDING, Outbox

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
    contents = box.contents()
    assert contents is not None
    assert (len(contents.outputs), contents.ending) == (1, None)
    assert not (box.folder / ENDING).exists()


@pytest.mark.parametrize("name", ["0000.bson", ENDING])
def test_an_outbox_that_a_disk_has_damaged_is_put_aside_whole(box: Outbox, name: str) -> None:
    box.deliver("outputs", "uuid", DOCUMENTS, Server().write)
    box._write(ENDING, b'{"state": "COMPLETED", "action": {}}')
    assert box.contents() is not None
    (box.folder / name).write_bytes(b"\x10\x00")
    assert box.contents() is None
    assert not box.folder.exists()
    assert {path.name for path in box.folder.with_name(DAMAGED).iterdir()} == {"0000.bson", ENDING}
