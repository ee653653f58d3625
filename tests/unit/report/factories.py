"""Records as a campaign leaves them, at two sizes.

Voltages and volumes of the pristine host are CHGNet's for the packaged NVPF cells; those of the substituted
compositions are a smooth function of the elements plus noise, which is enough to see whether a figure can be read.
"""

from __future__ import annotations

import functools
import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from cathodeflow.records.campaign import AttemptRecord, CampaignRecord, EventRecord, StageTime
from cathodeflow.records.crystal import Crystal
from cathodeflow.records.host import HostSpec
from cathodeflow.records.label import LabelRecord, Origin, ReferenceRecord, Relaxation
from cathodeflow.records.model import CurvePoint, Metrics, ModelRecord, ParityPoint
from cathodeflow.records.outcomes import CampaignState, JobKind, Outcome, Purpose, Reason, Stage, Target
from cathodeflow.records.verdict import RuleResult, ValidationRecord, VerdictRecord
from cathodeflow.report.contents import CandidateCount, ReportContents

NAME = "nvpf-demo"
PROVENANCE = "mlff:chgnet-0.3.0"
LEVELS = ("Na1", "Na2", "Na3", "Na4")
ATOMS = {"Na1": 64, "Na2": 68, "Na3": 72, "Na4": 76}
PRISTINE_VOLTAGES = {"V43": 1.98, "V32": 2.94, "V21": 3.49}  # CHGNet, V
PRISTINE_VOLUMES = {"Na1": 889.6, "Na2": 898.7, "Na3": 920.3, "Na4": 945.3}  # CHGNet, Å^3
NOBLE = {"Ru", "Rh", "Pd", "Ag", "Pt", "Au"}
DEMO_ELEMENTS = ("V", "Mn", "Fe", "Cu", "Mo", "Ru")
D_BLOCK = (
    "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn",
    "Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd",
    "La", "Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg",
)  # fmt: skip
START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CRYSTAL = Crystal(lattice=[[9, 0, 0], [0, 9, 0], [0, 0, 10.8]], species=["V"], fractional_coordinates=[[0, 0, 0]])
RULES = (
    ("relaxation_energy_variation", "eV/atom"),
    ("step_shape", "V"),
    ("V21_window", "V"),
    ("V43_window", "V"),
)


@functools.cache
def compositions(elements: tuple[str, ...]) -> list[tuple[list[str], list[int]]]:
    """All pure and binary compositions on eight sites; made once, for a thousand labels ask."""
    found: list[tuple[list[str], list[int]]] = [([element], [8]) for element in elements]
    for first, second in itertools.combinations(sorted(elements), 2):
        found += [([first, second], [8 - n, n]) for n in range(1, 8)]
    return found


def name_of(elements: list[str], counts: list[int]) -> str:
    return "".join(f"{element}{count}" for element, count in zip(elements, counts, strict=True))


def voltages_of(elements: list[str], counts: list[int], noise: random.Random) -> dict[str, float]:
    """A smooth function of the elements: late and noble metals up, early ones down."""
    shift, spread = 0.0, 0.0
    for element, count in zip(elements, counts, strict=True):
        own = random.Random(element)
        shift += count / 8 * (0.0 if element == "V" else own.uniform(-0.9, 1.6) + 0.4 * (element in NOBLE))
        spread += count / 8 * (1.0 if element == "V" else own.uniform(0.3, 1.1))
    middle = 2.94 + 0.6 * shift
    return {
        "V43": middle - 0.96 * spread + noise.gauss(0, 0.06),
        "V32": middle + noise.gauss(0, 0.06),
        "V21": middle + 0.55 * spread + noise.gauss(0, 0.06),
    }


def verdict(
    elements: list[str], counts: list[int], noise: random.Random, round_number: int = 0, campaign: str = NAME
) -> VerdictRecord:
    composition = name_of(elements, counts)
    voltages = voltages_of(elements, counts, noise)
    base = sum(random.Random(e + "relax").uniform(0.02, 0.12) * n / 8 for e, n in zip(elements, counts, strict=True))
    relaxation = {level: abs(base + noise.gauss(0, 0.015)) for level in LEVELS}
    variation = max(relaxation.values()) - min(relaxation.values())
    step = min(voltages["V21"] - voltages["V32"], voltages["V32"] - voltages["V43"])
    margins = (
        0.05 - variation,
        step,
        min(voltages["V21"] - 3.49, 3.9 - voltages["V21"]),
        voltages["V43"] - 2.0,
    )
    rules = [
        RuleResult(rule=rule, passed=margin > 0, margin=margin, unit=unit)
        for (rule, unit), margin in zip(RULES, margins, strict=True)
    ]
    failed = next((result.rule for result in rules if not result.passed), None)
    return VerdictRecord(
        _id=f"{campaign}/r{round_number}/{composition}",
        campaign=campaign,
        round=round_number,
        composition=composition,
        elements=elements,
        counts=counts,
        noble=bool(NOBLE & set(elements)),
        voltages=voltages,
        relaxation_energies=relaxation,
        formation_energies={level: -2.7 - 0.02 * i for i, level in enumerate(LEVELS)},
        uncertainty=abs(noise.gauss(0.004, 0.002)),
        representatives={level: f"nvpf-{level}-{composition}-3f" for level in LEVELS},
        passed=failed is None,
        rejected_by=failed,
        rules=rules,
        score=(voltages["V21"] - voltages["V43"]) / voltages["V43"] if voltages["V43"] > 0 else None,
        rank=None,
    )


