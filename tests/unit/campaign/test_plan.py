from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.campaign_world import definition, launch

from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.campaign.dft_plan import Calibration, price_of
from cathodeflow.campaign.plan import Plan, make_plan
from cathodeflow.campaign.unit_costs import UnitCosts, measured_dft_costs
from cathodeflow.records.crystal import Crystal
from cathodeflow.records.document import now
from cathodeflow.science.hosts.host import Host, load_packaged_host
from cathodeflow.storage.connection import Project

BRANCHES = ["pdos", "gap", "bonding", "bader", "density_difference"]
VASP = {"name": "vasp"}
REHEARSAL = {"name": "rehearsal", "model": "pair"}


@pytest.fixture(scope="module")
def host() -> Host:
    return load_packaged_host("nvpf")


@pytest.fixture(scope="module")
def wanted() -> CampaignDefinition:
    return definition(engine=VASP, followups={"branches": BRANCHES})


@pytest.fixture(scope="module")
def planned(wanted: CampaignDefinition, host: Host) -> Plan:
    return make_plan(wanted, host)


def rows_of(plan: Plan) -> dict[tuple[str, str], Any]:
    return {(row.stage, row.kind): row for row in plan.dft}


def test_the_table_adds_up_to_the_stages_hours(planned: Plan):
    by_stage: dict[str, float] = {}
    for row in planned.dft:
        by_stage[row.stage] = by_stage.get(row.stage, 0.0) + row.core_hours
    assert {"reference", "label", "validate", "follow_up"} == set(by_stage)
    for stage, hours in by_stage.items():
        assert planned.core_hours[stage] == pytest.approx(hours)


def test_jobs_count_every_branch_of_every_validated_candidate(planned: Plan):
    validated = 3 * 4  # V8, and of Mo8 and V4Mo4 both: there are no four to be the best
    assert planned.jobs["validation"] == validated
    assert planned.jobs["follow_up"] == validated * 6
    rows = rows_of(planned)
    assert [rows["follow_up", branch].jobs for branch in ("static", *BRANCHES)] == [validated] * 6
    assert rows["label", "relaxation"].jobs == planned.jobs["label"] == 12


def test_a_label_costs_about_what_the_paper_says(planned: Plan):
    label = rows_of(planned)["label", "relaxation"]
    assert label.core_hours / label.jobs == pytest.approx(2 * 68, rel=0.25)  # V and Mo, 64 to 76 atoms
    assert label.uncertainty == 3.0
    assert planned.cost_basis == "stated"
    assert planned.example is not None


def test_dense_meshes_and_exact_exchange_cost_more_than_reading(planned: Plan):
    hours = {kind: row.core_hours / row.jobs for (_, kind), row in rows_of(planned).items()}
    assert hours["gap"] > hours["static"] > hours["relaxation"] > hours["bonding"] > hours["bader"]
    assert hours["static"] > hours["density_difference"] / 2 > hours["static"] / 4


def test_retention_frees_most_of_the_disk(planned: Plan):
    for row in planned.dft:
        assert 0 < row.kept_bytes <= row.written_bytes
    static = rows_of(planned)["follow_up", "static"]
    assert static.kept_bytes < 0.1 * static.written_bytes  # WAVECAR goes
    everything = definition(engine=VASP, retention={"labels": ["*"], "zip": False})
    label = rows_of(make_plan(everything, load_packaged_host("nvpf")))["label", "relaxation"]
    assert 0.95 * label.written_bytes < label.kept_bytes < label.written_bytes  # POTCARs are never kept


def test_overrides_change_the_cost(wanted: CampaignDefinition, host: Host):
    coarse = wanted.model_copy(
        update={"followups": wanted.followups.model_copy(update={"overrides": {"static.kpoints.grid": [2, 2, 2]}})}
    )
    dense, less = (rows_of(make_plan(d, host))["follow_up", "static"].core_hours for d in (wanted, coarse))
    assert less == pytest.approx(dense * 8 / 36)  # of 8 and 64 points, what time reversal leaves


