from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest
from custodian.vasp.handlers import (
    FrozenJobErrorHandler,
    PositiveEnergyErrorHandler,
    PotimErrorHandler,
    UnconvergedErrorHandler,
    WalltimeHandler,
)
from pymatgen.io.vasp.inputs import Incar

from cathodeflow.calculators.vasp.handlers import Profile, VaspErrorHandler, fresh_handlers, watching

PROFILES = get_args(Profile)


@pytest.fixture(autouse=True)
def own_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTODIAN_WALLTIME_START", "Sat Nov 21 00:00:00 UTC 2026")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_mends_known_errors_and_demands_convergence(profile: Profile) -> None:
    kinds = {type(handler) for handler in fresh_handlers(profile)}
    assert {VaspErrorHandler, UnconvergedErrorHandler, FrozenJobErrorHandler} <= kinds


@pytest.mark.parametrize("profile", PROFILES)
def test_error_counts_of_one_job_do_not_reach_the_next(profile: Profile) -> None:
    first = next(h for h in fresh_handlers(profile) if isinstance(h, VaspErrorHandler))
    first.error_count["zbrent"] += 1
    second = next(h for h in fresh_handlers(profile) if isinstance(h, VaspErrorHandler))
    assert not second.error_count["zbrent"]


def test_starts_far_from_equilibrium_may_have_positive_energies_and_large_steps() -> None:
    kinds = {type(handler) for handler in fresh_handlers("high_energy")}
    assert PositiveEnergyErrorHandler not in kinds
    limits = {
        profile: next(h.dE_threshold for h in fresh_handlers(profile) if isinstance(h, PotimErrorHandler))
        for profile in ("relax", "high_energy")
    }
    assert limits["high_energy"] > limits["relax"] == 1


def test_hybrid_runs_may_be_silent_for_longer() -> None:
    silence = {
        profile: next(h.timeout for h in fresh_handlers(profile) if isinstance(h, FrozenJobErrorHandler))
        for profile in PROFILES
    }
    assert silence["hse"] > silence["static"] == silence["relax"]


@pytest.mark.parametrize(("profile", "electronic"), [("relax", False), ("high_energy", False), ("hse", True)])
def test_a_run_stops_after_the_step_it_can_go_on_from(profile: Profile, electronic: bool) -> None:
    handler = fresh_handlers(profile, wall_time_s=7200, buffer_s=600)[-1]
    assert isinstance(handler, WalltimeHandler)
    assert (handler.wall_time, handler.buffer_time, handler.electronic_step_stop) == (7200, 600, electronic)


def test_without_a_limit_no_clock_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUSTODIAN_WALLTIME_START")
    fresh_handlers("relax")
    assert "CUSTODIAN_WALLTIME_START" not in os.environ


EDDDAV = " Error EDDDAV: Call to ZHEGV failed. Returncode =   7   2   8\n"
CELL = "iron\n1.0\n2.8 0 0\n0 2.8 0\n0 0 2.8\nFe\n1\nDirect\n0 0 0\n"


def write_stopped_run(folder: Path, output: str) -> None:
    for name, text in (("INCAR", "ALGO = Fast\n"), ("KPOINTS", "G\n0\nGamma\n1 1 1\n"), ("POSCAR", CELL)):
        (folder / name).write_text(text)
    (folder / "POTCAR.spec").write_text("Fe_pv")
    (folder / "vasp.out").write_text(output)
    (folder / "OUTCAR").write_text(" no electronic step yet\n")  # so custodian knows of no number of electrons


def test_edddav_before_the_first_electronic_step_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_stopped_run(tmp_path, EDDDAV)
    handler = VaspErrorHandler()
    assert handler.check()
    done = handler.correct()
    assert done["errors"] == ["edddav"]
    incar = Incar.from_file(tmp_path / "INCAR")
    assert (incar["ALGO"], incar["ISEARCH"]) == ("All", 1)
    assert list(tmp_path.glob("error.*.tar.gz"))
    assert handler.as_dict()["@class"] == "VaspErrorHandler"  # as records and pages name it


@pytest.mark.parametrize(("limit", "polling"), [(None, 10.0), (86400, 10.0), (20, 10.0), (3, 0.5), (1000, 0.5)])
def test_a_run_is_looked_at_often_enough_to_be_stopped_in_time(limit: int | None, polling: float) -> None:
    buffer, looking = watching(limit, polling)
    assert looking["polling_time_step"] <= polling
    assert looking["polling_time_step"] * looking["monitor_freq"] <= max(buffer / 3, 0.5)
    assert limit is None or 0 < buffer < limit
