"""Submitting allocations within the budget, and finding out what became of those submitted before.

The order is: token into the store, then sbatch, then the job's number into the store. Whoever dies in between leaves a
token, and the name of the Slurm job says whether sbatch was reached. Nothing is submitted twice, nothing is forgotten.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.dispatch.allotment import Estimates
from cathodeflow.dispatch.jobs import FIREWORKS
from cathodeflow.dispatch.launchpad import FACTORS, factor_of
from cathodeflow.dispatch.slurm import submissions
from cathodeflow.dispatch.slurm.commands import SUBMIT_PATIENCE_S, call, clean_environment
from cathodeflow.dispatch.slurm.need import Work, allocations_wanted
from cathodeflow.dispatch.slurm.script import Request, array_option, job_name, render, sbatch_command, token_of
from cathodeflow.dispatch.slurm.submissions import Budget, SubmissionRecord, SubmissionState
from cathodeflow.dispatch.slurm.truth import SlurmTruth, Standing
from cathodeflow.errors import CathodeflowError, MissingDependencyError, SchedulerError, StoreError

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

    def __str__(self) -> str:
        """Say it for people; nothing for the usual size."""
        said = [
            f"{factor:g} times the {what}"
            for factor, what in ((self.time_factor, "time"), (self.memory_factor, "memory"))
            if factor != 1.0
        ]
        return f" with {' and '.join(said)}" if said else ""


def size_of(record: SubmissionRecord) -> Size:
    """Return what a submission asks for."""
    return Size(record.time_factor, record.memory_factor)


def submit(project: Project, site: SiteFile, records: Sequence[SubmissionRecord], category: Category) -> str | None:
    """Write the script of equal submissions and hand it to sbatch, once for all of them.

    Parameters
    ----------
    project : Project
        The open project.
    site : SiteFile
        The cluster.
    records : sequence of SubmissionRecord
        Intentions, with their seats: one, or the tasks of one array in their order.
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
    first, folder = records[0], project.folder / LOGS
    is_array = first.task is not None
    size, token = size_of(first), first.name_token
    request = Request(project.folder, first.campaign, category, token, size.time_factor, size.memory_factor)
    try:
        # As squeue writes it, so that a log is found by the number of its job.
        text = render(site, request, str(folder / f"{first.category}-{'%A_%a' if is_array else '%j'}.log"))
        script = folder / f"{token}.sh"
        _write(script, text)
        further = [array_option(len(records))] if is_array else []
        command = sbatch_command(script, project_id(project), request, further)
        environment = clean_environment(site.site.pass_on)
        said = call(command, SUBMIT_PATIENCE_S, environment, folder)
    except SchedulerError as error:
        if any(word in str(error) for word in _UNSURE):
            return None
        _close_all(project, records, SubmissionState.REFUSED, str(error))
        raise
    except CathodeflowError as error:
        _close_all(project, records, SubmissionState.NEVER_SUBMITTED, str(error))
        raise
    if not said.strip():
        return None  # as where the controller did not say
    job_id = said.strip().splitlines()[-1].split(";")[0]
    for record in records:
        number = job_id if record.task is None else f"{job_id}_{record.task}"
        submissions.mark_submitted(project, record.token, number)
    return job_id


def _close_all(project: Project, records: Sequence[SubmissionRecord], state: SubmissionState, outcome: str) -> None:
    for record in records:
        submissions.close(project, record.token, state, outcome)


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
    named = {token: job for job in queue if (token := token_of(job.name, job.job_id)) is not None}
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
        remembered = truth.by_name([job_name(record.name_token)])
        found = (remembered or {}).values()
        job = next((job for job in found if token_of(job.name, job.job_id) == record.token), None)
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
        size = Size(*(factor_of(spec, name) for name in FACTORS))
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
    having = [project.select(FIREWORKS, {f"spec.{name}": {"$gt": 1.0}}) for name in FACTORS]
    found = {document["fw_id"]: document for documents in having for document in documents}
    campaign, categories = ready["spec._campaign"], set(ready["spec._category"]["$in"])
    return [
        document
        for document in found.values()
        if document["state"] == "READY"
        and document["spec"].get("_campaign") == campaign
        and document["spec"].get("_category") in categories
    ]


@dataclass
class Submitted:
    """What came of submitting.

    Attributes
    ----------
    count : int
        Allocations that were submitted.
    refused : dict of Size to str
        Sizes that sbatch did not take, with its words.
    """

    count: int = 0
    refused: dict[Size, str] = field(default_factory=dict)


def submit_needed(
    project: Project,
    site: SiteFile,
    campaign: str,
    category: Category,
    estimates: Estimates,
    crash: Callable[[SubmissionRecord], None] | None = None,
    put_off: Collection[Size] = (),
) -> Submitted:
    """Submit as many allocations as the READY jobs of a queue need and its budget allows.

    A size that is refused keeps none of the others.

    Parameters
    ----------
    project, site, campaign, category, estimates
        As for `wanted`.
    crash : callable, optional
        Called between token and sbatch, for tests of crashes.
    put_off : collection of Size
        Not to be submitted now.

    Returns
    -------
    Submitted
    """
    queue = site.site.workers[category]
    budget = Budget(site.name, category, queue.max_running, queue.max_queued)
    done = Submitted()
    needed = wanted(project, site, campaign, category, estimates)
    if not needed:
        return done
    held = [r for r in submissions.open_submissions(project, site.name) if r.category == category.value]
    there = Counter(size_of(record) for record in held if record.campaign == campaign)
    for size, number in in_turn(needed, there, put_off):
        for batch in [number] if queue.array else [1] * number:
            if size in done.refused:
                break
            records = _reserve(project, budget, campaign, size, batch)
            if not records:
                return done
            if crash is not None:
                crash(records[0])
            try:
                submit(project, site, records, category)
                done.count += len(records)
            except (SchedulerError, MissingDependencyError) as error:
                done.refused[size] = str(error)
    return done


def in_turn(
    needed: Mapping[Size, int], there: Mapping[Size, int], put_off: Collection[Size] = ()
) -> list[tuple[Size, int]]:
    """Return in which order allocations are submitted: those of each size in turn, the larger size first.

    Else, where a queue has one seat, the usual size would take it again and again for as long as it has jobs. The
    larger one takes the usual jobs too.

    Parameters
    ----------
    needed, there : mapping of Size to int
        Allocations wanted and open.
    put_off : collection of Size
        Left out.

    Returns
    -------
    list of (Size, int)
        So many of a size, one after the other.
    """
    missing = [
        (place, -size.time_factor * size.memory_factor, size)
        for size, number in needed.items()
        if size not in put_off
        for place in range(there.get(size, 0), number)
    ]
    order = [size for _, _, size in sorted(missing, key=lambda entry: entry[:2])]
    return [(size, len(list(group))) for size, group in groupby(order)]


def _reserve(project: Project, budget: Budget, campaign: str, size: Size, number: int) -> list[SubmissionRecord]:
    """Take up to so many seats; several are the tasks of one array."""
    array = submissions.new_token() if number > 1 else None
    records: list[SubmissionRecord] = []
    for place in range(number):
        record = submissions.reserve(
            project, budget, campaign, size.time_factor, size.memory_factor, array, None if array is None else place
        )
        if record is None:
            break
        records.append(record)
    return records
