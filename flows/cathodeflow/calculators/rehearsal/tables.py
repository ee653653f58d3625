"""The smaller output files: CONTCAR, XDATCAR, EIGENVAL, DOSCAR, PROCAR, WAVECAR, and the density of states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cathodeflow.calculators.rehearsal.electrons import ORBITALS, PROJECTED, Bands
from cathodeflow.calculators.rehearsal.inputs import VaspInputs
from cathodeflow.calculators.rehearsal.ionic import IonicStep

BROADENING = 0.1  # eV, of the density of states; SIGMA where larger


@dataclass(frozen=True)
class StateDensity:
    """The density of states.

    Attributes
    ----------
    energies : ndarray of shape (n_energies,)
        eV.
    total : ndarray of shape (n_spins, n_energies)
        States per eV and cell.
    integrated : ndarray, same shape
        States below.
    partial : ndarray of shape (n_spins, n_atoms, n_orbitals, n_energies)
        On each orbital of each atom.
    """

    energies: np.ndarray
    total: np.ndarray
    integrated: np.ndarray
    partial: np.ndarray


def state_density(inputs: VaspInputs, bands: Bands) -> StateDensity:
    """Broaden the bands by Gaussians, 0.1 eV or SIGMA wide, on NEDOS energies that hold all of them."""
    width = max(BROADENING, inputs.incar.number("SIGMA"))
    low, high = bands.energies.min() - 6 * width, bands.energies.max() + 6 * width
    energies = np.linspace(low, high, max(inputs.incar.integer("NEDOS"), 2))
    sites, spins = len(inputs.fractional), inputs.spins
    factor = 2.0 if spins == 1 else 1.0
    total = np.zeros((spins, len(energies)))
    partial = np.zeros((spins, sites * len(ORBITALS), len(energies)))
    for spin in range(spins):
        for point, weight in enumerate(inputs.kpoints.weights):
            levels = bands.energies[spin, point]
            curves = np.exp(-(((energies - levels[:, None]) / width) ** 2) / 2) * (
                factor * weight / (width * np.sqrt(2 * np.pi))
            )
            total[spin] += curves.sum(axis=0)
            own = bands.atoms[spin, point] >= 0
            places = bands.atoms[spin, point] * len(ORBITALS) + bands.orbitals[spin, point]
            np.add.at(partial[spin], places[own], PROJECTED * curves[own])
    integrated = np.cumsum(total, axis=1) * (energies[1] - energies[0])
    return StateDensity(energies, total, integrated, partial.reshape(spins, sites, len(ORBITALS), len(energies)))


def poscar_text(inputs: VaspInputs, step: IonicStep) -> str:
    """Return the crystal in POSCAR's format."""
    lines = [inputs.comment, "   1.00000000000000"]
    lines += ["  " + " ".join(f"{value:21.16f}" for value in row) for row in step.cell]
    lines.append("   " + "   ".join(potential.element for potential in inputs.potentials))
    lines.append("   " + "   ".join(str(count) for count in inputs.counts))
    lines.append("Direct")
    lines += ["  " + " ".join(f"{value:19.16f}" for value in row) for row in step.fractional]
    return "\n".join(lines) + "\n"


def xdatcar_text(inputs: VaspInputs, step: IonicStep, number: int, *, cell: bool) -> str:
    """Return one frame of XDATCAR, with the lattice before it where it changes or is the first."""
    lines = []
    if cell:
        lines += [inputs.comment, "           1"]
        lines += ["  " + " ".join(f"{value:11.6f}" for value in row) for row in step.cell]
        lines.append("   " + "   ".join(potential.element for potential in inputs.potentials))
        lines.append("   " + "   ".join(f"{count:4d}" for count in inputs.counts))
    lines.append(f"Direct configuration= {number:5d}")
    lines += ["  " + " ".join(f"{value:11.8f}" for value in row) for row in step.fractional]
    return "\n".join(lines) + "\n"