def verdicts(elements: tuple[str, ...], seed: int = 1) -> list[VerdictRecord]:
    """One verdict per composition, ranked."""
    noise = random.Random(seed)
    judged = [verdict(names, counts, noise) for names, counts in compositions(elements)]
    ranks: dict[str, int] = {}
    for noble in (True, False):
        passed = sorted((v for v in judged if v.passed and v.noble == noble), key=lambda v: v.score or 0.0)
        ranks |= {v.composition: rank for rank, v in enumerate(passed, start=1)}
    return [v.model_copy(update={"rank": ranks.get(v.composition)}) for v in judged]


def origin(attempt: int = 1) -> Origin:
    return Origin(provenance=PROVENANCE, software={"chgnet": "0.4.2"}, job_uuid=None, fw_id=7, attempt=attempt)


def label(index: int, noise: random.Random, elements: tuple[str, ...], **changes: Any) -> LabelRecord:
    names, counts = noise.choice(compositions(elements))
    level = LEVELS[index % 4]
    composition = name_of(names, counts)
    key = f"nvpf-{level}-{composition}-{index:x}"
    after = -2.75 + noise.gauss(0, 0.12)
    before = after + abs(noise.gauss(0.05, 0.03))
    volume = PRISTINE_VOLUMES[level]
    fields: dict[str, Any] = {
        "_id": f"{NAME}/{key}",
        "campaign": NAME,
        "key": key,
        "level": level,
        "composition": composition,
        "elements": names,
        "counts": counts,
        "mask": index,
        "purpose": Purpose.TRAINING,
        "round": 0,
        "outcome": Outcome.DONE,
        "relaxation": Relaxation(
            n_atoms=ATOMS[level],
            energy_before=before * ATOMS[level],
            energy_after=after * ATOMS[level],
            formation_energy_before=before,
            formation_energy=after,
            relaxation_energy=before - after,
            volume_before=volume,
            volume_after=volume * 1.02,
            volume_change_percent=2.0,
            max_force=0.043,
            steps=int(noise.gauss(110, 25)),
            converged=True,
            wall_s=abs(noise.gauss(31, 6)),
            crystal=CRYSTAL,
        ),
        "origin": origin(),
        "created_at": START + timedelta(seconds=20 * index),
    }
    return LabelRecord(**(fields | changes))


def quarantined(index: int, noise: random.Random, elements: tuple[str, ...], reason: Reason) -> LabelRecord:
    return label(
        index,
        noise,
        elements,
        outcome=Outcome.QUARANTINED,
        reason=reason,
        message="the volume grew by 61 % in 40 steps",
        relaxation=None,
        origin=origin(attempt=3),
    )


def model(
    target: Target,
    seed: int,
    labels: list[LabelRecord],
    round_number: int = 0,
    error: float = 0.012,
) -> ModelRecord:
    noise = random.Random(f"{target}{seed}{round_number}")
    points = []
    for index, record in enumerate(labels):
        if record.relaxation is None:
            continue
        formation = target == Target.FORMATION_ENERGY
        true = record.relaxation.formation_energy if formation else record.relaxation.relaxation_energy
        held_out = index % 5 == 0
        points.append(
            ParityPoint(
                key=record.key,
                true=true,
                predicted=true + noise.gauss(0, error * (1.0 if held_out else 0.4)),
                pretrained=(true + 0.045 + noise.gauss(0, 0.05)) if formation else abs(true + noise.gauss(0.02, 0.03)),
                held_out=held_out,
            )
        )
    shown = [point for point in points if point.held_out]
    curve = [
        CurvePoint(epoch=e, train=0.02 * 0.985**e + 4e-5, validation=0.03 * 0.985**e + error**2) for e in range(1, 301)
    ]
    return ModelRecord(
        _id=f"{NAME}/r{round_number}/{target}/s{seed}",
        campaign=NAME,
        round=round_number,
        target=target,
        seed=seed,
        pretrained="megnet-2019",
        weights_blob="665f00000000000000000000",
        weights_sha256="c0ffee" * 10 + "abcd",
        data_hash="5eed" * 16,
        n_train=len(points) - len(shown),
        n_held_out=len(shown),
        epochs=len(curve),
        wall_s=74.0,
        scaling={"mean": -2.75, "std": 0.12},
        metrics=metrics([(p.true, p.predicted) for p in shown]),
        pretrained_metrics=metrics([(p.true, p.pretrained) for p in shown]),
        curve=curve,
        parity=points,
        provenance=PROVENANCE,
    )


