"""What the jobs of all branches share: whom they read, how a failure ends, and the fields they give."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cathodeflow.errors import CalculationError, DefinitionError, MissingDependencyError
from cathodeflow.records.calculation import Intervention, Override
from cathodeflow.records.outcomes import Branch, Outcome, Reason

if TYPE_CHECKING:
    from cathodeflow.calculators.vasp.preset import VaspPreset
    from cathodeflow.records.document import Part

ROLES = ("static", "hybrid")
"""Runs whose preset a campaign may change: ``static.kpoints.grid``, ``hybrid.incar.NELM``."""
_ATOMS = ("potcar_symbols", "potcar_functional", "magnetic_moments")
SHARED = {"static": ("hubbard_u", *_ATOMS), "hybrid": _ATOMS}
"""What each run takes over from the labels' overrides: a cell relaxed with one U, or in one magnetic
state, has no gap with another."""
FINAL_REASONS = frozenset(
    {Reason.NON_FINITE, Reason.CHARGE_SPILLING, Reason.MISSING_PROGRAM, Reason.PREREQUISITE_FAILED}
)
"""What a branch's own runs report that another attempt would only repeat."""
_OF_A_PROGRAM = frozenset({Reason.TIMEOUT, Reason.KILLED, Reason.EXIT_CODE, Reason.OUT_OF_MEMORY, Reason.DISK_FULL})
"""Reading a finished run repeats itself, except where a program that helps with it failed by itself."""

RUN_IT_AGAIN = "; if that is a file of the static run, `cflow resubmit --key CANDIDATE/static` runs that one again"
"""What is to be done when a branch cannot read its static run; its job does not know which candidate it is of."""

Read = TypeVar("Read")


@dataclass(frozen=True)
class Found:
    """What a branch found.

    Attributes
    ----------
    result : Part
        Of the branch.
    message : str
        What a reader should know beside the numbers.
    presets : tuple of str
        Of the runs it made itself, in order.
    overrides : tuple of Override
        What was changed of them; keys begin with the run.
    interventions : tuple of Intervention
        What custodian did to them.
    earlier_s : float
        What the attempts that they go on from took, s.
    """

    result: Part
    message: str = ""
    presets: tuple[str, ...] = ()
    overrides: tuple[Override, ...] = ()
    interventions: tuple[Intervention, ...] = ()
    earlier_s: float = 0.0


