"""The electronic model: what a rehearsal puts into eigenvalues, projections, charges and moments.

It claims nothing about a crystal. It is stated in full so that whoever reads the files can check that he found what was
put in:

- **gap**: ``1.6 Δχ - 1.2 d`` eV, Δχ the mean Pauling electronegativity of the atoms above 2.56 minus that of the
  others, d the share of atoms with an open d shell; -2 without atoms of both kinds. LDAU adds 0.05 times the largest U;
  a hybrid (LHFCALC) then multiplies a gap above 0 by 1.35 and adds 0.5 eV to any. Below 0 it is a metal's: bands
  overlap by so much, and a hybrid opens an overlap that is below 0.5 eV.
- **bands**: each is one orbital of one atom, at ``level + dispersion``. Below the gap ``-0.3 (1 - c(k)) / 2`` eV with
  ``c`` the mean of cos 2πk_i, so that the highest is at Γ; above it ``+0.4 (1 + cos 2πk_1) / 2``, so that the lowest is
  at k_1 = 1/2. The gap is indirect and equals the stated one on a mesh that holds both points. An overlap above 0.2 eV
  widens both in proportion, so that it too is found on a mesh that holds (1/2, 1/2, 1/2) as well.
- **occupations**: each spin channel fills its lowest states on the mesh, as many as without an overlap; points without
  weight up to the channel's last state.
- **levels**: s, p and d levels of electronegative atoms at -18, -3 and +12 eV, of the others +5, +7 and -1 eV (open d
  shell; +9 else), closed cores at -30 eV, each atom shifted by 0.01 eV times its place in the cell, d levels by half
  the atom's moment, up for the minority spin. They are filled from the bottom, then those filled are shifted until the
  highest is at 0 and those empty until the lowest is at the gap.
- **projections**: 0.9 of a band on its orbital, nothing elsewhere.
- **charges**: the Bader charge of an atom is ``0.4 (mean χ - χ)`` e. **Moments**: see `moments`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cathodeflow.calculators.rehearsal.inputs import VaspInputs

ELECTRONEGATIVE = 2.56
VALENCE_WIDTH, CONDUCTION_WIDTH = 0.3, 0.4  # eV
NARROW_OVERLAP = 0.2  # eV, that these widths can show
METALLIC = -2.0  # eV, the gap without atoms of both kinds
PROJECTED = 0.9
TRANSFER = 0.4  # e per unit of Pauling's scale
ORBITALS = ("s", "py", "pz", "px", "dxy", "dyz", "dz2", "dxz", "x2-y2")
FERMI_SHARE = 0.5  # the Fermi level lies in the middle of the gap
_SHELL = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2])
_CORE = -30.0


@dataclass(frozen=True)
class Bands:
    """Eigenvalues of a run.

    Attributes
    ----------
    energies : ndarray of shape (n_spins, n_kpoints, n_bands)
        eV, rising with the band's number at each k-point.
    occupations : ndarray, same shape
        0 to 1.
    atoms, orbitals : ndarray of shape (n_spins, n_kpoints, n_bands)
        Which atom and which of `ORBITALS` a band is; -1 for bands beyond all orbitals.
    fermi : float
        eV.
    """

    energies: np.ndarray
    occupations: np.ndarray
    atoms: np.ndarray
    orbitals: np.ndarray
    fermi: float


def gap(inputs: VaspInputs) -> float:
    """Return the gap that the model gives these inputs, eV; below 0 bands overlap by so much."""
    chi = electronegativities(inputs)
    negative = chi > ELECTRONEGATIVE
    if negative.all() or not negative.any():
        width = METALLIC
    else:
        contrast = chi[negative].mean() - chi[~negative].mean()
        width = 1.6 * contrast - 1.2 * _open_shells(inputs).mean()
    if inputs.incar.switch("LDAU"):
        width += 0.05 * max(inputs.incar.numbers("LDAUU"), default=0.0)
    if inputs.incar.switch("LHFCALC"):
        width = (1.35 * width if width > 0 else width) + 0.5
    return float(width)


def charges(inputs: VaspInputs) -> np.ndarray:
    """Return the valence electrons that the density gives each atom, (n_atoms,), summing to the cell's electrons."""
    chi = electronegativities(inputs)
    electrons = inputs.valences - TRANSFER * (chi.mean() - chi)
    shortage = inputs.electrons - float(electrons.sum())
    result: np.ndarray = electrons + shortage / len(electrons)
    return result


