"""Engines by name: refusals, provenance and rehearsed failures."""

from __future__ import annotations

import pytest
import torch

from cathodeflow.calculators.engines import engine, provenance
from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.science.hosts.candidates import decorate
from cathodeflow.science.hosts.host import load_packaged_host

HOST = load_packaged_host("lifepo4")


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"name": "vasp"}, "no engine 'vasp'"),
        ({"name": "mlff", "model": "mace"}, "no model 'mace'"),
        ({"name": "mlff", "parameters": {"fail_compositions": ["Fe4"]}}, "knows no parameter 'fail_compositions'"),
        ({"name": "mlff", "parameters": {"optimizer": "CG"}}, "no optimizer 'CG'"),
        ({"name": "pair", "parameters": {"speed": 1}}, "knows no parameter 'speed'"),
    ],
)
def test_what_does_not_exist_is_refused(definition, said):
    with pytest.raises(DefinitionError, match=said):
        engine(definition)


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
    monkeypatch.setenv("CATHODEFLOW_THREADS_PER_WORKER", "1")
    torch.set_num_threads(2)
    engine({"name": "pair", "max_force": 1.0}).relax(decorate(HOST.level("Li1"), ["Fe"], 0))
    assert torch.get_num_threads() == 1


def test_too_few_steps_are_told():
    relaxed = engine({"name": "pair", "max_force": 1e-6, "max_steps": 3}).relax(
        decorate(HOST.level("Li1"), ["Fe", "Mo"], 0b0011)
    )
    assert not relaxed.converged
    assert relaxed.steps <= 4
