"""The audit of a soak: a true account passes, each lie in it is found."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from tests.campaign_world import lawful_energy
from tests.services.soak.audit import Audit, Facts
from tests.services.soak.fates import SHARES, Fate, fate_of

START = "2026-01-01T00:00:00"
END = "2026-01-01T00:01:00"
LATER = "2026-01-01T00:02:00"


def key_of_fate(fate: Fate) -> str:
    return next(
        key
        for mask in range(1, 255)
        for key in [f"nvpf-Na4-V{8 - mask.bit_count()}Mo{mask.bit_count()}-{mask:02x}"]
        if fate_of(key) == fate
    )


def composition_of(key: str) -> str:
    return key.split("-")[2]


CALM = key_of_fate(Fate.CALM)
RAISING = key_of_fate(Fate.RAISES)


def launch(number: int, state: str, started: str = START, ended: str = END, **env: Any) -> dict[str, Any]:
    process = {"pid": 100 + number, "slurm_job_id": "7", **env}
    return {
        "launch_id": number,
        "fw_id": 1,
        "state": state,
        "launch_dir": f"/l/{number}",
        "time_start": started,
        "time_end": ended,
        "fworker": {"env": process},
    }


def line(number: int, event: str, key: str) -> dict[str, Any]:
    process = {"pid": 100 + number, "slurm": "7", "launch": f"/l/{number}", "time": 1000.0 * number}
    return {"event": event, "kind": "label", "key": key, **process}


def attempt(number: int, key: str, reason: str, action: str) -> dict[str, Any]:
    return {
        "_id": f"soak/label/{key}/{number}",
        "kind": "label",
        "key": key,
        "attempt": number,
        "launch_id": number,
        "reason": reason,
        "message": "",
        "action": action,
    }


def killed_and_done() -> dict[str, Any]:
    """A job that a kill took once, and that ended well."""
    energy = lawful_energy("Na4", composition_of(CALM), int(CALM.split("-")[3], 16), 72)
    label = {"key": CALM, "outcome": "done", "relaxation": {"n_atoms": 72, "formation_energy": energy}}
    return {
        "labels": [label],
        "attempts": [attempt(1, CALM, "vanished", "continue")],
        "launches": [launch(1, "FIZZLED"), launch(2, "COMPLETED", LATER, "2026-01-01T00:03:00")],
        "fireworks": [{"fw_id": 1, "state": "COMPLETED", "spec": {"_kind": "label", "_key": CALM}}],
        "ledger": [line(1, "begun", CALM), line(2, "begun", CALM), line(2, "computed", CALM)],
        "injured": [{"fault": "kill_worker", "pid": 101, "time": 0.0}],
        "slurm": {"7": "COMPLETED"},
        "wanted": (CALM,),
    }


def given_up() -> dict[str, Any]:
    """A job that fails by itself and is quarantined."""
    return {
        "labels": [{"key": RAISING, "outcome": "quarantined", "reason": "calculation_error"}],
        "attempts": [attempt(1, RAISING, "calculation_error", "quarantine")],
        "launches": [launch(1, "FIZZLED")],
        "fireworks": [{"fw_id": 1, "state": "FIZZLED", "spec": {"_kind": "label", "_key": RAISING}}],
        "ledger": [line(1, "begun", RAISING), line(1, "raises", RAISING)],
        "injured": [],
        "slurm": {"7": "COMPLETED"},
        "wanted": (RAISING,),
    }


def complaints(facts: dict[str, Any]) -> set[str]:
    return set(Audit(Facts(**facts)).run())


@pytest.mark.parametrize("account", [killed_and_done, given_up])
def test_a_true_account_passes(account: Any) -> None:
    assert complaints(account()) == set()


def set_in(*path: Any, value: Any) -> Any:
    def change(facts: dict[str, Any]) -> None:
        node = facts
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("account", "lie", "about"),
    [
        (killed_and_done, set_in("labels", value=[]), "lost labels"),
        (killed_and_done, set_in("labels", 0, "relaxation", "formation_energy", value=-1.0), "false outcomes"),
        (killed_and_done, set_in("attempts", 0, "reason", value="timeout"), "false reasons"),
        (killed_and_done, set_in("attempts", 0, "reason", value="cancelled"), "false reasons"),
        (killed_and_done, set_in("attempts", 0, "reason", value="out_of_memory"), "false reasons"),
        (killed_and_done, set_in("attempts", 0, "reason", value="exit_code"), "false reasons"),
        (killed_and_done, set_in("attempts", 0, "reason", value="node_fail"), "false reasons"),
        (killed_and_done, set_in("injured", value=[]), "false reasons"),
        (killed_and_done, set_in("attempts", value=[]), "failures without an attempt"),
        (killed_and_done, set_in("fireworks", 0, "state", value="RUNNING"), "unfinished jobs"),
        (killed_and_done, set_in("launches", 0, "state", value="RUNNING"), "open launches"),
        (killed_and_done, set_in("launches", 0, "state", value="COMPLETED"), "run twice after success"),
        (killed_and_done, set_in("ledger", 0, value=line(3, "computed", CALM)), "computed twice"),
        (given_up, set_in("labels", 0, "reason", value="timeout"), "false outcomes"),
        (given_up, set_in("ledger", 1, "event", value="slow"), "false reasons"),
        (given_up, set_in("attempts", 0, "action", value="rerun"), "unfinished jobs"),
    ],
)
def test_a_lie_is_found(account: Any, lie: Any, about: str) -> None:
    facts = deepcopy(account())
    lie(facts)
    assert about in complaints(facts)


@pytest.mark.parametrize(("seconds", "is_true"), [(0.5, True), (30.0, False), (-0.5, False)])
def test_only_a_claim_of_a_killed_servers_last_moments_may_be_made_again(seconds: float, is_true: bool) -> None:
    facts = killed_and_done()
    facts["ledger"] = [line(3, "begun", CALM), line(3, "computed", CALM), *facts["ledger"]]
    facts["injured"].append({"fault": "stop_database", "killed": True, "time": 3000.0 + seconds})
    assert ("computed twice" not in complaints(facts)) == is_true


def test_every_fate_is_met_by_some_label() -> None:
    assert sum(SHARES.values()) < 1000
    assert {fate_of(f"nvpf-Na4-V8-{number:x}") for number in range(5000)} == set(Fate)
