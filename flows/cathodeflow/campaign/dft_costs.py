"""What a run of VASP costs: operations counted by a stated model, one constant set by the paper's own figure.

The model gives ratios between runs (a static run on a dense mesh, a hybrid one, another host); the absolute scale
stands on one sentence of S0, section 3.3: "approximately two hours with 68 CPU cores" for one structure. What a project
has measured replaces that scale, kind of run by kind of run (`unit_costs.measured_dft_costs`). Every formula and
constant: docs/science/costs.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil, cos, log2, pi, prod, radians, sqrt

HBAR2_OVER_2M = 3.80998  # eV Å^2

# S0 section 3.3.
PAPER_STRUCTURES = 87_870
PAPER_WALL_H = 2.0
PAPER_CORES = 68
HOURS_PER_YEAR = 8766.0

# Steps, where nothing was measured.
IONIC_STEPS = 40.0
REFERENCE_IONIC_STEPS = 10.0  # symmetry leaves an element's cell few degrees of freedom
FIRST_ELECTRONIC_STEPS = 25.0
NEXT_ELECTRONIC_STEPS = 10.0  # after a move of the atoms, from the extrapolated density
STATIC_ELECTRONIC_STEPS = 30.0
HYBRID_ELECTRONIC_STEPS = 40.0
SECOND_RELAXATION = 1 / 3  # of the first one's work

# Work of one electronic step, in operations of Fourier transforms.
APPLICATIONS = 4.0  # of the Hamiltonian to each band
HYBRID_APPLICATIONS = 2.0  # of the exact exchange to each band
PROJECTORS = 12.0  # per atom
SPHERE_POINTS = 1000.0  # of one projector in real space (LREAL = Auto)
MATRIX_SPEED = 5.0  # matrix products run so much faster than Fourier transforms
SPHERE_SPEED = 0.5  # scattered memory runs slower
EXCHANGE_GRID = 0.75  # PRECFOCK = Normal against PREC = Accurate, each direction

SERIAL_SHARE = 0.005  # lost per further processor: 75 % efficiency at 68
STATED_UNCERTAINTY = 3.0
"""Factor, up or down, for a kind of run of which nothing was measured."""


@dataclass(frozen=True)
class Cell:
    """A crystal as the cost sees it.

    Attributes
    ----------
    atoms, species, electrons : float
        Of the cell; electrons are those of the POTCARs. Means over compositions are not whole.
    lengths, angles : tuple of 3 floats
        Å and degrees.
    """

    atoms: float
    species: float
    electrons: float
    lengths: tuple[float, float, float]
    angles: tuple[float, float, float] = (90.0, 90.0, 90.0)

    @cached_property
    def volume(self) -> float:
        """Å^3."""
        first, second, third = (cos(radians(angle)) for angle in self.angles)
        skew = 1 - first**2 - second**2 - third**2 + 2 * first * second * third
        return prod(self.lengths) * sqrt(skew)


@dataclass(frozen=True)
class Run:
    """Settings of a run as its cost sees them.

    Attributes
    ----------
    cutoff : float
        ENCUT, eV.
    k_points : float
        Those computed: of a mesh, what symmetry leaves.
    mesh_points : float
        Of the full mesh, over which exact exchange sums.
    spins : int
        1 or 2.
    ionic_steps : float
        Geometries.
    gamma_only : bool
        Real wave functions: half of everything.
    real_projectors : bool
        LREAL = Auto.
    hybrid : bool
        Exact exchange.
    bands : float
        NBANDS; 0 for VASP's own.
    work : float
        Times the work of one such run: a second relaxation after the first.
    """

    cutoff: float
    k_points: float = 1.0
    mesh_points: float = 1.0
    spins: int = 2
    ionic_steps: float = 1.0
    gamma_only: bool = False
    real_projectors: bool = False
    hybrid: bool = False
    bands: float = 0.0
    work: float = 1.0

    @property
    def electronic_steps(self) -> float:
        """Over all geometries."""
        if self.hybrid:
            return HYBRID_ELECTRONIC_STEPS * self.ionic_steps
        if self.ionic_steps <= 1:
            return STATIC_ELECTRONIC_STEPS
        return FIRST_ELECTRONIC_STEPS + (self.ionic_steps - 1) * NEXT_ELECTRONIC_STEPS


ANCHOR_CELL = Cell(
    atoms=72, species=5, electrons=488, lengths=(9.20157, 9.22178, 10.84515), angles=(90.0006, 90.0015, 90.0005)
)
"""The packaged Na3V2(PO4)2F3, 72 atoms, with the Materials Project's POTCARs (Na_pv, V_pv, P, O, F)."""
ANCHOR_RUN = Run(cutoff=550.0, ionic_steps=IONIC_STEPS, gamma_only=True, real_projectors=True)
"""S0's relaxation: 550 eV, one k-point, both spins."""


def plane_waves(volume: float, cutoff: float) -> float:
    """Return the plane waves below a cutoff: those in a sphere of ``G = sqrt(E / (ħ²/2m))``.

    Parameters
    ----------
    volume : float
        Of the cell, Å^3.
    cutoff : float
        ENCUT, eV.
    """
    return volume / (6 * pi**2) * (cutoff / HBAR2_OVER_2M) ** 1.5


