"""Run LOBSTER in the folder of a finished VASP run, through custodian, and read what it found.

Import this module lazily: custodian and its LOBSTER part take a second.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custodian.custodian import Custodian, CustodianError
from custodian.lobster.handlers import EnoughBandsValidator, LobsterFilesValidator
from custodian.lobster.jobs import LOBSTEROUTPUT_FILES, LobsterJob

from cathodeflow.calculators.lobster.inputs import write_lobsterin
from cathodeflow.calculators.lobster.outputs import LobsterResult, read_lobster
from cathodeflow.calculators.vasp.electronic_outputs import read_smearing
from cathodeflow.calculators.vasp.results import interventions_in
from cathodeflow.calculators.vasp.run_files import bring
from cathodeflow.calculators.zipped_files import DAMAGED, content_of, existing
from cathodeflow.errors import CalculationError
from cathodeflow.records.calculation import Intervention
from cathodeflow.science.electronic.bonding import CHARGE_SPILLING_LIMIT, check_charge_spilling

if TYPE_CHECKING:
    from pymatgen.core import Structure

NEEDED = ("CONTCAR", "OUTCAR", "vasprun.xml", "WAVECAR", "INCAR", "KPOINTS", "POTCAR", "POTCAR.spec")
"""What LOBSTER reads of VASP's run, and what stands in for it in a rehearsal."""
ALWAYS_THERE = ("CONTCAR", "OUTCAR", "vasprun.xml", "WAVECAR")
KEPT = ("lobsterin", "lobsterout", "ICOHPLIST.lobster", "COHPCAR.lobster", "CHARGE.lobster")
"""What stays of a successful run, gzipped; everything else that LOBSTER wrote is deleted."""

_STDERR = "std_err_lobster.txt"
_GRACE_S = 10.0
_OUT_OF_MEMORY = re.compile(r"oom[_-]kill|out of memory|memory limit|bad_alloc", re.IGNORECASE)


@dataclass(frozen=True)
class LobsterRun:
    """A finished run.

    Attributes
    ----------
    result : LobsterResult
        Bonds and quality.
    interventions : tuple of Intervention
        What custodian did; it has no handlers for LOBSTER, so this is empty unless a caller's custodian.json was there.
    wall_s : float
        Of the program, s.
    version : str
        Of LOBSTER.
    """

    result: LobsterResult
    interventions: tuple[Intervention, ...]
    wall_s: float
    version: str


def lobster_command() -> str:
    """Return how LOBSTER is started on this machine: atomate2's setting LOBSTER_CMD, read now."""
    from atomate2.settings import Atomate2Settings

    return str(Atomate2Settings().LOBSTER_CMD)


