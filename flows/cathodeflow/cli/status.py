"""`status`: where a campaign stands, in less than a second."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cathodeflow.cli.options import CampaignOption, JsonOption, ProjectOption

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cathodeflow.campaign.status import StatusReport, SurrogateQuality

FINISHED_STATES = ("done", "stopped")


def status(
    project: ProjectOption = Path(),
    campaign: CampaignOption = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every few seconds until it ends.")] = False,
    interval: Annotated[float, typer.Option("--interval", min=0.2, help="Seconds between two looks.")] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Say where a campaign stands: stage, labels, jobs, best candidates, time left."""
    from cathodeflow.campaign.status import read_status
    from cathodeflow.cli.output import say
    from cathodeflow.cli.selection import campaign_name, open_existing

    opened = open_existing(project)
    name = campaign_name(opened, campaign)
    report = read_status(opened, name, beside=True)
    if not watch:
        _print(report, as_json=as_json)
        return
    from cathodeflow.cli.output import is_terminal

    if is_terminal() and not as_json:
        _watch_on_terminal(opened, name, report, interval)
        return
    while True:
        if as_json:
            import json

            from cathodeflow.cli.output import plain

            say(json.dumps(plain(report.to_dict()), ensure_ascii=False))
        else:
            say(one_line(report))
        if report.state in FINISHED_STATES:
            return
        time.sleep(interval)
        report = read_status(opened, name, beside=True)


def _watch_on_terminal(opened: Any, name: str, report: StatusReport, interval: float) -> None:
    from rich.live import Live

    from cathodeflow.campaign.status import read_status
    from cathodeflow.cli.output import console

    with Live(_drawn(report), console=console(), auto_refresh=False) as live:
        while report.state not in FINISHED_STATES:
            time.sleep(interval)
            report = read_status(opened, name, beside=True)
            live.update(_drawn(report), refresh=True)


def _drawn(report: StatusReport) -> RenderableType:
    from rich.text import Text

    return Text("\n".join(_text(report)))


def _print(report: StatusReport, *, as_json: bool) -> None:
    from cathodeflow.cli.output import print_json, say

    if as_json:
        print_json(report.to_dict())
        return
    for line in _text(report):
        say(line)


def labels_in_words(counts: dict[str, int]) -> str:
    """Return the counts of labels in words."""
    return f"{counts['done']} done, {counts['failed']} failed, {counts['quarantined']} quarantined"


def one_line(report: StatusReport) -> str:
    """Return a campaign's standing as one plain line."""
    from cathodeflow.cli.output import duration

    done, wanted = report.progress
    parts = [
        f"{time.strftime('%H:%M:%S')} {report.campaign} {report.state}: {report.stage}",
        f"round {report.round + 1}/{report.rounds}",
        f"{done}/{wanted} of this stage",
        f"labels: {labels_in_words(report.labels)}",
    ]
    if report.eta_s:
        parts.append(f"about {duration(report.eta_s)} left")
    return ", ".join(parts)


def _text(report: StatusReport) -> list[str]:
    from cathodeflow.cli.output import duration

    done, wanted = report.progress
    counts = report.labels
    progress = f", {done} of {wanted}" if wanted else ""
    lines = [
        f"{report.campaign}: {report.state}" + (f" ({report.message})" if report.message else ""),
        f"  stage       {report.stage} (round {report.round + 1} of {report.rounds}){progress}",
        f"  candidates  {report.candidates:,}",
        f"  labels      {labels_in_words(counts)} of {counts['wanted']} wanted",
        "  jobs        " + (", ".join(f"{n} {state}" for state, n in report.jobs.items()) or "none yet"),
        f"  engine      {report.provenance}",
        f"  driver      {report.lease_holder or 'none: start one with cflow run'}",
        f"  elapsed     {duration(report.elapsed_s)}"
        + (f", about {duration(report.eta_s)} left" if report.eta_s else ""),
    ]
    if counts["failed"] or counts["quarantined"]:
        lines.append("  failures    `cflow resubmit --dry-run` lists them with their reasons")
    lines += [f"  surrogate   {_surrogate_line(surrogate)}" for surrogate in report.surrogates]
    if report.best_candidates:
        lines.append(f"  best        ({report.best_from})")
        lines += [f"    {_best_line(entry)}" for entry in report.best_candidates]
    return lines


def _surrogate_line(surrogate: SurrogateQuality) -> str:
    def r2(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    return (
        f"{surrogate.target}, {surrogate.held_out} held-out labels: R2 {r2(surrogate.r2)} "
        f"(un-retrained {r2(surrogate.pretrained_r2)}), MAE {1000 * surrogate.mae:.1f} "
        f"(un-retrained {1000 * surrogate.pretrained_mae:.1f}) meV/atom"
    )


def _best_line(entry: dict[str, Any]) -> str:
    voltages = "  ".join(f"{name} {value:.2f} V" for name, value in entry["voltages"].items())
    score = f"  score {entry['score']:.3f}" if entry.get("score") is not None else ""
    kind = "noble" if entry["noble"] else "non-noble"
    return f"{entry['rank'] or '-':>3}  {entry['composition']:<10} {kind:<9}  {voltages}{score}"
