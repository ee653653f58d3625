"""The energy of the unrelaxed cell, found among all runs of a relaxation (S0 eq. 2).

custodian's restarts, a second relaxation and continued attempts each begin from a moved crystal, so the last
vasprun.xml mostly says nothing about the cell that the campaign asked for. The run that began with it lies in one of
custodian's ``error.N.tar.gz``, or in the folder of an earlier attempt.
"""

from __future__ import annotations

import math
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, ParseError, iterparse

from cathodeflow.calculators.attempt import read_attempt
from cathodeflow.calculators.zipped_files import DAMAGED, existing, opened
from cathodeflow.errors import CalculationError

if TYPE_CHECKING:
    from pymatgen.core import Structure

SAME_PLACE = 1e-4
"""Atoms and lattice vectors closer than this are the same, Å: files round to 1e-8 of the lattice."""
VASP_NELM = 60
"""Electronic steps that VASP does at most where INCAR does not say."""


@dataclass(frozen=True)
class FirstStep:
    """The first ionic step of a run.

    Attributes
    ----------
    lattice, fractional : list of lists of float
        Geometry, Å and fractions, in the order of POSCAR.
    energy : float
        Energy at zero smearing, eV.
    converged : bool
        Whether its electrons converged.
    """

    lattice: list[list[float]]
    fractional: list[list[float]]
    energy: float
    converged: bool


def chain_of(folder: Path) -> list[Path]:
    """Return the launch folders of a job's attempts that each went on from the one before, the latest first.

    Parameters
    ----------
    folder : Path
        Where the present attempt runs.

    Returns
    -------
    list of Path
        Folders that exist.

    Raises
    ------
    CalculationError
        A folder's word of its predecessor cannot be read.
    """
    found: list[Path] = []
    present: Path | None = folder.resolve()
    while present is not None and present.is_dir() and present not in found:
        found.append(present)
        before = read_attempt(present).continue_from
        present = None if before is None else before.resolve()
    return found


def energy_of_start(start: Structure, folders: list[Path]) -> float:
    """Return the energy of the cell that a relaxation began with.

    Parameters
    ----------
    start : Structure
        The unrelaxed cell.
    folders : list of Path
        Of all runs of the relaxation, the latest first.

    Returns
    -------
    float
        eV, at zero smearing, of the latest run that began with `start` and whose electrons converged there.

    Raises
    ------
    CalculationError
        No run is left that did.
    """
    unconverged = False
    for folder in folders:
        for step in first_steps(folder):
            if not _begins_with(step, start):
                continue
            if step.converged:
                return step.energy
            unconverged = True
    if unconverged:
        raise CalculationError(
            f"the electrons of the unrelaxed cell did not converge in {folders[0]}, so its energy is unknown: "
            "override incar.NELM or incar.ALGO",
            "not_converged",
        )
    raise CalculationError(
        f"no run in {', '.join(map(str, folders))} that began with the unrelaxed cell is left, so its energy "
        "is unknown: keep the folders of earlier attempts, or run the label anew",
        "broken_output",
    )


def count_ionic_steps(folders: list[Path]) -> int:
    """Return how many ionic steps all runs of a relaxation completed."""
    total = 0
    for folder in folders:
        for stream in _each(folder, "OSZICAR"):
            total += sum(b" F= " in line for line in _lines(stream))
    return total


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    try:
        yield from stream
    except DAMAGED:
        return  # a file that is cut off counts as far as it goes


def first_steps(folder: Path) -> Iterator[FirstStep]:
    """Yield the first ionic step of each run in a folder: the last run's, then those custodian packed away."""
    for stream in _each(folder, "vasprun.xml"):
        step = _read(stream)
        if step is not None:
            yield step


def _each(folder: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file of each run in a folder: the last run's, then those custodian packed away, the latest first."""
    path = existing(folder, name)
    if path.is_file():
        with opened(path) as stream:
            yield stream
    packed = sorted(folder.glob("error.*.tar.gz"), key=_number, reverse=True)
    for archive in packed:
        with _member(archive, name) as stream:
            if stream is not None:
                yield stream


def _number(archive: Path) -> int:
    digits = archive.name.split(".")[1]
    return int(digits) if digits.isdigit() else 0


@contextmanager
def _member(archive: Path, name: str) -> Iterator[IO[bytes] | None]:
    try:
        opened = tarfile.open(archive)  # noqa: SIM115 - closed below
        entry = next((member for member in opened if Path(member.name).name == name), None)
    except (*DAMAGED, tarfile.TarError):
        yield None  # a run that cannot be read any more tells nothing; another may
        return
    with opened:
        yield None if entry is None else opened.extractfile(entry)


def _read(stream: IO[bytes]) -> FirstStep | None:
    """Read the first ionic step of a vasprun.xml, which may be cut off behind it; None without a whole one."""
    limit = VASP_NELM
    initial: Element | None = None
    try:
        for _, element in iterparse(stream, events=("end",)):  # noqa: S314 - written by our own job
            if element.tag == "i" and element.get("name") == "NELM":
                limit = int(element.text or limit)
            elif element.tag == "structure" and element.get("name") == "initialpos":
                initial = element
            elif element.tag == "calculation":
                return None if initial is None else _step(initial, element, limit)
    except (*DAMAGED, ParseError, ValueError, tarfile.TarError):
        return None
    return None


def _step(initial: Element, calculation: Element, limit: int) -> FirstStep | None:
    electronic = calculation.findall("scstep")
    last = _energies(electronic[-1]) if electronic else {}
    whole = _energies(calculation)
    try:
        # e_0_energy of the ionic step is wrong in some versions of VASP, and the electronic steps lack dispersion.
        energy = whole["e_fr_energy"] + last["e_0_energy"] - last["e_fr_energy"]
        geometry = _rows(initial, "crystal/varray[@name='basis']/v"), _rows(initial, "varray[@name='positions']/v")
    except (KeyError, ValueError):
        return None
    if not math.isfinite(energy) or len(geometry[0]) != 3:
        return None
    return FirstStep(*geometry, energy, len(electronic) < limit)


def _energies(element: Element) -> dict[str, float]:
    return {str(item.get("name")): float(item.text or "nan") for item in element.findall("energy/i")}


def _rows(element: Element, path: str) -> list[list[float]]:
    return [[float(word) for word in (row.text or "").split()] for row in element.findall(path)]


def _begins_with(step: FirstStep, start: Structure) -> bool:
    import numpy as np

    from cathodeflow.calculators.vasp.input_sets import written_order

    if len(step.fractional) != len(start):
        return False
    lattice: Any = np.array(step.lattice)
    moved = np.array(step.fractional) - start.frac_coords[written_order(start)]
    moved -= np.round(moved)
    return bool(
        np.abs(lattice - start.lattice.matrix).max() < SAME_PLACE
        and np.linalg.norm(moved @ start.lattice.matrix, axis=1).max() < SAME_PLACE
    )
