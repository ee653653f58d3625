"""OUTCAR and OSZICAR: the lines that pymatgen, custodian and people look for."""

from __future__ import annotations

import resource
import time

import numpy as np

from cathodeflow.calculators.rehearsal.electrons import Bands, number_of_bands
from cathodeflow.calculators.rehearsal.inputs import VaspInputs
from cathodeflow.calculators.rehearsal.ionic import IonicStep
from cathodeflow.calculators.rehearsal.vasprun import KILOBAR, VERSION

RULE = "-" * 104


def outcar_header(inputs: VaspInputs, ranks: int, grid: tuple[int, int, int]) -> str:
    """Return everything before the first ionic step."""
    incar, mesh = inputs.incar, inputs.kpoints
    waves = max(1, int(np.prod(grid)) // 16)
    plane_waves = "\n".join(
        f" k-point {point + 1:4d} :{where[0]:9.4f}{where[1]:8.4f}{where[2]:8.4f}  plane waves: {waves:7d}"
        for point, where in enumerate(mesh.points)
    )
    titles = "\n".join(f" POTCAR:    {potential.title}" for potential in inputs.potentials)
    described = "\n".join(
        f"  VRHFIN ={p.element}: rehearsal\n   TITEL  = {p.title}\n"
        f"   POMASS = 1.000; ZVAL   = {p.valence:6.3f}    mass and valenz"
        for p in inputs.potentials
    )
    counts = "".join(f"{count:8d}" for count in inputs.counts)
    valences = "".join(f"{p.valence:6.2f}" for p in inputs.potentials)
    return (
        f" vasp.{VERSION} cathodeflow rehearsal, no VASP\n"
        f" running {ranks:4d} mpi-ranks, with    1 threads/rank, on    1 nodes\n\n"
        f"{RULE}\n\n\n INCAR:\n{titles}\n{described}\n\n POSCAR: {inputs.comment}\n KPOINTS: {mesh.style}\n\n"
        " Dimension of arrays:\n"
        f"   k-points           NKPTS = {len(mesh.points):6d}   k-points in BZ     NKDIM = {len(mesh.points):6d}"
        f"   number of bands    NBANDS= {number_of_bands(inputs):6d}\n"
        f"   number of dos      NEDOS = {incar.integer('NEDOS'):6d}"
        f"   number of ions     NIONS = {len(inputs.fractional):6d}\n"
        f"   total plane-waves  NPLWV = {int(np.prod(grid)) // 8}\n"
        f"   dimension x,y,z NGXF= {grid[0]:5d} NGYF= {grid[1]:5d} NGZF= {grid[2]:5d}\n   ions per type = {counts}\n\n"
        f"   ISPIN  = {inputs.spins:6d}    spin polarized calculation?\n"
        "   LNONCOLLINEAR =      F non collinear calculations\n"
        f"   ENCUT  = {incar.number('ENCUT'):7.1f} eV\n   NELM   = {incar.integer('NELM'):6d};\n"
        f"   EDIFF  = {incar.number('EDIFF'):.1E}   stopping-criterion for ELM\n"
        f"   EDIFFG = {incar.ediffg:.1E}   stopping-criterion for IOM\n"
        f"   NSW    = {incar.integer('NSW'):6d}    number of steps for IOM\n"
        f"   IBRION = {incar.ibrion:6d}    ionic relax: 0-MD 1-quasi-New 2-CG\n"
        f"   ISIF   = {incar.integer('ISIF'):6d}\n"
        f"   ZVAL   = {valences}\n   NELECT = {inputs.electrons:12.4f}    total number of electrons\n"
        f"   ISMEAR = {incar.integer('ISMEAR'):5d};   SIGMA  = {incar.number('SIGMA'):6.2f}\n\n\n"
        f"{RULE}\n\n\n{plane_waves}\n\n maximum and minimum number of plane-waves per node : {waves:8d} {waves:8d}\n\n"
        f" maximum number of plane-waves: {waves:8d}\n\n"
    )


def electronic_line(inputs: VaspInputs, site_moments: np.ndarray, energy: float, ionic: int, electronic: int) -> str:
    """Return the block of an electronic step in OUTCAR."""
    return (
        f"\n--------------------------------------- Iteration {ionic:6d}({electronic:4d})  "
        "---------------------------------------\n\n"
        f" number of electron {inputs.electrons:15.7f} magnetization {float(site_moments.sum()):15.7f}\n"
        "  EENTRO = entropy T*S    EENTRO =         0.00000000\n"
        f"  free energy    TOTEN  = {energy:18.8f} eV\n"
    )


def ionic_block(step: IonicStep, energy: float, *, aborted: str) -> str:
    """Return stress, forces and energies of an ionic step in OUTCAR."""
    pressure = -step.stress * KILOBAR
    six = [pressure[0, 0], pressure[1, 1], pressure[2, 2], pressure[0, 1], pressure[1, 2], pressure[2, 0]]
    positions = step.fractional @ step.cell
    rows = "\n".join(
        " ".join(f"{value:13.5f}" for value in place) + "   " + " ".join(f"{value:13.6f}" for value in force)
        for place, force in zip(positions, step.forces, strict=True)
    )
    lattice = "\n".join(
        " ".join(f"{value:13.9f}" for value in (*vector, *reciprocal))
        for vector, reciprocal in zip(step.cell, np.linalg.inv(step.cell).T, strict=True)
    )
    end = aborted or "aborting loop because EDIFF is reached"
    return (
        f"------------------------ {end} ----------------------------------------\n\n"
        f"  in kB  {' '.join(f'{value:11.5f}' for value in six)}\n"
        f"  external pressure = {np.trace(pressure) / 3:11.2f} kB\n\n"
        f"  volume of cell : {abs(float(np.linalg.det(step.cell))):11.2f}\n"
        f"      direct lattice vectors                 reciprocal lattice vectors\n{lattice}\n\n"
        f" POSITION                                       TOTAL-FORCE (eV/Angst)\n {RULE[:83]}\n{rows}\n {RULE[:83]}\n"
        "    total drift:  " + " ".join(f"{value:13.6f}" for value in step.forces.sum(axis=0)) + "\n\n"
        f"  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  {RULE[:51]}\n"
        f"  free  energy   TOTEN  = {energy:18.8f} eV\n\n"
        f"  energy  without entropy= {energy:18.8f}  energy(sigma->0) = {energy:18.8f}\n\n"
    )


def electrons_block(inputs: VaspInputs, site_moments: np.ndarray, bands: Bands) -> str:
    """Return the lines on the electrons of the last geometry, which VASP writes before its forces."""
    return (
        f"\n number of electron {inputs.electrons:15.7f} magnetization {float(site_moments.sum()):15.7f}\n"
        f" E-fermi :  {bands.fermi:8.4f}     XC(G=0):  -1.0000     alpha+bet : -1.0000\n\n"
    )


def outcar_footer(inputs: VaspInputs, electrons: np.ndarray, site_moments: np.ndarray, started: float) -> str:
    """Return charges, moments and the timing at the end of OUTCAR."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = usage.ru_utime + usage.ru_stime
    tables = _per_ion("total charge", electrons)
    if inputs.spins == 2:
        tables += _per_ion("magnetization (x)", site_moments)
    return (
        f"{tables}\n\n General timing and accounting informations for this job:\n {RULE[:56]}\n\n"
        f"                  Total CPU time used (sec): {cpu:12.3f}\n"
        f"                            User time (sec): {usage.ru_utime:12.3f}\n"
        f"                          System time (sec): {usage.ru_stime:12.3f}\n"
        f"                         Elapsed time (sec): {time.monotonic() - started:12.3f}\n\n"
        f"                   Maximum memory used (kb): {usage.ru_maxrss:12d}.\n"
        "                   Average memory used (kb):          N/A\n"
    )


def _per_ion(title: str, values: np.ndarray) -> str:
    lines = [f"\n\n {title}\n\n# of ion       s       p       d       tot\n{'-' * 42}"]
    lines += [f"{site + 1:5d}       0.000   0.000  {value:7.3f}  {value:7.3f}" for site, value in enumerate(values)]
    total = float(values.sum())
    lines.append(f"{'-' * 42}\ntot         0.000   0.000  {total:7.3f}  {total:7.3f}\n")
    return "\n".join(lines)


OSZICAR_HEADER = "       N       E                     dE             d eps       ncg     rms          rms(c)\n"


def oszicar_electronic(number: int, energy: float, change: float) -> str:
    """Return the line of an electronic step in OSZICAR and on standard output."""
    return f"DAV: {number:3d}   {energy:19.12E}  {change:12.5E}  {change:12.5E} {100:5d} {abs(change):10.3E}\n"


def oszicar_ionic(number: int, energy: float, change: float, moment: float | None) -> str:
    """Return the line of an ionic step in OSZICAR and on standard output."""
    magnetic = "" if moment is None else f"  mag= {moment:11.4f}"
    return f"{number:4d} F= {energy:14.8E} E0= {energy:14.8E}  d E ={change: .6E}{magnetic}\n"
