"""How many bytes a run of VASP writes, file by file: formats counted, not measured (docs/science/costs.md)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

DENSITY_VALUE = 18.0  # CHGCAR: five numbers a line, each of 17 characters after a blank, and the line's end
CHG_VALUE = 12.0
PROJECTION_LINE = 130.0  # vasprun.xml: nine numbers of one atom in one band
PROCAR_LINE = 80.0
STATES_LINE = 130.0  # vasprun.xml: density of states of one atom at one energy
DOSCAR_LINE = 125.0  # one spin of it
EIGENVALUE_LINE = 46.0
ION_STEP_LINES = 190.0  # per atom: position and force, in vasprun.xml and in OUTCAR each
ELECTRONIC_STEP = 900.0  # energies of one step in vasprun.xml
OUTCAR_STEP = 2500.0
OUTCAR_EIGENVALUE = 30.0
HEADER = 30_000.0  # parameters, symmetry, potentials
POTCAR_BYTES = 200_000.0  # per species
COMPLEX_BYTES = 8.0  # a coefficient in WAVECAR, single precision

ZIPPED_TEXT, ZIPPED_DENSITY, ZIPPED_ORBITALS = 0.2, 0.45, 0.9
"""What gzip leaves of tables, of densities and of wave functions."""

_DENSITIES = ("CHGCAR", "CHG", "AECCAR0", "AECCAR1", "AECCAR2")


@dataclass(frozen=True)
class RunSize:
    """What decides the sizes of the files.

    Attributes
    ----------
    atoms, species, bands, k_points, spins : float
        k-points are those computed; bands per spin.
    plane_waves : float
        Coefficients of one band: half of them with the Γ-only program.
    ionic_steps, electronic_steps : float
        Altogether.
    density_grid : tuple of 3 ints
        NGXF, NGYF, NGZF.
    dos_energies : int
        NEDOS.
    projections : bool
        LORBIT from 10.
    density, core_density, orbitals : bool
        LCHARG, LAECHG, LWAVE.
    """

    atoms: float
    species: float
    bands: float
    plane_waves: float
    k_points: float
    spins: int
    ionic_steps: float
    electronic_steps: float
    density_grid: tuple[int, int, int]
    dos_energies: int = 301
    projections: bool = True
    density: bool = True
    core_density: bool = False
    orbitals: bool = True


def file_sizes(run: RunSize) -> dict[str, float]:
    """Return the bytes of each file a run leaves, unzipped.

    Parameters
    ----------
    run : RunSize
        What was computed.

    Returns
    -------
    dict of str to float
        By file name, inputs included.
    """
    states = run.bands * run.k_points * run.spins
    steps = run.ionic_steps * run.atoms * ION_STEP_LINES
    projected = states * run.atoms if run.projections else 0.0
    local_dos = run.dos_energies * run.atoms * run.spins if run.projections else 0.0
    vasprun = HEADER + steps + run.electronic_steps * ELECTRONIC_STEP + states * EIGENVALUE_LINE
    files = {
        "vasprun.xml": vasprun + projected * PROJECTION_LINE + local_dos * STATES_LINE,
        "OUTCAR": HEADER + steps + run.electronic_steps * OUTCAR_STEP + states * OUTCAR_EIGENVALUE,
        "PROCAR": projected * PROCAR_LINE,
        "EIGENVAL": run.bands * run.k_points * (15.0 + 20.0 * run.spins),
        "DOSCAR": run.dos_energies * (50.0 + DOSCAR_LINE * local_dos / run.dos_energies),
        "OSZICAR": 90.0 * run.electronic_steps,
        "XDATCAR": 40.0 * run.atoms * run.ionic_steps,
        "POTCAR": POTCAR_BYTES * run.species,
        "CONTCAR": 110.0 * run.atoms + 500.0,
        "POSCAR": 60.0 * run.atoms + 500.0,
        "INCAR": 1000.0,
        "KPOINTS": 200.0,
        "custodian.json": 2000.0,
        "job.log": 5000.0,
    }
    points = float(prod(run.density_grid))
    if run.density:
        files["CHGCAR"] = density_bytes(points, run.spins, run.atoms)
        files["CHG"] = points * run.spins * CHG_VALUE
    if run.core_density:
        # One field each: the core's density, and the valence's before and after the run.
        files |= {name: density_bytes(points, 1, run.atoms) for name in ("AECCAR0", "AECCAR1", "AECCAR2")}
    if run.orbitals:
        files["WAVECAR"] = wavecar_bytes(run)
    return {name: size for name, size in files.items() if size > 0}


def density_bytes(points: float, fields: int, atoms: float) -> float:
    """Return the bytes of a density on a grid: of all fields, with the crystal and each atom's one-centre terms."""
    return fields * points * DENSITY_VALUE + atoms * (60.0 + fields * 800.0)


def wavecar_bytes(run: RunSize) -> float:
    """Return the bytes of WAVECAR: records of one band each, with one per k-point and two more for the rest."""
    record = run.plane_waves * COMPLEX_BYTES
    return record * (2 + run.spins * run.k_points * (1 + run.bands))


def zipped(name: str, size: float) -> float:
    """Return about what gzip leaves of a file."""
    if name in _DENSITIES:
        return size * ZIPPED_DENSITY
    return size * (ZIPPED_ORBITALS if name == "WAVECAR" else ZIPPED_TEXT)
