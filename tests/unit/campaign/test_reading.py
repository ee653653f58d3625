from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import demo_store as law
from tests.campaign_world import definition, launch, run_to_end
from tests.stores import Stores

import cathodeflow
from cathodeflow.campaign.frames import BRANCHES, COLUMNS, Column, follow_up_columns, frame_of
from cathodeflow.campaign.reading import ProjectView
from cathodeflow.errors import CampaignError, DefinitionError, StoreError
from cathodeflow.records.document import now
from cathodeflow.records.model import PredictionRecord
from cathodeflow.records.outcomes import Branch
from cathodeflow.storage.connection import create_project, open_project

FRAMES = (
    *("campaigns", "candidates", "labels", "predictions", "verdicts", "validations", "follow_ups", "models"),
    *("references", "attempts", "events", "jobs", "bonds", "interventions", "parity", "training_curves"),
    *("learning_curve", "costs"),
)


@pytest.fixture(scope="module")
def view(demo: Path) -> ProjectView:
    return cathodeflow.open(demo)


def prediction(campaign: str, number: int) -> dict:
    return PredictionRecord(
        id=f"{campaign}/r0/k{number}",
        campaign=campaign,
        round=0,
        key=f"k{number}",
        level="Na3",
        composition="Cu2Mo6",
        formation_energy=-2.0 + number,
        formation_energy_std=0.01,
        relaxation_energy=0.1,
        relaxation_energy_std=0.01,
    ).to_mongo()


def two_engines(folder: Path, stores: Stores) -> ProjectView:
    """Two campaigns whose numbers come from different engines."""
    project = stores.create(folder)
    for name, provenance in (("cheap", "mlff:chgnet-0.3.0"), ("dear", "vasp:s0_relax")):
        project.insert_missing("campaigns", [{"_id": name, "provenance": provenance}])
        project.insert_missing("predictions", [prediction(name, number) for number in range(3)])
    return cathodeflow.open(folder)


# -- opening -----------------------------------------------------------------------------------------------------


def test_importing_the_package_loads_nothing_heavy():
    program = (
        "import sys, cathodeflow; cathodeflow.open; "
        "print([m for m in ('pandas', 'numpy', 'pymatgen', 'pymongo', 'bson', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_opening_loads_neither_pandas_nor_pymatgen(demo: Path):
    program = (
        f"import sys, cathodeflow; cathodeflow.open({str(demo)!r}).database['labels'].find_one(); "
        "print([m for m in ('pandas', 'pymatgen', 'fireworks', 'jobflow', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_without_a_project_is_refused_and_left_as_it_is(tmp_path: Path):
    with pytest.raises(StoreError, match="no store"):
        cathodeflow.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_reading_changes_no_byte_of_the_store(demo: Path):
    def content() -> dict[str, str]:
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in demo.glob("*.sqlite")}

    before = content()
    assert before
    opened = cathodeflow.open(demo)
    for name in FRAMES:
        getattr(opened, name)()
    list(opened.structures())
    assert list(opened.database.no_such_collection.find()) == []
    assert opened.database["no_such_collection"].find_one({"a": 1}) is None
    assert content() == before


def test_a_campaign_runs_while_a_reader_holds_its_answers(tmp_path: Path):
    project = launch(tmp_path, definition(labels={"total": 6, "rounds": 1}, surrogate={"seeds": 1}))
    reader = cathodeflow.open(tmp_path)
    assert reader.labels().empty
    project.insert_missing("notes", [{"_id": number} for number in range(5000)])
    held = iter(reader.database["notes"].find())
    assert next(held) == {"_id": 0}
    assert run_to_end(project).state == "done"
    assert len(reader.labels()) >= 6
    assert reader.campaigns().state[0] == "done"
    assert [note["_id"] for note in held] == list(range(1, 5000))


def test_a_folder_of_somebody_else_is_read_and_their_later_work_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    writer = create_project(tmp_path)
    writer.insert_missing("labels", [{"_id": 1}])
    writer.embedded_file.close()  # the last writer takes its log away
    assert [file.name for file in tmp_path.iterdir()] == ["cathodeflow.sqlite"]
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda path, mode: False)
        reader = cathodeflow.open(tmp_path)
        assert reader.database["labels"].count_documents({}) == 1
        assert [file.name for file in tmp_path.iterdir()] == ["cathodeflow.sqlite"], "a reader leaves nothing there"
        writer.insert_missing("labels", [{"_id": 2}])
        assert [d["_id"] for d in reader.database["labels"].find()] == [1, 2]


def test_nothing_can_be_written_through_sqlite_either(demo: Path):
    project = open_project(demo, read_only=True)
    with pytest.raises(StoreError, match="opened to be read only"):
        project.database["labels"].insert_one({"_id": 1})
    with pytest.raises(StoreError, match="opened to be read only"):
        project.insert_missing("labels", [{"_id": 1}])
    with pytest.raises(StoreError, match="read-only"):
        project.embedded_file.execute("DELETE FROM collections")