def branch_output(
    branch: Branch,
    engine: Mapping[str, Any],
    followups: Mapping[str, Any],
    read: Callable[[], Read],
    compute: Callable[[Read], Found],
    *,
    static: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Run a branch to the fields of its record.

    Parameters
    ----------
    branch : Branch
        Which.
    engine, followups : mapping
        Sections of a definition.
    read : callable
        Reads the static run; whatever it cannot read, another attempt cannot either.
    compute : callable
        Takes what was read; its runs may fail in ways that another attempt may not repeat.
    static : mapping, optional
        Output of the job of the static run.

    Returns
    -------
    dict
        Fields of `records.followup.FollowUpRecord`, without what only the campaign knows.

    Raises
    ------
    CalculationError
        The branch failed in a way that another attempt may not repeat.
    """
    began = time.perf_counter()
    found: Found | None = None
    reason: Reason | None = None
    message = ""
    try:
        _require_done(static)
        found = compute(_read(read))
        message = found.message
    except MissingDependencyError as error:
        reason, message = Reason.MISSING_PROGRAM, str(error)
    except CalculationError as error:
        if not isinstance(error, _UnreadableError) and error.reason not in FINAL_REASONS:
            raise
        reason, message = Reason(error.reason), str(error)
    return {
        "outcome": (Outcome.DONE if found else Outcome.QUARANTINED).value,
        "reason": None if reason is None else reason.value,
        "message": message,
        branch.value: None if found is None else found.result.model_dump(),
        "presets": [] if found is None else list(found.presets),
        "overrides": [] if found is None else [override.model_dump() for override in found.overrides],
        "interventions": [] if found is None else [done.model_dump() for done in found.interventions],
        "folder": str(Path.cwd()),
        "wall_s": time.perf_counter() - began + (0.0 if found is None else found.earlier_s),
        **_made_with(branch, engine, followups),
    }


def _require_done(static: Mapping[str, Any] | None) -> None:
    if static is not None and static.get("outcome") != Outcome.DONE.value:
        raise CalculationError("the static run that it reads was quarantined", Reason.PREREQUISITE_FAILED.value)


class _UnreadableError(CalculationError):
    """What the static run left cannot be used; reading it again would say the same."""


def _read(read: Callable[[], Read]) -> Read:
    try:
        return read()
    except CalculationError as error:
        if error.reason in _OF_A_PROGRAM:
            raise
        reason = Reason.BROKEN_OUTPUT if error.reason == Reason.CALCULATION_ERROR else Reason(error.reason)
        remedy = RUN_IT_AGAIN if reason == Reason.BROKEN_OUTPUT else ""
        raise _UnreadableError(f"{error}{remedy}", reason.value) from error


def _made_with(branch: Branch, engine: Mapping[str, Any], followups: Mapping[str, Any]) -> dict[str, Any]:
    from cathodeflow.calculators.vasp.parameters import telling, with_digest
    from cathodeflow.calculators.vasp.programs import programs_of
    from cathodeflow.records.document import software_versions

    programs = programs_of(engine)
    roles = ROLES if branch == Branch.GAP else ("static",)
    changed = {f"{role}.{key}": value for role in roles for key, value in telling(preset_for(role, followups)).items()}
    provenance = programs.provenance(with_digest(str(followups["static_preset"]), changed))
    return {"cores": programs.cores, "origin": {"provenance": provenance, "software": software_versions()}}


def with_shared(followups: Mapping[str, Any], engine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section with the labels' overrides that hold for the follow-ups' runs too.

    Parameters
    ----------
    followups, engine : mapping
        Sections of a definition.

    Returns
    -------
    dict
        The section ``followups``, its `overrides` completed by those that are `SHARED`; its own win.
    """
    labels = (engine.get("parameters") or {}).get("overrides") or {}
    shared = {
        f"{role}.{key}": value
        for role, sections in SHARED.items()
        for key, value in labels.items()
        if key.partition(".")[0] in sections
    }
    return {**followups, "overrides": {**shared, **(followups.get("overrides") or {})}}


def preset_for(
    role: str, followups: Mapping[str, Any], needed: Mapping[str, Any] | None = None, *, without: Sequence[str] = ()
) -> VaspPreset:
    """Return the preset of a run with the campaign's overrides.

    Parameters
    ----------
    role : {"static", "hybrid"}
        Which run.
    followups : mapping
        Section of a definition.
    needed : mapping, optional
        Overrides that the asked branches need; the campaign's own win.
    without : sequence of str
        The campaign's overrides that do not apply here.

    Raises
    ------
    DefinitionError
        An unknown run, preset or key, or a value of the wrong kind.
    """
    from cathodeflow.calculators.vasp.preset import load_preset

    own: dict[str, Any] = {}
    for key, value in dict(followups.get("overrides") or {}).items():
        of, _, name = str(key).partition(".")
        if of not in ROLES or not name:
            raise DefinitionError(
                f"followups.overrides.{key}: keys begin with {' or '.join(ROLES)}, then a preset's key"
            )
        if of == role and name not in without:
            own[name] = value
    return load_preset(str(followups[f"{role}_preset"]), {**(needed or {}), **own})


def overrides_of(preset: VaspPreset, run: str) -> tuple[Override, ...]:
    """Return what was changed of a preset, each key after the name of its run."""
    return tuple(one.model_copy(update={"key": f"{run}.{one.key}"}) for one in preset.overrides)


def static_folder(static: Mapping[str, Any]) -> Path:
    """Return where the static run's files are.

    Raises
    ------
    CalculationError
        They are gone.
    """
    folder = Path(str(static["folder"])) / STATIC_FOLDER
    if not folder.is_dir():
        raise CalculationError(f"the files of the static run are gone from {folder}: run it again", "broken_output")
    return folder


STATIC_FOLDER = "static"
"""Folder of the static run inside that of its job."""
