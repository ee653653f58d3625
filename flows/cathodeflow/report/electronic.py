"""Which follow-ups there are, of which composition at which level, and which are missing, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cathodeflow.records.followup import BaderResult, FollowUpRecord
from cathodeflow.records.outcomes import Branch, Outcome
from cathodeflow.report.contents import ReportContents
from cathodeflow.report.wording import reason_title, sort_levels

BRANCH_TITLES = {
    Branch.STATIC: "static run",
    Branch.PDOS: "PDOS",
    Branch.GAP: "band gap",
    Branch.BONDING: "bonding",
    Branch.BADER: "Bader charges",
    Branch.DENSITY_DIFFERENCE: "density difference",
}


@dataclass(frozen=True)
class Subject:
    """A composition that was followed up."""

    composition: str
    elements: tuple[str, ...]
    counts: tuple[int, ...]
    pristine: bool = False

    @property
    def name(self) -> str:
        """Its name on an axis."""
        return f"{self.composition} (pristine)" if self.pristine else self.composition


@dataclass(frozen=True)
class AbsentBranch:
    """A follow-up without a result, and why."""

    composition: str
    level: str
    branch: str
    reason: str
    message: str = ""
    quarantined: bool = False


@dataclass(frozen=True)
class ElectronicStructure:
    """The follow-ups of a campaign, by composition, level and branch.

    Attributes
    ----------
    subjects : sequence of Subject
        Pristine host first, then noble, then other compositions by rank.
    levels : sequence of str
        Ascending in working-ion content.
    branches : sequence of Branch
        Those the campaign asked for, and those there are records of.
    records : dict
        (composition, level, branch) to record, quarantined ones included.
    """

    subjects: Sequence[Subject]
    levels: Sequence[str]
    branches: Sequence[Branch]
    records: dict[tuple[str, str, Branch], FollowUpRecord] = field(default_factory=dict)

    def done(self, composition: str, level: str, branch: Branch) -> FollowUpRecord | None:
        """Return the record of a branch that ended with a result."""
        record = self.records.get((composition, level, branch))
        return record if record is not None and record.outcome == Outcome.DONE else None

    def any_done(self, branch: Branch) -> bool:
        """Tell whether a branch gave any result."""
        return any(record.branch == branch and record.outcome == Outcome.DONE for record in self.records.values())

    @property
    def host(self) -> Subject | None:
        """The pristine host."""
        return next((subject for subject in self.subjects if subject.pristine), None)

    @property
    def candidates(self) -> list[Subject]:
        """All but the pristine host."""
        return [subject for subject in self.subjects if not subject.pristine]


def electronic_structure(contents: ReportContents) -> ElectronicStructure | None:
    """Sort a campaign's follow-ups; None where it neither asked for any nor has any."""
    asked = (contents.campaign.definition.get("followups") or {}).get("branches") or []
    found = {record.branch for record in contents.follow_ups}
    if not asked and not found:
        return None
    wanted = {Branch.STATIC, *map(Branch, asked), *found}
    subjects = _subjects(contents)
    levels = [record.level for record in contents.follow_ups]
    levels += [level for record in contents.validations for level in (*record.labels, *record.missing)]
    chosen = {key for record in contents.validations for key in record.labels.values()}
    by_place: dict[tuple[str, str, Branch], FollowUpRecord] = {}
    for record in sorted(contents.follow_ups, key=lambda record: (record.key in chosen, record.created_at)):
        by_place[record.composition, record.level, record.branch] = record
    return ElectronicStructure(subjects, sort_levels(levels), [b for b in Branch if b in wanted], by_place)


def _subjects(contents: ReportContents) -> list[Subject]:
    pristine = contents.pristine
    validated = [*([pristine] if pristine else []), *contents.substituted]
    found = {
        record.composition: Subject(
            record.composition, tuple(record.elements), tuple(record.counts), pristine=record.pristine
        )
        for record in validated
    }
    for record in contents.follow_ups:
        if record.composition not in found:
            found[record.composition] = Subject(record.composition, tuple(record.elements), tuple(record.counts))
    return list(found.values())