def metrics(pairs: list[tuple[float, float]]) -> Metrics:
    errors = [predicted - true for true, predicted in pairs]
    mean = sum(true for true, _ in pairs) / len(pairs)
    squares = sum(error**2 for error in errors)
    spread = sum((true - mean) ** 2 for true, _ in pairs)
    return Metrics(
        r2=1 - squares / spread if spread else None,
        mae=sum(map(abs, errors)) / len(errors),
        rmse=(squares / len(errors)) ** 0.5,
        n=len(pairs),
    )


def validation(
    judged: VerdictRecord | None, noise: random.Random, missing: dict[str, str] | None = None
) -> ValidationRecord:
    """Of a shortlisted composition, or of the pristine host where `judged` is None."""
    missing = missing or {}
    predicted = judged.voltages if judged else {}
    voltages = (
        {name: value + noise.gauss(0.02, 0.12) for name, value in predicted.items()} if judged else PRISTINE_VOLTAGES
    )
    gone = {level[2:] for level in missing}
    voltages = {name: value for name, value in voltages.items() if not gone & set(name[1:])}
    scale = noise.uniform(0.4, 1.1) if judged else 1.0
    volumes = {
        level: 889.6 + (volume - 889.6) * scale for level, volume in PRISTINE_VOLUMES.items() if level not in missing
    }
    changes = {
        f"Na1-{level}": 100 * (volumes[level] / volumes["Na1"] - 1)
        for level in ("Na2", "Na3", "Na4")
        if level in volumes and "Na1" in volumes
    }
    holds = None
    if len(voltages) == 3:
        holds = voltages["V21"] > voltages["V32"] > voltages["V43"] > PRISTINE_VOLTAGES["V43"]
    composition = judged.composition if judged else "V8"
    return ValidationRecord(
        _id=f"{NAME}/{composition}",
        campaign=NAME,
        composition=composition,
        elements=judged.elements if judged else ["V"],
        counts=judged.counts if judged else [8],
        pristine=judged is None,
        noble=judged.noble if judged else False,
        rank=judged.rank if judged else None,
        labels={level: f"nvpf-{level}-{composition}-3f" for level in LEVELS if level not in missing},
        voltages=voltages,
        predicted_voltages=predicted or {"V43": 1.76, "V32": 2.98, "V21": 3.52},
        predicted_formation_energies={},
        formation_energies={},
        relaxation_energies={},
        volumes=volumes,
        volume_changes=changes,
        profile_holds=holds,
        missing=missing,
        provenance=PROVENANCE,
    )


def campaign(**changes: Any) -> CampaignRecord:
    minutes = (0, 0.2, 1.1, 6.5, 8, 8.7, 9.0, 12.4, 13.9, 14.4, 14.6, 18.6)
    stages = [
        (Stage.ENUMERATE, 0),
        (Stage.REFERENCE, 0),
        (Stage.LABEL, 0),
        (Stage.TRAIN, 0),
        (Stage.PREDICT, 0),
        (Stage.SCREEN, 0),
        (Stage.LABEL, 1),
        (Stage.TRAIN, 1),
        (Stage.PREDICT, 1),
        (Stage.SCREEN, 1),
        (Stage.VALIDATE, 1),
        (Stage.DONE, 1),
    ]
    times = [
        StageTime(stage=stage, round=number, entered_at=START + timedelta(minutes=minute))
        for (stage, number), minute in zip(stages, minutes, strict=True)
    ]
    fields: dict[str, Any] = {
        "_id": NAME,
        "definition": {
            "name": NAME,
            "description": "Inverse design of NVPF cathodes, small enough for a laptop.",
            "host": {"packaged": "nvpf"},
            "elements": list(DEMO_ELEMENTS),
            "labels": {"total": 120, "acquisition": "uncertainty", "rounds": 2},
            "engine": {"name": "mlff", "model": "chgnet-0.3.0", "max_force": 0.05},
        },
        "definition_sha256": "ab12" * 16,
        "host": HostSpec(packaged="nvpf"),
        "provenance": PROVENANCE,
        "state": CampaignState.DONE,
        "stage": Stage.DONE,
        "round": 1,
        "stage_times": times,
        "started_at": START,
        "finished_at": START + timedelta(minutes=18.6),
        "software": {"cathodeflow": "0.1.0", "chgnet": "0.4.2", "matgl": "4.1.2", "torch": "2.15.0"},
    }
    return CampaignRecord(**(fields | changes))


