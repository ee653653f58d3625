"""Processes killed while they write: the file stays readable and what was acknowledged stays."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.services.waiting import wait_for

from cathodeflow.storage.connection import create_project, open_project

FORK = multiprocessing.get_context("fork")


def start(target: Callable[..., Any], *arguments: Any) -> Any:
    process = FORK.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def kill(processes: list[Any]) -> None:
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
    for process in processes:
        process.join()


def integrity(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def write_for_ever(folder: Path, number: int, seed: int) -> None:
    """Write, and append each acknowledged write to a file of one's own."""
    database = open_project(folder).database
    acknowledged = os.open(folder / f"acknowledged-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for i in range(10**6):
        name = f"{seed}/{number}/{i}"
        database.written.insert_one({"_id": name, "n": i, "text": "x" * random.choice([10, 1000, 50_000])})
        os.write(acknowledged, f"{name}\n".encode())
        with database.client.transaction():
            for account in ("a", "b"):
                database.accounts.update_one({"_id": account}, {"$inc": {"n": 1}}, upsert=True)
        database.counter.find_one_and_update({"_id": "n"}, {"$inc": {"n": 1}}, upsert=True)
        if i % 5 == 4:
            database.written.delete_one({"_id": name})
            os.write(acknowledged, f"-{name}\n".encode())


def acknowledged(folder: Path) -> int:
    """How many writes and deletions are."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("acknowledged-*"))


def test_nothing_acknowledged_is_lost_when_writers_are_killed(tmp_path: Path) -> None:
    project = create_project(tmp_path / "p")
    project.database.written.create_index("n")
    kills = 0
    for seed in range(20):
        before = acknowledged(project.folder)
        writers = [start(write_for_ever, project.folder, number, seed) for number in range(3)]
        if seed % 4:  # every fourth time they may still be starting
            wait_for(lambda before=before: acknowledged(project.folder) > before + 10, pause_s=0.005)  # type: ignore[misc]
        time.sleep(random.uniform(0.0, 0.1))
        kill(writers)
        kills += len(writers)
        assert integrity(project.file.path) == "ok"
    told: set[str] = set()
    for path in project.folder.glob("acknowledged-*"):
        for line in path.read_text().splitlines():
            (told.discard if line.startswith("-") else told.add)(line.lstrip("-"))
    there = {d["_id"] for d in project.database.written.find({}, {"_id": 1})}
    assert kills == 60
    assert len(told) > 60
    # A deletion may be written and its acknowledgement not; nothing else may be missing.
    assert {name for name in told - there if int(name.rsplit("/", 1)[1]) % 5 != 4} == set()
    accounts = {d["_id"]: d["n"] for d in project.database.accounts.find()}
    assert accounts["a"] == accounts["b"]
    by_index = sum(project.count("written", {"n": n}) for n in project.database.written.distinct("n"))
    assert by_index == project.count("written") == len(there)


def count_up(folder: Path, times: int) -> None:
    database = open_project(folder).database
    for _ in range(times):
        database.c.find_one_and_update({"_id": "n"}, {"$inc": {"n": 1}})


def test_processes_count_without_losing_one(tmp_path: Path) -> None:
    project = create_project(tmp_path / "p")
    project.database.c.insert_one({"_id": "n", "n": 0})
    counters = [start(count_up, project.folder, 250) for _ in range(4)]
    for process in counters:
        process.join()
    assert [process.exitcode for process in counters] == [0] * 4
    assert project.database.c.find_one() == {"_id": "n", "n": 1000}


def check_blob(folder: Path, id_: str, content: bytes) -> None:
    assert open_project(folder).blobs.get(id_) == content


def test_a_blob_is_read_by_another_process(tmp_path: Path) -> None:
    project = create_project(tmp_path / "p")
    content = random.Random(1).randbytes(3_000_000)
    id_ = project.blobs.put(content, "weights")
    assert project.blobs.put(content, "again") == id_
    reader = start(check_blob, project.folder, id_, content)
    reader.join()
    assert reader.exitcode == 0
    assert project.count("blobs.files") == 1


def use_inherited(project: Any) -> None:
    project.database.c.insert_one({"_id": "child"})


def test_an_open_project_survives_a_fork(tmp_path: Path) -> None:
    project = create_project(tmp_path / "p")
    project.database.c.insert_one({"_id": "parent"})
    child = start(use_inherited, project)
    child.join()
    assert child.exitcode == 0
    project.database.c.insert_one({"_id": "parent again"})
    assert project.count("c") == 3
    assert integrity(project.file.path) == "ok"


def make_at_once(folder: Path) -> None:
    create_project(folder).database.c.insert_one({})


def test_processes_that_make_the_same_project_share_it(tmp_path: Path) -> None:
    makers = [start(make_at_once, tmp_path / "p") for _ in range(6)]
    for process in makers:
        process.join()
    assert [process.exitcode for process in makers] == [0] * 6
    assert open_project(tmp_path / "p").count("c") == 6


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed()
