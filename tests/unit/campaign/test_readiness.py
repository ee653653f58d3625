from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from tests.campaign_world import definition

from cathodeflow.calculators.vasp import requirements
from cathodeflow.calculators.vasp.materials_project import potcar_symbol
from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.campaign.readiness import lacks, missing_network, require_ready, vasp_command
from cathodeflow.errors import MissingDependencyError
from cathodeflow.science.hosts.host import load_packaged_host

ELEMENTS = ("Fe", "Li", "Mn", "O", "P")
BRANCHES = ["pdos", "gap", "bonding", "bader", "density_difference"]
HOST = load_packaged_host("lifepo4")


def wanted(**changes: Any) -> CampaignDefinition:
    fields = {
        "host": {"packaged": "lifepo4"},
        "elements": ["Fe", "Mn"],
        "ratios": "all",
        "engine": {"name": "vasp"},
        "followups": {"branches": BRANCHES},
        "screening": {},
    }
    return definition(**(fields | changes))


class Machine:
    """A machine that lacks nothing until something is taken away."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bin, self.library = folder / "bin", folder / "library"
        for folder_ in (self.bin, self.library / "POT_GGA_PAW_PBE"):
            folder_.mkdir(parents=True)
        for name in ("vasp_std", "lobster", "bader"):
            (self.bin / name).write_text("#!/bin/sh\n")
            (self.bin / name).chmod(0o755)
        for element in ELEMENTS:
            self.put_potcar(element, "PE")
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setenv("PMG_VASP_PSP_DIR", str(self.library))
        monkeypatch.setenv("ATOMATE2_VASP_CMD", "vasp_std")

    def potcar(self, element: str) -> Path:
        return self.library / "POT_GGA_PAW_PBE" / f"POTCAR.{potcar_symbol(element)}.gz"

    def put_potcar(self, element: str, exchange: str) -> None:
        with gzip.open(self.potcar(element), "wt") as file:
            file.write(f"  PAW_PBE {potcar_symbol(element)}\n   LEXCH  = {exchange}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def stopped(asked: CampaignDefinition) -> dict[str, tuple[str, ...]]:
    return {lack.subject: lack.stops for lack in lacks(asked, HOST)}


ALL = ("relaxations", *BRANCHES)


def test_a_whole_machine_lacks_nothing(machine: Machine) -> None:
    assert lacks(wanted(), HOST) == []
    require_ready(wanted(), HOST)


def test_without_vasp_nothing_can_run(machine: Machine) -> None:
    (machine.bin / "vasp_std").unlink()
    assert stopped(wanted()) == {"VASP": ALL}


def test_the_command_that_starts_vasp_is_asked_now(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATOMATE2_VASP_CMD", "srun vasp_std")
    assert vasp_command() == "srun vasp_std"
    assert [lack.problem for lack in lacks(wanted(), HOST)] == ["there is no srun on the path"]


def test_without_a_library_nothing_can_run(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(machine.library / "nowhere"))
    assert stopped(wanted()) == {"POTCAR library": ALL}


def test_each_missing_potcar_is_named_once(machine: Machine) -> None:
    machine.potcar("Mn").unlink()
    assert stopped(wanted()) == {f"POTCAR {potcar_symbol('Mn')}": ALL}
    assert stopped(wanted(elements=["Fe"])) == {}


def test_a_potcar_of_the_wrong_functional_is_named(machine: Machine) -> None:
    machine.put_potcar("Fe", "CA")
    (lack,) = lacks(wanted(), HOST)
    assert (lack.subject, lack.problem) == (f"POTCAR {potcar_symbol('Fe')}", "its functional is CA, not PE")


def test_potcars_that_only_a_follow_up_needs_are_looked_for(machine: Machine) -> None:
    asked = wanted(followups={"branches": ["pdos"], "overrides": {"static.potcar_symbols.Fe": "Fe_sv"}})
    assert stopped(asked) == {"POTCAR Fe_sv": ("relaxations", "pdos")}
    assert stopped(wanted(followups={"overrides": {"static.potcar_symbols.Fe": "Fe_sv"}})) == {}


def test_follow_ups_look_for_the_potcars_that_the_labels_override(machine: Machine) -> None:
    default = potcar_symbol("Li")
    machine.potcar("Li").rename(machine.potcar("Li").with_name("POTCAR.Li.gz"))
    engine = {"name": "vasp", "parameters": {"overrides": {"potcar_symbols.Li": "Li", "corrections": "none"}}}
    assert default != "Li"
    assert stopped(wanted(engine=engine)) == {}  # no run reads the default, those of the follow-ups neither
    own = {"branches": ["pdos"], "overrides": {"static.potcar_symbols.Li": default}}
    assert stopped(wanted(engine=engine, followups=own)) == {f"POTCAR {default}": ("relaxations", "pdos")}


def test_without_lobster_only_bonding_is_stopped_and_only_where_it_is_asked_for(machine: Machine) -> None:
    (machine.bin / "lobster").unlink()
    assert stopped(wanted()) == {"LOBSTER": ("bonding",)}
    assert stopped(wanted(followups={"branches": ["gap", "bader"]})) == {}


def test_without_bader_and_pybader_only_charges_are_stopped(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.bin / "bader").unlink()
    assert stopped(wanted()) == {}  # pybader does as well
    monkeypatch.setattr(requirements.importlib.util, "find_spec", lambda _: None)
    assert stopped(wanted()) == {"Bader": ("bader",)}


@pytest.mark.parametrize("engine", ["rehearsal", "mlff", "pair"])
def test_other_engines_need_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)
    followups = {"branches": BRANCHES} if engine == "rehearsal" else {}
    assert lacks(wanted(engine={"name": engine}, followups=followups), HOST) == []


def test_the_refusal_names_each_thing_its_remedy_and_the_way_round(machine: Machine) -> None:
    (machine.bin / "lobster").unlink()
    machine.potcar("Mn").unlink()
    with pytest.raises(MissingDependencyError) as refused:
        require_ready(wanted(), HOST)
    said = str(refused.value)
    assert "LOBSTER: there is no lobster on the path, which stops the follow-up branch bonding; install it" in said
    assert f"POTCAR {potcar_symbol('Mn')}" in said
    assert "which stops relaxations and all that follows" in said
    assert "--workers-elsewhere" in said


def test_a_network_that_is_not_installed_is_a_warning_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATHODEFLOW_CACHE_DIR", str(tmp_path))
    assert "cflow model install megnet-2019" in (missing_network(wanted()) or "")
    assert missing_network(wanted(surrogate={"pretrained": "M3GNet-some-hub-name"})) is None
