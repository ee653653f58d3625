"""A site: the queues of a cluster and what a job there needs, as `site_configs/<name>/site.yaml` says it."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from cathodeflow.records.outcomes import Branch, JobKind

SHORTEST_S = 60


class Category(StrEnum):
    """What kind of worker a job needs (`_category`)."""

    CPU = "cpu"
    GPU = "gpu"
    DFT = "dft"


def seconds_of(text: str) -> int:
    """Read one of Slurm's time limits: `MM`, `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM`, `D-HH:MM:SS`.

    Raises
    ------
    ValueError
        It is none.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no time limit; write HH:MM:SS or D-HH:MM:SS")
    days, *parts = (None if part is None else int(part) for part in found.groups())
    first, second, third = parts
    assert first is not None
    if days is not None:
        return ((days * 24 + first) * 60 + (second or 0)) * 60 + (third or 0)
    if third is not None:
        return (first * 60 + (second or 0)) * 60 + third
    return first * 60 + (second or 0)


def slurm_time(seconds: float) -> str:
    """Write a time limit as `HH:MM:SS`, or `D-HH:MM:SS` from a day on."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{hours:02d}:{minutes:02d}:{left:02d}"
    return f"{days}-{clock}" if days else clock


def mebibytes_of(text: str) -> int:
    """Read one of Slurm's amounts of memory: a number with K, M (when there is no letter), G or T; MiB.

    Raises
    ------
    ValueError
        It is none.
    """
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", text.strip().upper())
    if found is None:
        raise ValueError(f"{text!r} is no amount of memory; write e.g. 4000M or 16G")
    return max(round(int(found[1]) * {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2}[found[2]]), 1)


def _a_time(text: str) -> str:
    if seconds_of(text) < SHORTEST_S:
        raise ValueError(f"{text!r} is less than a minute, which is the least that Slurm gives")
    return text


def _an_amount(text: str) -> str:
    mebibytes_of(text)
    return text


def _a_word(text: str) -> str:
    if not re.fullmatch(r"[^\s#'\"\\;|`$]+", text):
        raise ValueError(f"{text!r} cannot stand in a #SBATCH line")
    return text


def _one_line(text: str) -> str:
    if "\n" in text:
        raise ValueError("one line only; give several as a list")
    return text


def _a_directive(text: str) -> str:
    if not re.fullmatch(r"--?[A-Za-z][^\n]*", text):
        raise ValueError(f"{text!r} is no option of sbatch; write e.g. --mail-type=FAIL")
    return text


def _a_variable(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise ValueError(f"{text!r} is no name of an environment variable")
    return text


Time = Annotated[str, AfterValidator(_a_time)]
Amount = Annotated[str, AfterValidator(_an_amount)]
Word = Annotated[str, AfterValidator(_a_word)]
Line = Annotated[str, AfterValidator(_one_line)]
Directive = Annotated[str, AfterValidator(_a_directive)]
Variable = Annotated[str, AfterValidator(_a_variable)]


_WITHOUT_SCHEDULER = frozenset({"title", "scheduler", "shared_filesystem", "workers"})
_QUEUE_WITHOUT_SCHEDULER = frozenset({"slots", "cpus", "also"})


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Queue(_Section):
    """The workers of one category: what one allocation asks for, and how many there may be."""

    partition: Word | None = Field(None, description="Slurm partition; None for the cluster's own choice.")
    qos: Word | None = Field(None, description="Quality of service.")
    account: Word | None = Field(None, description="Account that pays.")
    constraint: str | None = Field(
        None, pattern=r"^[\w&|*\[\]()@.,+-]+$", description="Node features, e.g. gpu or [icelake|rome]."
    )
    reservation: Word | None = Field(None, description="Reservation to run in.")
    time: Time = Field("01:00:00", description="Time limit of one allocation.")
    max_time: Time | None = Field(None, description="The most that a job may get which ran out of time.")
    nodes: int = Field(1, ge=1, description="Nodes of one allocation.")
    ranks: int = Field(1, ge=1, description="Tasks (MPI ranks) of one allocation.")
    cpus: int = Field(1, ge=1, description="Cores of one task.")
    gpus: int = Field(0, ge=0, description="GPUs of one node of the allocation.")
    gpu_type: Word | None = Field(None, description="Kind of GPU, where the cluster tells them apart.")
    gpu_option: Literal["gres", "gpus-per-node", "gpus", "none"] = Field(
        "gres", description="Option of sbatch that asks for GPUs; `none` where whole nodes with their GPUs are given."
    )
    memory: Amount | None = Field(None, description="Memory of one node of the allocation, e.g. 16G.")
    max_memory: Amount | None = Field(None, description="The most that a job may get which ran out of memory.")
    exclusive: bool = Field(False, description="Whole nodes.")
    signal_s: int = Field(120, ge=0, description="Seconds before the end at which workers are told to stop.")
    max_running: int = Field(4, ge=1, description="Allocations at once, waiting ones included.")
    max_queued: int = Field(2, ge=1, description="Allocations that wait at once.")
    array: bool = Field(False, description="Equal allocations that are submitted together go as one job array.")
    slots: int = Field(1, ge=1, description="Jobs at once in one allocation; cores and GPUs are dealt out to them.")
    busy_s: float = Field(600.0, gt=0, description="Seconds of work per slot that are worth another allocation.")
    linger_s: float = Field(30.0, ge=0, description="How long an allocation out of work waits for more before it ends.")
    expected: dict[JobKind | Branch, Time] = Field(
        default_factory=dict,
        description="What a job of a kind, or a branch of the follow-ups, takes until some were measured.",
    )
    also: tuple[Category, ...] = Field((), description="Further categories that these workers take.")
    modules: tuple[Word, ...] = Field((), description="Environment modules to load.")
    pre_commands: tuple[Line, ...] = Field((), description="Commands of the shell before the worker.")
    environment: dict[Variable, Line] = Field(default_factory=dict, description="Variables to set; $NAME is expanded.")
    directives: tuple[Directive, ...] = Field((), description="Further options of sbatch.")

    @model_validator(mode="after")
    def _fits(self) -> Queue:
        if self.slots > 1 and self.nodes > 1:
            raise ValueError("slots share one node: ask for nodes: 1 and let more allocations run")
        if self.slots > 1 and self.ranks > 1:
            raise ValueError("a job that starts MPI ranks needs the allocation for itself: slots: 1")
        if self.slots > self.cores:
            raise ValueError(f"{self.slots} slots share {self.cores} core(s): each slot needs one")
        if self.max_queued > self.max_running:
            raise ValueError("max_queued counts within max_running and cannot be more")
        if self.signal_s >= self.time_s:
            raise ValueError("signal_s must be less than the time of an allocation")
        if self.max_time is not None and seconds_of(self.max_time) < self.time_s:
            raise ValueError(f"max_time {self.max_time} is less than time {self.time}")
        if self.max_memory is not None and self.memory is None:
            raise ValueError("max_memory needs memory: without it a job that ran out gets all memory of a node")
        if self.max_memory and self.memory and mebibytes_of(self.max_memory) < mebibytes_of(self.memory):
            raise ValueError(f"max_memory {self.max_memory} is less than memory {self.memory}")
        return self

    @property
    def time_s(self) -> int:
        """Time limit, seconds."""
        return seconds_of(self.time)

    @property
    def expected_s(self) -> dict[str, float]:
        """What a job of a kind, or of a branch (`follow_up/gap`), takes, seconds."""
        return {
            f"{JobKind.FOLLOW_UP}/{kind}" if isinstance(kind, Branch) else kind.value: float(seconds_of(time))
            for kind, time in self.expected.items()
        }

    @property
    def cores(self) -> int:
        """Cores of one allocation."""
        return self.ranks * self.cpus

    @property
    def threads(self) -> int:
        """Threads of one slot: the cores of one task where a job starts ranks, else its share of them."""
        return self.cpus if self.ranks > 1 else max(self.cores // self.slots, 1)


class Site(_Section):
    """A cluster, as one person uses it."""

    title: Line = Field(description="What it is, for people.")
    scheduler: Literal["slurm", "none"] = Field("slurm", description="`none` runs the workers on this machine.")
    shared_filesystem: bool = Field(
        True, description="Whether the project folder is the same on this machine and where jobs run."
    )
    python: Word = Field("python", description="Python of cathodeflow, after `activate`.")
    shell: Line = Field("/bin/bash -l", description="First line of batch scripts, without #!.")
    activate: tuple[Line, ...] = Field((), description="Commands that make cathodeflow's environment active.")
    modules: tuple[Word, ...] = Field((), description="Environment modules of every queue.")
    pre_commands: tuple[Line, ...] = Field((), description="Commands of every queue before `activate`.")
    environment: dict[Variable, Line] = Field(default_factory=dict, description="Variables of every queue.")
    pass_on: tuple[Variable, ...] = Field((), description="Further variables of the driver that jobs get, by name.")
    workers: dict[Category, Queue] = Field(min_length=1, description="The queue of each category.")

    @model_validator(mode="after")
    def _fits(self) -> Site:
        if self.scheduler == "slurm" and not self.shared_filesystem:
            raise ValueError("jobs write their results into the project folder: it has to be on a shared filesystem")
        self._refuse_what_needs_a_scheduler()
        taken: dict[Category, Category] = {}
        for category, queue in self.workers.items():
            for other in {category, *queue.also}:
                if other in taken:
                    raise ValueError(f"jobs of {other} would go to two queues: {taken[other]} and {category}")
                taken[other] = category
        return self

    def _refuse_what_needs_a_scheduler(self) -> None:
        """Workers of this machine are children of `cflow run`: what a batch script would do has no effect on them."""
        if self.scheduler != "none":
            return
        said = sorted(self.model_fields_set - _WITHOUT_SCHEDULER)
        for category, queue in self.workers.items():
            said += [f"workers.{category}.{name}" for name in sorted(queue.model_fields_set - _QUEUE_WITHOUT_SCHEDULER)]
        if said:
            raise ValueError(
                f"{', '.join(said)} would have no effect: without a scheduler workers run in the environment of "
                "`cflow run`; leave it out, and set there what jobs need"
            )

    def missing_categories(self) -> list[Category]:
        """Return the categories that no queue takes: their jobs would wait for ever."""
        return [category for category in Category if self.queue_of(category) is None]

    def queue_of(self, category: str) -> Category | None:
        """Return the worker whose queue takes jobs of a category, None when there is none."""
        for name, queue in self.workers.items():
            if category == name or category in queue.also:
                return name
        return None
