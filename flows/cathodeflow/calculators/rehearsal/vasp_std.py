"""The stand-in ``vasp_std``: VASP's inputs and outputs, a potential's energies, a stated model's electrons.

Run as ``python -m cathodeflow.calculators.rehearsal.vasp_std`` in a folder with inputs; `executables.private_bin` makes
a program of it. Read docs/howto/rehearse.md for what it does and for the variables it listens to.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from cathodeflow.errors import CalculationError

if TYPE_CHECKING:
    import numpy as np

    from cathodeflow.calculators.rehearsal.electrons import Bands
    from cathodeflow.calculators.rehearsal.faults import Fault
    from cathodeflow.calculators.rehearsal.inputs import VaspInputs
    from cathodeflow.calculators.rehearsal.ionic import IonicStep

PACE_VARIABLE = "CATHODEFLOW_REHEARSAL_STEP_S"
"""Seconds that an electronic step takes, 0 if absent."""

RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID", "MV2_COMM_WORLD_RANK")
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS", "MV2_COMM_WORLD_SIZE")

ZBRENT = """ ZBRENT: fatal error in bracketing
     please rerun with smaller EDIFF, or copy CONTCAR
     to POSCAR and continue
"""
EDDDAV = " Error EDDDAV: Call to ZHEGV failed. Returncode =   7   2   8\n"
BRMIX = """ BRMIX: very serious problems
 the old and the new charge density differ
 old charge density:  {0:11.5f} new {1:11.5f}
