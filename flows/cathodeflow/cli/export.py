"""`export`: labels and crystals as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cathodeflow.cli.options import CampaignOption, FilterOption, ForceOption, ProjectOption

# As `campaign.export.CrystalKind`, which is imported only when a command runs.
KINDS = ("candidates", "relaxed", "validated")


def build(help_style: Literal["rich"] | None) -> typer.Typer:
    """Assemble the `export` commands."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=help_style,
        help="Write labels as extended XYZ and crystals as CIF, each folder with a README.",
    )
    group.command("labels")(labels)
    group.command("structures")(structures)
    return group


FolderArgument = Annotated[Path, typer.Argument(help="Folder to write to; made when absent.")]


def labels(
    folder: FolderArgument,
    project: ProjectOption = Path(),
    campaign: CampaignOption = None,
    filter_text: FilterOption = None,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Also quarantined labels that hold a relaxation.")
    ] = False,
    force: ForceOption = False,
) -> None:
    """Write labels as one extended XYZ file (energy, forces, lattice, provenance), for others to train on."""
    from cathodeflow.campaign.export import export_labels
    from cathodeflow.campaign.query import parse_filter
    from cathodeflow.cli.output import say
    from cathodeflow.cli.selection import campaign_name, open_existing

    wanted = parse_filter(filter_text)
    opened = open_existing(project)
    name = campaign_name(opened, campaign)
    written = export_labels(opened, name, folder, wanted, quarantined=quarantined, replace=force)
    left_out = f"; {written.left_out} without a usable relaxation left out" if written.left_out else ""
    say(f"Wrote {written.n} labels to {written.files[0]}{left_out}")


def structures(
    folder: FolderArgument,
    project: ProjectOption = Path(),
    campaign: CampaignOption = None,
    kind: Annotated[
        str,
        typer.Option("--of", metavar="|".join(KINDS), help="Unrelaxed candidates, relaxed labels, or the validated."),
    ] = "relaxed",
    filter_text: FilterOption = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Most files; 0 for all.")] = 0,
    force: ForceOption = False,
) -> None:
    """Write crystals as CIF files.

    The filter is over candidates with --of candidates, else over labels.
    """
    from cathodeflow.campaign.export import CrystalKind, export_structures
    from cathodeflow.campaign.query import parse_filter
    from cathodeflow.cli.output import say
    from cathodeflow.cli.selection import campaign_name, open_existing

    if kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(KINDS)}", param_hint="--of")
    wanted = parse_filter(filter_text)
    opened = open_existing(project)
    name = campaign_name(opened, campaign)
    written = export_structures(opened, name, folder, CrystalKind(kind), wanted, limit=limit, replace=force)
    say(f"Wrote {written.n} CIF files to {written.folder}")
