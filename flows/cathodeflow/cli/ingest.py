"""`ingest`: take finished VASP relaxations as labels of a campaign."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cathodeflow.cli.options import CampaignOption, DryRunOption, JsonOption, ProjectOption
from cathodeflow.errors import CampaignError

if TYPE_CHECKING:
    from cathodeflow.campaign.ingest import IngestedRun

OnRun = Callable[["IngestedRun", int, int], None]


def ingest(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Folders; all below are looked through.", show_default=False)
    ],
    project: ProjectOption = Path(),
    campaign: CampaignOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take finished VASP relaxations as labels of a campaign.

    Each is held to the campaign's preset and host; one that is not usable is listed with its reason and the rest goes
    in. Repeating it is harmless. Exit code 1 when no folder held a usable run.
    """
    from cathodeflow.campaign.ingest import Verdict
    from cathodeflow.campaign.ingest import ingest as ingest_runs
    from cathodeflow.cli.output import print_json
    from cathodeflow.cli.selection import campaign_name, open_existing

    if campaign is not None and Path(campaign).suffix in {".yaml", ".yml"}:
        raise CampaignError(
            f"{campaign} is a definition, and labels stand on the references and the choice of a launched campaign: "
            f"`cflow launch {campaign}`, then name the campaign"
        )
    opened = open_existing(project)
    name = campaign_name(opened, campaign)
    with _progress(shown=not as_json) as on_run:
        runs = ingest_runs(opened, name, folders, dry_run=dry_run, on_run=on_run)
    if as_json:
        print_json({"campaign": name, "dry_run": dry_run, "runs": [_plain(run) for run in runs]})
    else:
        _print(name, runs, dry_run=dry_run)
    raise typer.Exit(0 if any(run.verdict != Verdict.REFUSED for run in runs) else 1)


def _plain(run: IngestedRun) -> dict[str, Any]:
    return {"folder": str(run.folder), "verdict": run.verdict.value, "key": run.key, "reason": run.reason}


def _print(name: str, runs: list[IngestedRun], *, dry_run: bool) -> None:
    from collections import Counter

    from cathodeflow.cli.output import print_table, say

    rows = [(str(run.folder), run.verdict.value, run.key, run.reason or None) for run in runs]
    print_table(("folder", "verdict", "candidate", "why"), rows)
    counts = Counter(run.verdict.value for run in runs)
    taken = "would go into" if dry_run else "went into"
    say(f"{counts['ingested']} of {len(runs)} {taken} {name}; {counts['known']} known, {counts['refused']} refused.")
    if dry_run:
        say("Dry run: nothing was written.")


@contextmanager
def _progress(*, shown: bool) -> Iterator[OnRun | None]:
    """Draw a bar for people at a terminal; nothing else."""
    from cathodeflow.cli.output import is_terminal

    if not (shown and is_terminal()):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(no_color=bool(os.environ.get("NO_COLOR"))), transient=True) as progress:
        bar = progress.add_task("reading runs", total=None)

        def advance(run: IngestedRun, number: int, total: int) -> None:
            progress.update(bar, completed=number, total=total, description=run.folder.name or str(run.folder))

        yield advance
