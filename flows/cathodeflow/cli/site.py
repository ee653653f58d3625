"""`site`: describe a cluster, see what would be submitted to it, and check that jobs can run there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cathodeflow.cli.options import JsonOption, ProjectOption

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A site, or the path of its folder.")]


def build(help_style: Literal["rich"] | None) -> typer.Typer:
    """Assemble the `site` commands."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=help_style,
        help="Describe a cluster, see what would be submitted to it, check that jobs can run there.",
    )
    group.command("list")(list_sites)
    group.command("new")(new)
    group.command("show")(show)
    group.command("check")(check)
    return group


def list_sites() -> None:
    """List the sites that can be found here, and those that come with cathodeflow."""
    from cathodeflow.cli.output import print_table
    from cathodeflow.dispatch.site_file import read_site, site_names

    files = [read_site(name) for name in site_names()]
    print_table(["site", "queues", "what it is"], [[f.name, " ".join(f.site.workers), f.site.title] for f in files])


def new(name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")]) -> None:
    """Copy the annotated template to site_configs/NAME, to be filled in."""
    from cathodeflow.cli.output import say
    from cathodeflow.dispatch.site_file import new_site

    path = new_site(name)
    say(f"Wrote {path}. Fill it in, then: cflow site check {name}")


def show(
    name: NameArgument,
    project: ProjectOption = Path(),
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FOLDER", help="Write the files there in place of printing them.")
    ] = None,
) -> None:
    """Print the batch scripts that would be submitted, and FireWorks' own files for `qlaunch`.

    No file holds the address of the store or a password, only the name of the variable that does.
    """
    from cathodeflow.cli.output import say, write_text
    from cathodeflow.dispatch.fireworks_files import fireworks_files
    from cathodeflow.dispatch.site_file import read_site
    from cathodeflow.dispatch.slurm.script import Request, render

    site = read_site(name)
    files: dict[str, str] = {}
    if site.site.scheduler == "slurm":
        for category in site.site.workers:
            request = Request(project.absolute(), "CAMPAIGN", category, "TOKEN")
            files[f"{category}/job.sh"] = render(site, request, f"logs/slurm/{category}-%j.log")
    files |= fireworks_files(site, _database(project))
    for file, text in files.items():
        if write is None:
            say(f"==> {file} <==\n{text}")
        else:
            write_text(write / file, text)
            say(f"wrote {write / file}")


def _database(project: Path) -> str:
    """Return the name of the database of a project on a server, or of the one that new projects use."""
    from cathodeflow.settings import get_settings
    from cathodeflow.storage.address import StoreAddress
    from cathodeflow.storage.collections import DATABASE
    from cathodeflow.storage.project_file import read_project_file

    uri = (read_project_file(project) or {}).get("uri") or get_settings().store_uri
    return DATABASE if uri is None else StoreAddress.parse(uri).database


def check(
    name: NameArgument,
    project: ProjectOption = Path(),
    live: Annotated[bool, typer.Option("--live", help="Also send a tiny job through each queue and back.")] = False,
    wait: Annotated[float, typer.Option("--wait", min=1, help="With --live: seconds to wait for each job.")] = 600.0,
    module: Annotated[
        list[str] | None, typer.Option("--module", help="Also import this module of your own jobs; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a site: its scripts, what Slurm says of them, and every job's imports in the environment they make.

    Exit code 1 when anything is broken.
    """
    from dataclasses import asdict

    from cathodeflow.cli.output import print_json, say
    from cathodeflow.dispatch.site_check import Result, check_site
    from cathodeflow.dispatch.site_file import read_site

    site = read_site(name)
    found: list[Result] = []
    for result in check_site(site, project, tuple(module or ()), wait if live else None):
        found.append(result)
        if not as_json:
            mark = "BROKEN" if result.verdict == "broken" else result.verdict
            say(f"{mark:<8} {result.category:<4} {result.check:<10} {result.message}")
    broken = [result for result in found if result.verdict == "broken"]
    skipped = [result for result in found if result.verdict == "skipped"]
    if as_json:
        print_json({"site": site.name, "healthy": not broken, "checks": [asdict(result) for result in found]})
    elif broken:
        say(f"Jobs would not run on {site.name}: {len(broken)} of {len(found)} checks found something broken.")
    else:
        said = f"; {len(skipped)} could not be asked here" if skipped else ""
        say(f"Site {site.name} is fit for use, as far as was asked{said}.")
    raise typer.Exit(1 if broken else 0)