def absent_branches(contents: ReportContents, structure: ElectronicStructure) -> list[AbsentBranch]:
    """List the follow-ups without a result: quarantined, not computed, or without a relaxed cell to start from.

    Returns
    -------
    list of AbsentBranch
        In the order of compositions, levels and branches. A level without a relaxed cell is one line for all branches.
    """
    cells = {record.composition: record.missing for record in contents.validations}
    absent = []
    for subject in structure.subjects:
        for level in structure.levels:
            unrelaxed = cells.get(subject.composition, {}).get(level)
            if unrelaxed is not None:
                why = f"no relaxed cell: {reason_title(unrelaxed)}"
                absent.append(AbsentBranch(subject.composition, level, "all", why))
                continue
            absent += [
                line
                for branch in structure.branches
                if (line := _absent(structure, subject, level, branch)) is not None
            ]
    return absent


def _absent(structure: ElectronicStructure, subject: Subject, level: str, branch: Branch) -> AbsentBranch | None:
    record = structure.records.get((subject.composition, level, branch))
    title = BRANCH_TITLES[branch]
    if record is None:
        return AbsentBranch(subject.composition, level, title, "not computed yet")
    if record.outcome == Outcome.DONE:
        return None
    reason, ended = reason_title(record.reason), record.outcome == Outcome.QUARANTINED
    return AbsentBranch(subject.composition, level, title, reason, record.message, ended)


def remarks(structure: ElectronicStructure) -> list[tuple[str, str, str, str]]:
    """Return what branches with a result say of it: composition, level, branch, message."""
    return [
        (subject.composition, level, BRANCH_TITLES[branch], record.message)
        for subject in structure.subjects
        for level in structure.levels
        for branch in structure.branches
        if (record := structure.done(subject.composition, level, branch)) is not None and record.message
    ]


def branch_counts(structure: ElectronicStructure) -> list[tuple[str, int, int, float]]:
    """Return per branch its title, how many gave a result, how many were quarantined, and wall time of all in s."""
    counts = []
    for branch in structure.branches:
        of_branch = [record for record in structure.records.values() if record.branch == branch]
        outcomes = Counter(record.outcome for record in of_branch)
        seconds = sum(record.wall_s for record in of_branch)
        counts.append((BRANCH_TITLES[branch], outcomes[Outcome.DONE], outcomes[Outcome.QUARANTINED], seconds))
    return counts


def why_absent(
    structure: ElectronicStructure, absent: Iterable[AbsentBranch], subject: str, level: str, branch: Branch
) -> str:
    """Say in a sentence why a composition has no result of a branch at a level."""
    title = BRANCH_TITLES[branch]
    for line in absent:
        if line.composition == subject and line.level == level and line.branch in {title, "all"}:
            return f"No {title}: {line.reason}."
    return f"No {title}." if branch in structure.branches else f"Not asked for: {title}."


def oxidation_text(bader: BaderResult, species: Sequence[str]) -> str:
    """Write the assigned oxidation states, e.g. ``V3+ × 6, V4+ × 2``; empty where no reference charges were known.

    Parameters
    ----------
    bader : BaderResult
        The charges.
    species : sequence of str
        Element of each site, empty where unknown.
    """
    names = species if len(species) == len(bader.oxidation_states) else [""] * len(bader.oxidation_states)
    metals = set(bader.oxidation_references)
    states = Counter(
        f"{name}{state}+" for name, state in zip(names, bader.oxidation_states, strict=True) if state is not None
    )
    open_ = sum(state is None and name in metals for name, state in zip(names, bader.oxidation_states, strict=True))
    parts = [f"{state} × {count}" for state, count in sorted(states.items())]
    if open_:
        parts.append(f"not assigned × {open_}")
    return ", ".join(parts)
