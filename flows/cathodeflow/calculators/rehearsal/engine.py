"""Engine ``rehearsal``: the path of engine ``vasp`` with stand-ins for its programs.

What differs is said here and nowhere else: the programs' folder on the PATH, symbols in place of POTCARs, custodian
looking more often, and which faults come.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.calculators.attempt import Attempt, read_attempt
from cathodeflow.calculators.environment import environment
from cathodeflow.calculators.rehearsal import faults, service
from cathodeflow.errors import DefinitionError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from cathodeflow.calculators.potentials.relaxation import RelaxedStructure
    from cathodeflow.calculators.vasp.relaxing import Request

REHEARSAL_ONLY = frozenset({"faults", "step_s"})
"""Parameters that engine ``vasp`` lacks."""
POLLING_S = 0.5
"""custodian looks so often whether a stand-in has ended, s; ten seconds would be longer than most runs."""
FROZEN_S = 120
"""A stand-in without output for so long is dead, s: it has no electronic step of hours."""
PROGRAMS = "rehearsal_bin"
"""Folder of the stand-ins in that of the job, while it runs: each node of an allocation sees it."""
FAULT_KEYS = frozenset({"kind", "program", "probability", "step", "times", "fraction", "code"})


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal has beyond VASP's parameters.

    Attributes
    ----------
    model : str
        The potential behind the stand-in.
    faults : dict
        As docs/howto/rehearse.md; empty for none.
    step_s : float
        What an electronic step takes, s.
    """

    model: str
    faults: dict[str, Any]
    step_s: float = 0.0


def read_rehearsal(model: str, parameters: Mapping[str, Any]) -> Rehearsal:
    """Check `faults` and `step_s` of a campaign definition.

    Parameters
    ----------
    model : str
        A potential that exists.
    parameters : mapping
        `faults` (dict with `seed` and a list `faults`) and `step_s` (s); both may be absent.

    Returns
    -------
    Rehearsal

    Raises
    ------
    DefinitionError
        Faults that do not exist or whose values cannot be used.
    """
    wanted = parameters.get("faults") or {}
    if not isinstance(wanted, Mapping) or set(wanted) - {"seed", "faults"}:
        raise DefinitionError("faults must look like {seed: 7, faults: [{kind: zbrent, probability: 0.05}]}")
    for fault in wanted.get("faults", []):
        _require_fault(fault)
    pace = parameters.get("step_s", 0.0)
    if isinstance(pace, bool) or not isinstance(pace, int | float) or pace < 0:
        raise DefinitionError(f"step_s must be a number of seconds, not {pace!r}")
    return Rehearsal(model, dict(wanted), float(pace))


def _require_fault(fault: Any) -> None:
    kind = fault.get("kind") if isinstance(fault, Mapping) else None
    program = fault.get("program", "vasp") if isinstance(fault, Mapping) else "vasp"
    if program not in faults.KINDS_OF:
        raise DefinitionError(f"there is no program {program!r} to fail; known are {', '.join(faults.KINDS_OF)}")
    known = faults.KINDS_OF[program]
    if kind not in known:
        raise DefinitionError(f"there is no fault {kind!r} of {program} to rehearse; known are {', '.join(known)}")
    unknown = sorted(set(fault) - FAULT_KEYS)
    if unknown:
        raise DefinitionError(f"fault {kind} has no {unknown[0]!r}; it has {', '.join(sorted(FAULT_KEYS))}")
    for key, value in fault.items():
        is_number = not isinstance(value, bool) and isinstance(value, int | float) and value >= 0
        if key not in ("kind", "program") and not is_number:
            raise DefinitionError(f"{key} of fault {kind} must be a number, not {value!r}")


def rehearse(structure: Structure, request: Request, rehearsal: Rehearsal, place: str = ".") -> RelaxedStructure:
    """Relax a cell as engine ``vasp`` does, with stand-ins; arguments, result and errors as `vasp.relaxing.relax`."""
    from cathodeflow.calculators.vasp.relaxing import relax

    standing_in = replace(request, potcar_spec=True, polling_s=POLLING_S, frozen_s=request.frozen_s or FROZEN_S)
    with stand_ins(Path.cwd(), rehearsal):
        return relax(structure, standing_in, place)


@contextmanager
def stand_ins(folder: Path, rehearsal: Rehearsal) -> Iterator[None]:
    """Let the stand-ins take the programs' place while a job runs, and nowhere else.

    Parameters
    ----------
    folder : Path
        Of the job; holds the stand-ins meanwhile.
    rehearsal : Rehearsal
        Potential, faults and pace.
    """
    from cathodeflow.calculators.rehearsal import potential, vasp_std
    from cathodeflow.calculators.rehearsal.executables import private_bin

    programs = private_bin(folder / PROGRAMS)
    socket = service.kept_service(rehearsal.model)
    values = {
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
        "ATOMATE2_VASP_CMD": _command(programs, "vasp_std"),
        "ATOMATE2_VASP_GAMMA_CMD": _command(programs, "vasp_gam"),
        service.VARIABLE: str(socket),
        potential.VARIABLE: rehearsal.model,
        faults.VARIABLE: json.dumps(rehearsal.faults) if rehearsal.faults.get("faults") else None,
        faults.RUN_VARIABLE: _name_of(read_attempt(folder)),
        vasp_std.PACE_VARIABLE: str(rehearsal.step_s),
    }
    try:
        with environment(values):
            yield
    finally:
        shutil.rmtree(programs, ignore_errors=True)


def _command(programs: Path, program: str) -> str:
    """Return the machine's command of VASP with a stand-in as its program: the launcher is rehearsed, too."""
    from atomate2.settings import Atomate2Settings

    launcher = shlex.split(os.path.expandvars(Atomate2Settings().VASP_CMD))[:-1]
    return shlex.join([*launcher, str(programs / program)])


def _name_of(attempt: Attempt) -> str:
    return f"{attempt.key} {attempt.number}".strip()
