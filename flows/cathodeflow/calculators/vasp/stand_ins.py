"""Telling the programs from the rehearsal's stand-ins, whose numbers no other engine may take for its own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from cathodeflow.calculators.zipped_files import DAMAGED, existing, opened
from cathodeflow.errors import CalculationError
from cathodeflow.records.outcomes import Reason

STAND_IN = "rehearsal"
"""What the files of a stand-in say."""
_SCRIPT_SAYS = b"A stand-in of cathodeflow"
_HEAD = 4096
"""Bytes within which vasprun.xml names its program, and a script what it is."""


def generator_of(content: bytes) -> dict[str, str]:
    """Return what vasprun.xml says of the program, which pymatgen's reader would put into other case."""
    head = content.partition(b"</generator>")[0]
    found = re.findall(rb'<i name="(\w+)"[^>]*>([^<]*)</i>', head)
    return {key.decode(): value.decode("utf-8", "replace").strip() for key, value in found}


def stand_in_of(generator: dict[str, str]) -> str | None:
    """Return what stood in for VASP: ``rehearsal`` and the potential's name; None for VASP."""
    if STAND_IN not in " ".join(generator.values()):
        return None
    return generator.get("platform", STAND_IN)


def is_stand_in(program: str) -> bool:
    """Say whether a program on the PATH is one of the rehearsal's scripts."""
    found = shutil.which(program)
    if found is None:
        return False
    try:
        with Path(found).open("rb") as stream:
            return _SCRIPT_SAYS in stream.read(_HEAD)
    except OSError:
        return False  # a program that may be run but not read is none of ours


def require_vasp_ran(folder: Path) -> None:
    """Refuse a run of engine ``vasp`` that a stand-in made, such as one that was left on the PATH.

    Parameters
    ----------
    folder : Path
        Of the finished run.

    Raises
    ------
    CalculationError
        Its vasprun.xml says so (reason ``missing_program``, which stops the campaign), or cannot be read.
    """
    path = existing(folder, "vasprun.xml")
    try:
        with opened(path) as stream:
            head = stream.read(_HEAD)
    except DAMAGED as error:
        raise CalculationError(f"{path} cannot be read: {error}", Reason.BROKEN_OUTPUT.value) from error
    found = stand_in_of(generator_of(head))
    if found is not None:
        raise CalculationError(
            f"{path} says {found}: a stand-in ran in VASP's place, and its numbers are not VASP's; take it off "
            "the PATH and out of ATOMATE2_VASP_CMD, or launch a campaign with engine rehearsal",
            Reason.MISSING_PROGRAM.value,
        )
