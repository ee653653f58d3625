"""Bader charges of a finished VASP calculation."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from cathodeflow.calculators.bader.acf import read_acf
from cathodeflow.calculators.bader.chgcar import DensityFile, read_density, write_density
from cathodeflow.calculators.zipped_files import existing
from cathodeflow.errors import CalculationError, MissingDependencyError
from cathodeflow.science.electronic.charges import AtomicCharges
from cathodeflow.science.electronic.density import GridDensity, require_same_grid

Program = Literal["bader", "pybader"]

VALENCE_TOLERANCE = 0.01
"""e; how far the integral of CHGCAR may lie from the sum of the valence electrons."""

PARTITION_TOLERANCE = 1e-3
"""e; how far the sum of the divided charges may lie from the integral; ACF.dat carries six decimals per atom."""


def bader_program() -> Path | None:
    """Return the `bader` program on PATH, or None.

    pybader installs a command of the same name, with other arguments and output; it does not count.
    """
    for folder in os.get_exec_path():
        found = shutil.which("bader", path=folder)
        if found is not None and not _is_pybader_command(Path(found)):
            return Path(found)
    return None


def available_program() -> Program:
    """Return which program a charge analysis would use.

    Raises
    ------
    MissingDependencyError
        If there is none.
    """
    if bader_program() is not None:
        return "bader"
    if importlib.util.find_spec("pybader") is not None:
        return "pybader"
    raise MissingDependencyError("No program for Bader charges: put `bader` on PATH or `pip install pybader`.")


def analyse_folder(
    folder: Path,
    valence_electrons: Sequence[float] | None = None,
    *,
    program: Program | None = None,
    timeout_s: float = 3600.0,
) -> AtomicCharges:
    """Divide the valence density of a VASP calculation among its atoms.

    Surfaces are found in AECCAR0 + AECCAR2, the all-electron density, whose maxima lie at the nuclei; the electrons of
    CHGCAR are summed inside them.

    Parameters
    ----------
    folder : Path
        Holds CHGCAR, AECCAR0 and AECCAR2, plain or gzipped (run with LAECHG = .TRUE.).
    valence_electrons : sequence of float, optional
        Electrons of each neutral atom (ZVAL of the POTCAR), to check that the density holds all of them. For a charged
        cell leave them out.
    program : {"bader", "pybader"}, optional
        By default what `available_program` finds.
    timeout_s : float
        Longest run of the program, s.

    Returns
    -------
    AtomicCharges

    Raises
    ------
    CalculationError
        If a file is missing or damaged, files do not belong together, or the program fails or takes too long.
    MissingDependencyError
        If there is no program.
    """
    valence, reference = read_densities(folder, valence_electrons)
    return analyse_density(valence, reference, program=program, timeout_s=timeout_s)


def read_densities(folder: Path, valence_electrons: Sequence[float] | None = None) -> tuple[DensityFile, DensityFile]:
    """Return what is summed, CHGCAR, and what the surfaces are found in; arguments and errors as `analyse_folder`."""
    valence, core, pseudo = (read_density(existing(folder, name)) for name in ("CHGCAR", "AECCAR0", "AECCAR2"))
    for other in (core, pseudo):
        if other.species != valence.species or not _same_positions(other, valence):
            raise CalculationError(
                "CHGCAR, AECCAR0 and AECCAR2 hold different atoms; run the calculation again.", "broken_output"
            )
    require_same_grid(valence.density, core.density, pseudo.density)
    reference = replace(
        valence,
        density=GridDensity(core.density.values + pseudo.density.values, valence.density.lattice),
        magnetisation=None,
    )
    if valence_electrons is not None:
        _require_electrons(
            valence.density.electrons, float(np.sum(valence_electrons)), "The values of CHGCAR", VALENCE_TOLERANCE
        )
    return valence, reference


def analyse_density(
    content: DensityFile,
    reference: DensityFile | None = None,
    *,
    program: Program | None = None,
    timeout_s: float = 3600.0,
) -> AtomicCharges:
    """Divide a density among its atoms; arguments, result and errors as `analyse_folder`.

    Parameters
    ----------
    content : DensityFile
        What is summed.
    reference : DensityFile, optional
        What the surfaces are found in; by default the density itself.
    program : {"bader", "pybader"}, optional
        By default what `available_program` finds.
    timeout_s : float
        Longest run of the program, s.
    """
    surfaces = content if reference is None else reference
    require_same_grid(content.density, surfaces.density)
    # A flat density has no maxima to divide by; the near-grid walk would then follow rounding noise.
    if np.ptp(surfaces.density.values) <= 0:
        raise CalculationError("The density is constant, so that no atom can be told from another.")
    chosen = available_program() if program is None else program
    run = _run_bader if chosen == "bader" else _run_pybader
    with tempfile.TemporaryDirectory(prefix="bader-") as folder:
        charges = run(Path(folder), content, surfaces, timeout_s)
    if len(charges.electrons) != len(content.species):
        raise CalculationError(
            f"The {chosen} program gave {len(charges.electrons)} charges for {len(content.species)} atoms."
        )
    _require_electrons(
        charges.total_electrons, content.density.electrons, f"The charges of {chosen}", PARTITION_TOLERANCE
    )
    return charges


def _is_pybader_command(path: Path) -> bool:
    """Tell whether an executable is the script that pip made for pybader."""
    try:
        with path.open("rb") as file:
            return b"pybader" in file.read(4096)
    except OSError:  # a program may be executable without being readable
        return False


def _run_bader(folder: Path, content: DensityFile, reference: DensityFile, timeout_s: float) -> AtomicCharges:
    """Run the `bader` program in a fresh folder and read its ACF.dat."""
    program = bader_program()
    if program is None:
        raise MissingDependencyError("The `bader` program is not on PATH; install it, or use pybader.")
    write_density(folder / "CHGCAR", replace(content, magnetisation=None), "valence")
    write_density(folder / "CHGCAR_sum", replace(reference, magnetisation=None), "AECCAR0 + AECCAR2")
    _run([str(program), "CHGCAR", "-ref", "CHGCAR_sum"], folder, timeout_s)
    return read_acf(folder / "ACF.dat")


def _run_pybader(folder: Path, content: DensityFile, reference: DensityFile, timeout_s: float) -> AtomicCharges:
    """Run pybader's kernels in a process of their own."""
    if importlib.util.find_spec("pybader") is None:
        raise MissingDependencyError("pybader is not installed; `pip install pybader`.")
    np.savez(
        folder / "density.npz",
        density=content.density.values,
        reference=reference.density.values,
        lattice=content.density.lattice,
        positions=content.positions,
    )
    module = "cathodeflow.calculators.bader.partition"
    _run([sys.executable, "-m", module, "density.npz", "charges.npz"], folder, timeout_s)
    with np.load(folder / "charges.npz") as result:
        return AtomicCharges(result["electrons"], result["volumes"], result["min_distances"])