"""
REACHED = " reached required accuracy - stopping structural energy minimisation\n"


def main() -> int:
    """Run in the current folder.

    Returns
    -------
    int
        Exit status: 0 after a complete run, converged or not, as with VASP; 1 after a refusal.
    """
    if any(int(os.environ.get(name, "0")) > 0 for name in RANKS):
        return 0  # started by mpirun or srun: the first rank does the work of all
    signal.signal(signal.SIGTERM, _terminated)
    warnings.simplefilter("ignore")  # those who watch standard error look for VASP's words
    folder = Path.cwd()
    try:
        return _run(folder)
    except CalculationError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.stderr.write(
            f"forrtl: No space left on device\nforrtl: severe (38): error during write, unit 20, file {folder}\n"
        )
        return 38


def _terminated(number: int, _: object) -> None:
    sys.stderr.write("forrtl: error (78): process killed (SIGTERM)\n")
    sys.stderr.flush()
    os._exit(128 + number)  # files stay as they are, buffers unwritten, as when a program is killed


@dataclass
class _Run:
    """Open files of a run, and what was asked of it."""

    folder: Path
    inputs: VaspInputs
    faults: list[Fault]
    files: dict[str, TextIO] = field(default_factory=dict)
    stop: str = ""

    def say(self, text: str, *names: str) -> None:
        """Write to standard output (name ``-``) and files, and let others see it."""
        for name in names:
            stream = sys.stdout if name == "-" else self.files[name]
            stream.write(text)
            stream.flush()

    def has(self, kind: str, step: int | None = None) -> Fault | None:
        """Return the fault of a kind, at or after its step if one is given."""
        for fault in self.faults:
            if fault.kind == kind and (step is None or step >= fault.step):
                return fault
        return None

    def read_stopcar(self) -> None:
        """See whether somebody wants the run to end: after the next ionic (LSTOP) or electronic step (LABORT)."""
        from cathodeflow.calculators.rehearsal.incar import parse_incar

        file = self.folder / "STOPCAR"
        if not file.is_file():
            return
        given = parse_incar(file.read_text()).given
        for tag in ("LSTOP", "LABORT"):
            if str(given.get(tag, "")).strip(". ").lower()[:1] == "t":
                self.stop = tag


@contextmanager
def _open_run(folder: Path, inputs: VaspInputs, faults: list[Fault]) -> Iterator[_Run]:
    run = _Run(folder, inputs, faults)
    try:
        for name in ("OUTCAR", "OSZICAR", "vasprun.xml", "XDATCAR"):
            run.files[name] = (folder / name).open("w")
        yield run
    finally:
        for stream in run.files.values():
            stream.close()


def _run(folder: Path) -> int:
    from cathodeflow.calculators.rehearsal.faults import faults_of_run
    from cathodeflow.calculators.rehearsal.inputs import read_inputs
    from cathodeflow.calculators.rehearsal.vasprun import VERSION

    started = time.monotonic()
    ranks = next((int(os.environ[name]) for name in SIZES if name in os.environ), 1)
    sys.stdout.write(f" running {ranks:4d} mpi-ranks, with    1 threads/rank, on    1 nodes\n")
    sys.stdout.write(f" vasp.{VERSION} cathodeflow rehearsal, no VASP\n")
    sys.stdout.flush()
    faults = faults_of_run(folder)
    inputs = read_inputs(folder)
    for warning in inputs.warnings:
        sys.stdout.write(f" {warning}\n")
    with _open_run(folder, inputs, faults) as run:
        if not _calculate(run, ranks, started):
            return 1
    return _last_faults(run)


def _calculate(run: _Run, ranks: int, started: float) -> bool:
    """Go through the ionic steps and write everything; return False where VASP would have stopped with an error."""
    from cathodeflow.calculators.rehearsal import electrons, outcar, vasprun
    from cathodeflow.calculators.rehearsal.densities import grid_of
    from cathodeflow.calculators.rehearsal.ionic import ionic_steps
    from cathodeflow.calculators.rehearsal.potential import load_potential

    inputs = run.inputs
    moments = electrons.moments(inputs)
    run.say(vasprun.header(inputs), "vasprun.xml")
    run.say(outcar.outcar_header(inputs, ranks, grid_of(inputs, inputs.cell)), "OUTCAR")
    calculator = load_potential()
    last_number = max(1, inputs.incar.integer("NSW")) if inputs.incar.ibrion != -1 else 1
    previous = 0.0
    never = run.has("unconverged_ionic") is not None
    for number, step in enumerate(ionic_steps(inputs, calculator, never_converge=never), start=1):
        if not _fault_at(run, number):
            return False
        stopped_before = run.stop == "LSTOP"
        energy = _electronic_steps(run, number, step.energy, moments)
        last = step.converged or number == last_number or stopped_before or run.stop == "LABORT"
        final = _electrons(run, step, calculator) if last else None
        aborted = "aborting loop, hard stop" if run.stop == "LABORT" else ""
        run.say(outcar.ionic_block(step, energy, aborted=aborted), "OUTCAR")
        moment = float((final.moments if final else moments).sum()) if inputs.spins == 2 else None
        run.say(outcar.oszicar_ionic(number, energy, energy - previous, moment), "OSZICAR", "-")
        previous = energy
        run.say(vasprun.calculation_results(step, energy), "vasprun.xml")
        _write_crystal(run, step, number)
        if final is not None:
            _finish(run, step, final, started)
            break
        run.read_stopcar()
        run.say(" </calculation>\n", "vasprun.xml")
    return True


def _fault_at(run: _Run, number: int) -> bool:
    """Let the faults of an ionic step come; return False where VASP would stop."""
    due = {fault.kind for fault in run.faults if fault.step == number}
    if "brmix" in due:
        electrons = run.inputs.electrons
        run.say(BRMIX.format(electrons, electrons * 1.01), "-")
    if "frozen" in due:
        while True:
            time.sleep(0.2)
    if "killed" in due:
        os.kill(os.getpid(), signal.SIGKILL)
    if "out_of_memory" in due:
        sys.stderr.write("Allocation would exceed memory limit\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    if "walltime" in due:
        sys.stderr.write("slurmstepd: error: *** STEP 0.0 ON rehearsal CANCELLED DUE TO TIME LIMIT ***\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGTERM)
    if "disk_full" in due:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for kind, text in (("zbrent", ZBRENT), ("edddav", EDDDAV)):
        if kind in due:
            run.say(text, "-", "OUTCAR")
            return False
    return True


def _electronic_steps(run: _Run, ionic: int, energy: float, moments: np.ndarray) -> float:
    """Write the electronic steps of an ionic step and return its energy, off where they were cut short, eV."""
    from cathodeflow.calculators.rehearsal import outcar, vasprun
    from cathodeflow.calculators.rehearsal.electronic_steps import electronic_energies

    incar = run.inputs.incar
    pace = float(os.environ.get(PACE_VARIABLE, "0"))
    planned = electronic_energies(
        energy,
        incar.number("EDIFF"),
        incar.integer("NELM"),
        incar.integer("NELMIN"),
        first=ionic == 1,
        never=run.has("unconverged_electronic", ionic) is not None,
    )
    run.say(outcar.OSZICAR_HEADER, "OSZICAR", "-")
    before, done = 0.0, []
    for number, value in enumerate(planned, start=1):
        if pace:
            time.sleep(pace)
        done.append(value)
        run.say(outcar.electronic_line(run.inputs, moments, value, ionic, number), "OUTCAR")
        run.say(outcar.oszicar_electronic(number, value, value - before), "OSZICAR", "-")
        before = value
        run.read_stopcar()
        if run.stop == "LABORT":
            break
    run.say(vasprun.calculation_begin(done), "vasprun.xml")
    return done[-1]


def _write_crystal(run: _Run, step: IonicStep, number: int) -> None:
    from cathodeflow.calculators.rehearsal.tables import poscar_text, xdatcar_text

    (run.folder / "CONTCAR").write_text(poscar_text(run.inputs, step))
    cell = number == 1 or run.inputs.incar.integer("ISIF") >= 3
    run.say(xdatcar_text(run.inputs, step, number, cell=cell), "XDATCAR")


@dataclass(frozen=True)
class _Electrons:
    """The electrons of the last geometry: moment of each atom and bands."""

    moments: np.ndarray
    bands: Bands


def _electrons(run: _Run, step: IonicStep, calculator: Any) -> _Electrons:
    """Compute the electrons of the last geometry and announce them in OUTCAR."""
    from cathodeflow.calculators.rehearsal import electrons, outcar

    moments = _moments(run.inputs, step, calculator)
    bands = electrons.bands(run.inputs, moments)
    run.say(outcar.electrons_block(run.inputs, moments, bands), "OUTCAR")
    return _Electrons(moments, bands)


def _finish(run: _Run, step: IonicStep, final: _Electrons, started: float) -> None:
    """Write the electronic structure of the last geometry and close what stands open."""
    from cathodeflow.calculators.rehearsal import densities, electrons, outcar, tables, vasprun

    inputs, folder = run.inputs, run.folder
    density = tables.state_density(inputs, final.bands)
    vasprun.write_electrons(run.files["vasprun.xml"], inputs, final.bands, density)
    crystal = vasprun.structure(step.cell, step.fractional, "finalpos")
    run.say(f" </calculation>\n{crystal}{vasprun.FOOTER}", "vasprun.xml")
    tables.write_eigenval(folder / "EIGENVAL", inputs, final.bands)
    tables.write_doscar(folder / "DOSCAR", inputs, density, final.bands.fermi)
    if inputs.incar.integer("LORBIT") >= 10:
        tables.write_procar(folder / "PROCAR", inputs, final.bands)
    densities.write_densities(folder, inputs, step, final.moments)
    if inputs.incar.switch("LWAVE"):
        tables.write_wavecar(folder / "WAVECAR")
    if step.converged and inputs.incar.ibrion != -1:
        run.say(REACHED, "-", "OUTCAR")
    if run.stop:
        kind = "soft" if run.stop == "LSTOP" else "hard"
        run.say(f"\n {kind} stop encountered!  aborting job ...\n", "OUTCAR", "-")
        (folder / "STOPCAR").unlink(missing_ok=True)
    run.say(outcar.outcar_footer(inputs, electrons.charges(inputs), final.moments, started), "OUTCAR")


def _moments(inputs: VaspInputs, step: IonicStep, calculator: Any) -> np.ndarray:
    """Return the moments of the last geometry: CHGNet's where it is the potential, with the signs of MAGMOM."""
    import numpy as np
    from ase.data import atomic_numbers

    from cathodeflow.calculators.rehearsal import electrons
    from cathodeflow.calculators.rehearsal.potential import magnetic_moments

    stated = electrons.moments(inputs)
    if inputs.spins == 1:
        return stated
    numbers = np.array([atomic_numbers[name] for name in inputs.elements])
    predicted = magnetic_moments(calculator, numbers, step.cell, step.fractional @ step.cell)
    if predicted is None:
        return stated
    given = inputs.incar.numbers("MAGMOM") or [1.0]
    signs = np.where(np.resize(np.array(given), len(predicted)) < 0, -1.0, 1.0)
    return electrons.whole_moments(inputs, signs * np.array(predicted))


def _last_faults(run: _Run) -> int:
    """Let the faults come that strike after the last step."""
    cut = run.has("truncated_xml")
    if cut is not None:
        file = run.folder / "vasprun.xml"
        os.truncate(file, int(cut.fraction * file.stat().st_size))
    failed = run.has("exit_code")
    return failed.code if failed is not None else 0


if __name__ == "__main__":
    sys.exit(main())
