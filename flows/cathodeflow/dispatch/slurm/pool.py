"""The workers of a campaign on a cluster, with the face of the driver's pool of local processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from cathodeflow.dispatch.allotment import Estimates
from cathodeflow.dispatch.jobs import FIREWORKS
from cathodeflow.dispatch.sites import Category
from cathodeflow.dispatch.slurm import submissions
from cathodeflow.dispatch.slurm.commands import call
from cathodeflow.dispatch.slurm.submissions import SubmissionRecord, SubmissionState
from cathodeflow.dispatch.slurm.submit import LOGS, Size, settle, size_of, submit_needed
from cathodeflow.dispatch.slurm.truth import SlurmTruth, Standing
from cathodeflow.errors import MissingDependencyError, SchedulerError

if TYPE_CHECKING:
    from cathodeflow.dispatch.site_file import SiteFile
    from cathodeflow.dispatch.slurm.answers import SlurmJob
    from cathodeflow.storage.connection import Project

FIRST_DELAY_S = 10.0
LONGEST_DELAY_S = 600.0
REPEAT_S = 600.0
"""The same message is said again after so long."""
LET_GO_S = 30.0
"""At the end of a campaign, its idle allocations are waited for so long."""
LOOK_EVERY_S = 1.0
_USUAL_WAITS = frozenset({"", "None", "Priority", "Resources", "BeginTime", "Prolog", "Cleaning"})
"""Why a job waits, in squeue's words, where there is nothing to be done about it."""
_ENDED_WELL = frozenset({"COMPLETED", "TIMEOUT"})


