from __future__ import annotations

from pathlib import Path

import ase.io
import pytest
from pymatgen.core import Structure
from tests.campaign_world import definition, launch, run_to_end

from cathodeflow.campaign.export import CrystalKind, export_labels, export_structures
from cathodeflow.campaign.status import read_status
from cathodeflow.campaign.transitions import read_campaign
from cathodeflow.campaign.unit_costs import measured_unit_costs
from cathodeflow.dispatch.jobs import count_states
from cathodeflow.errors import CampaignError, StoreError
from cathodeflow.records.calculation import EnergyCorrection
from cathodeflow.records.label import LabelRecord
from cathodeflow.science.hosts.candidates import decorate
from cathodeflow.storage.connection import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished campaign."""
    wanted = definition(labels={"total": 14}, surrogate={"seeds": 1}, failures={"tolerated_fraction": 1.0})
    project = launch(tmp_path_factory.mktemp("finished"), wanted)
    run_to_end(project)
    return project


def test_labels_are_read_back_by_ase_with_energies_and_cells(project: Project, tmp_path: Path):
    written = export_labels(project, "trial", tmp_path / "out")
    frames = ase.io.read(written.files[0], ":")
    labels = {document["key"]: LabelRecord.from_mongo(document) for document in project.database["labels"].find({})}
    assert written.n == len(frames) == len(labels)
    for atoms in frames:
        label = labels[atoms.info["key"]]
        assert label.relaxation is not None
        assert atoms.get_potential_energy() == pytest.approx(label.relaxation.energy_after, abs=1e-6)
        assert atoms.get_volume() == pytest.approx(label.relaxation.crystal.to_structure().volume, rel=1e-6)
        assert atoms.get_chemical_symbols() == label.relaxation.crystal.species
        assert all(atoms.pbc)
        assert atoms.info["formation_energy"] == pytest.approx(label.relaxation.formation_energy, abs=1e-6)
        assert atoms.info["provenance"] == "pair"
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "eV/Å" in readme
    assert "Provenance: pair" in readme


def test_forces_are_written_where_they_were_recorded(project: Project, tmp_path: Path):
    from cathodeflow.campaign.export import label_atoms

    label = LabelRecord.from_mongo(project.database["labels"].find_one({}))
    assert label.relaxation is not None
    forces = [[0.0, 0.1, -0.2]] * label.relaxation.n_atoms
    with_forces = label.model_copy(update={"relaxation": label.relaxation.model_copy(update={"forces": forces})})
    ase.io.write(tmp_path / "one.xyz", label_atoms(with_forces), format="extxyz")
    assert ase.io.read(tmp_path / "one.xyz").get_forces().tolist() == forces


def test_corrections_and_rehearsals_are_told_to_whoever_trains(project: Project):
    from cathodeflow.campaign.export import _labels_readme, label_atoms

    label = LabelRecord.from_mongo(project.database["labels"].find_one({}))
    assert label.relaxation is not None
    assert "uncorrected" not in _labels_readme("c", [label])
    bare = label.relaxation.energy_after + 47.1
    correction = EnergyCorrection(scheme="mp-2020", uncorrected_before=bare, uncorrected_after=bare, terms=[])
    rehearsed = label.model_copy(
        update={
            "relaxation": label.relaxation.model_copy(update={"correction": correction}),
            "origin": label.origin.model_copy(update={"provenance": "rehearsal:pair:s0_relax"}),
        }
    )
    assert label_atoms(rehearsed).info["uncorrected_energy"] == bare
    readme = _labels_readme("c", [rehearsed])
    assert "corrections mp-2020 included" in readme
    assert "| `uncorrected_energy` |" in readme
    assert "rehearsal numbers" in readme


def test_a_filter_narrows_labels_and_nothing_left_is_said(project: Project, tmp_path: Path):
    written = export_labels(project, "trial", tmp_path / "out", {"level": "Na3"})
    assert {atoms.info["level"] for atoms in ase.io.read(written.files[0], ":")} == {"Na3"}
    with pytest.raises(CampaignError, match="no usable label"):
        export_labels(project, "trial", tmp_path / "none", {"level": "Na9"})
    assert not (tmp_path / "none").exists()


def test_files_that_are_there_are_kept_unless_forced(project: Project, tmp_path: Path):
    export_labels(project, "trial", tmp_path / "out", {"level": "Na3"})
    kept = (tmp_path / "out" / "labels.xyz").read_bytes()
    with pytest.raises(CampaignError, match="exists already"):
        export_labels(project, "trial", tmp_path / "out")
    assert (tmp_path / "out" / "labels.xyz").read_bytes() == kept
    assert export_labels(project, "trial", tmp_path / "out", replace=True).n > kept.count(b"Lattice")


def test_a_folder_that_cannot_be_made_is_a_sentence(project: Project, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the folder"):
        export_labels(project, "trial", tmp_path / "file" / "below")


def test_relaxed_and_validated_crystals_are_those_of_the_labels(project: Project, tmp_path: Path):
    relaxed = export_structures(project, "trial", tmp_path / "relaxed", CrystalKind.RELAXED)
    assert relaxed.n == project.count("labels", {"campaign": "trial"})
    validated = export_structures(project, "trial", tmp_path / "validated", CrystalKind.VALIDATED)
    campaign = read_campaign(project, "trial")
    assert validated.n == 4 * len(campaign.shortlist)
    for path in validated.files:
        label = project.database["labels"].find_one({"key": path.stem})
        structure = Structure.from_file(path)
        assert structure.volume == pytest.approx(
            LabelRecord.from_mongo(label).relaxation.crystal.to_structure().volume, rel=1e-4
        )


def test_candidates_are_the_decorated_host(project: Project, tmp_path: Path):
    written = export_structures(
        project, "trial", tmp_path / "out", CrystalKind.CANDIDATES, {"level": "Na3", "composition": "V4Mo4"}, limit=2
    )
    assert written.n == 2
    host = read_campaign(project, "trial").host.build()
    for path in written.files:
        document = project.database["candidates"].find_one({"key": path.stem})
        expected = decorate(host.level("Na3"), document["elements"], document["mask"])
        assert Structure.from_file(path).composition == expected.composition
        assert Structure.from_file(path).volume == pytest.approx(expected.volume, rel=1e-5)


def test_the_status_of_a_finished_campaign_adds_up(project: Project):
    status = read_status(project, "trial")
    assert (status.state, status.stage, status.eta_s) == ("done", "done", 0.0)
    assert status.candidates == project.count("candidates")
    assert status.labels["done"] == status.labels["wanted"] == project.count("labels")
    assert status.labels["failed"] == status.labels["quarantined"] == 0
    assert status.jobs == {"COMPLETED": sum(count_states(project, "trial").values())}
    assert status.best_from == "validated by the engine"
    held = project.database["validations"].find({"profile_holds": True, "pristine": False})
    assert {entry["composition"] for entry in status.best_candidates} == {entry["composition"] for entry in held}
    assert status.finished is not None
    assert status.elapsed_s == pytest.approx((status.finished - status.started).total_seconds())


def test_a_campaign_that_is_not_there_is_named_with_those_that_are(project: Project):
    with pytest.raises(CampaignError, match="trial"):
        read_status(project, "another")


def test_unit_costs_are_measured_from_labels_of_the_same_engine(project: Project):
    engine = read_campaign(project, "trial").definition["engine"]
    costs = measured_unit_costs(project, engine)
    assert costs is not None
    labels, models = project.count("labels"), project.count("models")
    assert costs.basis == f"measured on {labels} labels here and {models} trainings"
    assert costs.relaxation_steps == pytest.approx(3.0)  # the rehearsed labels take three steps and one second
    atoms = [document["relaxation"]["n_atoms"] for document in project.database["labels"].find({})]
    assert costs.relaxation_step_s == pytest.approx(sum(72 / n for n in atoms) / (3 * labels))
    assert measured_unit_costs(project, {"name": "mlff", "model": "chgnet-0.3.0"}) is None
