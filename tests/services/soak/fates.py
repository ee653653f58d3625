"""Jobs of the soak: lawful ones that take a while, and some whose fate is to fail in a stated way.

Each job writes what it does into a ledger of its own, a file that no database knows of: what a campaign says of its
jobs is compared with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from jobflow import Flow
from jobflow.core.job import job
from tests.campaign_world import LAWFUL, lawful_label, lawful_predict, lawful_train

from cathodeflow.calculators.attempt import read_attempt
from cathodeflow.campaign.stage_table import category_of
from cathodeflow.errors import CalculationError
from cathodeflow.recipes.label import label_flow
from cathodeflow.recipes.prediction import prediction_flow
from cathodeflow.recipes.training import training_flow
from cathodeflow.records.outcomes import JobKind

LEDGER = "SOAK_LEDGER"
WORK_S = "SOAK_WORK_S"
SLOW_S = "SOAK_SLOW_S"  # longer than an allocation, shorter than one of twice its time
HOG_MIB = 350  # with the worker more than an allocation gives, less than one of twice its memory
TOO_MUCH_MIB = 4000


class Fate(StrEnum):
    """What becomes of a label's job."""

    CALM = "calm"
    RAISES_ONCE = "raises_once"
    RAISES = "raises"
    EXITS_ONCE = "exits_once"
    EXITS = "exits"
    DIES_ONCE = "dies_once"
    SLOW_ONCE = "slow_once"
    SLOW = "slow"
    HOG_ONCE = "hog_once"
    HOG = "hog"


SHARES = {  # of a thousand labels
    Fate.RAISES_ONCE: 30,
    Fate.RAISES: 20,
    Fate.EXITS_ONCE: 25,
    Fate.EXITS: 5,
    Fate.DIES_ONCE: 30,
    Fate.SLOW_ONCE: 10,
    Fate.SLOW: 1,
    Fate.HOG_ONCE: 20,
    Fate.HOG: 5,
}
QUARANTINED_FOR = {
    Fate.RAISES: "calculation_error",
    Fate.EXITS: "exit_code",
    Fate.SLOW: "timeout",
    Fate.HOG: "out_of_memory",
}


def number_of(text: str) -> int:
    """A number below 1000 that depends on nothing but the text."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) % 1000


def fate_of(key: str) -> Fate:
    """The fate of a label's job."""
    place = number_of(f"fate {key}")
    for fate, share in SHARES.items():
        if place < share:
            return fate
        place -= share
    return Fate.CALM


def note(event: str, kind: str, key: str) -> None:
    """Add a line to the ledger, in one write."""
    line = {
        "event": event,
        "kind": kind,
        "key": key,
        "pid": os.getpid(),
        "slurm": os.environ.get("SLURM_JOB_ID"),
        "launch": str(Path.cwd()),
        "time": time.time(),
    }
    file = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, (json.dumps(line) + "\n").encode())
    finally:
        os.close(file)


def noted(kind: str, key: str, work: Callable[[], Any], suffer: Callable[[], None] = lambda: None) -> Any:
    """Do a job's work between two lines of the ledger."""
    note("begun", kind, key)
    time.sleep(float(os.environ.get(WORK_S, "0.5")) * (0.5 + number_of(f"time {key}") / 1000))
    suffer()
    made = work()
    note("computed", kind, key)
    return made


def suffer(key: str) -> None:
    """Meet one's fate."""
    fate, first = fate_of(key), read_attempt().number == 1
    if fate == Fate.CALM or (fate.endswith("_once") and not first and fate not in {Fate.SLOW_ONCE, Fate.HOG_ONCE}):
        return
    note(fate.value, "label", key)
    if fate in {Fate.RAISES, Fate.RAISES_ONCE}:
        raise CalculationError(f"rehearsed failure of {key}")
    if fate in {Fate.EXITS, Fate.EXITS_ONCE}:
        os._exit(3)
    if fate == Fate.DIES_ONCE:
        os.kill(os.getpid(), signal.SIGKILL)
    if fate in {Fate.SLOW, Fate.SLOW_ONCE}:
        time.sleep(float(os.environ[SLOW_S]) if fate == Fate.SLOW_ONCE else 3600.0)
    if fate in {Fate.HOG, Fate.HOG_ONCE}:
        held = bytearray(2**20 * (HOG_MIB if fate == Fate.HOG_ONCE else TOO_MUCH_MIB))
        time.sleep(2.0)  # the accounting looks once a second
        del held


@job
def soak_label(key: str, *args: Any) -> dict[str, Any]:
    return noted("label", key, lambda: lawful_label.original(key, *args), lambda: suffer(key))


@job
def soak_train(target: str, seed: int, *args: Any) -> dict[str, Any]:
    return noted("train", f"{target}/{seed}", lambda: lawful_train.original(target, seed, *args))


@job
def soak_predict(shard: dict[str, Any], *args: Any) -> dict[str, Any]:
    return noted("predict", str(shard["number"]), lambda: lawful_predict.original(shard, *args))


def soak_label_flow(campaign: str, key: str, *args: Any, category: str = "dft", **options: Any) -> Flow:
    """As the recipe, but on the workers of one engine or another, so that all queues have work at once."""
    engine = ("pair", "mlff", "rehearsal")[number_of(f"engine {key}") % 3]
    mixed = category_of(JobKind.LABEL, engine)
    return label_flow(campaign, key, *args, category=mixed, label=soak_label, **options)


SOAK = replace(
    LAWFUL,
    label=soak_label_flow,
    train=partial(training_flow, train=soak_train),
    predict=partial(prediction_flow, predict=soak_predict),
)