def bring_vasp_files(source: Path, folder: Path) -> None:
    """Put what LOBSTER reads of a VASP run into another folder: as links, unpacked where it is gzipped.

    Parameters
    ----------
    source, folder : Path
        VASP's and LOBSTER's; the latter is made if absent.

    Raises
    ------
    CalculationError
        A file is missing or cannot be unpacked (reason ``broken_output``), or the disk is full (``disk_full``).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in NEEDED:
        plain, zipped, target = source / name, source / f"{name}.gz", folder / name
        if source.resolve() == folder.resolve() and plain.is_file():
            continue
        if not plain.is_file() and not zipped.is_file():
            if name in ALWAYS_THERE:
                raise CalculationError(
                    f"{name} is missing in {source}: run the static step again, with LWAVE", "broken_output"
                )
            continue
        target.unlink(missing_ok=True)
        if plain.is_file():
            target.symlink_to(plain.resolve())
            continue
        bring(source, name, folder)


def gaussian_width_of(folder: Path) -> float | None:
    """Return the width of Gaussian smearing that a VASP run had in the end, eV; None with the tetrahedron method.

    Parameters
    ----------
    folder : Path
        With the run's INCAR, plain or gzipped.

    Raises
    ------
    CalculationError
        INCAR is missing or damaged (reason ``broken_output``).
    """
    scheme, width = read_smearing(folder)
    return None if scheme <= -4 else width  # -4, -5, -14 and -15 are tetrahedra


def run_lobster(
    folder: Path,
    structure: Structure,
    basis: Mapping[str, tuple[str, ...]],
    *,
    cutoff: float,
    centres: Collection[str] = (),
    command: str | None = None,
    wall_time_s: float | None = None,
    gaussian_width: float | None = None,
    threads: int | None = None,
    spilling_limit: float = CHARGE_SPILLING_LIMIT,
) -> LobsterRun:
    """Run LOBSTER and read the bonds of the polyhedra.

    Parameters
    ----------
    folder : Path
        Holds what VASP left (`NEEDED`), unpacked; `bring_vasp_files` puts it there. WAVECAR is the caller's to delete.
    structure : Structure
        The cell, atoms in the order of the folder's CONTCAR.
    basis : mapping
        As `inputs.lobster_basis` gives it.
    cutoff : float
        Longest bond, Å.
    centres : collection of str
        Elements in the middle of the polyhedra; by default the transition metals.
    command : str, optional
        How LOBSTER is started; by default `lobster_command`.
    wall_time_s : float, optional
        Longest run, s; without it nothing but the scheduler ends LOBSTER.
    gaussian_width : float, optional
        As `inputs.write_lobsterin`.
    threads : int, optional
        That LOBSTER may use; by default what OMP_NUM_THREADS says.
    spilling_limit : float
        Largest part of the charge that the basis may miss.

    Returns
    -------
    LobsterRun
        After which only `KEPT` is left of what LOBSTER wrote, and what VASP left.

    Raises
    ------
    CalculationError
        Reason ``missing_program``, ``killed``, ``out_of_memory``, ``disk_full``, ``timeout``, ``exit_code``,
        ``broken_output`` (a file is missing, cut or contradicts another, of LOBSTER's or of VASP's),
        ``charge_spilling``, or ``calculation_error`` where LOBSTER refused its inputs and says why.
    DefinitionError
        As `inputs.write_lobsterin`.
    """
    words = shlex.split(command if command is not None else lobster_command())
    if not words or shutil.which(words[0]) is None:
        raise CalculationError(
            f"there is no {words[0] if words else 'LOBSTER command'} on the path: install LOBSTER, or name its path in "
            "ATOMATE2_LOBSTER_CMD",
            "missing_program",
        )
    for name in ALWAYS_THERE:
        if not (folder / name).is_file() or not (folder / name).stat().st_size:
            raise CalculationError(
                f"{name} is missing or empty in {folder}: run the static step again", "broken_output"
            )
    # A result of an earlier attempt must never be taken for that of this one.
    _delete(folder, (*LOBSTEROUTPUT_FILES, "lobsterin", "lobsterin.orig", _STDERR))
    (folder / "custodian.json").unlink(missing_ok=True)
    write_lobsterin(folder, structure, basis, cutoff=cutoff, centres=centres, gaussian_width=gaussian_width)
    job = _TimedLobsterJob(shlex.join(words), wall_time_s, threads)
    started = time.monotonic()
    _under_custodian(job, folder)
    wall_s = time.monotonic() - started
    result = read_lobster(folder, [site.specie.symbol for site in structure])
    check_charge_spilling(result.quality.charge_spilling, spilling_limit)
    _delete(folder, tuple({*LOBSTEROUTPUT_FILES, "lobsterin.orig"} - set(KEPT)))
    return LobsterRun(result, interventions_in(folder), wall_s, result.quality.version)


class _TimedLobsterJob(LobsterJob):
    """custodian's job, started in the run's folder, ended after a time, with its exit status seen."""

    def __init__(self, lobster_cmd: str, wall_time_s: float | None = None, threads: int | None = None) -> None:
        super().__init__(lobster_cmd, stderr_file=_STDERR)
        self.wall_time_s = wall_time_s
        self.threads = threads
        self.status: int | None = None
        self.timed_out = False

    def run(self, directory: str | Path = "./") -> subprocess.Popen[bytes]:
        """Run to the end; custodian looks at the exit status of what is returned."""
        place = Path(directory)
        with (place / self.output_file).open("wb") as said, (place / self.stderr_file).open("wb") as complained:
            process = subprocess.Popen(
                shlex.split(self.lobster_cmd),
                cwd=place,
                stdout=said,
                stderr=complained,
                start_new_session=True,
                env={**os.environ, **({"OMP_NUM_THREADS": str(self.threads)} if self.threads else {})},
            )
            try:
                process.wait(self.wall_time_s)
            except subprocess.TimeoutExpired:
                self.timed_out = True
            finally:
                _end(process)
        self.status = process.returncode
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it started, at first politely."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, number)
            process.wait(_GRACE_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _under_custodian(job: _TimedLobsterJob, folder: Path) -> None:
    """Run the job with custodian's validators; raise CalculationError with the true reason of a failure."""
    failure: CustodianError | None = None
    try:
        custodian: Any = Custodian(
            [], [job], validators=[LobsterFilesValidator(), EnoughBandsValidator()], max_errors=1, directory=str(folder)
        )
        custodian.run()
    except CustodianError as error:
        failure = error
    except OSError as error:
        raise CalculationError(
            f"LOBSTER cannot be started or its files not written in {folder} ({error})",
            "disk_full" if error.errno == 28 else "missing_program",
        ) from error
    if failure is not None or job.status != 0:
        raise _explained(job, folder) from failure


