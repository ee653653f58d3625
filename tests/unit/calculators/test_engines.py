"""Engines by name: refusals, provenance and rehearsed failures."""

from __future__ import annotations

import pytest
import torch

from cathodeflow.calculators.engines import engine, provenance, relaxation_settings
from cathodeflow.calculators.potentials.relaxation import RelaxationSettings
from cathodeflow.calculators.threads import limit_threads, threads_of_one_program
from cathodeflow.dispatch.worker import THREAD_VARIABLES, give_threads
from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.science.hosts.candidates import decorate
from cathodeflow.science.hosts.host import load_packaged_host

HOST = load_packaged_host("lifepo4")


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"name": "gaussian"}, "no engine 'gaussian'"),
        ({"name": "vasp", "max_force": 0.05}, "override incar.EDIFFG"),
        ({"name": "rehearsal", "max_steps": 9}, "override incar.NSW"),
        ({"name": "vasp", "parameters": {"preset": "s9"}}, "no VASP preset 's9'"),
        ({"name": "vasp", "parameters": {"preset": "s0_static"}}, "of stage static"),
        ({"name": "vasp", "parameters": {"reference_preset": "s0_pdos"}}, "of stage static"),
        ({"name": "vasp", "parameters": {"overrides": {"incar.ENCAT": 1}}}, "no INCAR tag 'ENCAT'"),
        ({"name": "vasp", "parameters": {"overrides": {"incar.EDIFFG": 0.001}}}, "EDIFFG must be negative"),
        ({"name": "vasp", "parameters": {"overrides": {"incar.NSW": 0}}}, "NSW must be at least 1"),
        ({"name": "vasp", "parameters": {"overrides": {"hubbard_u.V": 4.0}}}, "override corrections to none"),
        ({"name": "vasp", "parameters": {"overrides": ["incar.ENCUT"]}}, "overrides must map keys"),
        ({"name": "vasp", "parameters": {"double_relax": "yes"}}, "double_relax must be true or false"),
        ({"name": "vasp", "parameters": {"wall_time_s": 0}}, "wall_time_s must be a positive whole number"),
        ({"name": "vasp", "parameters": {"faults": {}}}, r"'faults' \(of engine rehearsal\)"),
        ({"name": "mlff", "model": "mace"}, "no model 'mace'"),
        ({"name": "mlff", "parameters": {"fail_compositions": ["Fe4"]}}, "knows no parameter 'fail_compositions'"),
        ({"name": "mlff", "parameters": {"optimizer": "CG"}}, "no optimizer 'CG'"),
        ({"name": "pair", "parameters": {"speed": 1}}, "knows no parameter 'speed'"),
    ],
)
def test_what_does_not_exist_is_refused(definition, said):
    with pytest.raises(DefinitionError, match=said):
        engine(definition)


def test_what_a_definition_leaves_empty_is_the_default():
    assert engine({"name": None, "model": None, "parameters": None}).provenance == "mlff:chgnet-0.3.0"


def test_provenance_names_the_weights():
    assert provenance({"name": "mlff"}) == "mlff:chgnet-0.3.0"
    assert provenance({"name": "mlff", "model": "chgnet-r2scan"}) == "mlff:chgnet-r2scan"
    assert provenance({"name": "pair"}) == "pair"


def test_only_the_named_composition_fails():
    rehearsed = engine({"name": "pair", "max_force": 1.0, "parameters": {"fail_compositions": ["Fe2Mo2"]}})
    with pytest.raises(CalculationError, match="Fe2Mo2"):
        rehearsed.relax(decorate(HOST.level("Li1"), ["Fe", "Mo"], 0b0011))
    assert rehearsed.relax(decorate(HOST.level("Li1"), ["Fe", "Mo"], 0b0001)).energy_after < 0


