"""`jobs`: the jobs of a campaign, one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cathodeflow.cli.options import CampaignOption, JsonOption, ProjectOption

if TYPE_CHECKING:
    from cathodeflow.campaign.launch_files import RunFiles
    from cathodeflow.dispatch.jobs import JobDetails, LaunchSummary

LOG_LINES = 30
LIST_LIMIT = 50
STARTS_SHOWN = 5  # of a job that was run many times; --json has all


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
        str | None,
        typer.Option("--kind", help="Only this kind: reference, label, train, predict, screen or follow_up."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Only failed ones with this reason, e.g. oom, timeout, vanished.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Most jobs to print; 0 for all.")] = LIST_LIMIT,
    as_json: JsonOption = False,
) -> None:
    """List the jobs of a campaign in the order they were added; failed ones with the reason of their last attempt.

    States: WAITING, READY, RUNNING, COMPLETED, FIZZLED (failed), PAUSED, DEFUSED, ARCHIVED.
    """
    from dataclasses import asdict

    from cathodeflow.campaign.failures import named_reason
    from cathodeflow.cli.output import note, print_json, print_table
    from cathodeflow.cli.selection import campaign_name, open_existing
    from cathodeflow.dispatch.jobs import count_states, list_fireworks
    from cathodeflow.dispatch.workflows import failures_of

    wanted = None if reason is None else named_reason(reason)
    states = _states(state) if wanted is None else ["FIZZLED"]
    if kind is not None:
        _check_kind(kind)
    opened = open_existing(project)
    name = campaign_name(opened, campaign)
    jobs = list_fireworks(opened, name, states, kind, 0 if wanted else limit)
    why = {n: said.reason for n, said in failures_of(opened, [j.fw_id for j in jobs if j.state == "FIZZLED"]).items()}
    total = len(jobs)
    if wanted is not None:
        jobs = [job for job in jobs if why.get(job.fw_id) == wanted]
        total, jobs = len(jobs), jobs[: limit or None]
    elif limit and len(jobs) == limit:
        counts = count_states(opened, name, kind)
        total = sum(number for entry, number in counts.items() if states is None or entry in states)
    if as_json:
        print_json([asdict(job) | {"reason": why.get(job.fw_id)} for job in jobs])
        return
    if not jobs:
        note("no job matches")
        return
    columns = ["job", "state", "kind", "key", "starts", "updated", *(["reason"] if why else [])]
    rows = [
        [job.fw_id, job.state, job.kind, job.key, job.launches, _short(job.updated_on), why.get(job.fw_id, "-")]
        for job in jobs
    ]
    print_table(columns, [row[: len(columns)] for row in rows])
    if total > len(jobs):
        note(f"{len(jobs)} of {total:,} shown; --limit 0 shows all")
    if why:
        note("`cflow jobs show JOB` says more of one; `cflow resubmit --dry-run` lists what can be run again")


def show(
    job: Annotated[int, typer.Argument(metavar="JOB", help="Its number, as `jobs list` prints it.")],
    project: ProjectOption = Path(),
    lines: Annotated[int, typer.Option("--lines", min=0, help="Lines of its log to print.")] = LOG_LINES,
    as_json: JsonOption = False,
) -> None:
    """Show one job: its state, its attempts, what custodian did to its runs, its error and the end of its log."""
    from cathodeflow.campaign.launch_files import log_tail, read_run
    from cathodeflow.cli.output import print_json
    from cathodeflow.cli.selection import open_existing
    from cathodeflow.dispatch.jobs import firework_details

    opened = open_existing(project)
    details = firework_details(opened, job)
    attempts = _attempts(opened, details)
    record = _settled_record(opened, details)
    launches = details.launches if as_json else details.launches[-STARTS_SHOWN:]
    runs = [read_run(launch.directory) for launch in launches]
    log = log_tail(details.log, lines)
    if as_json:
        said = [_run_as_dict(launch, run) for launch, run in zip(launches, runs, strict=True)]
        print_json(_as_dict(details) | {"attempts": attempts, "record": record, "runs": said, "log": log})
        return
    _print(details, attempts, record, runs, log)


def _attempts(opened: Any, details: JobDetails) -> list[dict[str, Any]]:
    job = details.job
    condition = {"campaign": job.campaign, "kind": job.kind, "key": job.key}
    return sorted(opened.select("attempts", condition), key=lambda attempt: attempt["attempt"])


def _settled_record(opened: Any, details: JobDetails) -> dict[str, Any] | None:
    """Return what the store keeps of how a reference, label or branch was made; None while it is not settled."""
    job = details.job
    if job.kind in {"label", "follow_up"}:
        found = opened.get("labels" if job.kind == "label" else "follow_ups", f"{job.campaign}/{job.key}")
    elif job.kind == "reference":
        campaign = opened.get("campaigns", job.campaign) or {}
        found = opened.get("references", f"{campaign.get('provenance')}/{job.key}")
    else:
        return None
    kept = ("outcome", "reason", "message", "folder", "presets", "overrides", "interventions")
    return (
        None if found is None else {name: found[name] for name in kept if name in found} | {"origin": found["origin"]}
    )


def _run_as_dict(launch: LaunchSummary, run: RunFiles) -> dict[str, Any]:
    """Return what the folder of a launch says: which attempt it is, where it goes on from, what custodian did."""
    said: dict[str, Any] = {"launch_id": launch.launch_id, "attempt": run.attempt, "custodian": run.custodian}
    said["continues_from"] = run.continues_from or None
    return said | ({"unreadable": run.trouble} if run.trouble else {})


def _as_dict(details: JobDetails) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(details) | {"error": details.error}


def _print(
    details: JobDetails,
    attempts: list[dict[str, Any]],
    record: dict[str, Any] | None,
    runs: list[RunFiles],
    log: list[str],
) -> None:
    from cathodeflow.cli.output import duration, say

    job = details.job
    say(f"job        {job.fw_id} {job.name}")
    say(f"state      {job.state}")
    say(f"campaign   {job.campaign}, {job.kind} {job.key}")
    say(f"uuid       {', '.join(details.uuids) or '-'}")
    _print_again(details, record)
    _print_earlier("launch", len(details.launches) - len(runs))
    for launch, run in zip(details.launches[-STARTS_SHOWN:], runs, strict=True):
        ran = f"ran {duration(launch.runtime_s)}" if launch.runtime_s is not None else "not ended"
        where = f", {launch.host}" if launch.host else ""
        say(f"launch     {launch.launch_id} {launch.state}, started {_short(launch.started)}, {ran}{where}")
        say(f"           {launch.directory}")
        _print_run(run, settled=record is not None and launch.state == "COMPLETED")
    if not details.launches and job.state == "FIZZLED":
        say("launch     none: the worker could not even import the job's module; see `cflow doctor`")
    _print_earlier("attempt", len(attempts) - STARTS_SHOWN)
    for attempt in attempts[-STARTS_SHOWN:]:
        say(f"attempt    {attempt['attempt']} {attempt['reason']}: {attempt['message']}")
        say(f"           then {attempt['action']} ({'; '.join(attempt['considered'])})")
    if record is not None:
        _print_record(record)
    if details.error and not _is_in(log, details.error):
        say("error")
        for line in details.error.rstrip().splitlines():
            say(f"  {line}")
    if log:
        say(f"log        last {len(log)} lines of {details.log}")
        for line in log:
            say(f"  {line}")


def _print_again(details: JobDetails, record: dict[str, Any] | None) -> None:
    """Print why a job failed, and how it is run again."""
    from cathodeflow.cli.output import say
    from cathodeflow.dispatch.workflows import reported_failure

    job = details.job
    if job.state == "FIZZLED":
        reported = reported_failure(details)
        say(f"failed     {reported.reason}: {reported.message}")
    given_up = record is not None and record.get("outcome") == "quarantined"
    if job.campaign is not None and (job.state == "FIZZLED" or given_up):
        driver = "" if given_up else "by the driver while attempts are left; by hand: "
        say(f"again      {driver}cflow resubmit -c {job.campaign} --kind {job.kind} --key {job.key}")


def _print_earlier(what: str, number: int) -> None:
    from cathodeflow.cli.output import say

    if number > 0:
        say(f"{what:<10} {number} earlier; --json has all")


def _is_in(log: list[str], error: str) -> bool:
    """Whether the log that is printed below ends with the error."""
    last = error.strip().splitlines()[-1].strip()
    return any(line.strip() == last for line in log)


def _print_run(run: RunFiles, *, settled: bool) -> None:
    """Print what a launch folder says; a settled launch's interventions are in the record, with all before them."""
    from cathodeflow.cli.output import say

    if run.trouble:
        say(f"           {run.trouble}")
    if run.continues_from:
        say(f"           attempt {run.attempt}, continues from {run.continues_from}")
    for folder, done in {} if settled else run.custodian.items():
        where = "" if folder == "." else f" in {folder}"
        say(f"custodian  {_what_was_done(done)}{where}")
        for intervention in done:
            say(f"           {_intervention_text(intervention)}")


