"""How the report words things: compositions, levels, voltages, rules, durations and numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import pairwise

from markupsafe import Markup, escape

from cathodeflow.science.energetics.voltage import level_content, voltage_name

RULE_TITLES: Mapping[str, str] = {
    "relaxation_energy_variation": "E_relax variation",
    "relaxation_variation": "E_relax variation",
    "step_shape": "Step shape",
}

REASON_TITLES: Mapping[str, str] = {
    "not_converged": "not converged",
    "exploded_volume": "volume exploded",
    "overlapping_atoms": "atoms overlap",
    "non_finite": "energy or force not finite",
    "broken_polyhedra": "polyhedra broken apart",
    "missing_reference": "elemental reference missing",
    "calculation_error": "calculation error",
    "vanished": "its process vanished",
    "attempts_exhausted": "attempts exhausted",
}


def sort_levels(levels: Iterable[str]) -> list[str]:
    """Return levels, each once, ascending in working-ion content."""
    return sorted(set(levels), key=level_content)


def working_ion(levels: Iterable[str]) -> str:
    """Return the working ion that the levels are named after, or ``ion``."""
    first = next(iter(levels), "")
    return first.rstrip("0123456789.") or "ion"


def voltage_steps(levels: Iterable[str], voltages: Mapping[str, float]) -> list[tuple[float, float, float]]:
    """Return the plateaus of a profile.

    Parameters
    ----------
    levels : iterable of str
        The working-ion levels of the host.
    voltages : mapping of str to float
        ``V43`` and its like, V.

    Returns
    -------
    list of (lower content, upper content, voltage)
        Ascending in content; a plateau without a voltage is left out.
    """
    steps = []
    for fewer, more in pairwise(sort_levels(levels)):
        voltage = voltages.get(voltage_name(more, fewer))
        if voltage is not None and math.isfinite(voltage):
            steps.append((level_content(fewer), level_content(more), voltage))
    return steps


def formula(composition: str) -> Markup:
    """Return a composition with subscripts, as safe HTML."""
    parts = re.split(r"(\d+(?:\.\d+)?)", composition)  # numbers are at the odd places
    return Markup("").join(
        Markup("<sub>{}</sub>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts) if part
    )


def per_formula_unit(elements: Iterable[str], counts: Iterable[int], formula_units: int) -> str:
    """Return the metal part of the formula per formula unit, e.g. ``Cu0.5Mo1.5``."""
    return "".join(
        element if count == formula_units else f"{element}{count / formula_units:g}"
        for element, count in zip(elements, counts, strict=False)
        if count
    )


def rule_title(rule: str) -> str:
    """Return a rule's name for people."""
    title = RULE_TITLES.get(rule, rule.replace("_", " "))
    return title[:1].upper() + title[1:]


def reason_title(reason: str | None) -> str:
    """Return a reason for people."""
    return REASON_TITLES.get(str(reason), str(reason or "not stated").replace("_", " "))


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with a fixed count of decimals and a true minus sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}").replace(",", "\N{THIN SPACE}")


def signed(value: float | None, digits: int = 2) -> str:
    """Return a number with its sign always shown."""
    text = number(value, digits)
    return f"+{text}" if value is not None and math.isfinite(value) and value >= 0 else text


def integer(value: float) -> str:
    """Return a count with thin spaces between the thousands."""
    return f"{round(value):,}".replace(",", "\N{THIN SPACE}")


def duration(seconds: float | timedelta) -> str:
    """Return a duration in the two units that matter."""
    total = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if total < 60:
        return f"{total:.1f} s" if total < 10 else f"{total:.0f} s"
    minutes, rest = divmod(round(total), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 label``, ``2 labels``."""
    return f"{integer(count)} {noun if count == 1 else plural or noun + 's'}"
