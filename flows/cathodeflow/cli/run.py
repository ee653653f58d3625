"""`run`: work on a campaign in this terminal until it is done."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cathodeflow.cli.options import CampaignOption, ProjectOption
from cathodeflow.errors import CampaignError

if TYPE_CHECKING:
    from cathodeflow.campaign.driver import Pool
    from cathodeflow.campaign.status import StatusReport
    from cathodeflow.dispatch.sites import Site
    from cathodeflow.storage.connection import Project

INTERRUPTED_EXIT_CODE = 130
LINE_EVERY_S = 15.0
FIRST_INTERRUPT = (
    "Interrupted: the present jobs are finished first, then this command ends. "
    "Interrupt again to end now; unfinished jobs are run again by the next `cflow run`."
)
INTERRUPT_OF_A_SITE = (
    "Interrupted: what waits in the queues is taken back, what runs there goes on by itself, and this command ends. "
    "The next `cflow run` finds it. Interrupt again to end now."
)
SECOND_INTERRUPT = "Ending now; unfinished jobs are run again by the next `cflow run`."


def run(
    project: ProjectOption = Path(),
    campaign: CampaignOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            "-w",
            min=0,
            help="Worker processes; 0 only drives, workers run elsewhere.",
            show_default="1, or as the site says",
        ),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(
            "--site", metavar="NAME", help="Cluster that runs the jobs: a name of `cflow site show`, or a folder."
        ),
    ] = None,
) -> None:
    """Run a campaign until it is done: the driver, and workers on this machine or a cluster.

    With --site the driver submits allocations as jobs become ready, within the site's limits; those that run outlive
    it, and the next driver finds them. It may run on a login node or in a job of its own; it must reach the store.

    Ctrl-C finishes the present jobs and ends; a second one ends at once. Nothing recorded is lost either way, and
    `cflow run` goes on where it ended. A MongoDB server that is away is waited for, ten minutes at the start and as
    long as it takes later. Exit code 0 when the campaign is done, 4 when it stopped, 130 when interrupted.
    """
    from cathodeflow.campaign.driver import WorkerPool, drive
    from cathodeflow.campaign.status import read_status
    from cathodeflow.cli.output import is_terminal, note, say
    from cathodeflow.cli.selection import campaign_name, warn_of_unknown_variables
    from cathodeflow.dispatch.clocks import clock_complaint
    from cathodeflow.records.outcomes import CampaignState

    warn_of_unknown_variables()
    opened = _open_patiently(project, note)
    name = campaign_name(opened, campaign)
    if (complaint := clock_complaint(opened)) is not None:
        note(f"Warning: {complaint}")
    pool = _pool(opened, name, workers, site)
    display = _bars if is_terminal() else _lines
    is_here = isinstance(pool, int | WorkerPool)
    with display() as show, _notices(note, FIRST_INTERRUPT if is_here else INTERRUPT_OF_A_SITE):
        record = drive(opened, name, pool, on_tick=lambda _: show(read_status(opened, name)))
    if record.state == CampaignState.DONE:
        option = "" if project == Path() else f" -p {project}"
        say(f"{name} is done: cflow report{option}")
    elif record.state == CampaignState.STOPPED:
        raise CampaignError(
            f"campaign {name} stopped in stage {record.stage}: {record.message}; look with `cflow jobs list` and "
            "`cflow query attempts`, then `cflow resubmit` or `cflow resume`"
        )
    else:
        note(f"{name} is left in stage {record.stage}; `cflow run` goes on with it")
        raise typer.Exit(INTERRUPTED_EXIT_CODE)


def _open_patiently(folder: Path, say: Callable[[str], None]) -> Project:
    """Open a project; a server that is away is waited for, since nobody may be there to start this command again."""
    from cathodeflow.cli.selection import open_existing
    from cathodeflow.settings import get_settings
    from cathodeflow.storage.server import with_patience

    def told(delay: float, error: Exception) -> None:
        say(f"{error} Asking again in {delay:.1f} s.")

    return with_patience(lambda: open_existing(folder), get_settings().store_patience_s, told)


def _pool(opened: Project, name: str, workers: int | None, site: str | None) -> int | Pool:
    """Return where the jobs run: so many processes here, or the allocations of a site."""
    if site is None:
        return 1 if workers is None else workers
    from cathodeflow.dispatch.site_file import read_site

    read = read_site(site)
    if read.site.scheduler == "none":
        return _local_pool(opened, name, read.site) if workers is None else workers
    if workers is not None:
        raise typer.BadParameter(f"site {read.name} submits its workers to a queue", param_hint="--workers")
    from cathodeflow.dispatch.slurm.pool import SitePool

    return SitePool(opened, name, read)


def _local_pool(opened: Project, name: str, site: Site) -> Pool:
    """Return as many workers of this machine as the site has slots, each with a slot's share of the cores."""
    from cathodeflow.campaign.driver import WorkerPool

    queues = site.workers.values()
    return WorkerPool(opened.folder, name, sum(q.slots for q in queues), min(q.threads for q in queues))


@contextmanager
def _notices(say: Callable[[str], None], first: str = FIRST_INTERRUPT) -> Iterator[None]:
    """Say what an interrupt does when it arrives, while the driver counts interrupts with handlers of its own."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    asked = 0

    def listen() -> None:
        nonlocal asked
        while received := reader.recv(16):
            for number in received:
                if number in {signal.SIGINT, signal.SIGTERM}:
                    asked += 1
                    if asked <= 2:
                        say(first if asked == 1 else SECOND_INTERRUPT)

    # What the driver puts back when it ends: an impatient interrupt must not break into the last words, nor into the
    # interpreter's end, which resets any handler but this one.
    own_handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
        listener.join(timeout=1.0)
        reader.close()
        if not asked:
            for number, handler in own_handlers.items():
                signal.signal(number, handler)


@contextmanager
def _lines() -> Iterator[Callable[[StatusReport], None]]:
    """Print one plain line whenever the stage changes, and every quarter of a minute."""
    from cathodeflow.cli.output import say
    from cathodeflow.cli.status import one_line

    last: tuple[Any, float] = (None, 0.0)

    def show(report: StatusReport) -> None:
        nonlocal last
        phase = (report.stage, report.round, report.state)
        if phase != last[0] or time.monotonic() - last[1] >= LINE_EVERY_S:
            say(one_line(report))
            last = (phase, time.monotonic())

    yield show


@contextmanager
def _bars() -> Iterator[Callable[[StatusReport], None]]:
    """Draw one bar for the present stage and one for the labels."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from cathodeflow.cli.output import duration

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=Console(no_color=bool(os.environ.get("NO_COLOR")))) as progress:
        stage = progress.add_task("starting", total=None, remark="")
        labels = progress.add_task("labels", total=None, remark="", visible=False)

        def show(report: StatusReport) -> None:
            title = f"{report.stage} (round {report.round + 1} of {report.rounds})"
            left = f"about {duration(report.eta_s)} left" if report.eta_s is not None else ""
            done, wanted = report.progress
            progress.update(stage, description=title, completed=done, total=wanted or None, remark=left)
            counts = report.labels
            lost = f"{counts['failed']} failed, {counts['quarantined']} quarantined"
            progress.update(
                labels,
                completed=counts["done"] + counts["quarantined"],
                total=counts["wanted"] or None,
                remark=lost,
                visible=counts["wanted"] > 0,
            )

        yield show
