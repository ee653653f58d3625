"""The job that turns the predictions of a round into verdicts, ranks and the funnel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import isnan
from typing import TYPE_CHECKING, Any

from jobflow.core.job import job

from cathodeflow.jobs.host import host_from

if TYPE_CHECKING:
    from cathodeflow.science.hosts.host import Host
    from cathodeflow.science.screening.criteria import CriteriaSettings
    from cathodeflow.science.screening.properties import CompositionProperties
    from cathodeflow.science.screening.ranking import Ranking
    from cathodeflow.science.screening.verdict import RuleJudgement, Verdict


@job
def screen(shards: list[dict[str, Any]], host: dict[str, Any], screening: dict[str, Any]) -> dict[str, Any]:
    """Judge and rank every composition of a round.

    Parameters
    ----------
    shards : list of dict
        Outputs of `jobs.predict.predict`, in any order.
    host : dict
        `HostSpec.model_dump()`.
    screening : dict
        The section ``screening`` of a definition.

    Returns
    -------
    dict
        `verdicts`: fields of `records.verdict.VerdictRecord`, without what only the campaign knows; `funnel`: list of
        `name`, `remaining`, `rejected`.

    Raises
    ------
    DefinitionError
        A window of a voltage that the host has not.
    """
    from cathodeflow.science.energetics.voltage import voltage_names
    from cathodeflow.science.screening.ranking import rank
    from cathodeflow.science.screening.verdict import funnel, judge_all

    built = host_from(host)
    names = voltage_names(list(built.level_labels))
    properties = composition_properties(built, shards)
    verdicts = judge_all(properties, criteria_settings(screening, names), names, built.level_labels)
    return {
        "verdicts": _fields(properties, verdicts, rank(properties, verdicts)),
        "funnel": [asdict(step) for step in funnel(verdicts)],
    }


def criteria_settings(screening: dict[str, Any], names: Sequence[str]) -> CriteriaSettings:
    """Read a definition's section ``screening``; without own windows the paper's apply, where the host has them."""
    from cathodeflow.science.screening.criteria import CriteriaSettings, paper_windows

    windows = screening.get("voltage_windows")
    return CriteriaSettings(
        relaxation_energy_variation=screening.get("relaxation_energy_variation"),
        variation_measure=screening.get("variation_measure", "range"),
        step_shape=bool(screening.get("step_shape", True)),
        voltage_windows=paper_windows(names)
        if windows is None
        else {name: (low, high) for name, (low, high) in windows.items()},
    )


def composition_properties(host: Host, shards: list[dict[str, Any]]) -> tuple[CompositionProperties, ...]:
    """Choose the arrangement that stands for each composition at each level, and derive the voltages."""
    from cathodeflow.science.energetics.voltage import level_contents, valence
    from cathodeflow.science.screening.properties import PredictionColumns, represent

    ordered = sorted(shards, key=lambda shard: shard["number"])
    columns = PredictionColumns(
        level=[shard["level"] for shard in ordered for _ in shard["keys"]],
        composition=[composition for shard in ordered for composition in shard["compositions"]],
        mask=[mask for shard in ordered for mask in shard["masks"]],
        formation_energy=_column(ordered, "means", "formation_energy"),
        relaxation_energy=_column(ordered, "means", "relaxation_energy"),
        formation_energy_std=_column(ordered, "stds", "formation_energy"),
    )
    return represent(host.name, level_contents(host), columns, valence(host.working_ion))


def _column(shards: list[dict[str, Any]], kind: str, target: str) -> list[float]:
    return [value for shard in shards for value in shard[kind][target]]


def _fields(
    properties: Sequence[CompositionProperties], verdicts: Sequence[Verdict], ranking: Ranking
) -> list[dict[str, Any]]:
    from cathodeflow.science.screening.ranking import is_noble, score

    places = {ranked.composition: ranked.rank for ranked in (*ranking.noble, *ranking.non_noble)}
    return [
        {
            "composition": known.composition,
            "elements": list(known.elements),
            "counts": list(known.counts),
            "noble": is_noble(known.elements),
            "voltages": dict(known.voltages),
            "relaxation_energies": dict(known.relaxation_energies),
            "formation_energies": dict(known.formation_energies),
            "uncertainty": known.spread,
            "representatives": dict(known.representatives),
            "passed": verdict.passed,
            "rejected_by": verdict.first_failed,
            "rules": [_rule(judgement) for judgement in verdict.rules],
            "score": score(known.voltages),
            "rank": places.get(known.composition),
        }
        for known, verdict in zip(properties, verdicts, strict=True)
    ]


def _rule(judgement: RuleJudgement) -> dict[str, Any]:
    """Return a judgement as the store keeps it: JSON has no nan, so a margin that is missing is null."""
    return asdict(judgement) | {"margin": None if isnan(judgement.margin) else judgement.margin}