# -- the database that is only read --------------------------------------------------------------------------------

WRITES = (
    *("insert_one", "insert_many", "update_one", "update_many", "replace_one", "delete_one", "delete_many"),
    *("bulk_write", "find_one_and_update", "find_one_and_replace", "find_one_and_delete", "drop", "rename"),
    *("create_index", "drop_index", "drop_indexes", "with_options", "database"),
)


@pytest.mark.parametrize("method", WRITES)
def test_no_method_that_writes_is_given_out(view: ProjectView, method: str):
    with pytest.raises(StoreError, match="opened to be read only"):
        getattr(view.database["labels"], method)


@pytest.mark.parametrize("name", ["drop_collection", "create_collection", "client", "command"])
def test_the_database_leads_nowhere_else(view: ProjectView, name: str):
    with pytest.raises(StoreError, match="opened to be read only"):
        getattr(view.database, name)


def test_on_both_stores_nothing_is_written(tmp_path: Path, stores: Stores):
    opened = two_engines(tmp_path, stores)
    collection = opened.database.predictions
    for method in WRITES:
        with pytest.raises(StoreError):
            getattr(collection, method)
    for stage in ({"$out": "stolen"}, {"$merge": {"into": "predictions"}}):
        with pytest.raises(StoreError, match="read only"):
            collection.aggregate([{"$match": {}}, stage])
    with pytest.raises(StoreError):
        opened.database["predictions"] = []
    with pytest.raises(StoreError):
        collection.name_of_mine = 1
    with pytest.raises(StoreError):
        del opened.database["predictions"]
    with pytest.raises(AttributeError, match="only read"):
        collection.find().collection  # noqa: B018
    assert "stolen" not in opened.database.list_collection_names()
    assert collection.count_documents({}) == 6
    assert [d["key"] for d in collection.find({"campaign": "dear"}).sort("key", -1).limit(2)] == ["k2", "k1"]
    assert collection.find().sort("_id", 1)[0]["_id"] == "cheap/r0/k0"
    assert sorted(collection.distinct("campaign")) == ["cheap", "dear"]
    assert next(collection.find({"campaign": "dear"}))["campaign"] == "dear"


def test_a_slip_of_the_pen_is_no_silent_collection(view: ProjectView):
    with pytest.raises(AttributeError, match="count_documents"):
        view.database["labels"].cuont({})
    with pytest.raises(TypeError, match="find"):
        list(view.database["labels"])
    with pytest.raises(TypeError, match="list_collection_names"):
        list(view.database)


# -- provenance ---------------------------------------------------------------------------------------------------


def test_every_frame_says_the_provenance_of_each_row(view: ProjectView):
    for name in FRAMES:
        frame = getattr(view, name)()
        assert "provenance" in frame, name
        assert set(frame.provenance) <= {"pair"}, name
        if name not in {"attempts"}:
            assert len(frame), f"{name} tests nothing"


def test_energies_of_several_engines_are_refused(tmp_path: Path, stores: Stores):
    opened = two_engines(tmp_path, stores)
    with pytest.raises(CampaignError, match=r"mlff:chgnet-0.3.0: 3.*vasp:s0_relax: 3") as refused:
        opened.predictions()
    assert "mix_provenances=True" in str(refused.value)
    assert len(opened.predictions("cheap")) == 3
    assert list(opened.predictions(where={"campaign": "dear"}).provenance) == ["vasp:s0_relax"] * 3
    assert opened.predictions(mix_provenances=True).provenance.value_counts().to_dict() == {
        "mlff:chgnet-0.3.0": 3,
        "vasp:s0_relax": 3,
    }
    assert set(opened.campaigns().provenance) == {"mlff:chgnet-0.3.0", "vasp:s0_relax"}  # no energies in it


# -- frames -------------------------------------------------------------------------------------------------------


def test_labels_hold_the_numbers_of_the_law(view: ProjectView, demo: Path):
    labels = view.labels("nvpf").set_index("key")
    assert len(labels) == open_project(demo).count("labels")
    for key, label in labels.iterrows():
        assert label.core_hours == pytest.approx(law.wall_s(key) * law.CORES / 3600)
        assert label.interventions == len(law.repairs(key))
        assert label.volume_change_percent == pytest.approx(law.volume_change(key))
        lost = law.lost(key)
        assert label.outcome == ("quarantined" if lost else "done")
    assert labels.attrs["units"]["formation_energy"] == "eV/atom"
    assert labels.attrs["units"]["core_hours"] == "h"
    assert str(labels.created_at.dtype).startswith("datetime64")
    assert str(labels.created_at.dt.tz) == "UTC"


