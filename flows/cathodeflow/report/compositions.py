"""The rows of the searchable table of all judged compositions, and why each was rejected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cathodeflow.records.verdict import RuleResult, VerdictRecord
from cathodeflow.report.wording import number, rule_title, signed
from cathodeflow.science.energetics.voltage import fullest_first


def reason_of(verdict: VerdictRecord) -> str:
    """Say why a composition was rejected: the first rule that failed, by how much, and the others that fail too."""
    if verdict.passed:
        return "passes every rule"
    failed = [result for result in verdict.rules if not result.passed]
    failed.sort(key=lambda result: result.rule != verdict.rejected_by)
    if not failed:
        return rule_title(verdict.rejected_by or "not stated")
    first, *others = (shortfall(result) for result in failed)
    return first + (f"; also {', '.join(others)}" if others else "")


def shortfall(result: RuleResult) -> str:
    """Say by how much a failed rule was missed."""
    if result.margin is None or not math.isfinite(result.margin):
        return f"{rule_title(result.rule)}: a value is missing"
    return (
        f"{rule_title(result.rule)} missed by {number(abs(result.margin), _digits(result.unit))} {result.unit}".rstrip()
    )


def margin_text(result: RuleResult) -> str:
    """Return a rule's margin with its sign."""
    return signed(result.margin, _digits(result.unit))


def _digits(unit: str) -> int:
    return 4 if unit == "eV/atom" else 2


def voltage_names(verdicts: Sequence[VerdictRecord]) -> list[str]:
    """Return the names of the voltages, the fullest step first (V43, V32, V21)."""
    return list(fullest_first({name for verdict in verdicts for name in verdict.voltages}))


def composition_columns(verdicts: Sequence[VerdictRecord]) -> list[dict[str, Any]]:
    """Return the table's columns: title, and how many decimals (None: text)."""
    return [
        {"title": "Composition", "digits": None},
        {"title": "List", "digits": None},
        {"title": "Rank", "digits": 0},
        {"title": "Score", "digits": 3},
        *({"title": f"{name} (V)", "digits": 2} for name in voltage_names(verdicts)),
        {"title": "Largest E_relax (eV/atom)", "digits": 3},
        {"title": "Uncertainty (eV/atom)", "digits": 4},
        {"title": "Outcome", "digits": None},
    ]


def composition_rows(verdicts: Sequence[VerdictRecord]) -> list[list[Any]]:
    """Return one row of plain values per composition, passed ones first, then by score.

    The cells are in the order of `composition_columns`, followed by the name of the rejecting rule ("" where passed).
    """
    names = voltage_names(verdicts)

    def order(verdict: VerdictRecord) -> tuple[bool, bool, float, str]:
        score = _finite(verdict.score)
        return (not verdict.passed, score is None, score or 0.0, verdict.composition)

    return [
        [
            verdict.composition,
            "noble" if verdict.noble else "non-noble",
            verdict.rank,
            _finite(verdict.score),
            *(_finite(verdict.voltages.get(name)) for name in names),
            _finite(max(verdict.relaxation_energies.values(), default=None)),
            _finite(verdict.uncertainty),
            reason_of(verdict),
            verdict.rejected_by or "",
        ]
        for verdict in sorted(verdicts, key=order)
    ]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 5)
