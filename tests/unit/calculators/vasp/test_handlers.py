from __future__ import annotations

import os
from typing import get_args

import pytest
from custodian.vasp.handlers import (
    FrozenJobErrorHandler,
    PositiveEnergyErrorHandler,
    PotimErrorHandler,
    UnconvergedErrorHandler,
    VaspErrorHandler,
    WalltimeHandler,
)

from cathodeflow.calculators.vasp.handlers import Profile, fresh_handlers

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
