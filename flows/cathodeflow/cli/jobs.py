"""`jobs`: the jobs of a campaign, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cathodeflow.cli.options import CampaignOption, JsonOption, ProjectOption

if TYPE_CHECKING:
    from cathodeflow.dispatch.jobs import JobDetails

LOG_LINES = 30
LIST_LIMIT = 50
LOG_TAIL_BYTES = 64 * 1024


def build(help_style: Literal["rich"] | None) -> typer.Typer:
    """Assemble the `jobs` commands."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=help_style,
        help="List a campaign's jobs, or show one with its log.",
    )
    group.command("list")(list_jobs)
    group.command("show")(show)
    return group


def list_jobs(
    project: ProjectOption = Path(),
    campaign: CampaignOption = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="Only in this state of FireWorks, e.g. FIZZLED; may be repeated."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only this kind: reference, label, train, predict or screen.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Most jobs to print; 0 for all.")] = LIST_LIMIT,
    as_json: JsonOption = False,
) -> None:
    """List the jobs of a campaign in the order they were added.

    States: WAITING, READY, RUNNING, COMPLETED, FIZZLED (failed), PAUSED, DEFUSED, ARCHIVED.
    """
    from dataclasses import asdict

    from cathodeflow.cli.output import note, print_json, print_table
    from cathodeflow.cli.selection import campaign_name, open_existing
    from cathodeflow.dispatch.jobs import count_states, list_fireworks

    states = _states(state)
    if kind is not None:
        _check_kind(kind)
    opened = open_existing(project)
    name = campaign_name(opened, campaign)
    jobs = list_fireworks(opened, name, states, kind, limit)
    if as_json:
        print_json([asdict(job) for job in jobs])
        return
    if not jobs:
        note("no job matches")
        return
    columns = ["job", "state", "kind", "key", "starts", "updated"]
    print_table(
        columns, [[job.fw_id, job.state, job.kind, job.key, job.launches, _short(job.updated_on)] for job in jobs]
    )
    if limit and len(jobs) == limit:
        counts = count_states(opened, name, kind)
        total = sum(number for entry, number in counts.items() if states is None or entry in states)
        if total > limit:
            note(f"{limit} of {total:,} shown; --limit 0 shows all")


def show(
    job: Annotated[int, typer.Argument(metavar="JOB", help="Its number, as `jobs list` prints it.")],
    project: ProjectOption = Path(),
    lines: Annotated[int, typer.Option("--lines", min=0, help="Lines of its log to print.")] = LOG_LINES,
    as_json: JsonOption = False,
) -> None:
    """Show one job: its state, its attempts, its error and the end of its log."""
    from cathodeflow.cli.output import print_json
    from cathodeflow.cli.selection import open_existing
    from cathodeflow.dispatch.jobs import firework_details

    opened = open_existing(project)
    details = firework_details(opened, job)
    attempts = _attempts(opened, details)
    log = _tail(details.log, lines)
    if as_json:
        print_json(_as_dict(details) | {"attempts": attempts, "log": log})
        return
    _print(details, attempts, log)


def _attempts(opened: Any, details: JobDetails) -> list[dict[str, Any]]:
    job = details.job
    condition = {"campaign": job.campaign, "kind": job.kind, "key": job.key}
    return sorted(opened.select("attempts", condition), key=lambda attempt: attempt["attempt"])


def _as_dict(details: JobDetails) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(details) | {"error": details.error}


def _print(details: JobDetails, attempts: list[dict[str, Any]], log: list[str]) -> None:
    from cathodeflow.cli.output import duration, say, text_of

    job = details.job
    say(f"job        {job.fw_id} {job.name}")
    say(f"state      {job.state}")
    say(f"campaign   {job.campaign}, {job.kind} {job.key}")
    say(f"uuid       {', '.join(details.uuids) or '-'}")
    for launch in details.launches:
        ran = f"ran {duration(launch.runtime_s)}" if launch.runtime_s is not None else "not ended"
        say(f"launch     {launch.launch_id} {launch.state}, started {text_of(launch.started)}, {ran}, {launch.host}")
        say(f"           {launch.directory}")
    if not details.launches and job.state == "FIZZLED":
        say("launch     none: the worker could not even import the job's module; see `cflow doctor`")
    for attempt in attempts:
        say(f"attempt    {attempt['attempt']} {attempt['reason']}: {attempt['message']}")
        say(f"           then {attempt['action']} ({'; '.join(attempt['considered'])})")
    if details.error:
        say("error")
        for line in details.error.rstrip().splitlines():
            say(f"  {line}")
    if log:
        say(f"log        last {len(log)} lines of {details.log}")
        for line in log:
            say(f"  {line}")


def _states(asked: list[str] | None) -> list[str] | None:
    from cathodeflow.campaign.policy import ACTIVE_STATES

    if not asked:
        return None
    known = sorted(ACTIVE_STATES | {"COMPLETED", "FIZZLED"})
    states = [state.upper() for state in asked]
    for state in states:
        if state not in known:
            raise typer.BadParameter(
                f"{state} is no state of a job: there are {', '.join(known)}", param_hint="--state"
            )
    return states


def _check_kind(kind: str) -> None:
    from cathodeflow.records.outcomes import JobKind

    if kind not in list(JobKind):
        raise typer.BadParameter(f"{kind} is no kind of job: there are {', '.join(JobKind)}", param_hint="--kind")


def _short(moment: Any) -> Any:
    """FireWorks keeps times as text to the microsecond."""
    return moment.replace("T", " ")[:19] if isinstance(moment, str) else moment


def _tail(path: Path | None, lines: int) -> list[str]:
    """Return the last lines of a file, reading no more than its end."""
    if path is None or not lines:
        return []
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - LOG_TAIL_BYTES, 0))
        text = file.read().decode("utf-8", errors="replace")
    return text.splitlines()[-lines:]
