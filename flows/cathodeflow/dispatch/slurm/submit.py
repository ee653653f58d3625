"""Submitting allocations within the budget, and finding out what became of those submitted before.

The order is: token into the store, then sbatch, then the job's number into the store. Whoever dies in between leaves a
token, and the name of the Slurm job says whether sbatch was reached. Nothing is submitted twice, nothing is forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.dispatch.allotment import Estimates
from cathodeflow.dispatch.jobs import FIREWORKS
from cathodeflow.dispatch.launchpad import MEMORY_FACTOR, TIME_FACTOR
from cathodeflow.dispatch.slurm import submissions
from cathodeflow.dispatch.slurm.commands import SUBMIT_PATIENCE_S, call, clean_environment
from cathodeflow.dispatch.slurm.need import Work, allocations_wanted
from cathodeflow.dispatch.slurm.script import Request, render, sbatch_command, token_of
from cathodeflow.dispatch.slurm.submissions import Budget, SubmissionRecord, SubmissionState
from cathodeflow.dispatch.slurm.truth import SlurmTruth, Standing
from cathodeflow.errors import CathodeflowError, SchedulerError, StoreError

if TYPE_CHECKING:
    from cathodeflow.dispatch.site_file import SiteFile
    from cathodeflow.dispatch.sites import Category
    from cathodeflow.dispatch.slurm.answers import SlurmJob
    from cathodeflow.storage.connection import Project

LOGS = Path("logs") / "slurm"

SETTLED_AFTER_S = 2 * SUBMIT_PATIENCE_S
"""An intention so old that Slurm knows nothing of was never submitted: sbatch had this long, twice over."""

GIVEN_UP_AFTER_S = 1800.0
"""The same where sacct cannot be asked: a job may have come and gone unseen."""

_UNSURE = ("timed out", "gave no answer", "connect failure", "Zero Bytes", "Connection refused", "communication")


def project_id(project: Project) -> str:
    """Return eight digits that tell projects apart in Slurm's comments."""
    name = f"{project.uri or ''} {project.folder}"
    return hashlib.sha256(name.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Size:
    """What the jobs of one allocation need, times what the site gives."""

    time_factor: float = 1.0
    memory_factor: float = 1.0


def submit(project: Project, site: SiteFile, record: SubmissionRecord, category: Category) -> str | None:
    """Write the script of a submission and hand it to sbatch.

    Parameters
    ----------
    project : Project
        The open project.
    site : SiteFile
        The cluster.
    record : SubmissionRecord
        An intention, with its seats.
    category : Category
        Its queue.

    Returns
    -------
    str or None
        Slurm's number; None where the controller did not say whether it took the job: `settle` finds out.

    Raises
    ------
    SchedulerError
        sbatch refused; the seats are free again.
    DefinitionError
        The script cannot be written so; likewise.
    StoreError
        The project folder cannot be written; likewise.
    """
    folder = project.folder / LOGS
    request = Request(project.folder, record.campaign, category, record.token, record.time_factor, record.memory_factor)
    try:
        text = render(site, request, str(folder / f"{record.category}-%j.log"))
        script = folder / f"{record.token}.sh"
        _write(script, text)
        command = sbatch_command(script, project_id(project), request)
        environment = clean_environment(site.site.variables())
        said = call(command, SUBMIT_PATIENCE_S, environment, folder)
    except SchedulerError as error:
        if any(word in str(error) for word in _UNSURE):
            return None
        submissions.close(project, record.token, SubmissionState.REFUSED, str(error))
        raise
    except CathodeflowError as error:
        submissions.close(project, record.token, SubmissionState.NEVER_SUBMITTED, str(error))
        raise
    job_id = said.strip().splitlines()[-1].split(";")[0]
    submissions.mark_submitted(project, record.token, job_id)
    return job_id


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o700)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; free some space or choose another project") from error


def settle(project: Project, site: str, truth: SlurmTruth) -> list[SubmissionRecord]:
    """Bring the submissions to a site up to what Slurm says of them.

    Parameters
    ----------
    project : Project
        The open project.
    site : str
        The site's name.
    truth : SlurmTruth
        Whom to ask.

    Returns
    -------
    list of SubmissionRecord
        Those that were found to be over, as they stood before.
    """
    records = submissions.open_submissions(project, site)
    if not records:
        return []
    queue = truth.queue()
    if queue is None:
        return []  # not knowing is not being dead
    named = {token: job for job in queue if (token := token_of(job.name)) is not None}
    over = [record for record in records if record.job_id is None and _settle_intention(project, record, named, truth)]
    known = {record.job_id: record for record in records if record.job_id is not None}
    for job_id, finding in truth.look(known.keys()).items():
        record = known[job_id]
        if finding.standing == Standing.RUNNING:
            if record.state != SubmissionState.RUNNING:
                submissions.mark_running(project, record.token)
        elif finding.standing in {Standing.ENDED, Standing.GONE}:
            outcome = "vanished" if finding.job is None else finding.job.state
            submissions.close(project, record.token, SubmissionState.ENDED, outcome)
            over.append(record)
    return over