class SitePool:
    """Allocations of a cluster, submitted as jobs become READY. It outlives its driver: another one takes it over.

    Parameters
    ----------
    project : Project
        The open project.
    campaign : str
        Only its jobs are run.
    site : SiteFile
        The cluster.

    Raises
    ------
    MissingDependencyError
        Slurm is not on this machine.
    """

    def __init__(self, project: Project, campaign: str, site: SiteFile) -> None:
        from cathodeflow.dispatch.slurm.commands import slurm_is_here

        if not slurm_is_here():
            raise MissingDependencyError(
                f"site {site.name} submits to Slurm, but sbatch is not on the path: run the driver on a login node"
            )
        self._project = project
        self._campaign = campaign
        self._site = site
        expected = {k: s for queue in site.site.workers.values() for k, s in queue.expected_s.items()}
        self._estimates = Estimates(project, campaign, expected)
        # How often in a row, and when to try again: each size for itself, since Slurm may refuse the larger one only.
        self._refused: dict[tuple[Category, Size], tuple[int, float]] = {}
        self._messages: list[str] = []
        self._said: dict[str, float] = {}
        self._finishing = False
        self._let_go_at = self._look_at = 0.0
        self._answered = False  # whether Slurm did in this tick: else the budget is not known
        submissions.prepare(project)

    def keep_alive(self) -> int:
        """Submit what is needed; look first what became of what was submitted.

        Returns
        -------
        int
            How many allocations ended badly since the last call.
        """
        truth = SlurmTruth()
        over = settle(self._project, self._site.name, truth)
        died = sum(self._judge(record) for record in over if record.campaign == self._campaign)
        self._look_at_what_waits(truth)
        for complaint in truth.complaints:
            self._say(complaint)
        self._answered = not truth.complaints
        self.top_up()
        return died

    def top_up(self) -> None:
        """Submit what the READY jobs are worth, unless Slurm did not answer when it was last asked."""
        if self._answered:
            self._submit_all()

    def _judge(self, record: SubmissionRecord) -> bool:
        """Say how an allocation ended; one that failed by itself makes the next one of its queue wait.

        Without that, a broken environment would be submitted again with every tick.
        """
        stored = self._project.get(submissions.SUBMISSIONS, record.token) or {}
        outcome, category, size = str(stored.get("outcome")), Category(record.category), size_of(record)
        if outcome in _ENDED_WELL:
            self._refused.pop((category, size), None)
            return False
        message = f"allocation {stored.get('job_id')} for {category}{size} ended: {outcome}"
        if outcome == "FAILED":
            delay = self._put_off(category, size)
            message += f"; the next is submitted in {delay:g} s at the earliest, see its log in {LOGS}"
        self._say(message)
        return True

    def _put_off(self, category: Category, size: Size) -> float:
        times, _ = self._refused.get((category, size), (0, 0.0))
        delay = min(FIRST_DELAY_S * 2.0**times, LONGEST_DELAY_S)
        self._refused[category, size] = times + 1, time.monotonic() + delay
        return delay

    def _look_for_jobs_of_no_queue(self) -> None:
        for category in self._site.site.missing_categories():
            waiting = {"spec._campaign": self._campaign, "spec._category": category.value, "state": "READY"}
            if self._project.any_matches(FIREWORKS, waiting):
                self._say(
                    f"jobs of {category} are READY and no queue of site {self._site.name} takes them: they wait for "
                    f"ever; add `also: [{category}]` to one of its workers in {self._site.folder / 'site.yaml'}"
                )

    def _submit_all(self) -> None:
        self._look_for_jobs_of_no_queue()
        for category in self._site.site.workers:
            waiting = [
                size
                for (refused, size), (_, until) in self._refused.items()
                if refused == category and time.monotonic() < until
            ]
            done = submit_needed(self._project, self._site, self._campaign, category, self._estimates, put_off=waiting)
            for size, error in done.refused.items():
                delay = self._put_off(category, size)
                self._say(
                    f"nothing was submitted for {category}{size}, tried again in {delay:g} s: {error}"
                    f"{self._remedy(category, size)}"
                )

    def _look_at_what_waits(self, truth: SlurmTruth) -> None:
        """Say what keeps allocations waiting, and take back what Slurm will never start: it would keep its seats."""
        mine = [record for record in self._mine() if record.state == SubmissionState.PENDING]
        if not mine or truth.complaints:
            return
        waiting = {job.job_id: job for job in truth.queue() or () if job.pending}
        for record in mine:
            job = waiting.get(record.job_id or "")
            if job is None:
                continue
            if job.waits_in_vain:
                self._take_back(record, job)
            elif job.waits_for not in _USUAL_WAITS:
                self._say(f"allocation {job.job_id} for {record.category}{size_of(record)} waits: {job.waits_for}")

    def _take_back(self, record: SubmissionRecord, job: SlurmJob) -> None:
        self._scancel([job.job_id], ["--state=PENDING"])
        if SlurmTruth().look([job.job_id])[job.job_id].standing != Standing.ENDED:
            return  # somebody changed it meanwhile, or Slurm does not answer
        submissions.close(self._project, record.token, SubmissionState.REFUSED, job.waits_for)
        category, size = Category(record.category), size_of(record)
        delay = self._put_off(category, size)
        self._say(
            f"allocation {job.job_id} for {category}{size} was taken back, since Slurm would never start it "
            f"({job.waits_for}); tried again in {delay:g} s{self._remedy(category, size)}"
        )

    def _remedy(self, category: Category, size: Size) -> str:
        """Say what to change where only an allocation larger than usual is refused."""
        keys = [
            key for key, factor in (("max_time", size.time_factor), ("max_memory", size.memory_factor)) if factor != 1.0
        ]
        if not keys:
            return ""
        return f"; {' and '.join(keys)} of workers.{category} in {self._site.folder / 'site.yaml'} set the limit"

    def alive(self) -> int:
        """Return how many allocations of the campaign the driver has to wait for.

        At its end these are none, but for a moment those that have nothing left to do.
        """
        if not self._finishing:
            return len(self._mine())
        moment = time.monotonic()
        if moment >= self._let_go_at:
            return 0
        if moment >= self._look_at:
            self._look_at = moment + LOOK_EVERY_S
            settle(self._project, self._site.name, SlurmTruth())
        return len(self._mine())

    def ask_to_finish(self) -> None:
        """Take back what still waits; what runs goes on and ends by itself when there is no more work.

        A driver that ends must not take hours of computing with it. Where no job is left, allocations are told so and
        their ends are written down: nobody would come to do it later.
        """
        self._finishing = True
        mine = [record for record in self._mine() if record.job_id is not None]
        self._cancel([str(r.job_id) for r in mine if r.waiting_seat is not None], ["--state=PENDING"])
        left = {"spec._campaign": self._campaign, "state": {"$in": ["READY", "RESERVED", "RUNNING"]}}
        idle = [str(r.job_id) for r in self._mine() if r.job_id is not None and r.state == SubmissionState.RUNNING]
        if idle and not self._project.any_matches(FIREWORKS, left):
            self._scancel(idle, ["--batch", "--signal=USR1"])
            self._let_go_at = time.monotonic() + LET_GO_S

    def end(self) -> None:
        """Leave the cluster alone: allocations outlive the driver and are found by the next one."""

    def cancel(self) -> int:
        """End all allocations of the campaign at once; returns how many."""
        job_ids = [record.job_id for record in self._mine() if record.job_id is not None]
        self._cancel(job_ids, [])
        return len(job_ids)

    def messages(self) -> list[str]:
        """Return what people should know, once each."""
        said, self._messages = self._messages, []
        return said

    def _mine(self) -> list[SubmissionRecord]:
        held = submissions.open_submissions(self._project, self._site.name)
        return [record for record in held if record.campaign == self._campaign]

    def _cancel(self, job_ids: list[str], options: list[str]) -> None:
        if job_ids:
            self._scancel(job_ids, options)
            settle(self._project, self._site.name, SlurmTruth())

    def _scancel(self, job_ids: list[str], options: list[str]) -> None:
        try:
            call(["scancel", *options, *job_ids])
        except (SchedulerError, MissingDependencyError) as error:
            self._say(str(error))

    def _say(self, message: str) -> None:
        """Keep a message for `messages`; one that was said lately is not said again with every tick."""
        now = time.monotonic()
        if now - self._said.get(message, -REPEAT_S) >= REPEAT_S:
            self._said[message] = now
            self._messages.append(message)


def logs_of(project: Project, job_id: str) -> list[Path]:
    """Return the logs that an allocation left in the project folder."""
    return sorted((project.folder / LOGS).glob(f"*-{job_id}.log"))