def electronegativities(inputs: VaspInputs) -> np.ndarray:
    """Return Pauling's electronegativity of each atom, (n_atoms,)."""
    from pymatgen.core import Element

    return np.array([Element(name).X for name in inputs.elements])


def moments(inputs: VaspInputs) -> np.ndarray:
    """Return the magnetic moment of each atom, Bohr magnetons, (n_atoms,).

    Without spin polarisation zero. Otherwise 0.9 times MAGMOM (default 1) on atoms with an open d shell and zero on the
    others, all scaled so that the sum is the whole number nearest to it that has the parity of the electrons.
    """
    if inputs.spins == 1:
        return np.zeros(len(inputs.fractional))
    given = inputs.incar.numbers("MAGMOM") or [1.0] * len(inputs.fractional)
    raw = 0.9 * np.array(given[: len(inputs.fractional)]) * _open_shells(inputs)
    return whole_moments(inputs, raw)


def whole_moments(inputs: VaspInputs, raw: np.ndarray) -> np.ndarray:
    """Shift moments so that as many whole electrons are unpaired as the number of electrons allows, (n_atoms,)."""
    electrons = round(inputs.electrons)
    target = 2 * round((float(raw.sum()) - electrons % 2) / 2) + electrons % 2
    magnetic = np.abs(raw) > 1e-6
    if not magnetic.any():
        magnetic = np.ones(len(raw), dtype=bool)
    result: np.ndarray = raw + magnetic * (target - raw.sum()) / magnetic.sum()
    return result


def _open_shells(inputs: VaspInputs) -> np.ndarray:
    from pymatgen.core import Element

    elements = [Element(name) for name in inputs.elements]
    return np.array([float(e.is_transition_metal and 3 <= e.group <= 11) for e in elements])


def number_of_bands(inputs: VaspInputs) -> int:
    """Return NBANDS, or what VASP takes where it is absent (half the electrons, half the atoms, and room for spin)."""
    given = inputs.incar.given.get("NBANDS")
    if isinstance(given, int):
        return given
    half = inputs.electrons / 2
    unpaired = abs(float(moments(inputs).sum())) / 2
    return int(np.ceil(max(half + len(inputs.fractional) / 2, 0.6 * inputs.electrons) + unpaired))


def bands(inputs: VaspInputs, site_moments: np.ndarray) -> Bands:
    """Return the eigenvalues, occupations and projections of the model.

    Parameters
    ----------
    inputs : VaspInputs
        Of the run.
    site_moments : ndarray of shape (n_atoms,)
        Their sum decides how many bands each spin fills.
    """
    count, width = number_of_bands(inputs), gap(inputs)
    points = inputs.kpoints.points
    waves = np.cos(2 * np.pi * points)
    wider = max(1.0, -width / NARROW_OVERLAP)
    valence = -wider * VALENCE_WIDTH * (1 - waves.mean(axis=1)) / 2
    conduction = wider * CONDUCTION_WIDTH * (1 + waves[:, 0]) / 2
    shape = (inputs.spins, len(points), count)
    energies, occupations = np.empty(shape), np.zeros(shape)
    atoms, orbitals = np.empty(shape, dtype=int), np.empty(shape, dtype=int)
    unpaired = round(float(site_moments.sum())) if inputs.spins == 2 else 0
    for spin in range(inputs.spins):
        filled = (
            (round(inputs.electrons) + (1, -1)[spin] * unpaired) // 2
            if inputs.spins == 2
            else (int(np.ceil(inputs.electrons / 2)))
        )
        filled = min(filled, count)
        level, atom, orbital = _levels(inputs, count, site_moments, spin)
        if filled:
            level[:filled] -= level[filled - 1]
        level[filled:] += width - (level[filled] if filled < count else 0.0)
        below = np.arange(count) < filled
        energies[spin] = level + np.where(below, valence[:, None], conduction[:, None])
        occupations[spin] = below
        if inputs.spins == 1 and round(inputs.electrons) % 2:
            occupations[spin, :, filled - 1] = 0.5
        atoms[spin], orbitals[spin] = atom, orbital
        if width < 0:
            held = float(occupations[spin, 0].sum())
            order = np.argsort(energies[spin], axis=1, kind="stable")
            energies[spin] = np.take_along_axis(energies[spin], order, axis=1)
            atoms[spin], orbitals[spin] = atom[order], orbital[order]
            occupations[spin] = _lowest(energies[spin], inputs.kpoints.weights, held)
    return Bands(energies, occupations, atoms, orbitals, FERMI_SHARE * width)