def test_a_filter_narrows_a_frame_and_is_joined_with_the_campaign(view: ProjectView):
    assert set(view.labels("nvpf", {"level": "Na3"}).level) == {"Na3"}
    assert view.labels(where={"campaign": "another"}).empty
    assert view.labels("nvpf", {"campaign": "another"}).empty
    assert set(view.predictions(where={"round": 1, "formation_energy": {"$gt": -2.4}})["round"]) == {1}


def test_an_empty_frame_has_its_columns(view: ProjectView):
    none = view.predictions("nvpf", {"round": 99})
    assert list(none.columns) == list(view.predictions("nvpf").columns)
    assert none.formation_energy.dtype == float


def test_wrong_questions_are_answered_in_words(view: ProjectView):
    with pytest.raises(CampaignError, match=r"no campaign named 'nvfp'.*nvpf"):
        view.labels("nvfp")
    with pytest.raises(DefinitionError, match="runs code"):
        view.labels(where={"$where": "true"})
    with pytest.raises(DefinitionError, match="cannot be used"):
        view.labels(where={"level": {"$no_such": 1}})
    with pytest.raises(CampaignError, match="static, pdos, gap"):
        view.follow_ups(branch="hse")


def test_mappings_become_one_column_each(view: ProjectView):
    verdicts = view.verdicts("nvpf", {"round": 1}).set_index("composition")
    assert {"V43", "V32", "V21", "formation_energy_Na1", "margin_V43_window", "representative_Na4"} <= set(verdicts)
    failing = verdicts[verdicts.rejected_by == "V43_window"]
    assert (failing.margin_V43_window < 0).all()
    assert (verdicts[verdicts.passed].filter(like="margin_") >= 0).all().all()
    score = (verdicts.V21 - verdicts.V43) / verdicts.V43
    np.testing.assert_allclose(verdicts.score, score)
    assert verdicts.attrs["units"]["V43"] == "V"


def test_each_branch_has_its_own_columns(view: ProjectView):
    gaps = view.follow_ups("nvpf", branch="gap").set_index("key")
    metal = gaps[gaps.is_metal.astype(bool)]
    assert list(metal.index) == ["nvpf-Na1-Mo8-00"]
    assert metal.hybrid_gap.isna().all()
    assert "mean_strength" not in gaps
    bonding = view.follow_ups("nvpf", branch="bonding").set_index("key")
    assert bonding["strength_V-O"]["nvpf-Na3-V8-00"] == pytest.approx(law.strengths("nvpf-Na3-V8-00")["V-O"])
    assert np.isnan(bonding["strength_V-O"]["nvpf-Na3-Mo8-00"])
    everything = view.follow_ups("nvpf")
    assert len(everything) == 32
    assert {"pbe_gap", "mean_strength", "energy", "centre_V_d"} <= set(everything)


def test_the_branches_are_those_there_are_and_no_two_columns_share_a_name():
    assert set(BRANCHES) == {branch.value for branch in Branch}
    for columns in (*COLUMNS.values(), follow_up_columns(None)):
        said = [column.name for column in columns]
        assert len(said) == len(set(said))


def test_learning_curve_parity_and_training_curves(view: ProjectView):
    curve = view.learning_curve("nvpf").query("target == 'relaxation_energy'")
    assert list(curve["round"]) == [0, 1]
    assert list(curve.mae) == pytest.approx([1.5 * law.mae(n + 1) for n in curve.n_train])
    assert (curve.networks == 2).all()
    parity = view.parity("nvpf", {"target": "formation_energy", "round": 1, "seed": 0})
    assert len(parity) == curve.n_train.max() + 1
    assert parity.held_out.sum() == 1
    losses = view.training_curves("nvpf", {"round": 0, "seed": 0, "target": "formation_energy"})
    assert list(losses.train) == [1.0, 0.5, pytest.approx(1 / 3)]


def test_jobs_are_listed_once_for_each_start(view: ProjectView, demo: Path):
    jobs = view.jobs("nvpf")
    project = open_project(demo)
    assert len(jobs) == project.count("launches")
    assert set(jobs.kind) == {"reference", "label", "train", "predict", "screen", "follow_up"}
    assert (jobs.runtime_s > 0).all()
    assert (jobs.ended_at >= jobs.started_at).all()
    labels = view.jobs("nvpf", {"spec._kind": "label"})
    assert set(labels.key) == set(view.labels("nvpf").key)


def test_a_density_of_states_is_a_frame_over_its_energies(view: ProjectView):
    pdos = view.pdos("nvpf-Na3-V8-00")
    assert list(pdos.index) == law.FREE_ENERGIES
    assert list(pdos.columns) == ["V_d_up", "V_d_down"]
    assert pdos.attrs["centres"] == {"V_d": -1.5}
    assert pdos.attrs["provenance"] == "pair"
    assert pdos.attrs["units"]["V_d_up"] == "states/eV"


