"""Faults on demand: what goes wrong, when, and how it looks to those who watch.

The variable ``CATHODEFLOW_REHEARSAL_FAULTS`` holds JSON or the name of a file with it::

    {"seed": 7, "faults": [{"kind": "zbrent", "probability": 0.05}, {"kind": "brmix", "step": 2, "times": 1}]}

A fault with `step` comes at that ionic step (1 is the first); one with `probability` comes at a step drawn from 1 to 3.
It comes in the first `times` (default 1) attempts of a folder, so that what custodian repairs is repaired. Draws
depend on the seed, the kind, POSCAR's and INCAR's text at the first attempt, and ``CATHODEFLOW_REHEARSAL_RUN``, any
text, with which a campaign tells the attempts of one label apart.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cathodeflow.errors import CalculationError

VARIABLE, RUN_VARIABLE = "CATHODEFLOW_REHEARSAL_FAULTS", "CATHODEFLOW_REHEARSAL_RUN"
DIARY = "rehearsal.json"
"""In the run's folder: how often it was started, and which faults came."""

KINDS = (
    "zbrent",
    "edddav",
    "brmix",
    "unconverged_electronic",
    "unconverged_ionic",
    "frozen",
    "killed",
    "out_of_memory",
    "walltime",
    "truncated_xml",
    "disk_full",
    "exit_code",
)


@dataclass(frozen=True)
class Fault:
    """One fault of a run.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    step : int
        Ionic step at which it comes.
    fraction : float
        Where a file is cut, 0 to 1.
    code : int
        Exit status of kind ``exit_code``.
    """

    kind: str
    step: int
    fraction: float
    code: int = 1


def faults_of_run(folder: Path) -> list[Fault]:
    """Decide which faults come in this run, and note that it was started.

    Parameters
    ----------
    folder : Path
        Of the run; gets or keeps `DIARY`.

    Returns
    -------
    list of Fault
        Often empty.

    Raises
    ------
    CalculationError
        A fault definition that cannot be used.
    """
    text = os.environ.get(VARIABLE, "").strip()
    diary = folder / DIARY
    past: dict[str, Any] = {"attempts": 0, "identity": _identity(folder), "faults": []}
    if diary.is_file():
        past = json.loads(diary.read_text())
    past["attempts"] += 1
    found = _decide(_definition(text), past) if text else []
    past["faults"] += [{"attempt": past["attempts"], "kind": fault.kind, "step": fault.step} for fault in found]
    diary.write_text(json.dumps(past, indent=1))
    return found


def _identity(folder: Path) -> str:
    digest = hashlib.sha256(os.environ.get(RUN_VARIABLE, "").encode())
    for name in ("POSCAR", "INCAR"):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _definition(text: str) -> dict[str, Any]:
    try:
        loaded = json.loads(text if text.startswith("{") else Path(text).read_text())
        kinds = [fault["kind"] for fault in loaded["faults"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CalculationError(f" REHEARSAL: {VARIABLE} cannot be read: {error}", "refused") from error
    for kind in kinds:
        if kind not in KINDS:
            raise CalculationError(f" REHEARSAL: there is no fault {kind!r}; known are {', '.join(KINDS)}", "refused")
    result: dict[str, Any] = loaded
    return result


def _decide(definition: dict[str, Any], past: dict[str, Any]) -> list[Fault]:
    found = []
    for number, fault in enumerate(definition["faults"]):
        draws = _draws(f"{definition.get('seed', 0)} {number} {fault['kind']} {past['identity']}")
        if past["attempts"] > int(fault.get("times", 1)) or draws[0] >= float(fault.get("probability", 1.0)):
            continue
        step = int(fault.get("step", 1 + int(3 * draws[1])))
        found.append(Fault(fault["kind"], step, float(fault.get("fraction", draws[2])), int(fault.get("code", 1))))
    return found


def _draws(text: str) -> tuple[float, float, float]:
    digest = hashlib.sha256(text.encode()).digest()
    first, second, third = (int.from_bytes(digest[8 * i : 8 * i + 8], "big") / 2**64 for i in range(3))
    return first, second, third