def _settle_intention(
    project: Project, record: SubmissionRecord, named: dict[str, SlurmJob], truth: SlurmTruth
) -> bool:
    """Find out whether sbatch was reached; returns whether the submission is over."""
    job = named.get(record.token)
    age = submissions.age_s(record)
    if job is None and age > SETTLED_AFTER_S:
        remembered = truth.by_name([f"cflow-{record.token}"])
        job = next(iter((remembered or {}).values()), None)
        if job is None and (remembered is not None or age > GIVEN_UP_AFTER_S):
            submissions.close(project, record.token, SubmissionState.NEVER_SUBMITTED, "sbatch was never reached")
            return True
    if job is None:
        return False
    submissions.mark_submitted(project, record.token, job.job_id)
    if job.running:
        submissions.mark_running(project, record.token)
    if job.ended:
        submissions.close(project, record.token, SubmissionState.ENDED, job.state)
    return job.ended


def wanted(
    project: Project, site: SiteFile, campaign: str, category: Category, estimates: Estimates
) -> dict[Size, int]:
    """Return how many allocations of each size the jobs of a queue are worth.

    Parameters
    ----------
    project : Project
        The open project.
    site : SiteFile
        The cluster.
    campaign : str
        Whose jobs.
    category : Category
        The queue.
    estimates : Estimates
        How long jobs take.
    """
    queue = site.site.workers[category]
    categories = [category.value, *(other.value for other in queue.also)]
    base = {"spec._campaign": campaign, "spec._category": {"$in": categories}}
    ready = {**base, "state": "READY"}
    if not project.any_matches(FIREWORKS, ready):
        return {}
    running = project.count(FIREWORKS, {**base, "state": "RUNNING"})
    kinds = _kinds(project, ready)
    larger = _larger(project, ready)
    by_size: dict[Size, dict[str, int]] = {Size(): dict(kinds)}
    for document in larger:
        spec = document["spec"]
        size = Size(*(max(float(spec.get(name) or 1.0), 1.0) for name in _FACTORS))
        kind = spec.get("_kind")
        by_size[Size()][kind] -= 1
        by_size.setdefault(size, {}).setdefault(kind, 0)
        by_size[size][kind] += 1
    found = {}
    for size, counts in by_size.items():
        left = {kind: count for kind, count in counts.items() if count > 0}
        work = Work(left, running if size == Size() else 0)
        number = allocations_wanted(work, queue.slots, estimates.seconds(), queue.busy_s)
        if number:
            found[size] = number
    return found


_FACTORS = (TIME_FACTOR, MEMORY_FACTOR)


def _kinds(project: Project, ready: Mapping[str, Any]) -> dict[str, int]:
    """Count the READY jobs of a queue by kind: from an index alone where the campaign has no other READY jobs."""
    campaigns = {name: value for name, value in ready.items() if name != "spec._category"}
    kinds = project.count_by(FIREWORKS, "spec._kind", campaigns)
    if sum(kinds.values()) == project.count(FIREWORKS, ready):
        return kinds
    return project.count_by(FIREWORKS, "spec._kind", ready)


def _larger(project: Project, ready: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the READY jobs that need more than the site gives by default.

    They are looked up by the sparse indexes of the factors, which hold the few jobs that have such a key at all; the
    other conditions would make the embedded store read every READY job.
    """
    having = [project.select(FIREWORKS, {f"spec.{name}": {"$gt": 1.0}}) for name in _FACTORS]
    found = {document["fw_id"]: document for documents in having for document in documents}
    campaign, categories = ready["spec._campaign"], set(ready["spec._category"]["$in"])
    return [
        document
        for document in found.values()
        if document["state"] == "READY"
        and document["spec"].get("_campaign") == campaign
        and document["spec"].get("_category") in categories
    ]


def submit_needed(
    project: Project,
    site: SiteFile,
    campaign: str,
    category: Category,
    estimates: Estimates,
    crash: Callable[[SubmissionRecord], None] | None = None,
) -> int:
    """Submit as many allocations as the READY jobs of a queue need and its budget allows.

    Parameters
    ----------
    project, site, campaign, category, estimates
        As for `wanted`.
    crash : callable, optional
        Called between token and sbatch, for tests of crashes.

    Returns
    -------
    int
        How many were submitted.

    Raises
    ------
    SchedulerError
        sbatch refused.
    """
    queue = site.site.workers[category]
    budget = Budget(site.name, category, queue.max_running, queue.max_queued)
    count = 0
    for size, number in wanted(project, site, campaign, category, estimates).items():
        held = [r for r in submissions.open_submissions(project, site.name) if r.category == category.value]
        there = sum(r.campaign == campaign and Size(r.time_factor, r.memory_factor) == size for r in held)
        for _ in range(number - there):
            record = submissions.reserve(project, budget, campaign, size.time_factor, size.memory_factor)
            if record is None:
                return count
            if crash is not None:
                crash(record)
            submit(project, site, record, category)
            count += 1
    return count
