"""`store`: where a project's documents are, and moving them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cathodeflow.cli.options import JsonOption, ProjectOption

TargetOption = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="URI|embedded",
        help="`mongodb://[user@]host[:port]/database`, never with a password in it; or `embedded`.",
        show_default="the setting CATHODEFLOW_STORE_URI",
    ),
]
WaitOption = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Stop the campaigns, wait until their drivers and running jobs have ended, and let them go on there.",
    ),
]


def build(help_style: Literal["rich"] | None) -> typer.Typer:
    """Assemble the commands."""
    app = typer.Typer(
        help="Where a project's documents are: look, move, join, upgrade, repair.",
        no_args_is_help=True,
        rich_markup_mode=help_style,
    )
    app.command("info")(info)
    app.command("migrate")(migrate)
    app.command("join")(join)
    app.command("upgrade")(upgrade)
    app.command("repair")(repair)
    return app


def info(project: ProjectOption = Path(), json: JsonOption = False) -> None:
    """Show which store a project has, what is in it, and how large it is."""
    from dataclasses import asdict

    from cathodeflow.cli.output import print_json, say
    from cathodeflow.cli.selection import open_existing
    from cathodeflow.storage.contents import store_contents

    contents = store_contents(open_existing(project))
    if json:
        print_json(asdict(contents))
        return
    say(f"store      {contents.backend} ({contents.version})")
    say(f"place      {contents.place}")
    say(f"database   {contents.database}")
    say(f"size       {contents.bytes / 1e6:.1f} MB")
    width = max(map(len, contents.collections), default=0)
    for name, count in contents.collections.items():
        say(f"  {name:<{width}}  {count:>9} documents  {contents.indexes[name]:>2} indexes")


def migrate(
    to: TargetOption = None, project: ProjectOption = Path(), wait: WaitOption = False, json: JsonOption = False
) -> None:
    """Copy a project to another store, check the copy, and work there from then on.

    Refused while a driver or a job is at work, unless it is to wait. May be interrupted and repeated. The old store is
    kept; its campaigns are stopped there.
    """
    from dataclasses import asdict

    from cathodeflow.campaign.moving import move_project
    from cathodeflow.cli.output import note, print_json, say
    from cathodeflow.cli.selection import open_existing
    from cathodeflow.settings import get_settings
    from cathodeflow.storage.collections import declared
    from cathodeflow.storage.connection import open_target

    setting = get_settings().store_uri
    to = to or setting
    if to is None:
        raise typer.BadParameter("name the store, or set CATHODEFLOW_STORE_URI", param_hint="--to")
    source = open_existing(project, moving=True)
    target = open_target(source.folder, None if to == "embedded" else to)
    said: dict[str, int] = {}

    def progress(name: str, count: int) -> None:
        if count - said.get(name, 0) >= 10_000:
            said[name] = count
            note(f"{name}: {count} documents compared")

    def waits(what: str) -> None:
        note(f"waiting: {what}")

    copied = move_project(source, target, declared(target), wait=wait, on_wait=waits, on_progress=progress)
    if json:
        print_json([asdict(one) for one in copied])
    elif not copied:
        say(f"{source.folder} now names {target.uri}: it is the database that it had, nothing was copied")
    else:
        width = max((len(one.name) for one in copied), default=0)
        for one in copied:
            say(f"  {one.name:<{width}}  {one.documents:>9} documents  {one.written:>9} written  {one.content[:12]}")
        say(
            f"{source.folder} now has its documents in {target.uri or target.embedded_file.path}; the old store is kept"
        )
    if target.uri is None and setting is not None:
        note("CATHODEFLOW_STORE_URI still names a server: unset it")
    elif setting not in {None, target.uri}:
        note(f"CATHODEFLOW_STORE_URI still names {setting}: unset it, or name {target.uri}")


def join(
    uri: Annotated[str, typer.Argument(metavar="URI", help="`mongodb://[user@]host[:port]/database`, as `--to`.")],
    project: ProjectOption = Path(),
) -> None:
    """Make a folder one of a project that is on a server: its own folder was lost, or is on another machine.

    Jobs of the project that ran in another folder have their files there; what is in the store is all there.
    """
    from cathodeflow.cli.output import say
    from cathodeflow.errors import StoreError
    from cathodeflow.storage.connection import open_target
    from cathodeflow.storage.identity import join as join_project
    from cathodeflow.storage.project_file import is_project

    if is_project(project):
        raise StoreError(f"{project.absolute()} holds a project already: name another folder with --project.")
    if not project.is_dir():
        raise StoreError(f"There is no folder {project.absolute()}: make it first.")
    opened = open_target(project, uri)
    join_project(opened)
    say(f"{opened.folder} is a folder of the project in {opened.uri}: {', '.join(opened.campaign_names()) or 'empty'}")


def upgrade(project: ProjectOption = Path()) -> None:
    """Make the indexes that this version declares, and bring documents of older versions up to it."""
    from cathodeflow.cli.output import say
    from cathodeflow.cli.selection import open_existing
    from cathodeflow.storage.collections import declared
    from cathodeflow.storage.identity import settle_identity
    from cathodeflow.storage.upgrade import upgrade as bring_up

    opened = open_existing(project)
    settle_identity(opened)
    done = bring_up(opened, declared(opened))
    say(f"{done.indexes} indexes made, {done.documents} documents brought up")


def repair(project: ProjectOption = Path(), json: JsonOption = False) -> None:
    """Complete what killed processes left half done, and hand in results that could not be delivered."""
    from dataclasses import asdict

    from cathodeflow.cli.output import print_json, say
    from cathodeflow.cli.selection import open_existing
    from cathodeflow.dispatch.reconcile import reconcile
    from cathodeflow.dispatch.repair import repair as set_right

    opened = open_existing(project)
    repairs: dict[str, Any] = asdict(set_right(opened, thorough=True))
    repairs["lost_jobs"] = len(reconcile(opened))
    if json:
        print_json(repairs)
    else:
        say(", ".join(f"{name} {count}" for name, count in repairs.items()))
