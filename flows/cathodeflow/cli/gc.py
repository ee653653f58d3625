"""`gc`: free the disk of what settled jobs left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cathodeflow.cli.options import CampaignOption, DryRunOption, JsonOption, ProjectOption
from cathodeflow.errors import CampaignError

if TYPE_CHECKING:
    from cathodeflow.campaign.clearing import ClearingPlan
    from cathodeflow.storage.connection import Project

OnFile = Callable[[Path, int], None]
SECONDS_PER_DAY = 86_400.0


def gc(
    project: ProjectOption = Path(),
    campaign: CampaignOption = None,
    older_than: Annotated[
        float, typer.Option("--older-than", metavar="DAYS", min=0.0, help="Only what ended so many days ago.")
    ] = 0.0,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="NAME", help="Also keep files of this name or pattern; may be repeated."),
    ] = None,
    failed_too: Annotated[
        bool,
        typer.Option("--failed-too", help="Also jobs that were given up: run again, they would start from nothing."),
    ] = False,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete and compress the files of settled jobs that the definition's `retention` does not keep.

    Folders of jobs that run, failed, wait for another attempt or are still read by a follow-up are left as they are.
    POTCARs always go; their symbols stay as POTCAR.spec. The bytes of a dry run are exact. Without --campaign, large
    files in the store that no document refers to any more go as well.
    """
    from cathodeflow.campaign.clearing import Clearance, clear, plan_clearing
    from cathodeflow.cli.output import print_json, say, size
    from cathodeflow.cli.selection import campaign_name, open_existing

    if as_json and not (dry_run or yes):
        raise CampaignError("gc --json cannot ask: add --dry-run to look or --yes to delete")
    opened = open_existing(project)
    chosen = [campaign_name(opened, campaign)] if campaign else opened.campaign_names()
    if not chosen:
        chosen = [campaign_name(opened, None)]  # says that there is none
    asked = Clearance(older_than * SECONDS_PER_DAY, failed_too, tuple(keep or ()))
    answers: list[dict[str, Any]] = []
    for name in chosen:
        with _progress(f"{name}: looking") as on_file:
            plan = plan_clearing(opened, name, asked, on_file)
        if not as_json:
            _print(name, plan)
        freed = 0
        if plan.freed and not dry_run and (yes or typer.confirm(f"Free {size(plan.freed)}?")):
            with _progress(f"{name}: clearing") as on_file:
                freed = clear(opened, name, plan, asked, on_file).bytes_freed
            if not as_json:
                say(f"Freed {size(freed)} ({freed:,} bytes).")
        answers.append(_as_dict(name, plan) | {"dry_run": dry_run, "bytes_freed": freed})
    if campaign is None:
        answers += _strays(opened, asked.youngest_s, dry_run=dry_run, yes=yes, quiet=as_json)
    if as_json:
        print_json(answers)
    elif dry_run:
        say("Dry run: nothing was changed.")


def _strays(opened: Project, youngest_s: float, *, dry_run: bool, yes: bool, quiet: bool) -> list[dict[str, Any]]:
    """Take away files in the store that are of no campaign, since nothing refers to them."""
    from cathodeflow.campaign.strays import find_strays, remove_strays
    from cathodeflow.cli.output import say, size

    found = find_strays(opened, youngest_s)
    stray = [one for one in found if one.ids]
    if not stray:
        return []
    total = sum(one.bytes for one in stray)
    if not quiet:
        say("Files in the store that nothing refers to")
        for one in found:
            say(f"  {one.bucket.name}: {len(one.ids)} ({size(one.bytes)}; {one.bucket.holds}); {one.kept} are in use")
    removed = 0
    if not dry_run and (yes or typer.confirm(f"Remove {size(total)} from the store?")):
        removed = sum(remove_strays(opened, one) for one in stray)
        if not quiet:
            say(f"Removed {removed} files ({total:,} bytes) from the store.")
    told = [{"bucket": one.bucket.name, "files": len(one.ids), "bytes": one.bytes, "kept": one.kept} for one in found]
    freed = total if removed else 0
    return [{"campaign": None, "strays": told, "bytes_to_free": total, "dry_run": dry_run, "bytes_freed": freed}]


def _print(name: str, plan: ClearingPlan) -> None:
    from cathodeflow.cli.output import note, print_table, say, size

    totals = plan.totals()
    if not totals:
        say(f"{name}: no job has left a folder.")
        return
    say(f"Campaign {name}")
    columns = ["jobs", "folders", "files", "files after", "now", "after", "freed"]
    rows = [
        [
            total.kind.replace("_", " "),
            total.folders,
            total.files,
            total.files_after,
            size(total.bytes_now),
            size(total.bytes_after),
            size(total.bytes_now - total.bytes_after),
        ]
        for total in totals
    ]
    print_table(columns, rows)
    say(f"To free: {size(plan.freed)} ({plan.freed:,} bytes).")
    for hold, count in plan.held().items():
        say(f"Left as they are: {count} folder{'s' if count > 1 else ''}, because {hold.value}.")
    for folder in plan.folders:
        for path in folder.unreadable:
            note(f"warning: {path} stays, because its symbols cannot be read: look at it and delete it yourself")


def _as_dict(name: str, plan: ClearingPlan) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "campaign": name,
        "jobs": [asdict(total) for total in plan.totals()],
        "held": {hold.value: count for hold, count in plan.held().items()},
        "bytes_to_free": plan.freed,
    }


@contextmanager
def _progress(title: str) -> Iterator[OnFile]:
    """Draw how many files and bytes were gone through, on a terminal."""
    from cathodeflow.cli.output import is_terminal, size

    if not is_terminal():
        yield lambda path, n_bytes: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    files, total = 0, 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)

        def on_file(path: Path, n_bytes: int) -> None:
            nonlocal files, total
            files, total = files + 1, total + n_bytes
            progress.update(task, description=f"{title} {files:,} files, {size(total)}")

        yield on_file
