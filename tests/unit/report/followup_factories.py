"""Follow-ups as a campaign of an engine with electrons leaves them; smooth made-up functions of the composition."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
from tests.unit.report import factories

from cathodeflow.records.calculation import CorrectionTerm, EnergyCorrection, Intervention, Override
from cathodeflow.records.crystal import Crystal
from cathodeflow.records.followup import (
    BaderResult,
    BandCentrePart,
    BondingResult,
    BondPart,
    DensityDifferenceResult,
    EdgePart,
    EdgesPart,
    FollowUpRecord,
    GapResult,
    PdosCurve,
    PdosResult,
    PolyhedronPart,
    SpeciesChargePart,
    StaticResult,
    follow_up_key,
)
from cathodeflow.records.label import LabelRecord, Origin
from cathodeflow.records.outcomes import Branch, Outcome, Purpose, Reason
from cathodeflow.records.verdict import ValidationRecord, VerdictRecord
from cathodeflow.report.contents import ReportContents

VASP = "vasp:s0_relax"
REHEARSAL = "rehearsal:chgnet-0.3.0:s0_relax"
BRANCHES = ["pdos", "gap", "bonding", "bader", "density_difference"]
PRISTINE_GAPS = {"Na1": 2.3, "Na2": 2.8, "Na3": 3.2, "Na4": 0.7}  # eV
PAPER = ((["Mo", "Au"], [5, 3], True), (["Cu", "Mo"], [2, 6], False))
ZRBENT = Intervention(
    handler="VaspErrorHandler", errors=["zbrent"], changes=["INCAR IBRION = 1", "copy CONTCAR to POSCAR"]
)
WALLTIME = Intervention(handler="WalltimeHandler", errors=["Walltime reached"])
OVERRIDE = Override(key="incar.NCORE", preset_value=None, value=4)


def edges(functional: str, gap: float, middle: float = 4.0) -> EdgesPart:
    points = [[0.0, 0.0, 0.0], [0.5, 0.0, -0.5]]
    if gap == 0:
        return EdgesPart(functional=functional, gap=0, is_metal=True, is_direct=False, vbm=None, cbm=None)
    return EdgesPart(
        functional=functional,
        gap=gap,
        is_metal=False,
        is_direct=gap > 2,
        vbm=EdgePart(energy=middle - gap / 2, spin=0, band=168, k_points=points[:1]),
        cbm=EdgePart(energy=middle + gap / 2, spin=1, band=169, k_points=points[:1] if gap > 2 else points[1:]),
        channel_gaps=[gap, gap + 1.1],
        fermi_energy=middle,
    )


def pdos(elements: list[str], gap: float, noise: random.Random, points: int = 1201) -> PdosResult:
    energies = np.linspace(-10.0, 8.0, points)

    def band(*parts: tuple[float, float, float]) -> list[float]:
        total = sum(n / (w * np.sqrt(2 * np.pi)) * np.exp(-(((energies - c) / w) ** 2) / 2) for c, w, n in parts)
        return np.round(np.asarray(total), 4).tolist()

    curves, centres = [], []
    for index, element in enumerate(elements):
        low = -gap / 2 - 0.6 - 1.1 * index - noise.uniform(0, 0.4)
        high = gap / 2 + 0.5 + noise.uniform(0, 0.5)
        curves.append(
            PdosCurve(
                element=element,
                shell="d",
                up=band((low, 0.25, 12), (low - 1.2, 0.35, 8), (high, 0.3, 6)),
                down=band((low - 0.8, 0.3, 4), (high + 0.8, 0.4, 18)),
            )
        )
        centres.append(BandCentrePart(element=element, shell="d", centre=low, width=1.4, states=62.0))
    for element, centre, count in (("O", -4.2, 90), ("F", -6.1, 34)):
        wide = (centre, 1.1, count), (centre + 1.8, 0.6, count / 4), (centre - 1.5, 0.4, count / 5)
        curves.append(PdosCurve(element=element, shell="p", up=band(*wide), down=band(*wide)))
        centres.append(BandCentrePart(element=element, shell="p", centre=centre, width=1.2, states=240.0))
    return PdosResult(energies=np.round(energies, 4).tolist(), curves=curves, centres=centres, fermi_energy=4.0)


def bonding(elements: list[str], counts: list[int], noise: random.Random) -> BondingResult:
    bonds, polyhedra = [], []
    metals = [element for element, count in zip(elements, counts, strict=True) for _ in range(count)]
    for site, metal in enumerate(metals):
        base = 1.5 + random.Random(metal).uniform(-0.2, 0.7)
        strengths = {"O": [base + noise.gauss(0, 0.1) for _ in range(4)], "F": [0.6 * base + noise.gauss(0, 0.06)] * 2}
        for ligand, values in strengths.items():
            bonds += [
                BondPart(centre=site, ligand=20 + site, elements=[metal, ligand], length=2.02, strength=value)
                for value in values
            ]
        everything = [value for values in strengths.values() for value in values]
        polyhedra.append(
            PolyhedronPart(
                centre=site,
                element=metal,
                mean_strength=float(np.mean(everything)),
                mean_by_ligand={ligand: float(np.mean(values)) for ligand, values in strengths.items()},
                n_bonds=6,
            )
        )
    pairs: dict[str, list[float]] = {}
    for bond in bonds:
        pairs.setdefault("-".join(bond.elements), []).append(bond.strength)
    return BondingResult(
        bonds=bonds,
        polyhedra=polyhedra,
        mean_strength=float(np.mean([p.mean_strength for p in polyhedra])),
        mean_by_pair={pair: float(np.mean(values)) for pair, values in pairs.items()},
        charge_spilling=[0.012, 0.014],
        basis={"O": ["2s", "2p"]},
        program="lobster 5.1.1",
    )


def bader(elements: list[str], counts: list[int], level: str, noise: random.Random) -> BaderResult:
    content = int(level[2:])
    wanted = [(e, n, 2.1 - 0.12 * content + 0.2 * i) for i, (e, n) in enumerate(zip(elements, counts, strict=True))]
    wanted += [("Na", 4 * content, 0.87), ("P", 8, 3.62), ("O", 32, -1.45 - 0.01 * content), ("F", 12, -0.72)]
    species, charges, states = [], [], []
    for element, count, mean in wanted:
        drawn = [mean + noise.gauss(0, 0.03) for _ in range(count)]
        charges += drawn
        known = element == "V"
        states += [(3 if index < 2 * content else 4) if known else None for index in range(count)]
        species.append(
            SpeciesChargePart(
                element=element,
                count=count,
                mean=float(np.mean(drawn)),
                standard_deviation=float(np.std(drawn)),
                minimum=min(drawn),
                maximum=max(drawn),
            )
        )
    return BaderResult(
        net_charges=charges,
        volumes=[12.0] * len(charges),
        species=species,
        oxidation_states=states,
        oxidation_references={"V": {"3": 1.75, "4": 2.0}} if "V" in elements else {},
        program="pybader",
    )


def density_difference(composition: str, level: str, side: int = 96) -> DensityDifferenceResult:
    rows, columns = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    noise = random.Random(composition + level)
    values = np.zeros_like(rows)
    for _ in range(14):
        y, x, sign = noise.random(), noise.random(), noise.choice((-1, 1))
        values += sign * noise.uniform(0.002, 0.012) * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 0.004)
    values[side // 3, side // 4] = 0.4  # beside a nucleus
    positions = np.linspace(0, 10.8, 108)
    average = 0.002 * np.sin(positions * 2.2 + len(composition)) * int(level[2:])
    return DensityDifferenceResult(
        parts=["V8P8O32F12", f"Na{4 * int(level[2:])}"],
        integral=2e-9,
        displaced_charge=3.1,
        axis=2,
        positions=positions.tolist(),
        planar_average=average.tolist(),
        slice=np.round(values, 6).tolist(),
        slice_axis=0,
        slice_fraction=0.5,
        slice_extent=[9.1, 10.8],
        volumetric_file=f"launches/{composition}-{level}/DELTA_CHGCAR",
    )


def follow_up(
    record: ValidationRecord, level: str, branch: Branch, provenance: str = VASP, **changes: Any
) -> FollowUpRecord:
    """A branch that ended well, of a validated composition at a level."""
    key = record.labels[level]
    noise = random.Random(f"{record.composition}{level}{branch}")
    gap = PRISTINE_GAPS[level] if record.pristine else max(0.0, round(noise.gauss(0.45, 0.25), 3))
    fields: dict[str, Any] = {
        "_id": f"{factories.NAME}/{follow_up_key(key, branch)}",
        "campaign": factories.NAME,
        "key": key,
        "branch": branch,
        "level": level,
        "composition": record.composition,
        "elements": record.elements,
        "counts": record.counts,
        "outcome": Outcome.DONE,
        "presets": ["s0_hse_band_edges"] if branch == Branch.GAP else ["s0_static"],
        "overrides": [OVERRIDE],
        "interventions": [ZRBENT] if noise.random() < 0.15 else [],
        "wall_s": 3600 * noise.uniform(0.2, 4),
        "origin": Origin(provenance=provenance),
        "created_at": factories.START + timedelta(hours=2),
    }
    match branch:
        case Branch.STATIC:
            fields["static"] = StaticResult(
                energy=-480.0, edges=edges("PBE+U", 0.6 * gap), volume=900.0, n_bands=320, density_grid=[90, 90, 108]
            )
        case Branch.GAP:
            fields["gap"] = GapResult(
                pbe=edges("PBE+U", round(0.55 * gap, 3)), hybrid=edges("HSE06", gap) if gap else None
            )
        case Branch.PDOS:
            fields["pdos"] = pdos(record.elements, gap, noise)
        case Branch.BONDING:
            fields["bonding"] = bonding(record.elements, record.counts, noise)
        case Branch.BADER:
            fields["bader"] = bader(record.elements, record.counts, level, noise)
        case Branch.DENSITY_DIFFERENCE:
            fields["density_difference"] = density_difference(record.composition, level)
    return FollowUpRecord(**(fields | changes))


def lost(record: ValidationRecord, level: str, branch: Branch, reason: Reason, message: str = "") -> FollowUpRecord:
    """A branch that was quarantined."""
    empty = dict.fromkeys((*BRANCHES, "static"))
    return follow_up(
        record,
        level,
        branch,
        **empty,
        outcome=Outcome.QUARANTINED,
        reason=reason,
        message=message,
        interventions=[WALLTIME],
    )


def with_paper_compositions(contents: ReportContents) -> list[ValidationRecord]:
    """Put the paper's two best in place of the first of each list."""
    noise = random.Random(11)
    validations = [contents.pristine] if contents.pristine else []
    rest = contents.substituted
    for elements, counts, noble in PAPER:
        judged: VerdictRecord = factories.verdict(elements, counts, noise).model_copy(update={"rank": 1})
        of_list = [record for record in rest if record.noble == noble][1:]
        validations += [factories.validation(judged, noise), *of_list]
    return validations