def _explained(job: _TimedLobsterJob, folder: Path) -> CalculationError:
    """Say why a run failed: from what ended it, else from its last words, else from its exit status."""
    said, complained = (_tail(folder / name) for name in (job.output_file, job.stderr_file))
    errors = " ".join(re.findall(r"^\s*ERROR:?\s*(.+?)\s*$", said, re.MULTILINE))
    ended = _ended_from_outside(job, complained, folder)
    if ended is not None:
        return ended
    if "too few bands" in said:
        return CalculationError(
            f"VASP gave LOBSTER too few bands in {folder} ({errors}): set NBANDS to `minimal_n_bands`"
        )
    if errors:
        return CalculationError(f"LOBSTER refused its inputs in {folder}: {errors}")
    if job.status:
        last = (complained.strip().splitlines() or said.strip().splitlines() or ["no message"])[-1]
        return CalculationError(f"LOBSTER ended with {job.status} in {folder}: {last}", "exit_code")
    return CalculationError(f"LOBSTER left no whole lobsterout in {folder}: run it again", "broken_output")


def _ended_from_outside(job: _TimedLobsterJob, complained: str, folder: Path) -> CalculationError | None:
    """Return the error of a run that did not end by itself, or that was not started."""
    status = job.status or 0
    if job.timed_out:
        limit = f"{job.wall_time_s:.0f} s"
        return CalculationError(f"LOBSTER was stopped after {limit} in {folder}: give it more time", "timeout")
    if "No space left on device" in complained:
        return CalculationError(f"the disk of {folder} is full: make room and run LOBSTER again", "disk_full")
    if _OUT_OF_MEMORY.search(complained):
        return CalculationError(f"LOBSTER ran out of memory in {folder}: give it more", "out_of_memory")
    if status < 0 or status > 128:
        number = -status if status < 0 else status - 128
        return CalculationError(f"LOBSTER was ended by signal {number} in {folder}: run it again", "killed")
    if status == 127:
        return CalculationError(f"{job.lobster_cmd} did not find its program: install LOBSTER", "missing_program")
    return None


def _tail(file: Path, length: int = 20_000) -> str:
    """Return the end of a text file, empty where there is none or it is damaged."""
    try:
        return content_of(existing(file.parent, file.name)).decode("utf-8", "replace")[-length:]
    except DAMAGED:
        return ""


def _delete(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        for file in (folder / name, folder / f"{name}.gz"):
            file.unlink(missing_ok=True)
