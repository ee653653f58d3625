from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cathodeflow.calculators.pretrained.megnet_2019 import weights_path
from cathodeflow.cli import diagnosis, fresh_process
from cathodeflow.cli.diagnosis import Health, check_engines, check_models, check_project, check_python, check_workers
from cathodeflow.cli.fresh_process import FreshProcess
from cathodeflow.errors import MissingDependencyError
from cathodeflow.storage.connection import create_project

Cflow = Callable[..., Any]


def by_name(checks: Any) -> dict[str, diagnosis.Check]:
    return {check.name: check for check in checks}


def test_this_environment_is_whole():
    found = by_name(check_python())
    assert {check.health for check in found.values()} == {Health.OK}
    assert "chgnet" in found["packages"].found


def test_a_package_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch):
    lines = ["numpy<1.0", "no-such-package>=1", "pytest>=8; extra == 'dev'"]
    monkeypatch.setattr(diagnosis.metadata, "requires", lambda _: lines)
    packages = by_name(check_python())["packages"]
    assert packages.health == Health.BROKEN
    assert "is outside <1.0" in packages.found
    assert "no-such-package is not installed" in packages.found
    assert "pytest" not in packages.found


def test_a_healthy_project_and_its_store(tmp_path: Path):
    create_project(tmp_path)
    found = by_name(check_project(tmp_path))
    assert {check.health for check in found.values()} == {Health.OK}
    assert "passes its integrity check" in found["store"].found


def test_a_project_that_is_not_there_yet_is_no_fault(tmp_path: Path):
    found = by_name(check_project(tmp_path / "new" / "folder"))
    assert found["folder"].health == Health.OK
    assert found["store"].health == Health.OFF


def test_a_server_that_does_not_answer_is_broken_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CATHODEFLOW_STORE_TIMEOUT_S", "0.5")
    said = {"store": "mongodb", "uri": "mongodb://127.0.0.1:9/x", "password_variable": "CATHODEFLOW_STORE_PASSWORD"}
    (tmp_path / "project.json").write_text(json.dumps(said))
    store = by_name(check_project(tmp_path))["store"]
    assert store.health == Health.BROKEN
    assert store.remedy


def test_a_damaged_store_is_broken(tmp_path: Path):
    create_project(tmp_path).insert_missing("events", [{"_id": n, "text": "x" * 500} for n in range(2000)])
    path = tmp_path / "cathodeflow.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(path.read_bytes())
    content[8192 : 8192 * 8] = b"\x5a" * (8192 * 7)
    path.write_bytes(content)
    store = by_name(check_project(tmp_path))["store"]
    assert store.health == Health.BROKEN
    assert store.remedy


def test_little_room_on_the_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diagnosis, "LOW_DISK_BYTES", 1 << 62)
    assert by_name(check_project(tmp_path))["disk"].health == Health.WARNING


def test_missing_weights_say_what_installs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CATHODEFLOW_CACHE_DIR", str(tmp_path))
    assert not weights_path(tmp_path).exists()
    megnet = next(check_models())
    assert (megnet.health, megnet.remedy) == (Health.BROKEN, "cflow model install megnet-2019")


def test_a_job_module_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diagnosis, "_job_modules", lambda: ["cathodeflow.jobs", "cathodeflow.jobs.astrology"])
    found = by_name(check_workers())
    assert set(found) == {"cathodeflow.jobs.astrology"}
    assert found["cathodeflow.jobs.astrology"].health == Health.BROKEN
    assert "FIZZLED" in found["cathodeflow.jobs.astrology"].cost


def test_every_job_module_is_looked_at():
    assert {"cathodeflow.jobs", "cathodeflow.jobs.label"} <= set(diagnosis._job_modules())


@pytest.mark.parametrize("broken", [True, False])
def test_the_exit_code_says_whether_something_needed_is_broken(
    cflow: Cflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, broken: bool
):
    health = Health.BROKEN if broken else Health.OFF
    check = diagnosis.Check("engines", "LOBSTER", health, "absent", "no bonding analysis", "get it")
    monkeypatch.setattr(diagnosis, "all_checks", lambda *_, **__: [("one", lambda: iter([check]))])
    words, data = cflow("doctor", "-p", tmp_path), cflow("doctor", "-p", tmp_path, "--json")
    assert words.exit_code == data.exit_code == int(broken)
    assert "no bonding analysis → get it" in words.stdout
    assert json.loads(data.stdout)["healthy"] is not broken


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no program on its path and no POTCARs."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)
    monkeypatch.delenv("ATOMATE2_VASP_CMD", raising=False)
    return tmp_path


VASP = """\
name: trial
host: {packaged: lifepo4}
elements: [Fe, Mn]
engine: {name: vasp}
labels: {total: 10}
screening: {voltage_windows: {}}
followups: {branches: [gap, bonding]}
"""


