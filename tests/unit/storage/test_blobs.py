"""Blobs that several write at once, or that a kill or a disk has left in part: none is taken for whole."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.services.mongo_server import MongoServer
from tests.stores import Stores

from cathodeflow.errors import StoreError
from cathodeflow.storage.collections import BLOBS
from cathodeflow.storage.connection import Project

CONTENT = bytes(range(256)) * 4000
SIZE = 40_000


def chunks(project: Project) -> list[dict[str, Any]]:
    return list(project.database[f"{BLOBS}.chunks"].find(sort=[("n", 1)]))


def test_a_blob_that_lost_a_chunk_is_made_again(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cathodeflow.storage.blobs._OTHER_WRITER_S", 0.001)
    project = stores.create(tmp_path / "p")
    id_ = project.blobs.put(CONTENT)
    project.database[f"{BLOBS}.chunks"].delete_one({"n": 1})
    with pytest.raises(StoreError, match="damaged"):
        project.blobs.get(id_)
    assert project.blobs.put(CONTENT) == id_
    assert project.blobs.get(id_) == CONTENT


@pytest.mark.service
def test_a_slow_writer_of_the_same_bytes_is_waited_for(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits must not take away what grows: the slow one's file would lack its first chunks."""
    project = Stores(mongo_server).create(tmp_path / "p")
    id_ = hashlib.sha256(CONTENT).hexdigest()
    parts = [CONTENT[start : start + SIZE] for start in range(0, len(CONTENT), SIZE)]
    assert len(parts) > 20
    database = project.database

    def write(number: int) -> None:
        database[f"{BLOBS}.chunks"].insert_one({"files_id": id_, "n": number, "data": parts[number]})

    waits, pause, here = 0, time.sleep, threading.get_ident()

    def sleep(seconds: float) -> None:
        """While the one waits, the other gets a chunk further every third time."""
        nonlocal waits
        if threading.get_ident() != here:
            pause(seconds)  # pymongo's own threads
            return
        waits += 1
        written = len(chunks(project))
        if waits % 3:
            return
        if written < len(parts):
            write(written)
        else:
            database[f"{BLOBS}.files"].insert_one({"_id": id_, "length": len(CONTENT), "chunkSize": SIZE})

    project.blobs.put(b"so that its indexes are there")
    for one in chunks(project):
        database[f"{BLOBS}.chunks"].delete_one({"_id": one["_id"]})
    write(0)
    first = chunks(project)[0]["_id"]
    monkeypatch.setattr(time, "sleep", sleep)
    assert project.blobs.put(CONTENT) == id_
    assert project.blobs.get(id_) == CONTENT
    assert chunks(project)[0]["_id"] == first
    assert waits > 3 * (len(parts) - 1)


@pytest.mark.service
def test_what_a_killed_writer_left_is_taken_away(
    tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cathodeflow.storage.blobs._OTHER_WRITER_S", 0.001)
    project = Stores(mongo_server).create(tmp_path / "p")
    id_ = project.blobs.put(CONTENT)
    project.database[f"{BLOBS}.files"].delete_one({"_id": id_})
    project.database[f"{BLOBS}.chunks"].delete_one({"files_id": id_, "n": len(chunks(project)) - 1})
    assert not project.blobs.exists(id_)
    assert project.blobs.put(CONTENT) == id_
    assert project.blobs.get(id_) == CONTENT