def write_eigenval(file: Path, inputs: VaspInputs, bands: Bands) -> None:
    """Write EIGENVAL."""
    sites, count = len(inputs.fractional), bands.energies.shape[2]
    with file.open("w") as stream:
        stream.write(f"{sites:5d}{sites:5d}{1:5d}{inputs.spins:5d}\n")
        stream.write("  0.1000000E+02  0.5000000E-09  0.5000000E-09  0.5000000E-09  0.5000000E-15\n")
        stream.write(f"  1.0000000000000E-004\n  CAR \n {inputs.comment}\n")
        stream.write(f"{round(inputs.electrons):7d}{len(inputs.kpoints.points):7d}{count:7d}\n")
        for point, (where, weight) in enumerate(zip(inputs.kpoints.points, inputs.kpoints.weights, strict=True)):
            stream.write("\n" + "".join(f"{value:15.7E}" for value in (*where, weight)) + "\n")
            for band in range(count):
                values = bands.energies[:, point, band].tolist() + bands.occupations[:, point, band].tolist()
                stream.write(f"{band + 1:5d}" + "".join(f"{value:14.6f}" for value in values) + "\n")


def write_doscar(file: Path, inputs: VaspInputs, density: StateDensity, fermi: float) -> None:
    """Write DOSCAR, with the partial densities where LORBIT is 10 or more."""
    sites = len(inputs.fractional)
    number = len(density.energies)
    block = f"{density.energies[-1]:16.8f}{density.energies[0]:16.8f}{number:5d}{fermi:16.8f}{1.0:16.8f}\n"
    projected = inputs.incar.integer("LORBIT") >= 10
    with file.open("w") as stream:
        stream.write(f"{sites:4d}{sites:4d}{int(projected):4d}{0:4d}\n")
        stream.write("  0.1000000E+02  0.5000000E-09  0.5000000E-09  0.5000000E-09  0.5000000E-15\n")
        stream.write(f"  1.0000000000000E-004\n  CAR \n {inputs.comment}\n")
        stream.write(block)
        columns = np.vstack([density.energies, density.total, density.integrated]).T
        _rows(stream, columns, "%11.3f", "%12.4E")
        for site in range(sites if projected else 0):
            stream.write(block)
            orbitals = density.partial[:, site].transpose(1, 0, 2).reshape(-1, number)
            _rows(stream, np.vstack([density.energies, orbitals]).T, "%11.3f", "%12.4E")


def _rows(stream, columns: np.ndarray, first: str, other: str) -> None:  # type: ignore[no-untyped-def]
    line = first + other * (columns.shape[1] - 1) + "\n"
    stream.write(line * len(columns) % tuple(columns.ravel().tolist()))


def write_procar(file: Path, inputs: VaspInputs, bands: Bands) -> None:
    """Write PROCAR (lm decomposed)."""
    sites, count = len(inputs.fractional), bands.energies.shape[2]
    header = "ion " + " ".join(f"{name:>6}" for name in ORBITALS) + "    tot\n"
    zeros = [f"{site + 1:5d}" + "  0.000" * (len(ORBITALS) + 1) + "\n" for site in range(sites)]
    nothing = "".join(zeros) + "tot  " + "  0.000" * (len(ORBITALS) + 1) + "\n"
    with file.open("w") as stream:
        stream.write("PROCAR lm decomposed\n")
        for spin in range(inputs.spins):
            stream.write(f"# of k-points: {len(inputs.kpoints.points):5d}         # of bands:{count:5d}         ")
            stream.write(f"# of ions:{sites:5d}\n\n")
            for point, (where, weight) in enumerate(zip(inputs.kpoints.points, inputs.kpoints.weights, strict=True)):
                place = "".join(f"{value:12.8f}" for value in where)
                stream.write(f" k-point {point + 1:5d} : {place}     weight = {weight:.8f}\n\n")
                for band in range(count):
                    energy, filled = bands.energies[spin, point, band], bands.occupations[spin, point, band]
                    stream.write(f"band {band + 1:5d} # energy {energy:13.8f} # occ. {filled:11.8f}\n\n{header}")
                    atom, orbital = bands.atoms[spin, point, band], bands.orbitals[spin, point, band]
                    if atom < 0:
                        stream.write(nothing + "\n")
                        continue
                    numbers = [0.0] * len(ORBITALS)
                    numbers[orbital] = PROJECTED
                    text = "".join(f"{value:7.3f}" for value in (*numbers, PROJECTED)) + "\n"
                    stream.write("".join(zeros[:atom]) + f"{atom + 1:5d}" + text + "".join(zeros[atom + 1 :]))
                    stream.write("tot  " + text + "\n")


def write_wavecar(file: Path) -> None:
    """Write a stub: a Fortran record of zeros, enough to be copied and deleted, and to be no wavefunction."""
    file.write_bytes(b"cathodeflow rehearsal: no wavefunction\n" + bytes(985))