def test_engines_that_are_absent_are_off_and_say_what_that_costs(bare: Path):
    found = by_name(check_engines())
    assert {found[name].health for name in ("VASP", "POTCAR library", "LOBSTER")} == {Health.OFF}
    assert all(found[name].cost and found[name].remedy for name in ("VASP", "POTCAR library", "LOBSTER"))
    assert found["rehearsal"].health == Health.OK
    assert "no POTCARs" in found["rehearsal"].found


def test_a_library_says_whose_potcars_it_holds(bare: Path, monkeypatch: pytest.MonkeyPatch):
    (bare / "library" / "POT_GGA_PAW_PBE_54").mkdir(parents=True)
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(bare / "library"))
    library = by_name(check_engines())["POTCAR library"]
    assert (library.health, library.found) == (Health.OK, f"{bare / 'library'} with PBE_54")


def only_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = diagnosis.all_checks
    monkeypatch.setattr(
        diagnosis, "all_checks", lambda *a, **k: [c for c in everything(*a, **k) if c[0] == "definition"]
    )


def test_what_a_definition_needs_and_this_machine_lacks_is_broken(
    cflow: Cflow, bare: Path, monkeypatch: pytest.MonkeyPatch
):
    only_the_definition(monkeypatch)
    (bare / "campaign.yaml").write_text(VASP)
    result = cflow("doctor", bare / "campaign.yaml", "-p", bare, "--json")
    assert result.exit_code == 1
    found = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert {name for name, check in found.items() if check["health"] == "broken"} >= {
        "VASP",
        "POTCAR library",
        "LOBSTER",
    }
    assert "the follow-up branch bonding" in found["LOBSTER"]["cost"]
    assert "--workers-elsewhere" in found["LOBSTER"]["cost"]


def test_a_rehearsal_of_the_same_definition_needs_nothing(cflow: Cflow, bare: Path, monkeypatch: pytest.MonkeyPatch):
    only_the_definition(monkeypatch)
    (bare / "campaign.yaml").write_text(VASP.replace("name: vasp", "name: rehearsal"))
    result = cflow("doctor", bare / "campaign.yaml", "-p", bare, "--json")
    found = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert found["engine rehearsal"]["health"] == "ok"
    assert {check["health"] for name, check in found.items() if name != "network"} == {"ok"}


def test_launch_refuses_what_cannot_run_and_writes_nothing(cflow: Cflow, bare: Path):
    (bare / "campaign.yaml").write_text(VASP)
    for more in ((), ("--dry-run",)):
        with pytest.raises(MissingDependencyError, match=r"the follow-up branch bonding.*--workers-elsewhere"):
            cflow("launch", bare / "campaign.yaml", "-p", bare / "project", *more)
        assert not (bare / "project").exists()


def test_launch_takes_what_the_workers_machines_can_run(cflow: Cflow, bare: Path):
    (bare / "campaign.yaml").write_text(VASP)
    assert cflow("launch", bare / "campaign.yaml", "-p", bare / "project", "--workers-elsewhere").exit_code == 0
    assert (bare / "project" / "cathodeflow.sqlite").exists()


def test_launch_warns_of_a_network_that_is_not_installed(cflow: Cflow, bare: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CATHODEFLOW_CACHE_DIR", str(bare / "cache"))
    (bare / "campaign.yaml").write_text(VASP.replace("name: vasp", "name: rehearsal"))
    result = cflow("launch", bare / "campaign.yaml", "-p", bare / "project")
    assert result.exit_code == 0
    assert "Warning: megnet-2019 is not installed here" in result.stderr
    assert "cflow model install megnet-2019" in result.stderr


def test_a_fresh_process_that_dies_says_its_last_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fresh_process, "_SCRIPT", "import sys; sys.exit('no room for torch')")
    process = FreshProcess(["json"], torch=True, potential=True)
    assert process.broken_modules() == {"the worker's Python": "no room for torch"}
    assert by_name(diagnosis.check_hardware(process))["torch"].found == "does not load: no room for torch"
    assert by_name(check_models(process))["chgnet-0.3.0"].health == Health.BROKEN


def test_a_fresh_process_that_does_not_answer_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fresh_process, "_SCRIPT", "import time; time.sleep(600)")
    monkeypatch.setattr(fresh_process, "TIMEOUT_S", 0.2)
    assert "no answer within" in str(FreshProcess(torch=True).torch()["error"])


def test_a_person_sees_what_is_looked_at(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    from cathodeflow.cli import doctor

    check = diagnosis.Check("models", "megnet", Health.OK, "installed")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert list(doctor._shown_waiting("models", iter([check]))) == [check]
    assert "...     models\r" in capsys.readouterr().err
