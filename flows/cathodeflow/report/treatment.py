"""How the program's runs were made: presets, what the campaign changed of them, corrections, and custodian's part."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol

from cathodeflow.calculators.engines import PROGRAMS
from cathodeflow.records.calculation import EnergyCorrection, Intervention, Override
from cathodeflow.records.outcomes import Outcome
from cathodeflow.report.contents import ReportContents
from cathodeflow.report.wording import counted, number, signed

EXAMPLES = 3


class Run(Protocol):
    """What labels, references and follow-ups have in common."""

    @property
    def overrides(self) -> list[Override]:
        """What the campaign changed of the preset."""

    @property
    def interventions(self) -> list[Intervention]:
        """What custodian did."""


@dataclass(frozen=True)
class OverrideRow:
    """A value of a preset that the campaign changed, and in how many records."""

    key: str
    preset_value: str
    value: str
    where: str


@dataclass(frozen=True)
class HandlerRow:
    """What one of custodian's handlers did.

    Attributes
    ----------
    times : int
        Over all runs.
    runs : int
        In how many.
    errors, changes : str
        The most frequent ones.
    """

    handler: str
    times: int
    runs: int
    errors: str
    changes: str


@dataclass(frozen=True)
class CorrectionRow:
    """A term of the energy corrections: in how many labels, and its mean, smallest and largest value in eV per cell."""

    name: str
    labels: int
    mean: str
    span: str
    uncertainty: str


@dataclass(frozen=True)
class Treatment:
    """Everything the report says of how runs were made.

    Attributes
    ----------
    presets : list of str
        Of labels, then of the follow-ups.
    schemes : list of str
        Correction schemes with the number of labels each.
    repaired : str
        How many runs custodian repaired, in words.
    """

    presets: list[str]
    overrides: list[OverrideRow]
    schemes: list[str]
    corrections: list[CorrectionRow]
    handlers: list[HandlerRow]
    repaired: str


def treatment(contents: ReportContents) -> Treatment | None:
    """Sum up how a campaign's runs were made; None for engines that run no program."""
    sources = _sources(contents)
    engine, _, preset = contents.campaign.provenance.partition(":")
    touched = any(run.overrides or run.interventions for runs in sources.values() for run in runs)
    corrected = [
        label.relaxation.correction
        for label in contents.labels
        if label.relaxation is not None and label.relaxation.correction is not None
    ]
    if engine not in PROGRAMS and not touched and not corrected:
        return None
    followed = dict.fromkeys(name for record in contents.follow_ups for name in record.presets)
    presets = [f"labels and references: {preset.split(':')[-1] or preset}"] if preset else []
    if followed:
        presets.append(f"follow-ups: {', '.join(followed)}")
    return Treatment(
        presets,
        _override_rows(sources),
        [f"{scheme} ({counted(count, 'label')})" for scheme, count in Counter(c.scheme for c in corrected).items()],
        _correction_rows(corrected),
        _handler_rows(run.interventions for runs in sources.values() for run in runs),
        _repaired(contents),
    )


def _sources(contents: ReportContents) -> dict[str, Sequence[Run]]:
    return {"label": contents.labels, "reference": contents.references, "follow-up": contents.follow_ups}


def _override_rows(sources: dict[str, Sequence[Run]]) -> list[OverrideRow]:
    where: dict[tuple[str, str, str], Counter[str]] = {}
    for noun, runs in sources.items():
        for run in runs:
            for override in run.overrides:
                key = (override.key, _value_text(override.preset_value), _value_text(override.value))
                where.setdefault(key, Counter())[noun] += 1
    return [
        OverrideRow(*key, ", ".join(counted(count, noun) for noun, count in nouns.items()))
        for key, nouns in sorted(where.items())
    ]


def _value_text(value: Any) -> str:
    if value is None:
        return "the Materials Project set's"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _correction_rows(corrections: Sequence[EnergyCorrection]) -> list[CorrectionRow]:
    terms: dict[str, list[tuple[float, float]]] = {}
    for correction in corrections:
        for term in correction.terms:
            terms.setdefault(term.name, []).append((term.energy, term.uncertainty))
    rows = []
    for name, values in sorted(terms.items()):
        energies = [energy for energy, _ in values]
        span = f"{signed(min(energies), 3)} to {signed(max(energies), 3)}"
        uncertainty = number(max(uncertainty for _, uncertainty in values), 3)
        rows.append(CorrectionRow(name, len(values), signed(fmean(energies), 3), span, uncertainty))
    return rows


def _handler_rows(runs: Iterable[Sequence[Intervention]]) -> list[HandlerRow]:
    times: Counter[str] = Counter()
    touched: Counter[str] = Counter()
    errors: dict[str, Counter[str]] = {}
    changes: dict[str, Counter[str]] = {}
    for interventions in runs:
        touched.update({intervention.handler for intervention in interventions})
        for intervention in interventions:
            times[intervention.handler] += 1
            errors.setdefault(intervention.handler, Counter()).update(intervention.errors)
            changes.setdefault(intervention.handler, Counter()).update(intervention.changes or ["the run was ended"])
    return [
        HandlerRow(handler, count, touched[handler], _examples(errors[handler]), _examples(changes[handler]))
        for handler, count in times.most_common()
    ]


def _examples(counts: Counter[str]) -> str:
    shown = [f"{text} × {count}" for text, count in counts.most_common(EXAMPLES)]
    rest = len(counts) - len(shown)
    return "; ".join(shown) + (f"; and {rest} more" if rest else "") or "–"


def _repaired(contents: ReportContents) -> str:
    """Say which share of the runs custodian mended, and which it could not."""
    runs = [(label.outcome == Outcome.DONE, label.interventions) for label in contents.labels]
    runs += [(record.outcome == Outcome.DONE, record.interventions) for record in contents.follow_ups]
    runs += [(True, reference.interventions) for reference in contents.references]
    if not runs:
        return "No run has ended yet."
    mended = sum(done and bool(interventions) for done, interventions in runs)
    lost = sum(not done and bool(interventions) for done, interventions in runs)
    if not mended and not lost:
        return f"custodian did not have to act in any of {counted(len(runs), 'run')}."
    share = number(100 * mended / len(runs), 1)
    sentence = f"custodian acted in {mended + lost} of {counted(len(runs), 'run')}; {mended} ({share} %) ended well"
    return f"{sentence}, {lost} did not." if lost else f"{sentence}."