# -- crystals -----------------------------------------------------------------------------------------------------


def test_a_structure_is_relaxed_or_as_it_was_made(view: ProjectView, demo: Path):
    key = "nvpf-Na3-V8-00"
    label = open_project(demo).get("labels", f"nvpf/{key}")
    assert label is not None
    relaxed, made = view.structure(key), view.structure(key, relaxed=False)
    assert relaxed.frac_coords.tolist() == label["relaxation"]["crystal"]["fractional_coordinates"]
    assert made.composition == relaxed.composition
    assert made.volume == pytest.approx(label["relaxation"]["volume_before"])


def test_structures_are_of_usable_labels_or_of_candidates(view: ProjectView):
    found = dict(view.structures({"level": "Na1"}, campaign="nvpf"))
    usable = view.labels("nvpf", {"level": "Na1", "outcome": "done"})
    assert set(found) == set(usable.key)
    assert {structure.composition["Na"] for structure in found.values()} == {4}
    drawn = [key for key, _ in view.structures({"composition": "V4Mo4", "level": "Na3"}, relaxed=False)]
    assert set(drawn) == set(view.candidates("nvpf", {"composition": "V4Mo4", "level": "Na3"}).key)


def test_a_candidate_without_a_label_and_one_that_does_not_exist_are_told_apart(view: ProjectView):
    unlabelled = sorted(set(view.candidates().key) - set(view.labels().key))[0]
    with pytest.raises(CampaignError, match=r"there is no .* in labels"):
        view.structure(unlabelled)
    assert len(view.structure(unlabelled, relaxed=False)) > 60
    with pytest.raises(CampaignError, match="there is no nvpf-Na3-Xx8-00 in candidates"):
        view.structure("nvpf-Na3-Xx8-00", relaxed=False)
    with pytest.raises(CampaignError, match="pdos"):
        view.pdos(unlabelled)


def test_a_key_of_several_campaigns_needs_one_named(tmp_path: Path):
    project = create_project(tmp_path)
    label = {"key": "k", "relaxation": None, "outcome": "quarantined", "reason": "timeout", "message": "too long"}
    for name in ("one", "two"):
        project.insert_missing("campaigns", [{"_id": name, "provenance": "pair"}])
        project.insert_missing("labels", [{"_id": f"{name}/k", "campaign": name, **label}])
    opened = cathodeflow.open(tmp_path)
    with pytest.raises(CampaignError, match=r"several campaigns.*one, two"):
        opened.structure("k")
    with pytest.raises(CampaignError, match=r"timeout.*too long.*relaxed=False"):
        opened.structure("k", campaign="one")


# -- laying out ---------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "x": st.floats(allow_nan=False),
                "n": st.integers(-(2**53), 2**53),
                "m": st.dictionaries(st.sampled_from(["a", "b", "c"]), st.floats(allow_nan=False), max_size=3),
            },
        ),
        max_size=8,
    )
)
def test_no_value_is_lost_and_none_invented(documents: list[dict]):
    columns = (Column("x", "x", "eV", "number"), Column("n", "n", "", "whole"), Column("m_{}", "m", "V", "number"))
    frame = frame_of(documents, columns)
    for place, document in enumerate(documents):
        assert ("x" in document) == (not np.isnan(frame.x[place]))
        assert "x" not in document or frame.x[place] == document["x"]
        assert frame.n.isna()[place] == ("n" not in document)
        assert "n" not in document or frame.n[place] == document["n"]
        held = {key: frame[f"m_{key}"][place] for key in "abc" if f"m_{key}" in frame}
        assert {key: value for key, value in held.items() if not np.isnan(value)} == document.get("m", {})
    assert set(frame.attrs["units"]) == set(frame.columns) - {"n"}


def test_a_hundred_thousand_predictions_are_a_frame_about_as_soon_as_they_are_read(tmp_path: Path):
    project = create_project(tmp_path)
    project.insert_missing("campaigns", [{"_id": "big", "provenance": "pair", "created_at": now()}])
    first = prediction("big", 0)
    many = ({**first, "_id": f"big/r0/k{n}", "key": f"k{n}", "formation_energy": float(n)} for n in range(100_000))
    project.insert_missing("predictions", many)
    opened = cathodeflow.open(tmp_path)
    opened.campaigns()
    began = time.thread_time()
    frame = opened.predictions("big", {"round": 0})
    framed = time.thread_time()
    documents = list(opened.database["predictions"].find({"campaign": "big", "round": 0}))
    read = time.thread_time()
    assert len(frame) == len(documents) == 100_000
    assert frame.formation_energy.sum() == 99_999 * 100_000 / 2
    # Of processor time, in one process: 0.6 to 0.8 times as much, since a frame takes what it needs of each document.
    assert framed - began < 2 * (read - framed)
