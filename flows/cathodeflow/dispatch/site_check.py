"""Checking a site: its scripts, what Slurm says of them, the environment that they make, and one job out and back."""

from __future__ import annotations

import math
import secrets
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cathodeflow.dispatch.probe import Findings, read_note
from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.sites import Category, Queue, slurm_time
from cathodeflow.dispatch.slurm.answers import SINFO_FORMAT, parse_sinfo
from cathodeflow.dispatch.slurm.commands import call, clean_environment, slurm_is_here
from cathodeflow.dispatch.slurm.script import Request, array_option, render, time_limit_s
from cathodeflow.dispatch.slurm.truth import SlurmTruth, Standing
from cathodeflow.errors import CathodeflowError, SchedulerError, StoreError

IMPORT_PATIENCE_S = 300.0
LIVE_S = 600
"""Time limit of a live check's job."""

POLL_S = 1.0
_BEYOND = 1e6  # times what a queue gives: more than any limit that a site sets

Verdict = Literal["ok", "skipped", "broken", "absent"]


@dataclass(frozen=True)
class Result:
    """One check.

    Attributes
    ----------
    category : str
        Of which queue.
    check : str
        `queue`, `script`, `test-only`, `imports` or `live`.
    verdict : str
        `ok`, `skipped`, `broken`, or `absent` where no queue takes a category.
    message : str
        What was found, and the remedy.
    """

    category: str
    check: str
    verdict: Verdict
    message: str


def check_site(
    site: SiteFile, project: Path, modules: tuple[str, ...] = (), live_s: float | None = None
) -> Iterator[Result]:
    """Check all queues of a site, one result after the other.

    Parameters
    ----------
    site : SiteFile
        The site.
    project : Path
        A folder that jobs can see too. Where it holds a project, its store is asked from where jobs run.
    modules : tuple of str
        Modules of one's own jobs, imported beside ours.
    live_s : float, optional
        Send a tiny job through each queue and wait so long for it.

    Yields
    ------
    Result
    """
    for category in site.site.missing_categories():
        message = (
            f"no queue takes jobs of {category}, they would wait for ever; `also: [{category}]` lets another do so"
        )
        yield Result(category, "queue", "absent", message)
    for category in site.site.workers:
        request = Request(project.absolute(), "site-check", category, f"check-{secrets.token_hex(4)}")
        if site.site.scheduler == "none":
            yield _check_imports(site, request, modules)
            continue
        try:
            text = render(site, request, "cflow-check-%j.log")
        except CathodeflowError as error:
            yield Result(category, "script", "broken", str(error))
            continue
        yield _check_shell(category, text)
        yield _check_with_slurm(site, request)
        yield _check_imports(site, request, modules)
        if live_s is not None:
            yield _check_live(site, request, modules, live_s)


