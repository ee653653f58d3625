"""What a machine must have before VASP runs: each finding says what is missing, what it stops and the remedy."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cathodeflow.calculators.vasp import potcar_library
from cathodeflow.calculators.vasp.materials_project import potcar_symbol
from cathodeflow.calculators.vasp.preset import VaspPreset
from cathodeflow.calculators.vasp.stand_ins import is_stand_in
from cathodeflow.errors import CalculationError
from cathodeflow.records.outcomes import Reason

if TYPE_CHECKING:
    from pymatgen.core import Structure

EVERYTHING = ("relax", "static", "pdos", "hse", "cohp", "bader")
"""Branches that cannot run without VASP or its POTCARs."""


@dataclass(frozen=True)
class Finding:
    """Something that is missing or wrong.

    Attributes
    ----------
    subject : str
        What was looked at.
    problem : str
        What is wrong, with the cause.
    remedy : str
        What to do about it.
    stops : tuple of str
        Branches that cannot run: relax, static, pdos, hse, cohp, bader. Launching refuses these, by name.
    """

    subject: str
    problem: str
    remedy: str
    stops: tuple[str, ...]


def check_requirements(preset: VaspPreset, elements: Iterable[str], vasp_command: str) -> list[Finding]:
    """Look for all that a campaign with VASP needs on this machine.

    Parameters
    ----------
    preset : VaspPreset
        Of the labels.
    elements : iterable of str
        All elements that cells may hold.
    vasp_command : str
        How VASP is started, such as ``srun vasp_std``.

    Returns
    -------
    list of Finding
        Empty when nothing is missing.
    """
    return [
        *check_vasp(vasp_command),
        *check_potcars(preset, elements),
        *check_lobster(),
        *check_bader(),
    ]


def check_vasp(command: str, *, stand_in: bool = False) -> Iterator[Finding]:
    """Look for the programs of a command such as ``srun -n 68 vasp_std``: the launcher, and VASP itself.

    With `stand_in` a program of the rehearsal may take VASP's place; without, it is as good as none.
    """
    words = shlex.split(command)
    if not words:
        yield Finding("VASP", "the command is empty", "set ATOMATE2_VASP_CMD, such as `srun vasp_std`", EVERYTHING)
        return
    for program in dict.fromkeys((words[0], words[-1])):
        if shutil.which(program) is None:
            remedy = "load the module that brings it, or name its path in ATOMATE2_VASP_CMD"
            yield Finding("VASP", f"there is no {program} on the path", remedy, EVERYTHING)
        elif not stand_in:
            yield from _no_stand_in("VASP", program, EVERYTHING)


def _no_stand_in(subject: str, program: str, stops: tuple[str, ...]) -> Iterator[Finding]:
    if is_stand_in(program):
        remedy = "take the rehearsal's folder off the PATH; engine rehearsal puts it there by itself"
        yield Finding(subject, f"the {program} on the path is the rehearsal's stand-in", remedy, stops)


def require_vasp(preset: VaspPreset, structure: Structure, *, with_potcars: bool) -> None:
    """Refuse to start a run that cannot work here, before anything is written.

    Parameters
    ----------
    preset : VaspPreset
        Its settings.
    structure : Structure
        Its cell.
    with_potcars : bool
        Whether the program reads POTCARs; a stand-in does with their symbols.

    Raises
    ------
    CalculationError
        VASP, its launcher or a POTCAR is not there (reason ``missing_program``).
    """
    from atomate2.settings import Atomate2Settings

    command = Atomate2Settings().VASP_CMD
    found = list(check_vasp(command, stand_in=not with_potcars))
    if with_potcars:
        found += check_potcars(preset, {site.specie.symbol for site in structure})
    if found:
        said = "; ".join(f"{finding.subject}: {finding.problem} ({finding.remedy})" for finding in found)
        raise CalculationError(
            f"VASP cannot run here, its command is `{command}`: {said}", Reason.MISSING_PROGRAM.value
        )


def check_potcars(preset: VaspPreset, elements: Iterable[str]) -> Iterator[Finding]:
    """Look for the POTCARs of a preset: the library, each element's file, and that it is of the right functional."""
    functional = str(preset.potcar_functional.value)
    if potcar_library.library_folder() is None:
        remedy = "set PMG_VASP_PSP_DIR to the folder that `pmg config -p` made of the licensed library"
        yield Finding("POTCAR library", "none is set, or its folder does not exist", remedy, EVERYTHING)
        return
    if not potcar_library.library_has(functional):
        yield Finding(
            "POTCAR library",
            f"it holds no POTCARs of {functional}",
            f"add those of {functional}, or override potcar_functional (the corrections then no longer fit)",
            EVERYTHING,
        )
        return
    for element in sorted(set(elements)):
        yield from _check_potcar(functional, preset.potcar_symbols.get(element, potcar_symbol(element)))


def _check_potcar(functional: str, symbol: str) -> Iterator[Finding]:
    path = potcar_library.potcar_path(functional, symbol)
    if path is None:
        remedy = (
            f"add it to the library, or leave the element out (or override potcar_symbols.{symbol.partition('_')[0]})"
        )
        yield Finding(f"POTCAR {symbol}", f"the {functional} library lacks it", remedy, EVERYTHING)
        return
    if path.suffix == ".Z":
        return  # compress's own format, which Python does not read; pymatgen and VASP say later what is wrong in it
    try:
        found = potcar_library.exchange_of(path)
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
        yield Finding(f"POTCAR {symbol}", problem, "repair the file or its permissions", EVERYTHING)
        return
    expected = potcar_library.expected_exchange(functional)
    if found != expected:
        said = f"its functional is {found}" if found else "it names no functional"
        remedy = f"put the POTCAR of {functional} there"
        yield Finding(f"POTCAR {symbol}", f"{said}, not {expected}", remedy, EVERYTHING)


def check_lobster(command: str = "lobster") -> Iterator[Finding]:
    """Look for LOBSTER, as atomate2's LOBSTER_CMD starts it."""
    program = next(iter(shlex.split(command)), "lobster")
    if shutil.which(program) is None:
        problem = f"there is no {program} on the path"
        remedy = "install it from its makers (cohp.de), or name its path in ATOMATE2_LOBSTER_CMD"
        yield Finding("LOBSTER", problem, remedy, ("cohp",))
    yield from _no_stand_in("LOBSTER", program, ("cohp",))


def check_bader() -> Iterator[Finding]:
    """Look for a program that partitions charges: `bader`, else pybader."""
    from cathodeflow.calculators.bader.analysis import bader_program

    if bader_program() is None and importlib.util.find_spec("pybader") is None:
        problem = "there is neither bader on the path nor the package pybader"
        yield Finding("Bader", problem, "install the bader program, or pip install pybader", ("bader",))
    yield from _no_stand_in("Bader", "bader", ("bader",))
