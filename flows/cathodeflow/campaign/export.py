"""Labels and crystals as files for other programs: extended XYZ and CIF, each folder with a README."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import CampaignError, StoreError
from cathodeflow.records.label import LabelRecord
from cathodeflow.records.outcomes import Outcome, Purpose

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

    from cathodeflow.records.calculation import EnergyCorrection
    from cathodeflow.storage.connection import Project

LABELS_FILE = "labels.xyz"
README = "README.md"


class CrystalKind(StrEnum):
    """Which crystals are written."""

    CANDIDATES = "candidates"  # unrelaxed arrangements
    RELAXED = "relaxed"  # of every usable label
    VALIDATED = "validated"  # of the shortlisted compositions, every level


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    folder : Path
        Where.
    files : tuple of Path
        Data files, without the README.
    n : int
        Crystals or labels.
    left_out : int
        Matching labels without a usable relaxation.
    """

    folder: Path
    files: tuple[Path, ...]
    n: int
    left_out: int = 0


def label_atoms(label: LabelRecord) -> Atoms:
    """Turn a label into ASE atoms: the relaxed crystal with its energy (eV) and, when recorded, its forces (eV/Å).

    Parameters
    ----------
    label : LabelRecord
        With a relaxation.

    Returns
    -------
    ase.Atoms
        `info` holds key, composition, level, formation and relaxation energy (eV/atom), provenance, outcome; of
        engines that correct energies the one without corrections too, which belongs to the forces.
    """
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    relaxation = label.relaxation
    assert relaxation is not None
    crystal = relaxation.crystal
    atoms = Atoms(crystal.species, scaled_positions=crystal.fractional_coordinates, cell=crystal.lattice, pbc=True)
    forces = relaxation.forces if len(relaxation.forces) == len(atoms) else None
    atoms.calc = SinglePointCalculator(atoms, energy=relaxation.energy_after, forces=forces)
    atoms.info = {
        "key": label.key,
        "composition": label.composition,
        "level": label.level,
        "formation_energy": relaxation.formation_energy,
        "formation_energy_before": relaxation.formation_energy_before,
        "relaxation_energy": relaxation.relaxation_energy,
        "max_force": relaxation.max_force,
        "converged": relaxation.converged,
        "provenance": label.origin.provenance,
        "campaign": label.campaign,
        "purpose": label.purpose.value,
        "outcome": label.outcome.value,
    }
    if relaxation.correction is not None:
        atoms.info["uncorrected_energy"] = relaxation.correction.uncorrected_after
    return atoms


def export_labels(
    project: Project,
    campaign: str,
    folder: Path,
    filter_: dict[str, Any] | None = None,
    *,
    quarantined: bool = False,
    replace: bool = False,
) -> Exported:
    """Write labels as one extended XYZ file, for others to train on.

    Parameters
    ----------
    project : Project
        The open project.
    campaign : str
        Whose labels.
    folder : Path
        Where to; made when absent.
    filter_ : dict, optional
        MongoDB filter over labels.
    quarantined : bool
        Also those that were quarantined but hold a relaxation; `outcome` tells them apart.
    replace : bool
        Files that are there already.

    Raises
    ------
    CampaignError
        A file is there already, or nothing matches.
    StoreError
        The folder cannot be written.
    """
    import ase.io

    documents = _find(project, "labels", campaign, filter_)
    labels = [LabelRecord.from_mongo(document) for document in documents]
    wanted = {Outcome.DONE, Outcome.QUARANTINED} if quarantined else {Outcome.DONE}
    usable = [label for label in labels if label.relaxation is not None and label.outcome in wanted]
    if not usable:
        raise CampaignError(f"campaign {campaign} has no usable label that matches: nothing was written")
    path = folder / LABELS_FILE
    _make_room(folder, [path, folder / README], replace=replace)
    draft = folder / f".{LABELS_FILE}"
    try:
        ase.io.write(draft, [label_atoms(label) for label in usable], format="extxyz")
        draft.replace(path)
        (folder / README).write_text(_labels_readme(campaign, usable), encoding="utf-8")
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error.strerror}; choose another folder or free some space") from error
    return Exported(folder, (path,), len(usable), len(labels) - len(usable))


def export_structures(
    project: Project,
    campaign: str,
    folder: Path,
    kind: CrystalKind,
    filter_: dict[str, Any] | None = None,
    *,
    limit: int = 0,
    replace: bool = False,
) -> Exported:
    """Write crystals as CIF files, one each.

    Parameters
    ----------
    project : Project
        The open project.
    campaign : str
        Whose crystals.
    folder : Path
        Where to; made when absent.
    kind : CrystalKind
        Unrelaxed candidates, relaxed labels, or the relaxed cells of the validated compositions.
    filter_ : dict, optional
        MongoDB filter over candidates (of that kind) or labels (of the two others).
    limit : int
        Most files; 0 for all.
    replace : bool
        Files that are there already.

    Raises
    ------
    CampaignError
        A file is there already, or nothing matches.
    StoreError
        The folder cannot be written.
    """
    from pymatgen.io.cif import CifWriter

    written: list[Path] = []
    for key, structure in _crystals(project, campaign, kind, filter_, limit):
        path = folder / f"{_file_name(key)}.cif"
        _make_room(folder, [path] if written else [path, folder / README], replace=replace)
        try:
            path.write_text(str(CifWriter(structure)), encoding="utf-8")
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; choose another folder") from error
        written.append(path)
    if not written:
        raise CampaignError(f"campaign {campaign} has no {kind} crystal that matches: nothing was written")
    (folder / README).write_text(_structures_readme(campaign, kind, len(written)), encoding="utf-8")
    return Exported(folder, tuple(written), len(written))


