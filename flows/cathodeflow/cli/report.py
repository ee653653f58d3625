"""`report`: the campaign as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cathodeflow.cli.options import CampaignOption, ProjectOption


def report(
    project: ProjectOption = Path(),
    campaign: CampaignOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write.", show_default="report-NAME.html in the project folder"),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the web browser.")] = False,
) -> None:
    """Write one self-contained HTML page about a campaign, readable without a network."""
    from cathodeflow.cli.output import say
    from cathodeflow.cli.selection import campaign_name, open_existing
    from cathodeflow.report.collect import collect
    from cathodeflow.report.page import write_report

    opened = open_existing(project)
    name = campaign_name(opened, campaign)
    path = output or project / f"report-{name}.html"
    write_report(collect(opened, name), path)
    say(f"Wrote {path}")
    if open_it:
        import webbrowser

        webbrowser.open(path.absolute().as_uri())
