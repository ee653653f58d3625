"""Which compositions pass, which rule rejected the others and by how much; the funnel."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cathodeflow.errors import DefinitionError
from cathodeflow.science.energetics.voltage import fullest_first, level_content
from cathodeflow.science.screening.criteria import CriteriaSettings, PropertyColumns
from cathodeflow.science.screening.properties import CompositionProperties


@dataclass(frozen=True, slots=True)
class RuleJudgement:
    """How one rule judged.

    Attributes
    ----------
    rule : str
        Name of the rule.
    passed : bool
    margin : float
        By how much, in `unit`: positive inside the limit, nan where a value is missing.
    unit : str
    """

    rule: str
    passed: bool
    margin: float
    unit: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A composition judged by every rule.

    Attributes
    ----------
    composition : str
        Key.
    passed : bool
        Whether it passed all rules.
    first_failed : str or None
        The first rule that failed, in the order of `rules`.
    rules : tuple of RuleJudgement
        Every rule, the later ones too when an earlier one failed.
    """

    composition: str
    passed: bool
    first_failed: str | None
    rules: tuple[RuleJudgement, ...]

    def rule(self, name: str) -> RuleJudgement:
        """Return the judgement of one rule.

        Raises
        ------
        DefinitionError
            If that rule did not judge.
        """
        for judgement in self.rules:
            if judgement.rule == name:
                return judgement
        raise DefinitionError(f"{self.composition} was not judged by {name}.")


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """What one rule left: `remaining` after it, of which it removed `rejected`. The first step is the start."""

    name: str
    remaining: int
    rejected: int


def judge_all(
    properties: Sequence[CompositionProperties],
    settings: CriteriaSettings,
    voltage_names: Sequence[str] | None = None,
    levels: Sequence[str] | None = None,
) -> tuple[Verdict, ...]:
    """Judge many compositions at once.

    Parameters
    ----------
    properties : sequence of CompositionProperties
        Of one host.
    settings : CriteriaSettings
        Rules and limits.
    voltage_names, levels : sequence of str, optional
        All voltages and levels of the host. By default those that any of the given compositions has; a composition that
        lacks one of them fails the rules that need it.

    Returns
    -------
    tuple of Verdict
        In the order given.

    Raises
    ------
    DefinitionError
        If a window names a voltage that the host lacks.
    """
    if not properties:
        return ()
    names = voltage_names if voltage_names is not None else _all(p.voltages for p in properties)
    labels = levels if levels is not None else _all(p.relaxation_energies for p in properties)
    columns = PropertyColumns.from_properties(properties, names, sorted(labels, key=level_content, reverse=True))
    rules = settings.criteria()
    results = [(rule.name, rule.unit, *(column.tolist() for column in rule.judge(columns))) for rule in rules]
    verdicts = []
    for number, known in enumerate(properties):
        judgements = tuple(
            RuleJudgement(name, passed[number], margin[number], unit) for name, unit, passed, margin in results
        )
        first_failed = next((judgement.rule for judgement in judgements if not judgement.passed), None)
        verdicts.append(Verdict(known.composition, first_failed is None, first_failed, judgements))
    return tuple(verdicts)


def judge(properties: CompositionProperties, settings: CriteriaSettings) -> Verdict:
    """Judge one composition by the voltages and levels it has; see `judge_all`."""
    return judge_all([properties], settings)[0]


def funnel(verdicts: Sequence[Verdict], order: Sequence[str] | None = None) -> tuple[FunnelStep, ...]:
    """Count what is left after each rule.

    Parameters
    ----------
    verdicts : sequence of Verdict
        Judged by the same rules.
    order : sequence of str, optional
        Names of all rules in the order to count; by default the order in which they judged. In another order, a
        composition counts for the first rule of that order that it failed.

    Returns
    -------
    tuple of FunnelStep
        The start, then one per rule. The rejected and the last remaining add up to the number of verdicts.

    Raises
    ------
    DefinitionError
        If the order leaves out a rule that judged, or names one that did not.
    """
    if not verdicts:
        return (FunnelStep("all", 0, 0),)
    judged = [judgement.rule for judgement in verdicts[0].rules]
    names = list(order) if order is not None else judged
    if sorted(names) != sorted(judged):
        raise DefinitionError(f"The funnel needs every rule once: {', '.join(judged)}.")
    rejected: Counter[str] = Counter()
    for verdict in verdicts:
        failed = {judgement.rule for judgement in verdict.rules if not judgement.passed}
        rejected.update([name for name in names if name in failed][:1])
    remaining = len(verdicts)
    steps = [FunnelStep("all", remaining, 0)]
    for name in names:
        remaining -= rejected[name]
        steps.append(FunnelStep(name, remaining, rejected[name]))
    return tuple(steps)


def profile_holds(voltages: Mapping[str, float], pristine_voltages: Mapping[str, float]) -> bool:
    """Return whether a computed voltage profile holds, as defined under S0 Table 1.

    It has a step shape (V21 > V32 > V43), and its V43 is above that of the pristine host.

    Parameters
    ----------
    voltages, pristine_voltages : mapping of str to float
        Every voltage of the host, V, in any order. The second condition is on the fullest step.

    Returns
    -------
    bool
        False where a value is not finite. The pristine host does not hold against itself.

    Raises
    ------
    DefinitionError
        If the two name different voltages, or none.
    """
    if not voltages or set(voltages) != set(pristine_voltages):
        raise DefinitionError(
            f"A profile of {', '.join(voltages) or 'no voltage'} cannot be compared with one of "
            f"{', '.join(pristine_voltages) or 'no voltage'}; compute every level of both."
        )
    names = fullest_first(voltages)
    profile = [voltages[name] for name in names]
    if not all(math.isfinite(value) for value in profile):
        return False
    steps = all(lower < upper for lower, upper in pairwise(profile))
    return steps and profile[0] > pristine_voltages[names[0]]


def _all(mappings: Iterable[Mapping[str, float]]) -> list[str]:
    names: dict[str, None] = {}
    for mapping in mappings:
        names.update(dict.fromkeys(mapping))
    return list(names)