def test_follow_ups_are_priced_with_the_potcars_of_the_labels(host: Host):
    """Na_sv brings LOBSTER's basis a function more than Na_pv, and so the static run a band."""
    engine = VASP | {"parameters": {"overrides": {"potcar_symbols.Na": "Na_sv", "corrections": "none"}}}
    inherited, said, other = (
        rows_of(make_plan(definition(engine=engine, followups={"branches": ["bonding"], "overrides": overrides}), host))
        for overrides in ({}, {"static.potcar_symbols.Na": "Na_sv"}, {"static.potcar_symbols.Na": "Na_pv"})
    )
    row = "follow_up", "static"
    assert inherited[row].core_hours == said[row].core_hours > other[row].core_hours


def test_more_processors_a_run_cost_more_core_hours(wanted: CampaignDefinition, host: Host, planned: Plan):
    more = make_plan(wanted, host, cores_per_run=272)
    assert (planned.cores_per_run, more.cores_per_run) == (68, 272)
    assert more.total_core_hours > planned.total_core_hours
    own = definition(engine=VASP | {"parameters": {"cores": 32}})
    assert make_plan(own, host).cores_per_run == 32


def test_the_rehearsal_has_costs_of_its_own(wanted: CampaignDefinition, host: Host, planned: Plan):
    rehearsed = make_plan(wanted.model_copy(update={"engine": definition(engine=REHEARSAL).engine}), host)
    assert rehearsed.jobs == planned.jobs
    assert rehearsed.total_core_hours < 0.01 * planned.total_core_hours
    assert rehearsed.example is None
    # A stub for WAVECAR, and a density on a coarser grid.
    static = ("follow_up", "static")
    assert rows_of(rehearsed)[static].written_bytes < 0.3 * rows_of(planned)[static].written_bytes
    assert rehearsed.cores_per_run == 1


@pytest.mark.parametrize("engine", [{"name": "mlff"}, {"name": "pair"}])
def test_potentials_are_planned_by_their_calls(host: Host, engine: dict[str, Any]):
    """12 labels of 70 atoms, 40 calls of 0.15 s for 72 each: what this said before there was VASP."""
    plan = make_plan(definition(engine=engine | {"max_force": 0.05}), host, UnitCosts(job_overhead_s=0.0))
    assert plan.dft == ()
    assert plan.example is None
    assert "follow_up" not in plan.jobs
    assert plan.core_hours["label"] * 3600 == pytest.approx(12 * 40 * 0.15 * 70 / 72)
    assert plan.core_hours["validate"] * 3600 == pytest.approx(12 * 40 * 0.15 * 70 / 72)
    assert list(plan.core_hours) == ["reference", "label", "train", "predict", "screen", "validate"]


def test_what_was_measured_scales_its_own_kind(wanted: CampaignDefinition, host: Host, planned: Plan):
    measured = {"relaxation": Calibration(0.25, 7, 1.3), "gap": Calibration(2.0, 3, 1.4)}
    plan = make_plan(wanted, host, measured=measured)
    before, after = rows_of(planned), rows_of(plan)
    label, gap, static = ("label", "relaxation"), ("follow_up", "gap"), ("follow_up", "static")
    assert after[label].core_hours == pytest.approx(0.25 * before[label].core_hours)
    assert (after[label].uncertainty, after[gap].uncertainty) == (1.3, 1.4)
    assert after[gap].core_hours == pytest.approx(2.0 * before[gap].core_hours)
    # Nothing static was measured: the same processors, so the scale of the relaxations, still as uncertain.
    assert after[static].core_hours == pytest.approx(0.25 * before[static].core_hours)
    assert after[static].uncertainty == 3.0
    assert plan.cost_basis == "measured on 7 runs of kind relaxation, 3 runs of kind gap"


