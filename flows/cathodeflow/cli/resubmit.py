"""`resubmit`: run failed jobs and quarantined labels again."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cathodeflow.cli.options import CampaignOption, DryRunOption, JsonOption, ProjectOption

if TYPE_CHECKING:
    from cathodeflow.campaign.resubmit import Resubmission, Terms
    from cathodeflow.storage.connection import Project

ROWS_SHOWN = 50


class FailedState(StrEnum):
    """Which failures are meant."""

    FIZZLED = "fizzled"  # jobs whose last attempt failed
    QUARANTINED = "quarantined"  # labels and follow-ups given up on


def resubmit(
    project: ProjectOption = Path(),
    campaign: CampaignOption = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Only failures with this reason, e.g. oom, timeout, not_converged.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="Only jobs of this kind: reference, label, train, predict, screen or follow_up."),
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="Only this job, e.g. a candidate's key; may be repeated.")
    ] = None,
    state: Annotated[
        FailedState | None,
        typer.Option("--state", help="Only failed jobs, or only what was given up on.", show_default="both"),
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="2x", help="Times the memory of its last attempt.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="2x", help="Times the time limit of its last attempt.")
    ] = None,
    go_on: Annotated[
        bool | None,
        typer.Option(
            "--continue/--anew",
            help="Go on from what the last attempt wrote, or start anew.",
            show_default="as the campaign decided",
        ),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back the last resubmission; what has started since goes on.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run failed jobs and quarantined labels and follow-ups again, and write down that they were.

    A campaign that had stopped or ended goes back to the stage the labels belong to.
    What cannot be run again is listed with the reason.
    """
    from dataclasses import asdict

    from cathodeflow.campaign import resubmit as resubmission
    from cathodeflow.campaign.launch_folders import start_anew
    from cathodeflow.cli.output import note, print_json
    from cathodeflow.cli.progress import counting
    from cathodeflow.cli.selection import campaign_name, open_existing

    if undo and not all(given is None for given in (reason, kind, key, state, memory, time, go_on)):
        raise typer.BadParameter(
            "takes back the last resubmission whole: it goes with --dry-run and --json only", param_hint="--undo"
        )
    terms = resubmission.Terms(_times("--memory", memory), _times("--time", time), go_on)
    selection = resubmission.select(reason=reason, kind=kind, keys=tuple(key or ()), state=state)
    opened = open_existing(project)
    name = campaign_name(opened, campaign)
    if undo:
        _undo(opened, name, dry_run=dry_run, as_json=as_json)
        return
    made = resubmission.plan_resubmission(opened, name, selection, terms)
    if not made.jobs and not made.refused:
        _refuse_unknown(opened, name, key or [])
    if made.jobs and not dry_run:
        with counting(f"resubmitting {len(made.jobs):,} jobs") as told:
            made = resubmission.resubmit(opened, name, selection, terms, told)
    anew = start_anew(opened, {job.key: job.fw_ids[0] for job in made.jobs}) if go_on else []
    if as_json:
        print_json(asdict(made) | {"terms": asdict(terms), "dry_run": dry_run, "start_anew": anew})
        return
    _print(opened, made, terms, dry_run=dry_run)
    if anew:
        more = f" and {len(anew) - 3:,} more" if len(anew) > 3 else ""
        note(
            f"{'would start' if dry_run else 'start'} from the beginning: {', '.join(anew[:3])}{more}: "
            "their folders hold neither CONTCAR nor WAVECAR (never written, or freed by `cflow gc`)"
        )


def _print(opened: Project, made: Resubmission, terms: Terms, *, dry_run: bool) -> None:
    from cathodeflow.cli.output import note, say

    if made.jobs:
        _print_jobs(made, terms)
        counted = ", ".join(f"{count} {why}" for why, count in sorted(made.by_reason().items()))
        say(f"{'Would resubmit' if dry_run else 'Resubmitted'} {len(made.jobs)}: {counted}{_start(terms)}")
        if made.goes_back_to:
            moved = "would go" if dry_run else "has gone"
            say(f"The campaign {moved} back to stage {made.goes_back_to}; `cflow run` works on it")
        elif (opened.get("campaigns", made.campaign) or {}).get("state") == "paused":
            note("The campaign is paused: they start after `cflow resume`")
        if not dry_run:
            say("`cflow resubmit --undo` takes back those that have not started")
        if (terms.memory or terms.time) and not opened.any_matches("submissions", {}):
            note("note: memory and time are for jobs that go through a scheduler, and none of this project has yet")
        if made.warning:
            note(f"warning: {made.warning}")
    elif not made.refused:
        others = ", ".join(f"{count} {why}" for why, count in sorted((made.others or {}).items()))
        hint = f" What failed: {others}; `cflow resubmit --dry-run` lists them." if others else " Nothing has failed."
        say(f"Nothing to resubmit matches.{hint}")
    for why, keys in _by_refusal(made).items():
        more = f" and {len(keys) - 3:,} more" if len(keys) > 3 else ""
        note(f"not resubmitted: {', '.join(keys[:3])}{more}: {why}")


