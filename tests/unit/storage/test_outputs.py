"""Job outputs of any size, and marked data, on either store."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobflow import job, run_locally
from tests.stores import Stores

from cathodeflow.errors import StoreError
from cathodeflow.storage.collections import OUTPUTS, OUTPUTS_DATA
from cathodeflow.storage.connection import Project
from cathodeflow.storage.outputs import SPILLED, OutputStore, find_output

KEY = ["uuid", "index"]


@pytest.fixture
def project(tmp_path: Path, stores: Stores) -> Project:
    return stores.create(tmp_path / "p")


@pytest.mark.parametrize(("megabytes", "spilled"), [(15.9, False), (16.1, True), (40.0, True)])
def test_an_output_of_any_size_comes_back_whole(project: Project, megabytes: float, spilled: bool) -> None:
    text = "x" * int(megabytes * 1e6)
    store = project.job_store()
    store.update({"uuid": "u", "index": 1, "output": {"text": text, "n": 1}, "metadata": {"a": 1}}, key=KEY)
    document = project.database[OUTPUTS].find_one({"uuid": "u"})
    assert (SPILLED in document["output"]) is spilled
    assert document["metadata"] == {"a": 1}
    assert project.database["blobs.files"].count_documents({}) == int(spilled)
    assert store.get_output("u") == {"text": text, "n": 1}
    found = find_output(project, "u")
    assert found is not None
    assert found["output"] == {"text": text, "n": 1}
    assert store.query_one({"uuid": "u"})["output"]["n"] == 1
    store.update({"uuid": "u", "index": 1, "output": "small"}, key=KEY)
    assert store.get_output("u") == "small"


def test_the_newest_output_is_found(project: Project) -> None:
    store = project.job_store()
    for index in (1, 3, 2):
        store.update({"uuid": "u", "index": index, "output": index}, key=KEY)
    found = find_output(project, "u")
    assert found is not None
    assert found["output"] == 3
    assert find_output(project, "nobody") is None


def test_an_output_whose_file_is_gone_says_so(project: Project) -> None:
    store = project.job_store()
    store.update({"uuid": "u", "index": 1, "output": "x" * 16_100_000}, key=KEY)
    project.database["blobs.files"].delete_many({})
    with pytest.raises(StoreError, match="no blob"):
        store.get_output("u")


@job(data="density")
def volumetric(n: int) -> dict[str, object]:
    return {"density": {"@module": "m", "@class": "C", "values": [0.5] * n}, "energy": -1.0}


def test_data_that_a_job_marks_goes_beside_the_output_and_back(project: Project) -> None:
    store = project.job_store()
    made = volumetric(400_000)
    run_locally(made, store=store, log=False, ensure_success=True)
    kept = project.database[OUTPUTS].find_one({"uuid": made.uuid})["output"]
    assert "values" not in kept["density"]
    assert SPILLED in project.database[OUTPUTS_DATA].find_one()["data"]
    whole = store.get_output(made.uuid, load=True)
    assert whole["energy"] == -1.0
    assert len(whole["density"]["values"]) == 400_000


def test_an_output_store_is_made_again_from_its_description(project: Project) -> None:
    store = project.job_store()
    store.update({"uuid": "u", "index": 1, "output": 1.5}, key=KEY)
    described = store.docs_store.as_dict()
    assert "mongodb://" not in str(described)
    again = OutputStore.from_dict(described)
    again.connect()
    assert again == store.docs_store
    assert again.query_one({"uuid": "u"})["output"] == 1.5
