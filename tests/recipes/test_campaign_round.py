"""References, labels, training, prediction and screening of a small space, each as the workflow a campaign submits."""

from __future__ import annotations

import math

import pytest
from jobflow import JobStore, run_locally
from jobflow.core.reference import OutputReference
from maggma.stores import MemoryStore
from tests.published_weights import megnet_2019

from cathodeflow.jobs.predict import shards
from cathodeflow.recipes.label import label_flow
from cathodeflow.recipes.prediction import prediction_flow
from cathodeflow.recipes.reference import reference_flow
from cathodeflow.recipes.screening import screening_flow
from cathodeflow.recipes.training import training_flow
from cathodeflow.records.label import LabelRecord, ReferenceRecord
from cathodeflow.records.model import ModelRecord
from cathodeflow.records.verdict import VerdictRecord
from cathodeflow.science.hosts.candidates import enumerate_candidates
from cathodeflow.science.hosts.host import load_packaged_host

HOST = {"packaged": "lifepo4"}
ELEMENTS = ["Mn", "Fe", "Mo"]
ENGINE = {"name": "pair", "max_force": 0.3}
SURROGATE = {"pretrained": "megnet-2019", "held_out_fraction": 0.2, "batch_size": 16, "max_epochs": 3, "patience": 3}
SCREENING = {"relaxation_energy_variation": None, "step_shape": True, "voltage_windows": {"V10": [-50.0, 50.0]}}


def run(flow, store):
    """Run a workflow in this process; its output and the uuid to refer to it."""
    (job,) = flow.jobs
    responses = run_locally(flow, store=store, log=False, ensure_success=True, allow_external_references=True)
    return responses[job.uuid][1].output, job.uuid


@pytest.fixture(scope="module")
def store():
    store = JobStore(MemoryStore())
    store.connect()
    return store


@pytest.fixture(scope="module")
def references(store):
    found = {}
    for element in ["Li", "P", "O", *ELEMENTS]:
        output, _ = run(reference_flow("c", element, ENGINE), store)
        record = ReferenceRecord.model_validate({"_id": f"pair/{element}", **output})
        found[element] = record.energy_per_atom
    return found


@pytest.fixture(scope="module")
def labels(store, references):
    made = []
    for one in enumerate_candidates(load_packaged_host("lifepo4"), ELEMENTS):
        flow = label_flow("c", one.key, HOST, one.level, list(one.elements), one.mask, ENGINE, references)
        output, uuid = run(flow, store)
        fields = {"_id": f"c/{one.key}", "campaign": "c", "purpose": "training", "round": 0, **output}
        made.append((LabelRecord.model_validate(fields), uuid))
    return made


def rows(labels, target):
    made = []
    for record, uuid in labels:
        if record.relaxation is None or record.outcome != "done":
            continue
        row = {"key": record.key, "level": record.level, "elements": record.elements, "mask": record.mask}
        row["value"] = getattr(record.relaxation, target)
        if target == "relaxation_energy":
            row["crystal"] = OutputReference(uuid).relaxation.crystal
        made.append(row)
    return made


def test_a_workflow_can_be_found_by_what_it_makes():
    flow = label_flow("c", "lifepo4-Li1-Fe4-0", HOST, "Li1", ["Fe"], 0, ENGINE, {}, category="gpu")
    assert flow.name == "c/label/lifepo4-Li1-Fe4-0"
    assert flow.metadata == {"campaign": "c", "kind": "label", "key": "lifepo4-Li1-Fe4-0"}
    (job,) = flow.jobs
    assert job.name == flow.name
    assert job.metadata == flow.metadata
    assert job.config.manager_config == {"_category": "gpu"}


def test_most_labels_are_sound(labels):
    done = [record for record, _ in labels if record.outcome == "done"]
    assert len(done) > 0.7 * len(labels)
    assert all(record.reason for record, _ in labels if record.outcome == "quarantined")


@pytest.mark.slow
def test_a_round_ends_in_verdicts(store, labels):
    megnet_2019()
    weights = {}
    for target in ("formation_energy", "relaxation_energy"):
        output, uuid = run(training_flow("c", 0, target, 1, HOST, rows(labels, target), SURROGATE), store)
        fields = {name: value for name, value in output.items() if name != "weights"}
        record = ModelRecord.model_validate(
            {"_id": "m", "campaign": "c", "round": 0, "weights_blob": "b", "provenance": "pair", **fields}
        )
        assert record.metrics.n == record.n_held_out
        weights[target] = [OutputReference(uuid)["weights"]]
    predicted = []
    for shard in shards(load_packaged_host("lifepo4"), ELEMENTS, None, 20):
        output, uuid = run(prediction_flow("c", 0, shard, HOST, ELEMENTS, None, weights), store)
        assert len(output["keys"]) == len(output["means"]["formation_energy"]) == shard.stop - shard.start
        predicted.append(OutputReference(uuid))
    output, _ = run(screening_flow("c", 0, predicted, HOST, SCREENING), store)
    verdicts = [
        VerdictRecord.model_validate({"_id": "v", "campaign": "c", "round": 0, **fields})
        for fields in output["verdicts"]
    ]
    assert len(verdicts) == 3 + 3 * 3
    assert output["funnel"][0] == {"name": "all", "remaining": 12, "rejected": 0}
    assert output["funnel"][-1]["remaining"] == sum(verdict.passed for verdict in verdicts)
    for verdict in verdicts:
        energies = verdict.formation_energies
        expected = -(28 * energies["Li1"] - 24 * energies["Li0"]) / 4
        assert math.isclose(verdict.voltages["V10"], expected, abs_tol=1e-9)
        assert all(key.startswith("lifepo4-Li") for key in verdict.representatives.values())