def label_document(key: str, crystal: Crystal, provenance: str, wall_s: float, cores: int) -> Mapping[str, Any]:
    relaxation = {"crystal": crystal.model_dump(), "wall_s": wall_s, "cores": cores, "steps": 5, "n_atoms": 72}
    return {
        "_id": f"trial/{key}",
        "campaign": "trial",
        "key": key,
        "outcome": "done",
        "relaxation": relaxation,
        "origin": {"provenance": provenance},
        "created_at": now(),
    }


@pytest.fixture
def project(tmp_path: Path, host: Host) -> Project:
    """Three relaxations with VASP, each 40 % slower than the model, two of them with a static run; one rehearsed.

    One static run is recorded with processors of its own, the other as before these were kept.
    """
    wanted = definition(engine=VASP, followups={"branches": BRANCHES})
    project = launch(tmp_path, wanted)
    structure = host.level("Na3").structure
    crystal = Crystal.from_structure(structure)
    expected = price_of(wanted, "relaxation", structure, "Na", 16)
    for number, factor in enumerate((1.2, 1.4, 1.6)):
        document = label_document(f"k{number}", crystal, "vasp:s0_relax", factor * expected / 16, 16)
        project.database["labels"].insert_one(document)
    project.database["labels"].insert_one(label_document("r", crystal, "rehearsal:pair:s0_relax", 3.0, 1))
    static = price_of(wanted, "static", structure, "Na", 16)
    follow_up = {"campaign": "trial", "key": "k0", "branch": "static", "outcome": "done", "wall_s": 3 * static / 16}
    project.database["follow_ups"].insert_one({"_id": "trial/k0/static", **follow_up})
    own = follow_up | {"key": "k1", "wall_s": 3 * price_of(wanted, "static", structure, "Na", 4) / 4, "cores": 4}
    project.database["follow_ups"].insert_one({"_id": "trial/k1/static", **own})
    rehearsed = {"campaign": "trial", "key": "r", "branch": "static", "outcome": "done", "wall_s": 9.0}
    project.database["follow_ups"].insert_one({"_id": "trial/r/static", **rehearsed})
    return project


def test_costs_are_measured_per_kind_and_never_across_engines(project: Project, wanted: CampaignDefinition):
    found = measured_dft_costs(project, wanted, "Na")
    assert found["relaxation"].ratio == pytest.approx(1.4)
    assert (found["relaxation"].count, found["relaxation"].spread) == (3, 1.2)
    assert (found["static"].ratio, found["static"].count) == (pytest.approx(3.0), 2)
    assert set(found) == {"relaxation", "static"}
    rehearsed = wanted.model_copy(update={"engine": definition(engine=REHEARSAL).engine})
    of_rehearsal = measured_dft_costs(project, rehearsed, "Na")
    assert {kind: one.count for kind, one in of_rehearsal.items()} == {"relaxation": 1, "static": 1}
    assert of_rehearsal["relaxation"].ratio == pytest.approx(3.0 / price_of(rehearsed, "relaxation", *_any(project)))


def test_a_metal_without_a_hybrid_run_says_nothing_of_what_one_costs(project: Project, wanted: CampaignDefinition):
    structure = Crystal.model_validate(
        project.database["labels"].find_one({"key": "k0"})["relaxation"]["crystal"]
    ).to_structure()
    costs = {"k0": 2 * price_of(wanted, "gap", structure, "Na", 16) / 16, "k1": 1.0}
    for key, presets in (("k0", ["s0_hse_band_edges"]), ("k1", [])):
        found = {"campaign": "trial", "key": key, "branch": "gap", "outcome": "done", "wall_s": costs[key]}
        project.database["follow_ups"].insert_one({"_id": f"trial/{key}/gap", "presets": presets, **found})
    gap = measured_dft_costs(project, wanted, "Na")["gap"]
    assert (gap.ratio, gap.count) == (pytest.approx(2.0), 1)


def _any(project: Project) -> tuple[Any, str, int]:
    crystal = project.database["labels"].find_one({"key": "r"})["relaxation"]["crystal"]
    return Crystal.model_validate(crystal).to_structure(), "Na", 1
