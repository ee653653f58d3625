"""`resubmit`: run failed jobs and quarantined labels again."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cathodeflow.cli.options import CampaignOption, DryRunOption, JsonOption, ProjectOption


class FailedState(StrEnum):
    """Which failures are meant."""

    FIZZLED = "fizzled"  # jobs whose last attempt failed
    QUARANTINED = "quarantined"  # labels given up on


def resubmit(
    project: ProjectOption = Path(),
    campaign: CampaignOption = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Only failures with this reason, e.g. not_converged.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only jobs of this kind: reference, label, train, predict or screen.")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="Only this job, e.g. a candidate's key; may be repeated.")
    ] = None,
    state: Annotated[
        FailedState | None,
        typer.Option("--state", help="Only failed jobs, or only quarantined labels.", show_default="both"),
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="2x", help="Times the memory of the first attempt.")
    ] = None,
    time: Annotated[str | None, typer.Option("--time", metavar="2x", help="Times its time limit.")] = None,
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
    from cathodeflow.cli.output import note, print_json, print_table, say
    from cathodeflow.cli.selection import campaign_name, open_existing

    terms = resubmission.Terms(_times("--memory", memory), _times("--time", time), go_on)
    selection = resubmission.select(reason=reason, kind=kind, keys=tuple(key or ()), state=state)
    opened = open_existing(project)
    name = campaign_name(opened, campaign)
    if undo:
        _undo(opened, name, dry_run=dry_run, as_json=as_json)
        return
    made = resubmission.plan_resubmission(opened, name, selection)
    if not dry_run:
        made = resubmission.resubmit(opened, name, selection, terms)
    if as_json:
        print_json(asdict(made) | {"dry_run": dry_run})
        return
    if made.jobs:
        columns = ["kind", "key", "state", "reason", "attempts"]
        print_table(columns, [[job.kind, job.key, job.state, job.reason, job.attempts] for job in made.jobs])
        counted = ", ".join(f"{count} {why}" for why, count in sorted(made.by_reason().items()))
        say(f"{'Would resubmit' if dry_run else 'Resubmitted'} {len(made.jobs)}: {counted}")
        if made.goes_back_to:
            moved = "would go" if dry_run else "has gone"
            say(f"The campaign {moved} back to stage {made.goes_back_to}; `cflow run` works on it")
        if made.warning:
            note(f"warning: {made.warning}")
    else:
        say("Nothing to resubmit matches.")
    for job in made.refused:
        note(f"not resubmitted: {job.kind} {job.key}: {job.why_not}")


def _times(option: str, text: str | None) -> float | None:
    """Read `2x`, `1.5x` or `2`."""
    if text is None:
        return None
    try:
        factor = float(text.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not 0.1 <= factor <= 64.0:
        raise typer.BadParameter(f"{text!r} is no factor such as 2x (0.1x to 64x)", param_hint=option)
    return factor


def _undo(opened: Any, name: str, *, dry_run: bool, as_json: bool) -> None:
    from dataclasses import asdict

    from cathodeflow.campaign.undo import last_resubmission, undo_resubmission
    from cathodeflow.cli.output import note, print_json, say

    if dry_run:
        details = last_resubmission(opened, name)["details"]
        if as_json:
            print_json({"number": details["number"], "keys": details["keys"], "dry_run": True})
        else:
            say(f"Would take back resubmission {details['number']} of {len(details['keys'])} jobs")
        return
    undone = undo_resubmission(opened, name)
    if as_json:
        print_json(asdict(undone) | {"dry_run": False})
        return
    say(f"Took back resubmission {undone.number}: {len(undone.taken_back)} jobs are as before")
    for key in undone.started:
        note(f"{key} had started meanwhile and goes on")
