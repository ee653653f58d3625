"""Opening a project and reading it cheaply."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.stores import Stores

from cathodeflow.errors import StoreError
from cathodeflow.storage.collections import INDEXES, ensure_indexes
from cathodeflow.storage.connection import Project, create_project, open_project


@pytest.fixture
def project(tmp_path: Path, stores: Stores) -> Project:
    made = stores.create(tmp_path / "p")
    made.insert_missing(
        "candidates",
        [{"_id": f"{c}/{i}", "campaign": c, "level": f"Na{i % 4}", "mask": i} for c in "ab" for i in range(40)],
    )
    return made


def test_making_a_project_twice_opens_the_first(project: Project) -> None:
    assert create_project(project.folder).count("candidates") == 80


def test_declaring_indexes_twice_changes_nothing(project: Project) -> None:
    before = project.database.candidates.index_information()
    ensure_indexes(project)
    assert project.database.candidates.index_information() == before
    assert len(before) == 1 + sum(spec.collection == "candidates" for spec in INDEXES)


def test_counts_agree_with_the_query_engine(project: Project) -> None:
    collection = project.database.candidates
    for condition in ({}, {"campaign": "a"}, {"campaign": "a", "level": {"$in": ["Na1", "Na2"]}}, {"mask": {"$lt": 9}}):
        assert project.count("candidates", condition) == len(list(collection.find(condition)))
        assert project.any_matches("candidates", condition)
    assert not project.any_matches("candidates", {"campaign": "c"})
    assert project.count_by("candidates", "level", {"campaign": "b"}) == {f"Na{i}": 10 for i in range(4)}
    assert project.count_by("candidates", "mask", {"campaign": "b", "mask": {"$lt": 2}}) == {0: 1, 1: 1}
    assert project.count_by("candidates", "absent") == {None: 80}
    assert project.count_by("nothing", "x") == {}


def test_selections_agree_with_the_query_engine(project: Project) -> None:
    collection = project.database.candidates
    for condition, sort, limit in (
        ({"campaign": "a"}, (), 0),
        ({"campaign": "a"}, (("level", 1),), 5),
        ({"campaign": "a"}, (("mask", -1),), 5),
        ({"mask": 3}, (), 0),
        ({"campaign": "zz"}, (), 3),
    ):
        cursor = collection.find(condition)
        expected = list((cursor.sort(list(sort)) if sort else cursor).limit(limit))
        assert project.select("candidates", condition, sort, limit) == expected
    assert project.get("candidates", "a/3") == collection.find_one({"_id": "a/3"})
    assert project.get("candidates", "nobody") is None
    assert project.get("nothing", "nobody") is None


def test_writing_what_is_there_changes_nothing(project: Project) -> None:
    assert project.insert_missing("candidates", [{"_id": "a/0", "level": "other"}, {"_id": "new"}]) == 1
    assert project.get("candidates", "a/0") == {"_id": "a/0", "campaign": "a", "level": "Na0", "mask": 0}


def test_several_campaigns_are_named(project: Project) -> None:
    assert project.campaign_names() == []
    project.database.campaigns.insert_many([{"_id": "z"}, {"_id": "a"}])
    assert project.campaign_names() == ["a", "z"]


@pytest.mark.parametrize("stores", ["embedded"], indirect=True)
def test_a_transaction_of_the_project_is_undone_by_an_error(project: Project) -> None:
    with pytest.raises(KeyError), project.transaction():  # noqa: PT012  the raise is what is tested
        project.insert_missing("candidates", [{"_id": "new"}])
        raise KeyError
    assert project.count("candidates") == 80


@pytest.mark.parametrize("stores", ["embedded"], indirect=True)
def test_counting_imports_neither_the_engine_nor_fireworks(project: Project) -> None:
    code = (
        "import sys; from pathlib import Path; from cathodeflow.storage.connection import open_project;"
        "from cathodeflow.dispatch.jobs import count_states, list_fireworks;"
        "p = open_project(Path(sys.argv[1])); count_states(p, 'a'); list_fireworks(p, 'a');"
        "p.count('candidates', {'campaign': 'a'}); p.count_by('candidates', 'level', {'campaign': 'a'});"
        "p.select('candidates', {'campaign': 'a', 'level': 'Na1'}); p.campaign_names();"
        "print({'pymongo', 'mongomock_ng', 'fireworks', 'jobflow', 'maggma', 'torch', 'pymatgen'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(project.folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_outputs_are_kept_and_found_by_jobflow(project: Project) -> None:
    store = project.job_store()
    document = {"uuid": "u", "index": 1, "output": {"x": 1.5}, "completed_at": "now", "metadata": {}, "name": "j"}
    store.update(document)
    store.update({**document, "index": 2, "output": {"x": 2.5}})
    assert open_project(project.folder).job_store().get_output("u") == {"x": 2.5}
    assert store.count({"uuid": "u"}) == 2
    store.remove_docs({"index": 1})
    assert project.count("outputs") == 1


def test_a_blob_is_kept_once_and_checked(project: Project) -> None:
    id_ = project.blobs.put(b"weights" * 100_000, "w", model="m")
    assert project.blobs.put(b"weights" * 100_000) == id_
    assert project.blobs.exists(id_)
    assert project.blobs.get(id_) == b"weights" * 100_000
    with pytest.raises(StoreError, match="no blob"):
        project.blobs.get("0" * 64)
    project.database["blobs.chunks"].update_one({"n": 0}, {"$set": {"data": b"x" * 261_120}})
    with pytest.raises(StoreError, match="damaged"):
        project.blobs.get(id_)