def _print_jobs(made: Resubmission, terms: Terms) -> None:
    from cathodeflow.cli.output import note, print_table

    columns = ["job", "kind", "key", "state", "reason", "attempts"]
    rows: list[list[Any]] = [
        [job.fw_ids[0], job.kind, job.key, job.state, job.reason, job.attempts] for job in made.jobs[:ROWS_SHOWN]
    ]
    for column, asked in (("memory", terms.memory), ("time", terms.time)):
        if asked is not None:
            columns.append(column)
            for row, job in zip(rows, made.jobs, strict=False):
                had, will = getattr(job, column)
                row.append(f"{had:g}x → {will:g}x")
    print_table(columns, rows)
    if len(made.jobs) > ROWS_SHOWN:
        note(f"{ROWS_SHOWN} of {len(made.jobs):,} shown; --json has all")


def _start(terms: Terms) -> str:
    if terms.go_on is None:
        return ""
    return ", from what the last attempt wrote" if terms.go_on else ", anew"


def _by_refusal(made: Resubmission) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for job in made.refused:
        found.setdefault(job.why_not, []).append(f"{job.kind} {job.key}")
    return found


def _refuse_unknown(opened: Project, name: str, keys: list[str]) -> None:
    """Say why a job that was named is not run again.

    Raises
    ------
    CampaignError
        It did not fail, or there is none of that key.
    """
    from cathodeflow.errors import CampaignError

    said = []
    for key in keys:
        found = opened.select("fireworks", {"spec._campaign": name, "spec._key": key})
        states = Counter(document["state"] for document in found if document["state"] != "FIZZLED")
        if not found:
            said.append(f"campaign {name} has no job of key {key}: `cflow jobs list` lists them")
        elif states:
            numbers = ", ".join(str(document["fw_id"]) for document in found)
            said.append(f"{key} has not failed: job {numbers} is {', '.join(states)}")
        else:
            said.append(
                f"{key} failed for another reason, or is of another kind: `cflow resubmit --key {key} --dry-run`"
            )
    if said:
        raise CampaignError("; ".join(said))


def _times(option: str, text: str | None) -> float | None:
    """Read `2x`, `1.5x` or `2`."""
    if text is None:
        return None
    try:
        factor = float(text.strip().lower().removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not 0.1 <= factor <= 64.0:
        raise typer.BadParameter(f"{text!r} is no factor such as 2x (0.1x to 64x)", param_hint=option)
    return factor


def _undo(opened: Project, name: str, *, dry_run: bool, as_json: bool) -> None:
    from dataclasses import asdict

    from cathodeflow.campaign.undo import plan_undo, undo_resubmission
    from cathodeflow.cli.output import note, print_json, say
    from cathodeflow.cli.progress import counting

    if dry_run:
        undone = plan_undo(opened, name)
    else:
        with counting("taking back") as told:
            undone = undo_resubmission(opened, name, told)
    if as_json:
        print_json(asdict(undone) | {"dry_run": dry_run})
        return
    n = len(undone.taken_back)
    jobs = "1 job" if n == 1 else f"{n} jobs"
    if dry_run:
        say(f"Would take back resubmission {undone.number}: {jobs} would be as before")
    else:
        say(f"Took back resubmission {undone.number}: {jobs} {'is' if n == 1 else 'are'} as before")
    if undone.returns_to:
        say(f"The campaign {'would be' if dry_run else 'is'} {undone.returns_to} again, as it was")
    for key in undone.started[:ROWS_SHOWN]:
        note(f"{key} had started meanwhile and goes on")
    if len(undone.started) > ROWS_SHOWN:
        note(f"and {len(undone.started) - ROWS_SHOWN:,} more; --json has all")