def _lowest(energies: np.ndarray, weights: np.ndarray, electrons: float) -> np.ndarray:
    """Fill the lowest states of a mesh with so many electrons of one spin, each point's in the share of its weight."""
    share = np.broadcast_to((weights / weights.sum())[:, None], energies.shape)
    order = np.argsort(energies, axis=None, kind="stable")
    room = share.ravel()[order]
    before = np.concatenate([[0.0], np.cumsum(room)[:-1]])
    # Rounding leaves a state of no more than 1e-9 on either side.
    filled = np.clip((electrons - before) / np.where(room > 0, room, 1.0), 0.0, 1.0).round(9)
    filled = np.where(room > 0, filled, electrons - before > 1e-9)
    result = np.empty(energies.size)
    result[order] = filled
    return result.reshape(energies.shape)


def _levels(
    inputs: VaspInputs, count: int, site_moments: np.ndarray, spin: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return level, atom and orbital of the lowest `count` states of one spin, rising."""
    chi, open_d = electronegativities(inputs), _open_shells(inputs) > 0
    sites = len(chi)
    negative = chi > ELECTRONEGATIVE
    table = np.where(
        negative[:, None],
        np.array([-18.0, -3.0, 12.0]),
        np.stack([[5.0] * sites, [7.0] * sites, np.where(open_d, -1.0, 9.0)], axis=1),
    )[:, _SHELL]
    # The lobes of a shell are split a little, and the majority spin lies deeper where there is a moment.
    table = table + 0.01 * np.arange(sites)[:, None] + 0.002 * np.arange(len(ORBITALS))
    table[:, 4:] -= (0.5, -0.5)[spin] * site_moments[:, None]
    level = table.ravel()
    atom = np.repeat(np.arange(sites), len(ORBITALS))
    orbital = np.tile(np.arange(len(ORBITALS)), sites)
    semicore = _semicore(inputs)
    level = np.concatenate([_CORE + 0.001 * np.arange(len(semicore)), level])
    atom, orbital = np.concatenate([semicore, atom]), np.concatenate([np.zeros(len(semicore), dtype=int), orbital])
    beyond = max(0, count - len(level))
    level = np.concatenate([level, 30.0 + 0.5 * np.arange(beyond)])
    atom, orbital = (np.concatenate([values, np.full(beyond, -1)]) for values in (atom, orbital))
    order = np.argsort(level, kind="stable")[:count]
    return level[order].copy(), atom[order], orbital[order]


def _semicore(inputs: VaspInputs) -> np.ndarray:
    """Return the atom of each closed shell state below the valence: half of what ``_pv`` and ``_sv`` add, per spin."""
    from cathodeflow.calculators.rehearsal.inputs import valence_of

    extra = [round(p.valence - valence_of(p.element)) // 2 for p in inputs.potentials]
    per_atom = np.maximum(np.repeat(extra, inputs.counts), 0)
    return np.repeat(np.arange(len(per_atom)), per_atom)
