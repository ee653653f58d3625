"""`doctor`: what is installed, what is missing, and what that costs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cathodeflow.cli.options import JsonOption, ProjectOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cathodeflow.cli.diagnosis import Check

_MARKS = {"ok": "ok", "off": "off", "warning": "warning", "broken": "BROKEN"}
_COLOURS = {"ok": "green", "off": "bright_black", "warning": "yellow", "broken": "red"}


def doctor(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A campaign definition: also what it needs.", show_default="none"),
    ] = None,
    project: ProjectOption = Path(),
    online: Annotated[bool, typer.Option("--online", help="Also ask whether pip reaches a package index.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what is installed, what is missing and what that costs. Exit code 1 when something needed is broken.

    With a definition, what its engine and its follow-ups need counts as needed.
    """
    from cathodeflow.cli.diagnosis import Health, all_checks
    from cathodeflow.cli.output import print_json, say

    definition, host = None, None
    if file is not None:
        from cathodeflow.campaign.definition_file import load_host, read_definition

        loaded = read_definition(file)
        definition, host = loaded.definition, load_host(loaded)
    found: list[Check] = []
    room = ""
    for name, run_check in all_checks(project, online=online, definition=definition, host=host):
        for check in _shown_waiting(name, run_check()):
            found.append(check)
            if as_json:
                continue
            if check.room != room:
                room = check.room
                say(room.capitalize())
            _print(check)
    broken = [check for check in found if check.health == Health.BROKEN]
    if as_json:
        print_json({"healthy": not broken, "checks": [asdict(check) for check in found]})
    elif broken:
        say(f"{len(broken)} of {len(found)} checks found something broken: {', '.join(c.name for c in broken)}")
    else:
        say("Everything that is needed is here.")
    raise typer.Exit(1 if broken else 0)


def _shown_waiting(name: str, checks: Iterator[Check]) -> Iterator[Check]:
    """Show a person at a terminal what is being looked at, until the next finding."""
    import sys

    told = sys.stderr.isatty()
    while True:
        if told:
            typer.echo(f"  ...     {name}\r", err=True, nl=False)
        check = next(checks, None)
        if told:
            typer.echo(f"{' ' * (len(name) + 10)}\r", err=True, nl=False)
        if check is None:
            return
        yield check


def _print(check: Check) -> None:
    import os

    from cathodeflow.cli.output import is_terminal, say

    mark = _MARKS[check.health].ljust(8)
    if is_terminal() and not os.environ.get("NO_COLOR"):
        mark = typer.style(mark, fg=_COLOURS[check.health])
    say(f"  {mark}{check.name:<16} {check.found}")
    if check.cost:
        remedy = f" → {check.remedy}" if check.remedy else ""
        say(f"  {'':<8}{'':<16} {check.cost}{remedy}")
