"""A full disk, a read-only folder and foreign files: a clear error, and the store as it was."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cathodeflow.errors import StoreError
from cathodeflow.storage.connection import create_project, open_project


def mount(*arguments: str) -> bool:
    program = shutil.which("mount")
    if program is None or os.geteuid() != 0:
        return False
    return subprocess.run([program, *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)):
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def integrity(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def test_a_full_disk_is_said_and_leaves_what_was_written(small_disk: Path) -> None:
    project = create_project(small_disk / "p")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    database = project.database
    database.c.create_index("n")
    written = 0
    with pytest.raises(StoreError, match="full"):  # noqa: PT012  which write fails is not known
        for written in range(200):
            database.c.insert_one({"_id": written, "n": written, "b": os.urandom(100_000)})
    assert 3 < written < 60
    assert [d["_id"] for d in database.c.find({}, {"_id": 1})] == list(range(written))
    with pytest.raises(StoreError, match="full"), project.transaction():  # noqa: PT012  nor here
        database.c.delete_one({"_id": 0})
        for number in range(60):
            database.c.insert_one({"_id": f"more-{number}", "b": os.urandom(100_000)})
    assert database.c.count_documents({}) == written
    ballast.unlink()
    assert integrity(project.file.path) == "ok"
    for number in range(5):
        database.d.insert_one({"_id": number, "b": os.urandom(100_000)})
    assert open_project(small_disk / "p").count("d") == 5


def test_a_read_only_disk_is_read_and_refuses_writes_clearly(small_disk: Path) -> None:
    project = create_project(small_disk / "p")
    project.database.c.insert_one({"_id": 1})
    project.client.close()
    assert mount("-o", "remount,ro", str(small_disk))
    again = open_project(small_disk / "p")
    assert again.count("c") == 1
    with pytest.raises(StoreError, match="read-only"):
        again.database.c.insert_one({"_id": 2})
    with pytest.raises(StoreError, match=r"[Rr]ead-only"):
        create_project(small_disk / "other")
    again.client.close()
    assert mount("-o", "remount,rw", str(small_disk))
    project.database.c.insert_one({"_id": 2})
    assert project.count("c") == 2
    assert integrity(project.file.path) == "ok"


def exit_code_as_nobody(folder: Path) -> int:
    """Write to a project as a user without rights; 3 when that is said by a StoreError."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setuid(65534)
            open_project(folder).database.c.insert_one({"_id": 2})
        except StoreError:
            code = 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_folder_of_somebody_else_is_said(mode: int) -> None:
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer)
        project = create_project(folder / "p")
        project.database.c.insert_one({"_id": 1})
        project.client.close()
        folder.chmod(mode)
        assert exit_code_as_nobody(folder / "p") == 3
        assert project.count("c") == 1


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    project = create_project(tmp_path)
    path = project.file.path
    project.client.close()
    path.write_bytes(b"this is no database at all, but a text of some length" * 100)
    with pytest.raises(StoreError, match="not a readable store"):
        open_project(tmp_path)
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE foreign_table (x)")
    connection.close()
    with pytest.raises(StoreError, match="not a cathodeflow store"):
        open_project(tmp_path)


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        open_project(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError):
        create_project(tmp_path / "file" / "below")


def test_a_writer_that_never_ends_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATHODEFLOW_STORE_BUSY_TIMEOUT_S", "0.3")
    one = create_project(tmp_path)
    two = open_project(tmp_path)
    two.database.c.insert_one({"_id": 1})
    with one.transaction():
        one.database.c.insert_one({"_id": 2})
        with pytest.raises(StoreError, match=r"more than 0\.3 s"):
            two.database.c.insert_one({"_id": 3})
    two.database.c.insert_one({"_id": 3})
    assert two.count("c") == 3
