"""Follow-ups: what one branch found on one relaxed candidate. Energies in eV, lengths in Å, charges in e."""

from __future__ import annotations

from pydantic import Field

from cathodeflow.records.calculation import Intervention, Override
from cathodeflow.records.document import Document, Part
from cathodeflow.records.label import Origin
from cathodeflow.records.outcomes import Branch, Outcome, Reason

HYBRID_OVERLAP = 1.0
"""eV; PBE(+U) makes gaps of transition metal oxides too small by about as much, so that a cell whose bands overlap by
less may have one with HSE06 (S0 section 3.5 has gaps of 0.2 to 0.6 eV)."""


def follow_up_key(candidate: str, branch: Branch) -> str:
    """Return the key of a branch's job and of its record."""
    return f"{candidate}/{branch.value}"


class EdgePart(Part):
    """The top of the valence or the bottom of the conduction band (`science.electronic.band_edges.BandEdge`)."""

    energy: float
    spin: int
    band: int
    k_points: list[list[float]]


class EdgesPart(Part):
    """Band edges with one functional (`science.electronic.band_edges.BandEdges`).

    Attributes
    ----------
    functional : str
        ``PBE``, ``PBE+U`` or ``HSE06``.
    gap : float
        eV, 0 for a metal.
    channel_gaps : list of float or None
        Per spin channel; None for a metallic channel.
    """

    functional: str
    gap: float
    is_metal: bool
    is_direct: bool
    vbm: EdgePart | None
    cbm: EdgePart | None
    channel_gaps: list[float | None] = []
    fermi_energy: float | None = None


class StaticResult(Part):
    """The static run every other branch reads.

    Attributes
    ----------
    energy : float
        Total energy of the cell, eV, without corrections.
    edges : EdgesPart
        With the functional of the labels.
    volume : float
        Å^3.
    magnetic_moments : list of float or None
        Per site in the order of the label's crystal, Bohr magnetons; None where the program gave none.
    total_magnetization : float or None
        Bohr magnetons per cell.
    n_bands : int
    density_grid : list of 3 ints
    """

    energy: float
    edges: EdgesPart
    volume: float
    magnetic_moments: list[float] | None = None
    total_magnetization: float | None = None
    n_bands: int
    density_grid: list[int]


class PdosCurve(Part):
    """Density of states of one element's shell, states/eV per cell, spin up and (positive too) down."""

    element: str
    shell: str
    up: list[float]
    down: list[float] = []


class BandCentrePart(Part):
    """First moment of a shell's density of states, eV against the Fermi energy (`science.electronic.pdos`)."""

    element: str
    shell: str
    centre: float
    width: float
    states: float


class PdosResult(Part):
    """Projected density of states (S0 section 2.1, 4×4×4).

    Attributes
    ----------
    energies : list of float
        eV against the Fermi energy.
    curves : list of PdosCurve
        Of every element and shell that holds states in the window.
    centres : list of BandCentrePart
        Centre of each transition metal's d states, and of O p and F p.
    """

    energies: list[float]
    curves: list[PdosCurve]
    centres: list[BandCentrePart]
    fermi_energy: float


class GapResult(Part):
    """Band gap: the functional of the labels beside HSE06 (one-shot, at the band edges of the former).

    Attributes
    ----------
    pbe : EdgesPart
        Of the static run.
    hybrid : EdgesPart or None
        None where the former finds a metal that no functional opens, or where the run on a metal did not converge.
    no_hybrid : str
        Why there is none; empty in records older than this field.
    """

    pbe: EdgesPart
    hybrid: EdgesPart | None
    no_hybrid: str = ""


class BondPart(Part):
    """One bond of a metal's polyhedron; `strength` is −ICOHP summed over spins, eV (larger binds stronger)."""

    centre: int
    ligand: int
    elements: list[str]
    length: float
    strength: float


