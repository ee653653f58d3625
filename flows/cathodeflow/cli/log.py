"""`log`: what happened in a campaign, and what was decided about each failure, in the order of time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cathodeflow.cli.options import CampaignOption, JsonOption, ProjectOption

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

LINES = 30
LOOK_S = 2.0
LONGEST_MESSAGE = 300


def log(
    project: ProjectOption = Path(),
    campaign: CampaignOption = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Only attempts at this job, and what names it.", show_default="all")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many of the last lines to print.")] = LINES,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on printing what happens, until interrupted.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what happened: stages, resubmissions, what was done on the dashboard, and each failed attempt.

    Of a failed attempt it says the reason and what followed; `cflow jobs show JOB` says what was considered.
    """
    from cathodeflow.cli.output import print_json, say
    from cathodeflow.cli.selection import campaign_name, open_existing

    if follow and as_json:
        raise typer.BadParameter("prints lines for people; leave out --json", param_hint="--follow")
    opened = open_existing(project)
    name = campaign_name(opened, campaign)
    entries = _entries(opened, name, key, limit)
    if as_json:
        print_json(entries)
        return
    for entry in entries:
        say(_line(entry))
    told = {entry["_id"] for entry in entries}
    while follow:
        time.sleep(LOOK_S)
        for entry in _entries(opened, name, key, max(limit, LINES)):
            if entry["_id"] not in told and (not entries or entry["created_at"] >= entries[-1]["created_at"]):
                told.add(entry["_id"])
                say(_line(entry))


def _entries(opened: Project, name: str, key: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the last lines of the log and the last failed attempts, the oldest first."""
    events = opened.select("events", _of(name, key, "details.keys"), [("_id", -1)], limit)
    attempts = opened.select("attempts", _of(name, key, "key"), [("created_at", -1)], limit)
    kept = ("_id", "created_at", "kind", "message", "key", "attempt", "reason", "action", "considered")
    entries = [{part: entry[part] for part in kept if part in entry} for entry in (*events, *attempts)]
    return sorted(entries, key=lambda entry: (entry["created_at"], entry["_id"]))[-limit:]


def _of(name: str, key: str | None, field: str) -> dict[str, Any]:
    return {"campaign": name} if key is None else {"campaign": name, field: key}


def _line(entry: dict[str, Any]) -> str:
    from cathodeflow.cli.output import text_of

    message = " ".join(entry["message"].split())
    message = message if len(message) <= LONGEST_MESSAGE else f"{message[:LONGEST_MESSAGE]} …"
    if "attempt" not in entry:
        return f"{text_of(entry['created_at'])}  {entry['kind']}: {message}"
    attempt = f"{entry['kind']} {entry['key']}, attempt {entry['attempt']}"
    return f"{text_of(entry['created_at'])}  {attempt}: {entry['reason']}, then {entry['action']}: {message}"
