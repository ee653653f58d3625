"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DEFINITION_FILE = "campaign.yaml"

ProjectOption = Annotated[
    Path,
    typer.Option(
        "--project",
        "-p",
        envvar="CATHODEFLOW_PROJECT",
        help="Folder that holds the project's store.",
        show_default="the present folder",
    ),
]
CampaignOption = Annotated[
    str | None,
    typer.Option(
        "--campaign", "-c", help="Name of the campaign.", show_default="the only one of the project", metavar="NAME"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be done; change nothing.")]
ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Replace files that are there already.")]
DefinitionArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A campaign definition.", show_default=DEFINITION_FILE)
]
FilterOption = Annotated[
    str | None,
    typer.Option("--filter", metavar="JSON", help="""MongoDB filter, e.g. '{"level": "Na3"}'."""),
]


class TableFormat(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