class PolyhedronPart(Part):
    """The bonds of one metal site; means over its bonds, and over those to each ligand, eV."""

    centre: int
    element: str
    mean_strength: float
    mean_by_ligand: dict[str, float]
    n_bonds: int


class BondingResult(Part):
    """−ICOHP of every TM–O and TM–F bond (S0 Figure 4e, f).

    Attributes
    ----------
    mean_strength : float
        Over the polyhedra, eV per bond.
    mean_by_pair : dict
        ``"Mo-O"`` to mean −ICOHP, eV.
    charge_spilling : list of float
        Absolute charge spilling per spin, as a fraction.
    basis : dict
        Element to LOBSTER's basis functions.
    """

    bonds: list[BondPart]
    polyhedra: list[PolyhedronPart]
    mean_strength: float
    mean_by_pair: dict[str, float]
    charge_spilling: list[float]
    basis: dict[str, list[str]]
    program: str


class SpeciesChargePart(Part):
    """Net Bader charges of one element's atoms, e (positive has lost electrons)."""

    element: str
    count: int
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float


class BaderResult(Part):
    """Bader charges.

    Attributes
    ----------
    net_charges : list of float
        Per site in the order of the label's crystal: valence electrons minus Bader electrons.
    oxidation_states : list of int or None
        Per site of a transition metal whose reference charges are known (V3+, V4+); None elsewhere.
    program : str
        ``bader`` or ``pybader``.
    """

    net_charges: list[float]
    volumes: list[float]
    species: list[SpeciesChargePart]
    oxidation_states: list[int | None] = []
    oxidation_references: dict[str, dict[str, float]] = {}
    valence_electrons: dict[str, float] = {}
    vacuum_charge: float = 0.0
    program: str


class DensityDifferenceResult(Part):
    """Δρ = ρ(AB) − ρ(A) − ρ(B), where B are the working ions (S3 section 2.1).

    Attributes
    ----------
    parts : list of 2 str
        Formulas of A and of B.
    integral : float
        Electrons per cell; 0 within rounding.
    displaced_charge : float
        Half the integral of |Δρ|, electrons.
    axis : int
        Along which the average is taken.
    positions, planar_average : list of float
        Å and electrons/Å^3 (mean over each plane).
    slice : list of lists of float
        Δρ in one plane, electrons/Å^3, at most 96 points a side.
    slice_axis, slice_fraction : int, float
        Which plane.
    slice_extent : list of 2 floats
        Lengths of its two sides, Å.
    volumetric_file : str
        Path of the CHGCAR-like file, relative to the project.
    """

    parts: list[str]
    integral: float
    displaced_charge: float
    axis: int
    positions: list[float]
    planar_average: list[float]
    slice: list[list[float]]
    slice_axis: int
    slice_fraction: float
    slice_extent: list[float]
    volumetric_file: str


class FollowUpRecord(Document):
    """What one branch found on one candidate; `_id` is ``<campaign>/<candidate key>/<branch>``.

    One of the results is there, that of the branch, unless it was quarantined.

    Attributes
    ----------
    key : str
        Candidate.
    folder : str
        Where it ran, relative to the project where it lies in it.
    presets : list of str
        Of its runs, in order.
    wall_s : float
        Of all its runs, those of the attempts that they go on from too, s.
    cores : int or None
        Processors it had: core-hours are the product. None in records older than this field.
    """

    campaign: str
    key: str
    branch: Branch
    level: str
    composition: str
    elements: list[str]
    counts: list[int]
    outcome: Outcome
    reason: Reason | None = None
    message: str = ""
    static: StaticResult | None = None
    pdos: PdosResult | None = None
    gap: GapResult | None = None
    bonding: BondingResult | None = None
    bader: BaderResult | None = None
    density_difference: DensityDifferenceResult | None = None
    presets: list[str] = []
    overrides: list[Override] = []
    interventions: list[Intervention] = Field(default=[])
    folder: str = ""
    wall_s: float = 0.0
    cores: int | None = None
    origin: Origin