def _run(command: list[str], folder: Path, timeout_s: float) -> None:
    """Run a program to its end, or say how it failed."""
    name = Path(command[0]).name
    try:
        subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=True)
    except subprocess.TimeoutExpired as error:
        raise CalculationError(
            f"The charge analysis ({name}) was stopped after {timeout_s:.0f} s.", "timeout"
        ) from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout or "").strip().splitlines()[-1:] or ["no message"]
        raise CalculationError(
            f"The charge analysis ({name}) ended with {error.returncode}: {last[0]}", _reason_of(error)
        ) from error
    except OSError as error:
        raise CalculationError(
            f"The charge analysis ({name}) cannot be started: {error}.", "missing_program"
        ) from error


def _reason_of(error: subprocess.CalledProcessError) -> str:
    """Return the outcome reason of a program that ended with an error."""
    if "No space left on device" in (error.stderr or ""):
        return "disk_full"
    if "oom_kill" in (error.stderr or ""):
        return "out_of_memory"
    return "killed" if error.returncode < 0 or error.returncode > 128 else "exit_code"


def _same_positions(first: DensityFile, second: DensityFile) -> bool:
    """Tell whether two files hold the atoms at the same places, over periodic images."""
    difference = first.positions - second.positions
    return bool((np.abs(difference - np.round(difference)) < 1e-4).all())


def _require_electrons(found: float, expected: float, what: str, tolerance: float) -> None:
    """Refuse a count that lost or gained electrons."""
    if abs(found - expected) > tolerance:
        raise CalculationError(
            f"{what} add up to {found:.4f} electrons instead of {expected:.4f}; run it again.", "broken_output"
        )