def _crystals(
    project: Project, campaign: str, kind: CrystalKind, filter_: dict[str, Any] | None, limit: int
) -> Iterator[tuple[str, Structure]]:
    if kind == CrystalKind.CANDIDATES:
        yield from _candidate_crystals(project, campaign, filter_, limit)
        return
    wanted: dict[str, Any] = {"outcome": Outcome.DONE.value}
    if kind == CrystalKind.VALIDATED:
        validations = project.database["validations"].find({"campaign": campaign}, {"labels": 1})
        wanted["key"] = {"$in": sorted({key for entry in validations for key in entry["labels"].values()})}
    both = {"$and": [wanted, filter_]} if filter_ else wanted
    for document in _find(project, "labels", campaign, both, limit):
        label = LabelRecord.from_mongo(document)
        if label.relaxation is not None:
            yield label.key, label.relaxation.crystal.to_structure()


def _candidate_crystals(
    project: Project, campaign: str, filter_: dict[str, Any] | None, limit: int
) -> Iterator[tuple[str, Structure]]:
    from cathodeflow.campaign.transitions import read_campaign
    from cathodeflow.science.hosts.candidates import decorate

    host = read_campaign(project, campaign).host.build()
    for document in _find(project, "candidates", campaign, filter_, limit):
        yield document["key"], decorate(host.level(document["level"]), document["elements"], document["mask"])


def _find(
    project: Project, collection: str, campaign: str, filter_: dict[str, Any] | None, limit: int = 0
) -> Iterable[dict[str, Any]]:
    from cathodeflow.campaign.query import Question, answer

    mine: dict[str, Any] = {"campaign": campaign}
    question = Question(collection, {"$and": [mine, filter_]} if filter_ else mine, sort=(("_id", 1),), limit=limit)
    return answer(project, question)


def _make_room(folder: Path, files: list[Path], *, replace: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {folder}: {error.strerror}; choose another one") from error
    if replace:
        return
    for path in files:
        if path.exists():
            raise CampaignError(f"{path} exists already: choose another folder, or add --force")


def _file_name(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]", "_", key)


def _labels_readme(campaign: str, labels: list[LabelRecord]) -> str:
    provenances = sorted({label.origin.provenance for label in labels})
    software = sorted({f"{name} {version}" for label in labels for name, version in label.origin.software.items()})
    with_forces = sum(bool(label.relaxation and label.relaxation.forces) for label in labels)
    n_training = sum(label.purpose == Purpose.TRAINING for label in labels)
    schemes = sorted({done.scheme for label in labels if (done := _correction(label)) is not None})
    corrected = f", corrections {', '.join(schemes)} included" if schemes else ""
    row = "| `uncorrected_energy` | without corrections: train potentials on this | eV |\n" if schemes else ""
    warning = (
        "These are rehearsal numbers, of stand-ins, not of VASP: they prove the path and say nothing of a material.\n"
        if any(name.startswith("rehearsal") for name in provenances)
        else ""
    )
    return f"""# Labels of the campaign {campaign}

`{LABELS_FILE}` is extended XYZ (ASE: `ase.io.read("{LABELS_FILE}", ":")`), one relaxed crystal per frame,
{len(labels)} in all ({n_training} for training, {len(labels) - n_training} for validation).

| where | what | unit |
|---|---|---|
| `Lattice`, positions | relaxed cell, periodic in three directions | Å |
| `energy` | total energy of the relaxed cell{corrected} | eV |
{row}| `forces` | residual forces, present in {with_forces} frames | eV/Å |
| `formation_energy` | per atom, against the elements with the same engine | eV/atom |
| `formation_energy_before` | the same before the relaxation | eV/atom |
| `relaxation_energy` | absolute difference of the two | eV/atom |
| `max_force` | largest force on an atom | eV/Å |
| `key`, `composition`, `level` | the candidate | |
| `provenance` | the engine that made the numbers | |
| `outcome` | `done`, or `quarantined` for a relaxation that must not be trained on unseen | |

Provenance: {", ".join(provenances)}. Never mix provenances in one training set.
{warning}Software: {", ".join(software) or "not recorded"}.
"""


def _correction(label: LabelRecord) -> EnergyCorrection | None:
    return None if label.relaxation is None else label.relaxation.correction


def _structures_readme(campaign: str, kind: CrystalKind, n: int) -> str:
    what = {
        CrystalKind.CANDIDATES: "unrelaxed arrangements: the host's sites, other species on the substitution sites",
        CrystalKind.RELAXED: "relaxed cells of the usable labels",
        CrystalKind.VALIDATED: "relaxed cells of the validated compositions, one per working-ion level",
    }[kind]
    return f"""# Crystals of the campaign {campaign}

{n} CIF files, {what}. Each is named after its key in the store; lengths in Å, no symmetry imposed (P 1).
"""