def validation_labels(record: ValidationRecord, provenance: str) -> list[LabelRecord]:
    """The relaxed cells that the follow-ups start from."""
    noise = random.Random(record.composition)
    labels = []
    for index, (level, key) in enumerate(record.labels.items()):
        made = factories.label(index, noise, factories.DEMO_ELEMENTS)
        metals = [e for e, n in zip(record.elements, record.counts, strict=True) for _ in range(n)]
        species = [*metals, *["Na"] * (4 * int(level[2:])), *["P"] * 8, *["O"] * 32, *["F"] * 12]
        crystal = Crystal(
            lattice=factories.CRYSTAL.lattice, species=species, fractional_coordinates=[[0.0, 0.0, 0.0]] * len(species)
        )
        terms = [
            CorrectionTerm(name="MP2020 anion correction (oxide)", energy=-0.687 * 32, uncertainty=0.064),
            CorrectionTerm(name=f"MP2020 GGA/GGA+U mixing correction ({metals[0]})", energy=-13.6, uncertainty=0.05),
        ]
        relaxation = made.relaxation
        assert relaxation is not None
        correction = EnergyCorrection(
            scheme="materials-project-2020", uncorrected_before=-470.0, uncorrected_after=-474.0, terms=terms
        )
        changes = {
            "id": f"{factories.NAME}/{key}",
            "key": key,
            "level": level,
            "composition": record.composition,
            "elements": record.elements,
            "counts": record.counts,
            "purpose": Purpose.VALIDATION,
            "relaxation": relaxation.model_copy(update={"crystal": crystal, "correction": correction}),
            "overrides": [OVERRIDE],
            "interventions": [ZRBENT] if index == 1 else [],
            "origin": Origin(provenance=provenance),
        }
        labels.append(made.model_copy(update=changes))
    return labels


