"""Which files of which launch folder may go, and why: pure decisions from what the store says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from cathodeflow.campaign.definition import RetentionDefinition
from cathodeflow.records.followup import follow_up_key
from cathodeflow.records.outcomes import Branch, JobKind, Outcome, Reason

ALWAYS_KEPT = ("job.log", "attempt.json", "rehearsal.json")
"""What the commands read, and what says that nothing of a folder is VASP's."""
POTCAR_SPEC = "POTCAR.spec"
SMALLEST_ZIPPED = 4096
"""A block of the disk: compressing less frees nothing."""


class Fate(StrEnum):
    """What happens to a file."""

    KEEP = "keep"
    ZIP = "zip"
    DELETE = "delete"


class Hold(StrEnum):
    """Why a folder is left as it is."""

    NOT_SETTLED = "its job is not settled"
    FAILED = "its job was given up: `cflow resubmit` may go on from it"
    BRANCHES_OPEN = "a branch of the follow-ups still reads it"
    BRANCHES_FAILED = "a branch of the follow-ups was given up, and would read it if run again"
    CONTINUED = "another attempt goes on from it"
    OUTSIDE = "it is not in the project's launches folder"
    TOO_YOUNG = "it is younger than asked"
    NO_FILES = "its kind of job leaves no files of a program"


@dataclass(frozen=True)
class Launch:
    """A folder that a job ran in.

    Attributes
    ----------
    folder : Path
        Where.
    kind, key : str
        Of the job.
    state : str
        FireWorks' word for the job.
    ended_s_ago : float or None
        Seconds since the launch ended; None while it runs.
    """

    folder: Path
    kind: str
    key: str
    state: str
    ended_s_ago: float | None = None


@dataclass(frozen=True)
class StoreFacts:
    """What the store says of a campaign's jobs.

    Attributes
    ----------
    settled : mapping of str to mapping of str to Outcome
        Per kind of job, the keys that have a record.
    prerequisites_missing : frozenset of str
        Follow-ups given up for want of what they build on: running them again would not help.
    branches : tuple of Branch
        Of the definition, the static run included.
    continued : frozenset of Path
        Folders that unsettled jobs go on from.
    named : mapping of Path to frozenset of str
        Files that records point to, by the folder they are in.
    """

    settled: Mapping[str, Mapping[str, Outcome]]
    branches: tuple[Branch, ...] = (Branch.STATIC,)
    prerequisites_missing: frozenset[str] = frozenset()
    continued: frozenset[Path] = frozenset()
    named: Mapping[Path, frozenset[str]] = field(default_factory=dict)


KINDS = (JobKind.REFERENCE, JobKind.LABEL, JobKind.FOLLOW_UP)
"""Jobs that run programs which leave files."""


def patterns_of(kind: str, retention: RetentionDefinition) -> Sequence[str]:
    """Return the names that stay of a kind of job."""
    if kind == JobKind.REFERENCE:
        return retention.references
    return retention.labels if kind == JobKind.LABEL else retention.follow_ups


def why_held(launch: Launch, facts: StoreFacts, *, youngest_s: float = 0.0, failed_too: bool = False) -> Hold | None:
    """Say why a folder has to stay as it is.

    Parameters
    ----------
    launch : Launch
        The folder.
    facts : StoreFacts
        What the store says.
    youngest_s : float
        Launches that ended less than so many seconds ago stay.
    failed_too : bool
        Whether folders of jobs that were given up may be cleared: running these again then starts from nothing.

    Returns
    -------
    Hold or None
        None where its files may be thinned out.
    """
    if launch.kind not in KINDS:
        return Hold.NO_FILES
    if launch.folder in facts.continued:
        return Hold.CONTINUED
    held = _held_by_job(launch, facts, failed_too)
    if held is not None:
        return held
    if launch.ended_s_ago is None or launch.ended_s_ago < youngest_s:
        return Hold.TOO_YOUNG if launch.ended_s_ago is not None else Hold.NOT_SETTLED
    return None


def _held_by_job(launch: Launch, facts: StoreFacts, failed_too: bool) -> Hold | None:
    outcome = facts.settled.get(launch.kind, {}).get(launch.key)
    if outcome is None or launch.state not in {"COMPLETED", "FIZZLED"}:
        return Hold.NOT_SETTLED
    if launch.state == "FIZZLED" and outcome == Outcome.DONE:
        return Hold.NOT_SETTLED  # FireWorks and the records disagree: somebody runs it again
    if launch.kind == JobKind.FOLLOW_UP:
        return _held_by_branches(launch, facts, failed_too)
    return Hold.FAILED if outcome != Outcome.DONE and not failed_too else None


def _held_by_branches(launch: Launch, facts: StoreFacts, failed_too: bool) -> Hold | None:
    """Hold every folder of a candidate until all its branches are settled: they read each other's files."""
    candidate = launch.key.rpartition("/")[0]
    settled = facts.settled[launch.kind]
    keys = [follow_up_key(candidate, branch) for branch in facts.branches]
    if any(key not in settled for key in keys):
        return Hold.BRANCHES_OPEN
    failed = [key for key in keys if settled[key] != Outcome.DONE and key not in facts.prerequisites_missing]
    return Hold.BRANCHES_FAILED if failed and not failed_too else None


def is_prerequisite_missing(reason: str | None) -> bool:
    """Whether a follow-up was given up for want of what it builds on."""
    return reason == Reason.PREREQUISITE_FAILED


def plain_name(name: str) -> str:
    """Return a file's name without the ending of compression."""
    return name.removesuffix(".gz")


def is_potcar(name: str) -> bool:
    """Whether a file holds licensed POTCARs: POTCAR itself, compressed or set aside by custodian."""
    return name.startswith("POTCAR") and plain_name(name) != POTCAR_SPEC


def fate_of(path: PurePosixPath, size: int, patterns: Sequence[str], *, zip_kept: bool, named: frozenset[str]) -> Fate:
    """Decide what happens to a file of a folder that may be thinned out.

    Parameters
    ----------
    path : PurePosixPath
        Inside the launch folder.
    size : int
        Bytes.
    patterns : sequence of str
        Names that stay, with or without ``.gz``.
    zip_kept : bool
        Whether what stays is compressed.
    named : frozenset of str
        Paths inside the folder that records point to: they stay under this very name.

    Returns
    -------
    Fate
    """
    plain = plain_name(path.name)
    if is_potcar(path.name):
        return Fate.DELETE
    if str(path) in named or plain in ALWAYS_KEPT:
        return Fate.KEEP
    if not any(fnmatchcase(plain, pattern) for pattern in (*patterns, POTCAR_SPEC)):
        return Fate.DELETE
    compressed = path.name != plain or path.suffix in {".bz2", ".xz", ".Z"}
    return Fate.ZIP if zip_kept and not compressed and size > SMALLEST_ZIPPED else Fate.KEEP


def kept_bytes(sizes: Mapping[str, float], patterns: Sequence[str]) -> float:
    """Return what stays of a run's files by the sizes that `file_sizes` expects.

    Compressed whatever the definition says: atomate2 compresses the files of a run when it ends.
    """
    from cathodeflow.calculators.vasp.file_sizes import zipped

    fates = {
        name: fate_of(PurePosixPath(name), int(size), patterns, zip_kept=False, named=frozenset())
        for name, size in sizes.items()
    }
    return sum(zipped(name, size) for name, size in sizes.items() if fates[name] != Fate.DELETE)
