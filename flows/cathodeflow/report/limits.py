"""The limits of the screening's rules, in words, from the definition as launched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cathodeflow.science.screening.criteria import PAPER_WINDOWS


def rule_limits(definition: Mapping[str, Any], voltages: Iterable[str]) -> dict[str, str]:
    """Say what each rule asks.

    Parameters
    ----------
    definition : mapping
        The campaign's definition as launched.
    voltages : iterable of str
        Names of the host's voltages, V.

    Returns
    -------
    dict of str to str
        Rule to limit, e.g. ``{"V21_window": "3.49 to 3.9 V"}``; a rule that is switched off is left out.
    """
    screening = definition.get("screening") or {}
    names = list(voltages)
    limits = {}
    variation = screening.get("relaxation_energy_variation", 0.05)
    if variation is not None:
        limits["relaxation_energy_variation"] = f"below {variation:g} eV/atom"
    if screening.get("step_shape", True) and len(names) > 1:
        limits["step_shape"] = " > ".join(reversed(names))
    windows = screening.get("voltage_windows")
    for name, (low, high) in (PAPER_WINDOWS if windows is None else windows).items():
        if name in names:
            limits[f"{name}_window"] = _window(low, high)
    return limits


def _window(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low:g} to {high:g} V"
    return f"above {low:g} V" if low is not None else f"below {high:g} V" if high is not None else "any"