def _check_shell(category: Category, text: str) -> Result:
    done = subprocess.run(["/bin/bash", "-n"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split())
        return Result(category, "script", "broken", f"bash does not understand it: {said}; `cflow site show` prints it")
    return Result(category, "script", "ok", f"{len(text.splitlines())} lines")


def _check_with_slurm(site: SiteFile, request: Request) -> Result:
    """Ask Slurm for the usual allocation, and for the largest that a job may get which ran out of something."""
    category, queue = request.category, site.site.workers[request.category]
    if not slurm_is_here():
        return Result(category, "test-only", "skipped", "sbatch is not on the path: check again on a login node")
    largest = replace(
        request,
        time_factor=_BEYOND if queue.max_time else 1.0,
        memory_factor=_BEYOND if queue.max_memory else 1.0,
    )
    asked = {"": (request, [array_option(2)] if queue.array else [])}
    if largest != request:
        asked[", and up to max_time and max_memory"] = (largest, [])
    for what, (wanted, options) in asked.items():
        try:
            _test_only(site, wanted, options)
            _compare_with_partition(queue, wanted)
        except CathodeflowError as error:
            remedy = f"compare workers.{category} in {site.folder / 'site.yaml'} with `sinfo` and `sacctmgr show assoc`"
            said = f" when asked for more{what.removeprefix(', and')}" if what else ""
            return Result(category, "test-only", "broken", f"{error}{said}; {remedy}")
    return Result(category, "test-only", "ok", f"Slurm would take it{''.join(asked)}")


def _compare_with_partition(queue: Queue, request: Request) -> None:
    """Ask what the partition gives at most: most clusters take jobs that ask for more, and never start them.

    Raises
    ------
    SchedulerError
        It gives less than is asked for.
    """
    names = (queue.partition or "").split(",")
    known = parse_sinfo(call(["sinfo", "-h", "-o", SINFO_FORMAT]))
    mine = [one for one in known if one.name in names or (queue.partition is None and one.is_default)]
    if not mine:
        return
    wanted_s, most = time_limit_s(queue, request.time_factor), max(mine, key=lambda one: one.time_s or math.inf)
    if most.time_s is not None and wanted_s > most.time_s:
        raise SchedulerError(
            f"partition {most.name} gives at most {slurm_time(most.time_s)} and {slurm_time(wanted_s)} are asked for: "
            "it would wait for ever"
        )
    largest = max(mine, key=lambda one: one.nodes)
    if queue.nodes > largest.nodes:
        raise SchedulerError(
            f"partition {largest.name} has {largest.nodes} node(s) and {queue.nodes} are asked for: "
            "it would wait for ever"
        )


def _test_only(site: SiteFile, request: Request, options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "job.sh"
        script.write_text(render(site, request, "cflow-check-%j.log"), encoding="utf-8")
        # --test-only answers on standard error, and by its exit code.
        call(["sbatch", "--test-only", *options, str(script)], environment=clean_environment(site.site.pass_on))


def _probe_command(python: str, note: Path, project: Path, modules: tuple[str, ...]) -> str:
    parts = [python, "-m", "cathodeflow.dispatch.probe", "--note", str(note)]
    if _holds_project(project):
        parts += ["--project", str(project)]
    for module in modules:
        parts += ["--module", module]
    return shlex.join(parts)


def _holds_project(folder: Path) -> bool:
    from cathodeflow.storage.connection import open_project

    try:
        open_project(folder)
    except StoreError:
        return False
    return True


def _check_imports(site: SiteFile, request: Request, modules: tuple[str, ...]) -> Result:
    """Run the script here with the probe in place of the workers, in the environment that a batch job gets.

    Without a scheduler there is no script: workers are children of `cflow run`, with its Python and environment.
    """
    category, batch = request.category, site.site.scheduler == "slurm"
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "note.json"
        probe = _probe_command(site.site.python if batch else sys.executable, note, request.project, modules)
        script = Path(folder) / "job.sh"
        script.write_text(render(site, request, "log", probe) if batch else probe, encoding="utf-8")
        try:
            done = subprocess.run(
                [*(shlex.split(site.site.shell) if batch else ["/bin/sh"]), str(script)],
                env=clean_environment(site.site.pass_on) if batch else None,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=IMPORT_PATIENCE_S,
                check=False,
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            return Result(category, "imports", "broken", f"the script took more than {IMPORT_PATIENCE_S:g} s here")
        except OSError as error:
            return Result(category, "imports", "broken", f"{site.site.shell}: {error.strerror}; correct `shell`")
        findings = read_note(note)
    if findings is None:
        said = " ".join(done.stderr.strip().splitlines()[-3:]) or f"exit code {done.returncode}"
        remedy = "correct modules, pre_commands, activate or python"
        return Result(
            category, "imports", "broken", f"cathodeflow does not start in this environment: {said}; {remedy}"
        )
    return _judge(category, "imports", findings, "here")


def _judge(category: Category, check: str, findings: Findings, where: str) -> Result:
    if findings.failures:
        name, error = next(iter(findings.failures.items()))
        number = len(findings.failures)
        message = f"{number} of {findings.modules} modules cannot be imported {where}, {name} first: {error}"
        return Result(category, check, "broken", f"{message}; FireWorks would drop their jobs without a word")
    if findings.clock:
        return Result(category, check, "broken", findings.clock)
    if not findings.healthy:
        return Result(category, check, "broken", f"the store cannot be reached {where}: {findings.store}")
    said = f"{findings.modules} modules imported {where} in {findings.seconds:g} s"
    said += "" if findings.store == "not asked" else ", the store answers"
    if findings.absent:
        # Broken for a campaign with VASP only: rehearsals and potentials need none of it.
        said += f"; for VASP not there: {', '.join(findings.absent)}"
    return Result(category, check, "ok", said)


def _check_live(site: SiteFile, request: Request, modules: tuple[str, ...], patience_s: float) -> Result:
    """Send the probe through the queue and wait for its note."""
    category, began = request.category, time.monotonic()
    if not slurm_is_here():
        return Result(category, "live", "skipped", "sbatch is not on the path: check again on a login node")
    try:
        folder = Path(tempfile.mkdtemp(prefix=".site-check-", dir=request.project))
    except OSError as error:
        remedy = "name a project with --project, or `cflow launch` one first: the check's jobs work in its folder"
        return Result(category, "live", "broken", f"{request.project} cannot be written: {error.strerror}; {remedy}")
    note, script, log = folder / "note.json", folder / "job.sh", folder / "job.log"
    script.write_text(
        render(site, request, str(log), _probe_command(site.site.python, note, request.project, modules)),
        encoding="utf-8",
    )
    # Short, so that it need not wait for a gap as long as a day's work does.
    short = [f"--time={slurm_time(LIVE_S)}", f"--signal=B:USR1@{LIVE_S // 60}"]
    options = short if site.site.workers[category].time_s > LIVE_S else []
    try:
        command = ["sbatch", "--parsable", "--no-requeue", *options, str(script)]
        said = call(command, environment=clean_environment(site.site.pass_on))
        job_id = said.strip().splitlines()[-1].split(";")[0]
        try:
            message = _wait_for(job_id, note, patience_s)
        except KeyboardInterrupt:
            call(["scancel", job_id])
            raise
    except SchedulerError as error:
        _remove(folder)
        return Result(category, "live", "broken", str(error))
    findings = read_note(note)
    if findings is None:
        tail = " ".join(log.read_text(errors="replace").split()[-40:]) if log.is_file() else "it printed nothing"
        return Result(category, "live", "broken", f"{message}; {tail} ({folder})")
    result = _judge(category, "live", findings, f"on {findings.host}")
    if result.verdict == "ok":
        _remove(folder)
    took = f"out and back in {time.monotonic() - began:.0f} s as job {job_id}: {result.message}"
    return Result(category, "live", result.verdict, took if result.verdict == "ok" else result.message)


def _wait_for(job_id: str, note: Path, patience_s: float) -> str:
    """Wait for a note or the end of its job; returns what to say where there is no note. A late job is cancelled."""
    deadline = time.monotonic() + patience_s
    while not note.is_file():
        finding = SlurmTruth().look([job_id], {job_id: time.time()})[job_id]
        if finding.standing in {Standing.ENDED, Standing.GONE}:
            time.sleep(POLL_S)  # shared filesystems show a file a moment later
            return "its job is gone" if finding.job is None else finding.job.sentence()
        if time.monotonic() > deadline:
            call(["scancel", job_id])
            state = "unknown" if finding.job is None else finding.job.state
            return f"job {job_id} was still {state} after {patience_s:g} s and was cancelled: allow more with --wait"
        time.sleep(POLL_S)
    return ""


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
