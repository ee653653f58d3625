from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Structure
from tests import campaign_world as world
from tests.campaign_world import LAWFUL, definition
from tests.stand_in_runs import QUICK, finish_run, quick_preset, unrelaxed

from cathodeflow.calculators.engines import provenance
from cathodeflow.calculators.rehearsal.faults import VARIABLE as FAULTS
from cathodeflow.calculators.vasp.preset import load_preset
from cathodeflow.campaign import transitions
from cathodeflow.campaign.advance import advance, spent
from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.campaign.ingest import IngestedRun, Verdict, ingest
from cathodeflow.campaign.stages.label import LabelStage
from cathodeflow.campaign.stages.selection import choose_candidates
from cathodeflow.campaign.stages.train import TrainStage
from cathodeflow.campaign.stages.work import StageContext
from cathodeflow.dispatch.workflows import workflow_states
from cathodeflow.errors import CampaignError
from cathodeflow.records.campaign import CampaignRecord
from cathodeflow.records.crystal import Crystal
from cathodeflow.records.host import HostSpec
from cathodeflow.records.label import LabelRecord, ReferenceRecord, reference_id
from cathodeflow.records.outcomes import CampaignState, JobKind, Stage
from cathodeflow.science.hosts.candidates import parse_candidate_key
from cathodeflow.storage.connection import Project, create_project