def orbital_grid(lengths: tuple[float, float, float], cutoff: float) -> tuple[int, int, int]:
    """Return NGX, NGY, NGZ of PREC = Accurate: a box that holds all vectors up to 2 G, even."""
    reach = 4 * sqrt(cutoff / HBAR2_OVER_2M) / (2 * pi)
    first, second, third = (2 * ceil(length * reach / 2) for length in lengths)
    return first, second, third


def density_grid(lengths: tuple[float, float, float], cutoff: float) -> tuple[int, int, int]:
    """Return NGXF, NGYF, NGZF: twice the grid of the orbitals."""
    first, second, third = orbital_grid(lengths, cutoff)
    return 2 * first, 2 * second, 2 * third


def mesh_of_spacing(lengths: tuple[float, float, float], spacing: float) -> tuple[int, int, int]:
    """Return the mesh of KSPACING (Å⁻¹, 2π included), lattice vectors taken for orthogonal."""
    first, second, third = (max(1, ceil(2 * pi / (length * spacing))) for length in lengths)
    return first, second, third


def without_symmetry(mesh: tuple[int, int, int], *, at_gamma: bool) -> int:
    """Return the k-points of a mesh that time reversal alone leaves: arrangements keep little other symmetry.

    A point is its own mirror image where each coordinate is 0 or 1/2: one value of an odd count, two of an even count
    centred at Γ, none of an even count that is shifted.
    """
    own_image = prod(1 if count % 2 else (2 if at_gamma else 0) for count in mesh)
    return (prod(mesh) + own_image) // 2


def default_bands(electrons: float, atoms: float) -> float:
    """Return VASP's NBANDS: half the electrons and half the atoms, at least 0.6 of the electrons."""
    return float(ceil(max(electrons / 2 + atoms / 2, 0.6 * electrons)))


def bands_of(cell: Cell, run: Run) -> float:
    """Return NBANDS of a run."""
    return max(run.bands, default_bands(cell.electrons, cell.atoms))


def operations(cell: Cell, run: Run) -> float:
    """Count the operations of a run, in those of Fourier transforms.

    Parameters
    ----------
    cell : Cell
        What is computed.
    run : Run
        How.

    Returns
    -------
    float
        Real floating-point operations; matrix products count a fifth (`MATRIX_SPEED`).
    """
    bands, waves = bands_of(cell, run), plane_waves(cell.volume, run.cutoff)
    grid = float(prod(orbital_grid(cell.lengths, run.cutoff)))
    transforms = APPLICATIONS * bands * 2 * _transform(grid)
    reach, speed = (SPHERE_POINTS, SPHERE_SPEED) if run.real_projectors else (waves, MATRIX_SPEED)
    projections = APPLICATIONS * bands * PROJECTORS * cell.atoms * reach * 2 * 8 / speed
    # Overlaps, the subspace matrix, and the rotation into its eigenvectors.
    subspace = (3 * 8 * bands**2 * waves + 25 * 8 * bands**3) / MATRIX_SPEED
    step = transforms + projections + subspace
    if run.hybrid:
        pairs = bands * cell.electrons / 2 * run.mesh_points
        step += HYBRID_APPLICATIONS * pairs * 2 * _transform(grid * EXCHANGE_GRID**3)
    per_state = 0.5 if run.gamma_only else 1.0
    return run.work * per_state * step * run.k_points * run.spins * run.electronic_steps


def _transform(points: float) -> float:
    return 5 * points * log2(points)


def efficiency(cores: int) -> float:
    """Return the share of `cores` processors that does work: ``1 / (1 + 0.005 (cores - 1))``."""
    return 1 / (1 + SERIAL_SHARE * (cores - 1))


def paper_rate() -> float:
    """Return the operations one of S0's processors does in a second, alone."""
    seconds = PAPER_WALL_H * 3600 * PAPER_CORES * efficiency(PAPER_CORES)
    return operations(ANCHOR_CELL, ANCHOR_RUN) / seconds


def core_seconds(cell: Cell, run: Run, cores: int = PAPER_CORES) -> float:
    """Return what a run costs by the model, on processors like S0's.

    Parameters
    ----------
    cell : Cell
        What is computed.
    run : Run
        How.
    cores : int
        It runs on.

    Returns
    -------
    float
        Processors times seconds.
    """
    return operations(cell, run) / (paper_rate() * efficiency(cores))


@dataclass(frozen=True)
class WorkedExample:
    """S0's sentence on the cost of computing everything, carried out.

    Attributes
    ----------
    wall_years : float
        One structure after another.
    core_hours : float
        Of all.
    model_core_hours : float
        The same by this model: equal, since the model is anchored there.
    """

    structures: int
    wall_h: float
    cores: int
    wall_years: float
    core_hours: float
    model_core_hours: float


def worked_example() -> WorkedExample:
    """Carry out "87,870 structures, two hours on 68 processors each, at least 20 years" (S0 section 3.3)."""
    wall = PAPER_STRUCTURES * PAPER_WALL_H
    return WorkedExample(
        PAPER_STRUCTURES,
        PAPER_WALL_H,
        PAPER_CORES,
        wall / HOURS_PER_YEAR,
        wall * PAPER_CORES,
        PAPER_STRUCTURES * core_seconds(ANCHOR_CELL, ANCHOR_RUN) / 3600,
    )