@cache
def followed_contents(
    elements: tuple[str, ...] = factories.DEMO_ELEMENTS, per_list: int = 3, n_labels: int = 40, provenance: str = VASP
) -> ReportContents:
    """A finished campaign whose shortlist was followed up; three branches failed, one level was never relaxed."""
    base = factories.campaign_contents(elements, n_labels, per_list, seeds=1)
    validations = with_paper_compositions(base)
    records = []
    for record in validations:
        for level in record.labels:
            records += [follow_up(record, level, branch, provenance) for branch in Branch]
    spoiled = {
        (validations[1].composition, "Na4", Branch.BONDING): (Reason.CHARGE_SPILLING, "absolute charge spilling 8.1 %"),
        (validations[1].composition, "Na2", Branch.PDOS): (Reason.BROKEN_OUTPUT, "vasprun.xml is cut off"),
        (validations[-1].composition, "Na3", Branch.GAP): (Reason.WALLTIME, "stopped three times at the walltime"),
    }
    by_name = {record.composition: record for record in validations}
    records = [
        lost(by_name[r.composition], r.level, r.branch, *spoiled[r.composition, r.level, r.branch])
        if (r.composition, r.level, r.branch) in spoiled
        else r
        for r in records
    ]
    definition = base.campaign.definition | {
        "engine": {"name": provenance.split(":")[0], "parameters": {"preset": "s0_relax"}},
        "followups": {"branches": BRANCHES, "static_preset": "s0_static", "hybrid_preset": "s0_hse_band_edges"},
    }
    return replace(
        base,
        campaign=base.campaign.model_copy(update={"provenance": provenance, "definition": definition}),
        labels=[*base.labels, *(label for record in validations for label in validation_labels(record, provenance))],
        validations=validations,
        follow_ups=records,
    )