def _print_record(record: dict[str, Any]) -> None:
    from cathodeflow.calculators.engines import PROGRAMS
    from cathodeflow.cli.output import say

    reason = record.get("reason")
    ended = f"{record.get('outcome', 'done')}{f', {reason}' if reason else ''}, {record['origin']['provenance']}"
    say(f"record     {ended}{': ' + record['message'] if record.get('message') else ''}")
    if record.get("presets"):
        say(f"           presets {', '.join(record['presets'])}")
    if record.get("folder"):
        say(f"           ran in {record['folder']}")
    for override in record.get("overrides") or []:
        before = override["preset_value"]
        preset = "the Materials Project set's" if before is None else _value_text(before)
        say(f"override   {override['key']}: {preset} → {_value_text(override['value'])}")
    done = record.get("interventions") or []
    if done or record["origin"]["provenance"].split(":")[0] in PROGRAMS:
        say(f"custodian  {_what_was_done(done)}, earlier attempts that it continued included")
    for intervention in done:
        say(f"           {_intervention_text(intervention)}")


def _value_text(value: Any) -> str:
    """Write a value of a preset with all its digits."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _what_was_done(done: list[dict[str, Any]]) -> str:
    return f"{len(done)} intervention{'' if len(done) == 1 else 's'}" if done else "no intervention"


def _intervention_text(intervention: dict[str, Any]) -> str:
    saw = ", ".join(intervention["errors"]) or "nothing it names"
    changes = "; ".join(intervention["changes"])
    return f"{intervention['handler']} saw {saw}: {f'changed {changes}' if changes else 'ended the run'}"


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


def _short(moment: Any) -> str:
    """Write a time to the second; FireWorks keeps some as text to the microsecond."""
    from cathodeflow.cli.output import text_of

    return moment.replace("T", " ")[:19] if isinstance(moment, str) else text_of(moment)
