"""Bringing a store up: indexes and layouts, once, and never down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.stores import Stores

from cathodeflow.errors import StoreError
from cathodeflow.storage.collections import INDEXES, LABELS, IndexSpec
from cathodeflow.storage.connection import Project
from cathodeflow.storage.contents import store_contents
from cathodeflow.storage.upgrade import Upgraded, upgrade

MORE = (*INDEXES, IndexSpec(LABELS, (("engine", 1),)))


@pytest.fixture
def project(tmp_path: Path, stores: Stores) -> Project:
    made = stores.create(tmp_path / "p")
    made.insert_missing(LABELS, [{"_id": str(n), "schema_version": 1, "n": n} for n in range(5)])
    return made


def rename(collection: str, document: dict[str, Any]) -> dict[str, Any]:
    document["number"] = document.pop("n")
    return document


def double(collection: str, document: dict[str, Any]) -> dict[str, Any]:
    return document | {"number": 2 * document["number"]}


def test_an_index_is_made_once(project: Project) -> None:
    assert upgrade(project, MORE) == Upgraded(1, 0)
    assert upgrade(project, MORE) == Upgraded(0, 0)
    assert "engine_1" in project.database[LABELS].index_information()


def test_documents_take_every_step_once(project: Project) -> None:
    steps = {1: rename, 2: double}
    assert upgrade(project, INDEXES, 3, steps).documents == 5
    assert sorted(d["number"] for d in project.database[LABELS].find()) == [0, 2, 4, 6, 8]
    assert upgrade(project, INDEXES, 3, steps).documents == 0


def test_an_interrupted_upgrade_is_finished_by_a_repeat(project: Project) -> None:
    def stumbles(collection: str, document: dict[str, Any]) -> dict[str, Any]:
        if document["n"] == 3:
            raise KeyboardInterrupt
        return rename(collection, document)

    with pytest.raises(KeyboardInterrupt):
        upgrade(project, INDEXES, 2, {1: stumbles})
    assert 0 < project.count(LABELS, {"schema_version": 2}) < 5
    upgrade(project, INDEXES, 2, {1: rename})
    assert sorted(d["number"] for d in project.database[LABELS].find()) == [0, 1, 2, 3, 4]


def test_a_store_of_a_newer_program_is_left_alone(project: Project) -> None:
    project.database[LABELS].update_one({"_id": "2"}, {"$set": {"schema_version": 9}})
    with pytest.raises(StoreError, match="1 documents of labels were written by a newer cathodeflow"):
        upgrade(project, MORE)
    assert "engine_1" not in project.database[LABELS].index_information()


def test_a_step_that_is_missing_is_named(project: Project) -> None:
    with pytest.raises(StoreError, match="no way from layout 1 to 2"):
        upgrade(project, INDEXES, 2, {})


def test_the_contents_are_counted(project: Project) -> None:
    contents = store_contents(project)
    assert contents.collections[LABELS] == 5
    assert contents.indexes[LABELS] == 1 + sum(spec.collection == LABELS for spec in INDEXES)
    assert contents.backend == ("embedded" if project.address is None else "mongodb")
    assert contents.bytes > 0