def test_a_worker_keeps_to_its_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(2)
    relaxed = engine({"name": "pair", "max_force": 1.0}).relax(decorate(HOST.level("Li1"), ["Fe"], 0))
    assert torch.get_num_threads() == relaxed.cores == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    relaxed = engine({"name": "pair", "max_force": 1.0}).relax(decorate(HOST.level("Li1"), ["Fe"], 0))
    assert torch.get_num_threads() == relaxed.cores == 2, "core-hours are wall time times these"
    torch.set_num_threads(1)


def test_jobs_have_the_threads_that_their_worker_was_given(monkeypatch):
    before = torch.get_num_threads()
    for name in (*THREAD_VARIABLES, "CATHODEFLOW_THREADS_PER_WORKER"):
        monkeypatch.setenv(name, "1")
    give_threads(3)  # as a site with cores for three does
    assert limit_threads() == torch.get_num_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("CATHODEFLOW_THREADS_PER_WORKER", "2")
    assert limit_threads() == 2, "no worker: the setting"
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("ranks", "on_node", "bound", "expected"),
    [(None, None, 64, 2), ("1", "16", 16, 2), ("48", "48", 48, 48), ("96", "48", 64, 48), ("48", "48", 1, 2)],
)
def test_a_program_without_ranks_has_the_cores_of_all_ranks_on_its_node(monkeypatch, ranks, on_node, bound, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    for name, value in (("SLURM_NTASKS", ranks), ("SLURM_CPUS_ON_NODE", on_node)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(bound)))
    assert threads_of_one_program() == expected


def test_too_few_steps_are_told():
    relaxed = engine({"name": "pair", "max_force": 1e-6, "max_steps": 3}).relax(
        decorate(HOST.level("Li1"), ["Fe", "Mo"], 0b0011)
    )
    assert not relaxed.converged
    assert relaxed.steps <= 4


def test_settings_left_out_are_the_engines_own():
    assert relaxation_settings({"name": "mlff", "max_force": None, "max_steps": None}) == RelaxationSettings(0.05, 500)
    assert relaxation_settings({"name": "pair", "max_force": 0.1}) == RelaxationSettings(0.1, 500)
    assert relaxation_settings({"name": "vasp", "max_force": None}) == RelaxationSettings(0.01, 99)
    changed = {"overrides": {"incar.EDIFFG": -0.02, "incar.NSW": 40}}
    assert relaxation_settings({"name": "rehearsal", "parameters": changed}) == RelaxationSettings(0.02, 40)


def of_vasp(name="vasp", model="chgnet-0.3.0", **parameters):
    return provenance({"name": name, "model": model, "parameters": parameters})


def test_provenance_of_vasp_holds_all_that_changes_energies_and_nothing_else():
    assert of_vasp() == "vasp:s0_relax"
    assert of_vasp(preset="s2_relax") == "vasp:s2_relax"
    assert of_vasp("rehearsal", "pair") == "rehearsal:pair:s0_relax"
    silent = {"overrides": {"incar.NCORE": 4, "incar.LCHARG": True, "incar.ENCUT": 550.0}}
    assert of_vasp(**silent, high_energy=True, wall_time_s=60, frozen_s=60, cores=8) == "vasp:s0_relax"
    loud = [
        {"overrides": {"incar.ENCUT": 600}},
        {"overrides": {"incar.ENCUT": 601}},
        {"overrides": {"hubbard_u.V": 4.0, "corrections": "none"}},
        {"reference_preset": "s2_relax"},
        {"double_relax": True},
    ]
    found = {of_vasp(**parameters) for parameters in loud}
    assert len(found) == len(loud)
    assert all(len(name) == len("vasp:s0_relax+") + 8 for name in found)
    section = {"overrides": {"incar.ENCUT": 600, "incar.EDIFFG": -0.02}}
    assert of_vasp(**section).removeprefix("vasp:") == of_vasp("rehearsal", "pair", **section).removeprefix(
        "rehearsal:pair:"
    )


def test_overrides_of_a_campaign_are_told():
    (override,) = engine({"name": "vasp", "parameters": {"overrides": {"incar.ENCUT": 600}}}).overrides
    assert (override.key, override.preset_value, override.value) == ("incar.ENCUT", 550.0, 600.0)
