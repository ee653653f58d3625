"""The Materials Project's energy corrections, applied and written down (S0 section 2.1; Wang et al. 2021)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cathodeflow.calculators.vasp.materials_project import potcar_symbol
from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.records.calculation import CorrectionTerm, EnergyCorrection

if TYPE_CHECKING:
    from pymatgen.core import Structure

SCHEMES = ("none", "materials-project-2020")


@dataclass(frozen=True)
class Correction:
    """One term of a correction.

    Attributes
    ----------
    name : str
        What it corrects, in pymatgen's words.
    energy : float
        eV per cell.
    uncertainty : float
        Of the fit, eV per cell.
    """

    name: str
    energy: float
    uncertainty: float


@dataclass(frozen=True)
class CorrectedEnergy:
    """An energy with and without its corrections, eV per cell.

    Attributes
    ----------
    scheme : str
        One of `SCHEMES`.
    uncorrected : float
        As VASP gave it.
    corrected : float
        With all terms added.
    terms : tuple of Correction
        Sorted by name.
    """

    scheme: str
    uncorrected: float
    corrected: float
    terms: tuple[Correction, ...]


def corrected_energy(
    energy: float,
    structure: Structure,
    scheme: str,
    hubbard_u: Mapping[str, float],
    potcar_symbols: Mapping[str, str] | None = None,
) -> CorrectedEnergy:
    """Add the Materials Project's corrections to an energy.

    They make GGA and GGA+U energies comparable and mend the energy of anions. They depend on the composition only (and
    on oxide against peroxide), so between two levels of one framework they cancel: voltages do not change by them.
    Formation energies do.

    Parameters
    ----------
    energy : float
        Total energy of the cell, eV.
    structure : Structure
        The cell; distances tell oxides from peroxides.
    scheme : str
        One of `SCHEMES`, as the preset's `corrections`.
    hubbard_u : mapping of str to float
        U above zero by element that the run had, eV (`input_sets.hubbard_u_of`).
    potcar_symbols : mapping of str to str, optional
        POTCAR by element that the run had; by default the Materials Project's.

    Returns
    -------
    CorrectedEnergy

    Raises
    ------
    DefinitionError
        No such scheme.
    CalculationError
        The run's U or POTCARs are not those the corrections were fitted with.
    """
    if scheme not in SCHEMES:
        raise DefinitionError(f"there is no correction scheme {scheme!r}; choose one of {', '.join(SCHEMES)}")
    if scheme == "none":
        return CorrectedEnergy(scheme, energy, energy, ())
    terms = _materials_project_2020(energy, structure, hubbard_u, potcar_symbols or {})
    return CorrectedEnergy(scheme, energy, energy + sum(term.energy for term in terms), terms)


def correction_record(
    before: float,
    after: float,
    structure: Structure,
    scheme: str,
    hubbard_u: Mapping[str, float],
    potcar_symbols: Mapping[str, str] | None = None,
) -> EnergyCorrection:
    """Return what is added to the energies of a relaxation, as its record keeps it.

    The terms are those of the relaxed crystal, for both energies, so that their difference stays.

    Parameters
    ----------
    before, after : float
        Total energies of the unrelaxed and of the relaxed cell, eV.
    structure : Structure
        The relaxed cell.
    scheme, hubbard_u, potcar_symbols
        As `corrected_energy`, and so are the errors.

    Returns
    -------
    EnergyCorrection
    """
    terms = corrected_energy(after, structure, scheme, hubbard_u, potcar_symbols).terms
    return EnergyCorrection(
        scheme=scheme,
        uncorrected_before=before,
        uncorrected_after=after,
        terms=[CorrectionTerm(name=term.name, energy=term.energy, uncertainty=term.uncertainty) for term in terms],
    )


def _materials_project_2020(
    energy: float, structure: Structure, hubbard_u: Mapping[str, float], potcar_symbols: Mapping[str, str]
) -> tuple[Correction, ...]:
    from pymatgen.analysis.compatibility import CompatibilityError, MaterialsProject2020Compatibility
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    elements = sorted({site.specie.symbol for site in structure})
    applied = {element: value for element, value in hubbard_u.items() if value}
    parameters = {
        "run_type": "GGA+U" if applied else "GGA",
        "is_hubbard": bool(applied),
        "hubbards": applied,
        "potcar_symbols": [f"PBE {potcar_symbols.get(element, potcar_symbol(element))}" for element in elements],
    }
    entry = ComputedStructureEntry(structure, energy, parameters=parameters)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fractional valences of mixed metals cannot be guessed, nor need they be
            found = MaterialsProject2020Compatibility().get_adjustments(entry)
    except CompatibilityError as error:
        raise CalculationError(
            f"the Materials Project's corrections do not fit this run ({str(error).split(' for ')[0].strip()}): "
            "keep its U values and POTCARs, or set corrections to none"
        ) from error
    terms = [Correction(term.name, float(term.value), float(term.uncertainty)) for term in found]
    return tuple(sorted(terms, key=lambda term: term.name))