def references(elements: tuple[str, ...]) -> list[ReferenceRecord]:
    return [
        ReferenceRecord(
            _id=f"{PROVENANCE}/{element}",
            element=element,
            energy_per_atom=-1.289 if element == "Na" else -random.Random(element).uniform(1, 10),
            phase="bcc" if element in {"Na", "V", "Fe", "Mo"} else "molecule" if element in {"O", "F"} else "fcc",
            n_atoms=2,
            max_force=0.001,
            crystal=CRYSTAL,
            origin=origin(),
        )
        for element in (*elements, "Na", "P", "O", "F")
    ]


def campaign_contents(elements: tuple[str, ...], n_labels: int, per_list: int, seeds: int = 3) -> ReportContents:
    """A finished campaign with two rounds."""
    noise = random.Random(7)
    reasons = (Reason.EXPLODED_VOLUME, Reason.NOT_CONVERGED, Reason.BROKEN_POLYHEDRA)
    labels = [label(index, noise, elements) for index in range(n_labels)]
    labels += [quarantined(n_labels + i, noise, elements, reason) for i, reason in enumerate(reasons)]
    done = labels[:n_labels]
    models = [
        model(target, seed, done[: n_labels // 2] if number == 0 else done, number, 0.02 - 0.008 * number)
        for number in (0, 1)
        for target in Target
        for seed in range(seeds)
    ]
    judged = verdicts(elements)
    contents = ReportContents(campaign=campaign(), verdicts=judged)
    chosen = [
        record
        for noble in (True, False)
        for record in [v for v in contents.ranked(noble=noble) if v.composition != "V8"][:per_list]
    ]
    validations = [validation(None, noise)]
    for index, record in enumerate(chosen):
        validations.append(validation(record, noise, {"Na4": "not_converged"} if index == 2 else None))
    size = len(judged)
    return ReportContents(
        campaign=campaign(shortlist=["V8", *(record.composition for record in chosen)]),
        candidate_counts=[CandidateCount(level, size, size * 15 + i, size * 36) for i, level in enumerate(LEVELS)],
        labels=labels,
        references=references(elements),
        models=models,
        verdicts=judged,
        validations=validations,
        attempts=[attempt(index) for index in range(4)],
        events=[event(index) for index in range(12)],
        job_counts={"COMPLETED": n_labels + 20, "FIZZLED": 3},
        prediction_counts={0: size * 60, 1: size * 60},
        made_at=START + timedelta(minutes=20),
    )


def attempt(index: int) -> AttemptRecord:
    return AttemptRecord(
        _id=f"{NAME}/label/nvpf-Na4-Cu2Mo6-{index}/1",
        campaign=NAME,
        kind=JobKind.LABEL,
        key=f"nvpf-Na4-Cu2Mo6-{index}",
        attempt=1,
        fw_id=index,
        outcome=Outcome.FAILED,
        reason=Reason.VANISHED,
        message="the process that ran it is gone",
        considered=["attempt 1 of 3", "attempts are left"],
        action="rerun",
        created_at=START + timedelta(minutes=index),
    )


def event(index: int) -> EventRecord:
    return EventRecord(
        _id=f"{NAME}/{index}",
        campaign=NAME,
        kind="stage",
        message=f"step {index} of the log",
        created_at=START + timedelta(minutes=index),
    )


def demo_contents() -> ReportContents:
    """Six elements, about a hundred compositions."""
    return campaign_contents(DEMO_ELEMENTS, 120, 4)


def paper_contents() -> ReportContents:
    """The paper's size: 3,075 compositions, 1,171 labels, ten validated per list."""
    return campaign_contents(D_BLOCK, 1171, 10)


def launched_contents() -> ReportContents:
    """A campaign that has only been launched."""
    times = [StageTime(stage=Stage.ENUMERATE, round=0, entered_at=START)]
    record = campaign(
        state=CampaignState.RUNNING, stage=Stage.ENUMERATE, round=0, stage_times=times, finished_at=None, message=""
    )
    return ReportContents(campaign=record, made_at=START + timedelta(seconds=5))