MIXED, IRON, EMPTIED = "lifepo4-Li1-Mn2Fe2-3", "lifepo4-Li1-Fe4-0", "lifepo4-Li0-Mn4-0"
MU = {"Li": -1.9, "Mn": -8.9, "Fe": -8.3, "P": -5.4, "O": -4.9}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of usable runs, one for each candidate."""
    folder = tmp_path_factory.mktemp("finished")
    for key in (MIXED, IRON, EMPTIED):
        finish_run(folder / key, unrelaxed(key), quick_preset())
    return folder


def wanted(**changes: Any) -> CampaignDefinition:
    fields = {
        "host": {"packaged": "lifepo4"},
        "elements": ["Mn", "Fe"],
        "ratios": ["2/2"],
        "engine": {"name": "rehearsal", "model": "pair", "parameters": {"overrides": dict(QUICK)}},
        "labels": {"total": 8},
        "screening": {},
    }
    return definition(**(fields | changes))


def launched(folder: Path, *, stage: Stage = Stage.LABEL, references: bool = True, **changes: Any) -> Project:
    """A campaign on LiFePO4 that has its references and has chosen what to label."""
    asked = wanted(**changes)
    origin = provenance(asked.engine.model_dump())
    project = create_project(folder)
    record = CampaignRecord(
        id=asked.name,
        definition=asked.model_dump(mode="json"),
        definition_sha256=asked.sha256(),
        host=HostSpec(packaged=asked.host.packaged),
        provenance=origin,
    )
    transitions.create_campaign(project, record)
    for element, energy in MU.items() if references else ():
        reference = ReferenceRecord(
            id=reference_id(origin, element),
            element=element,
            energy_per_atom=energy,
            phase="stated",
            n_atoms=1,
            max_force=0.0,
            crystal=Crystal(lattice=np.eye(3).tolist(), species=[element], fractional_coordinates=[[0, 0, 0]]),
            origin={"provenance": origin},
        )
        transitions.record_once(project, "references", reference)
    if stage != Stage.ENUMERATE:
        campaign = transitions.read_campaign(project, asked.name)
        chosen = choose_candidates(StageContext(project, campaign, LAWFUL), 0)
        transitions.enter_stage(project, campaign, stage, 0, {"selections.0": chosen})
    return project


def taken(project: Project, *folders: Path, **options: Any) -> list[IngestedRun]:
    return ingest(project, "trial", folders, **options)


def only(project: Project, folder: Path) -> IngestedRun:
    (run,) = taken(project, folder)
    return run


def label_of(project: Project, key: str) -> LabelRecord:
    return LabelRecord.from_mongo(project.database["labels"].find_one({"_id": f"trial/{key}"}))


def contents(project: Project) -> dict[str, list[Any]]:
    names = ("campaigns", "labels", "events")
    return {name: list(project.database[name].find({})) for name in names}


def test_a_finished_run_becomes_the_label_the_campaign_would_have_made(runs: Path, tmp_path: Path) -> None:
    project = launched(tmp_path)
    found = taken(project, runs)
    assert [(run.verdict, run.key, run.folder.name) for run in found] == [
        (Verdict.INGESTED, key, key) for key in sorted((MIXED, IRON, EMPTIED))
    ]
    label = label_of(project, MIXED)
    relaxation = label.relaxation
    assert relaxation is not None
    start = unrelaxed(MIXED)
    steps = xml_energies(runs / MIXED)
    added = sum(term.energy for term in relaxation.correction.terms)
    assert [term.name for term in relaxation.correction.terms]  # the Materials Project's, as the engine adds them
    assert (relaxation.energy_before, relaxation.energy_after) == pytest.approx((steps[0] + added, steps[-1] + added))
    mu = sum(MU[site.specie.symbol] for site in start)
    assert relaxation.formation_energy == pytest.approx((steps[-1] + added - mu) / len(start))
    assert relaxation.relaxation_energy == pytest.approx(abs(steps[-1] - steps[0]) / len(start))
    assert relaxation.crystal.species == [site.specie.symbol for site in start]
    assert relaxation.crystal.to_structure().distance_matrix == pytest.approx(start.distance_matrix, abs=0.5)
    assert relaxation.max_force <= 0.9
    assert relaxation.wall_s > 0
    assert label.origin.provenance == provenance(wanted().engine.model_dump())
    assert label.origin.job_uuid is None
    assert label.folder == str((runs / MIXED).resolve())
    assert label.overrides == list(quick_preset().overrides)
    (event,) = project.database["events"].find({"kind": "ingested", "details.key": MIXED})
    assert event["details"]["folder"] == label.folder


def xml_energies(folder: Path) -> list[float]:
    from pymatgen.io.vasp.outputs import Vasprun

    parsed = Vasprun(folder / "vasprun.xml", parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    return [step["e_0_energy"] for step in parsed.ionic_steps]


def test_a_dry_run_judges_alike_and_writes_nothing(runs: Path, tmp_path: Path) -> None:
    project = launched(tmp_path)
    before = contents(project)
    judged = taken(project, runs, dry_run=True)
    assert contents(project) == before
    assert [(run.verdict, run.key) for run in judged] == [(run.verdict, run.key) for run in taken(project, runs)]


def test_repeating_changes_nothing(runs: Path, tmp_path: Path) -> None:
    project = launched(tmp_path)
    taken(project, runs)
    before = contents(project)
    again = taken(project, runs, runs / MIXED)
    assert contents(project) == before
    assert [run.verdict for run in again] == [Verdict.KNOWN] * 3
    assert "ingested before from" in again[0].reason


def test_a_kill_between_two_labels_loses_nothing(runs: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(run: IngestedRun, number: int, total: int) -> None:
        assert total == 3
        if number == 2:
            raise Killed

    project = launched(tmp_path)
    with pytest.raises(Killed):
        taken(project, runs, on_run=kill)
    assert [run.verdict for run in taken(project, runs)] == [Verdict.KNOWN, Verdict.KNOWN, Verdict.INGESTED]
    assert project.count("labels") == project.count("events", {"kind": "ingested"}) == 3


def test_sites_axes_and_orientation_of_a_run_do_not_matter(runs: Path, tmp_path: Path) -> None:
    start = unrelaxed(MIXED)
    rng = np.random.default_rng(3)
    order, axes = rng.permutation(len(start)), [1, 2, 0]
    turned = Structure(
        start.lattice.matrix[axes] @ np.linalg.qr(rng.normal(size=(3, 3)))[0],
        [start[int(i)].specie.symbol for i in order],
        start.frac_coords[order][:, axes] + [0.5, 0.25, 0.1],
    )
    if np.linalg.det(turned.lattice.matrix) < 0:  # VASP takes right-handed cells only
        turned = Structure(-turned.lattice.matrix, turned.species, turned.frac_coords)
    finish_run(tmp_path / "run", turned, quick_preset())
    project, other = launched(tmp_path / "turned"), launched(tmp_path / "plain")
    assert only(project, tmp_path / "run").key == only(other, runs / MIXED).key == MIXED
    mine, plain = label_of(project, MIXED).relaxation, label_of(other, MIXED).relaxation
    assert mine is not None
    assert plain is not None
    assert mine.energy_before == pytest.approx(plain.energy_before, abs=1e-5)
    assert mine.energy_after == pytest.approx(plain.energy_after, abs=0.05)
    assert mine.crystal.species == plain.crystal.species
    ends = mine.crystal.to_structure(), plain.crystal.to_structure()
    assert ends[0].lattice.matrix == pytest.approx(ends[1].lattice.matrix, abs=0.1)
    assert ends[0].distance_matrix == pytest.approx(ends[1].distance_matrix, abs=0.2)


REFUSED: dict[str, tuple[dict[str, str], list[str]]] = {
    "functional": (
        {
            "ENCUT = 550.0": "ENCUT = 500",
            "0 3.9 5.3 0 0": "0 3.9 4.0 0 0",
            "ISPIN = 2": "ISPIN = 2\nIVDW = 11\nGGA = PS",
        },
        [
            "ENCUT 500 eV, not 550",
            "U of Fe 4 eV, not 5.3",
            "IVDW 11 (D3 with zero damping), not 0 (no dispersion)",
            "GGA PS, not PE",
        ],
    ),
    "accuracy": (
        {
            "LDAU = True": "LDAU = False",
            "ISPIN = 2": "ISPIN = 1",
            "EDIFF = 1e-06": "EDIFF = 1e-04",
            "ISIF = 3": "ISIF = 2",
            "PREC = Accurate": "PREC = Low",
            "SIGMA = 0.05": "SIGMA = 0.2",
        },
        [
            "U of Fe 0 eV, not 5.3",
            "U of Mn 0 eV, not 3.9",
            "ISPIN 1, not 2",
            "EDIFF 0.0001 eV, looser than 1e-06",
            "ISIF 2, not 3",
            "PREC",
            "SIGMA 0.2 eV, broader than 0.05",
        ],
    ),
}


@pytest.mark.parametrize(("edit", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_other_settings_are_refused_each_by_name(tmp_path: Path, edit: dict[str, str], named: list[str]) -> None:
    finish_run(tmp_path / "run", unrelaxed(MIXED), quick_preset(), edit)
    run = only(launched(tmp_path / "project"), tmp_path / "run")
    assert (run.verdict, run.key) == (Verdict.REFUSED, MIXED)
    assert [why for why in named if why not in run.reason] == []
    assert run.reason.count(";") == len(named) - 1


def test_forces_that_a_stricter_campaign_would_relax_further_are_refused(runs: Path, tmp_path: Path) -> None:
    strict = {"name": "rehearsal", "model": "pair", "parameters": {"overrides": QUICK | {"incar.EDIFFG": -0.01}}}
    run = only(launched(tmp_path, engine=strict), runs / MIXED)
    assert run.verdict == Verdict.REFUSED
    assert "of 0.010 eV/Å" in run.reason


def test_finer_settings_and_those_of_speed_are_no_difference(tmp_path: Path) -> None:
    edit = {"EDIFF = 1e-06": "EDIFF = 1e-07\nNCORE = 4\nKPAR = 2", "EDIFFG = -0.9": "EDIFFG = -0.7", "ALGO = Fast": ""}
    folder = finish_run(tmp_path / "run", unrelaxed(MIXED), quick_preset(), edit)
    assert only(launched(tmp_path / "project"), folder).verdict == Verdict.INGESTED


def cut(folder: Path) -> None:
    content = (folder / "vasprun.xml").read_bytes()
    (folder / "vasprun.xml").write_bytes(content[: len(content) * 2 // 3])


def garble(folder: Path) -> None:
    content = (folder / "vasprun.xml").read_bytes()
    (folder / "vasprun.xml").write_bytes(content[:9000] + content[9500:])


def without_xml(folder: Path) -> None:
    (folder / "vasprun.xml").unlink()


def without_anything(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def empty_file(folder: Path) -> None:
    (folder / "vasprun.xml").write_bytes(b"")


def zip_and_cut(folder: Path) -> None:
    zipped = gzip.compress((folder / "vasprun.xml").read_bytes())
    (folder / "vasprun.xml.gz").write_bytes(zipped[:-100])
    (folder / "vasprun.xml").unlink()


def stop_at_walltime(folder: Path) -> None:
    done = {"errors": ["Walltime reached"], "actions": None, "handler": {"@class": "WalltimeHandler"}}
    (folder / "custodian.json").write_text(json.dumps([{"corrections": [done]}]))


def not_a_number(folder: Path) -> None:
    text = (folder / "vasprun.xml").read_text()
    head, tail = text.rsplit('<i name="e_0_energy">', 1)
    (folder / "vasprun.xml").write_text(head + '<i name="e_0_energy"> NaN </i>' + tail.partition("</i>")[2])


def as_of_vasp(folder: Path) -> None:
    text = (folder / "vasprun.xml").read_text()
    (folder / "vasprun.xml").write_text(text.replace("rehearsal pair", "LinuxIFC").replace("cathodeflow rehearsal", ""))


def as_of_another_potential(folder: Path) -> None:
    text = (folder / "vasprun.xml").read_text()
    (folder / "vasprun.xml").write_text(text.replace("rehearsal pair", "rehearsal chgnet-0.3.0"))


DAMAGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut": (cut, "vasprun.xml: it is cut off"),
    "garbled": (garble, "vasprun.xml: it cannot be parsed"),
    "without vasprun.xml": (without_xml, "there is no vasprun.xml in it"),
    "empty folder": (without_anything, "there is no vasprun.xml in it"),
    "empty file": (empty_file, "it is empty"),
    "zipped and cut": (zip_and_cut, "it cannot be read"),
    "stopped at the walltime": (stop_at_walltime, "was stopped before the walltime"),
    "not a number": (not_a_number, "no numbers"),
    "of VASP": (as_of_vasp, "a rehearsal takes no real numbers"),
    "of another potential": (as_of_another_potential, "the campaign rehearses with pair"),
}


@pytest.mark.parametrize(("damage", "why"), DAMAGED.values(), ids=DAMAGED.keys())
def test_an_unusable_folder_is_listed_and_the_rest_goes_in(
    runs: Path, tmp_path: Path, damage: Callable[[Path], None], why: str
) -> None:
    shutil.copytree(runs / MIXED, tmp_path / "runs" / "bad")
    shutil.copytree(runs / IRON, tmp_path / "runs" / "good")
    damage(tmp_path / "runs" / "bad")
    project = launched(tmp_path / "project")
    named = [tmp_path / "runs" / "bad"] if damage is without_anything else []
    verdicts = {run.folder.name: run for run in taken(project, *named, tmp_path / "runs")}
    assert verdicts["bad"].verdict == Verdict.REFUSED
    assert why in verdicts["bad"].reason
    assert verdicts["good"].verdict == Verdict.INGESTED
    assert project.count("labels") == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"elements": ["Fe", "Co"]}, "Mn is not among the campaign's elements"),
        ({"ratios": ["1/3"]}, "2/2 is not among the campaign's ratios"),
        ({"host": {"packaged": "nvpf"}, "elements": ["Mn", "V"], "ratios": ["4/4"]}, "a cell of nvpf holds 16 (Na4)"),
    ],
    ids=["element", "ratio", "host"],
)
def test_a_run_of_another_crystal_is_refused_with_the_reason(
    runs: Path, tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    run = only(launched(tmp_path, **changes), runs / MIXED)
    assert run.verdict == Verdict.REFUSED
    assert why in run.reason


def test_a_run_that_began_elsewhere_has_no_energy_before_relaxation(tmp_path: Path) -> None:
    moved = unrelaxed(MIXED)
    moved.perturb(0.1)
    run = only(launched(tmp_path / "project"), finish_run(tmp_path / "run", moved, quick_preset()))
    assert run.verdict == Verdict.REFUSED
    assert f"off the unrelaxed {MIXED}" in run.reason


def test_an_unconverged_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = finish_run(tmp_path / "ions", unrelaxed(MIXED), quick_preset(), {"NSW = 99": "NSW = 1"})
    monkeypatch.setenv(FAULTS, '{"faults": [{"kind": "unconverged_electronic", "step": 1}]}')
    electrons = finish_run(tmp_path / "electrons", unrelaxed(IRON), quick_preset())
    found = taken(launched(tmp_path / "project"), folder, electrons)
    assert [run.verdict for run in found] == [Verdict.REFUSED] * 2
    assert all("did not converge" in run.reason for run in found)


def test_copies_are_recognised(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / MIXED, tmp_path / "runs" / "a")
    shutil.copytree(runs / MIXED, tmp_path / "runs" / "b")
    (tmp_path / "runs" / "b" / "vasprun.xml.gz").write_bytes(gzip.compress((runs / MIXED / "vasprun.xml").read_bytes()))
    (tmp_path / "runs" / "b" / "vasprun.xml").unlink()
    finish_run(tmp_path / "runs" / "c", unrelaxed(MIXED), quick_preset(), {"EDIFFG = -0.9": "EDIFFG = -0.8"})
    project = launched(tmp_path / "project")
    first, copy, again = taken(project, tmp_path / "runs", tmp_path / "runs" / "a")
    assert [first.verdict, copy.verdict, again.verdict] == [Verdict.INGESTED, Verdict.KNOWN, Verdict.KNOWN]
    assert "the same run as in" in copy.reason
    assert "which went first" in again.reason
    assert project.count("labels") == 1


def test_missing_references_are_named_with_the_remedy(runs: Path, tmp_path: Path) -> None:
    run = only(launched(tmp_path, references=False), runs / IRON)
    assert run.verdict == Verdict.REFUSED
    assert "no reference energy of Fe, Li, O, P" in run.reason
    assert "cflow run" in run.reason


def context_of(project: Project) -> StageContext:
    return StageContext(project, transitions.read_campaign(project, "trial"), LAWFUL)


def test_while_labelling_an_ingested_label_joins_the_round(runs: Path, tmp_path: Path) -> None:
    project = launched(tmp_path, labels={"total": 6}, elements=["Mn", "Fe"])
    before = LabelStage(context_of(project)).wanted()
    taken(project, runs)
    stage = LabelStage(context_of(project))
    assert stage.wanted()[: len(before)] == before
    assert set(stage.wanted()) == {*before, MIXED, IRON, EMPTIED}
    assert len(set(stage.wanted())) == len(stage.wanted())
    assert set(stage.settled()) == {MIXED, IRON, EMPTIED}
    assert label_of(project, MIXED).round == 0
    assert spent(stage.context) == 0.0  # another has paid for it


def test_what_is_trained_on_holds_the_ingested_labels(runs: Path, tmp_path: Path) -> None:
    project = launched(tmp_path)
    taken(project, runs)
    campaign = transitions.read_campaign(project, "trial")
    transitions.enter_stage(project, campaign, Stage.TRAIN, 0)
    rows: list[dict[str, Any]] = []

    def train(*arguments: Any, **_: Any) -> None:
        rows.extend(arguments[5])

    context = replace(context_of(project), recipes=replace(LAWFUL, train=train))
    TrainStage(context).flow(TrainStage(context).wanted()[0])
    assert {row["key"] for row in rows} == {MIXED, IRON, EMPTIED}
    assert all(np.isfinite(row["value"]) for row in rows)


def test_the_job_that_would_compute_it_again_is_put_away(runs: Path, tmp_path: Path) -> None:
    project = launched(tmp_path)
    advance(project, "trial", LAWFUL)
    chosen = LabelStage(context_of(project)).wanted()
    assert IRON in chosen  # unary ones are always chosen
    (job,) = workflow_states(project, "trial", JobKind.LABEL, [IRON])
    assert job.state == "READY"
    only(project, runs / IRON)
    (job,) = workflow_states(project, "trial", JobKind.LABEL, [IRON])
    assert job.state == "ARCHIVED"
    advance(project, "trial", LAWFUL)
    assert len(workflow_states(project, "trial", JobKind.LABEL, [IRON])) == 1


def test_labels_ingested_before_the_choice_take_places_of_it(runs: Path, tmp_path: Path) -> None:
    project = launched(tmp_path, stage=Stage.ENUMERATE)
    taken(project, runs)
    chosen = choose_candidates(context_of(project), 0)
    assert chosen[:3] == sorted((MIXED, IRON, EMPTIED))
    assert len(chosen) == len(set(chosen)) == 8


def test_while_training_they_belong_to_the_next_round(runs: Path, tmp_path: Path) -> None:
    project = launched(tmp_path, stage=Stage.TRAIN, labels={"total": 12, "rounds": 2})
    before = transitions.read_campaign(project, "trial").selections["0"]
    found = taken(project, runs)
    campaign = transitions.read_campaign(project, "trial")
    assert campaign.selections["0"] == before
    new = [run.key for run in found if run.verdict == Verdict.INGESTED]
    assert campaign.selections["1"] == new
    assert all(label_of(project, key).round == 1 for key in new)
    left_out = [run for run in found if run.verdict == Verdict.REFUSED]
    assert all("trained without it" in run.reason for run in left_out)
    assert {run.key for run in left_out} == {MIXED, IRON, EMPTIED} & set(before)


@pytest.mark.parametrize("stage", [Stage.TRAIN, Stage.SCREEN, Stage.VALIDATE, Stage.DONE])
def test_after_the_last_training_began_it_is_refused_with_the_remedy(runs: Path, tmp_path: Path, stage: Stage) -> None:
    project = launched(tmp_path, stage=stage)
    with pytest.raises(CampaignError, match="launch one of another name and ingest before it trains"):
        taken(project, runs)


def test_campaigns_of_engines_that_leave_no_such_runs_are_refused(runs: Path, tmp_path: Path) -> None:
    project = launched(tmp_path, engine={"name": "pair"}, references=False)
    with pytest.raises(CampaignError, match="never mixed"):
        taken(project, runs)


def test_what_a_stand_in_ran_never_enters_a_campaign_of_vasp(runs: Path, tmp_path: Path) -> None:
    project = launched(tmp_path, engine={"name": "vasp", "parameters": {"overrides": dict(QUICK)}})
    run = only(project, runs / MIXED)
    assert run.verdict == Verdict.REFUSED
    assert "a stand-in ran it, not VASP" in run.reason


def test_a_run_that_custodian_moved_on_keeps_the_energy_of_its_beginning(runs: Path, tmp_path: Path) -> None:
    """custodian starts again from CONTCAR after ZBRENT; the unrelaxed cell is in what it packed away."""
    import tarfile

    shutil.copytree(runs / MIXED, tmp_path / "first")
    moved = Structure.from_file(tmp_path / "first" / "CONTCAR")
    moved.perturb(0.05)
    folder = finish_run(tmp_path / "run", moved, quick_preset())
    with tarfile.open(folder / "error.1.tar.gz", "w:gz") as packed:
        packed.add(tmp_path / "first" / "vasprun.xml", "error.1/vasprun.xml")
    project = launched(tmp_path / "project")
    assert only(project, folder).verdict == Verdict.INGESTED
    label = label_of(project, MIXED)
    assert label.relaxation is not None
    assert label.relaxation.correction.uncorrected_before == pytest.approx(xml_energies(tmp_path / "first")[0])
    assert label.relaxation.correction.uncorrected_after == pytest.approx(xml_energies(folder)[-1])


def test_the_preset_of_the_paper_is_held_to_the_letter(tmp_path: Path, runs: Path) -> None:
    project = launched(tmp_path, engine={"name": "rehearsal", "model": "pair", "parameters": {"preset": "s2_relax"}})
    run = only(project, runs / MIXED)
    assert run.verdict == Verdict.REFUSED
    assert load_preset("s2_relax").incar_values["ENCUT"] == 520


def test_a_campaign_ends_with_the_labels_ingested_on_its_way(tmp_path: Path) -> None:
    """Two rounds of six: one label comes in while the first trains, and takes one of the second's places."""
    project = world.launch(tmp_path, definition())
    while transitions.read_campaign(project, "trial").stage != Stage.TRAIN:
        advance(project, "trial", LAWFUL)
        while world.work_one(project):
            pass
    campaign = transitions.read_campaign(project, "trial")
    assert len(campaign.selections["0"]) == 6
    candidates = [document["key"] for document in project.database["candidates"].find({"elements": ["V", "Mo"]})]
    key = next(key for key in candidates if key not in campaign.selections["0"])
    parts = parse_candidate_key(key)
    model = LabelRecord.from_mongo(project.database["labels"].find_one({"outcome": "done"}))
    changes = {"id": f"trial/{key}", "key": key, "mask": parts.mask, "level": parts.level, "folder": "elsewhere"}
    composition = {"elements": ["V", "Mo"], "counts": [4, 4], "composition": "V4Mo4"}
    origin = model.origin.model_copy(update={"job_uuid": None, "fw_id": None})
    label = model.model_copy(update=changes | composition | {"origin": origin})
    assert transitions.ingest_label(project, label)
    assert not transitions.ingest_label(project, label)
    assert transitions.read_campaign(project, "trial").selections["1"] == [key]

    ended = world.run_to_end(project)
    assert ended.state == CampaignState.DONE
    assert ended.selections["1"][0] == key
    assert {number: len(set(keys)) for number, keys in ended.selections.items()} == {"0": 6, "1": 6}
    assert not set(ended.selections["0"]) & set(ended.selections["1"])
    trained = {entry["round"]: entry["n_train"] + entry["n_held_out"] for entry in project.database["models"].find({})}
    assert trained == {0: 6, 1: 12}
    assert project.database["labels"].count_documents({"purpose": "training"}) == 12
