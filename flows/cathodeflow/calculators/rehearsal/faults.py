"""Faults on demand: what goes wrong, when, and how it looks to those who watch.

The variable ``CATHODEFLOW_REHEARSAL_FAULTS`` holds JSON or the name of a file with it::

    {"seed": 7, "faults": [{"kind": "zbrent", "probability": 0.05}, {"kind": "brmix", "step": 2, "times": 1}]}

A fault is one of `vasp_std` unless it says ``"program": "lobster"`` or ``"bader"``. One with `step` comes at that ionic
step (1 is the first); one with `probability` comes at a step drawn from 1 to 3. It comes in the first `times` (default
1) attempts of a folder, so that what custodian repairs is repaired. Draws depend on the seed, the kind, POSCAR's and
INCAR's text at the first attempt (of bader the density's), and ``CATHODEFLOW_REHEARSAL_RUN``, any text, with which a
campaign tells the attempts of one label apart.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
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
"""What may happen to `vasp_std`."""

_ANY_PROGRAM = ("killed", "out_of_memory", "frozen", "disk_full", "exit_code", "truncated")
KINDS_OF = {
    "vasp": KINDS,
    "lobster": (*_ANY_PROGRAM, "unfinished", "charge_spilling"),
    "bader": _ANY_PROGRAM,
}
"""What may happen to each program."""


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


def faults_of_run(
    folder: Path, program: str = "vasp", files: Sequence[str | Path] = ("POSCAR", "INCAR")
) -> list[Fault]:
    """Decide which faults come in this run, and note that it was started.

    Parameters
    ----------
    folder : Path
        Of the run; gets or keeps `DIARY`, of other programs than VASP one with their name in it.
    program : {"vasp", "lobster", "bader"}
        Whose run it is.
    files : sequence of str or Path
        On whose content the draws depend.

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
    diary = folder / (DIARY if program == "vasp" else f"rehearsal_{program}.json")
    past: dict[str, Any] = {"attempts": 0, "identity": _identity(folder, files), "faults": []}
    if diary.is_file():
        past = json.loads(diary.read_text())
    past["attempts"] += 1
    found = _decide(_definition(text), past, program) if text else []
    past["faults"] += [{"attempt": past["attempts"], "kind": fault.kind, "step": fault.step} for fault in found]
    diary.write_text(json.dumps(past, indent=1))
    return found


def strike(faults: Sequence[Fault], file: Path, *, at_end: bool = False) -> int:
    """Let the faults come that any program may have.

    Parameters
    ----------
    faults : sequence of Fault
        Of the run.
    file : Path
        Its result, which kind ``truncated`` cuts.
    at_end : bool
        Whether the run is over: then its result is cut, before that it is killed, frozen or out of space.

    Returns
    -------
    int
        Exit status that is asked for, 0 without one.

    Raises
    ------
    OSError
        Kind ``disk_full``.
    """
    kinds = {fault.kind: fault for fault in faults}
    if at_end:
        if "truncated" in kinds and file.is_file():
            os.truncate(file, int(kinds["truncated"].fraction * file.stat().st_size))
        return kinds["exit_code"].code if "exit_code" in kinds else 0
    while "frozen" in kinds:
        time.sleep(0.2)
    if "disk_full" in kinds:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
    if "out_of_memory" in kinds:
        sys.stderr.write("slurmstepd: error: Detected 1 oom_kill event in StepId=0.0\n")
        sys.stderr.flush()
    if "killed" in kinds or "out_of_memory" in kinds:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0


def _identity(folder: Path, files: Sequence[str | Path]) -> str:
    digest = hashlib.sha256(os.environ.get(RUN_VARIABLE, "").encode())
    for name in files:
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _definition(text: str) -> dict[str, Any]:
    try:
        loaded = json.loads(text if text.startswith("{") else Path(text).read_text())
        kinds = [(fault["kind"], fault.get("program", "vasp")) for fault in loaded["faults"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CalculationError(f" REHEARSAL: {VARIABLE} cannot be read: {error}", "refused") from error
    for kind, program in kinds:
        known = KINDS_OF.get(program)
        if known is None:
            raise CalculationError(
                f" REHEARSAL: there is no program {program!r} to fail; known are {', '.join(KINDS_OF)}", "refused"
            )
        if kind not in known:
            raise CalculationError(f" REHEARSAL: there is no fault {kind!r}; known are {', '.join(known)}", "refused")
    result: dict[str, Any] = loaded
    return result


def _decide(definition: dict[str, Any], past: dict[str, Any], program: str) -> list[Fault]:
    found = []
    for number, fault in enumerate(definition["faults"]):
        if fault.get("program", "vasp") != program:
            continue
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
