"""Settings of the elements that formation energies stand on (S0 eq. 1): compatible with those of the labels.

Two energies can only be subtracted when they stem from the same basis set, functional, dispersion and POTCARs. These
come from the preset of the labels; the mesh and the smearing, which an element needs of its own, from the preset of
references. U has no place in an element: the Materials Project fits its corrections to plain GGA elements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cathodeflow.calculators.vasp.preset import Setting, VaspPreset

if TYPE_CHECKING:
    from pymatgen.core import Structure

SHARED_TAGS = (
    *("ENCUT", "PREC", "EDIFF", "LASPH", "LREAL", "ISPIN", "LMAXMIX"),
    *("GGA", "METAGGA", "AGGAC", "LUSE_VDW", "PARAM1", "PARAM2", "ZAB_VDW", "BPARAM", "CPARAM"),
    *("IVDW", "VDW_RADIUS", "VDW_S6", "VDW_S8", "VDW_SR", "VDW_A1", "VDW_A2", "VDW_CNRADIUS"),
    *("LHFCALC", "HFSCREEN", "AEXX"),
)
"""INCAR tags that decide what an energy means."""


def reference_preset(labels: VaspPreset, references: VaspPreset) -> VaspPreset:
    """Return a preset of references with the basis set, functional and POTCARs of the labels' preset.

    Parameters
    ----------
    labels : VaspPreset
        Overridden or not.
    references : VaspPreset
        Such as ``s0_reference``.

    Returns
    -------
    VaspPreset
        Each of `SHARED_TAGS` as in `labels`, absent where it is absent there.
    """
    incar = {tag: setting for tag, setting in references.incar.items() if tag not in SHARED_TAGS}
    incar |= {tag: setting for tag, setting in labels.incar.items() if tag in SHARED_TAGS}
    return references.model_copy(
        update={
            "incar": incar,
            "potcar_functional": labels.potcar_functional,
            "potcar_symbols": labels.potcar_symbols,
            "corrections": labels.corrections,
        }
    )


def preset_of_phase(preset: VaspPreset, structure: Structure, *, is_molecule: bool) -> VaspPreset:
    """Return the settings of one phase of an element.

    Parameters
    ----------
    preset : VaspPreset
        Of references.
    structure : Structure
        The phase.
    is_molecule : bool
        Whether it stands alone in a box: the box stays, and Γ is the only k-point.

    Returns
    -------
    VaspPreset
    """
    changed = dict(preset.incar)
    if is_molecule or not all(site.specie.is_metal for site in structure):
        because = "A molecule or an element with a gap has no Fermi surface to smear."
        changed |= {"ISMEAR": Setting(value=0, because=because), "SIGMA": Setting(value=0.05, because=because)}
    if not is_molecule:
        return preset.model_copy(update={"incar": changed})
    changed["ISIF"] = Setting(value=2, because="The box around a molecule is not to be relaxed.")
    mesh = {
        "grid": Setting(value=[1, 1, 1], because="A molecule in a box has no bands: Γ is all there is."),
        "style": Setting(value="gamma", because="A mesh of one point is Γ."),
    }
    return preset.model_copy(update={"incar": changed, "kpoints": mesh})
