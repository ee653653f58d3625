"""Freeing the disk of what settled jobs left: what would go, to the byte, and the going itself.

Everything can be killed at any point and run again: a file is compressed beside itself and takes its name in one step,
and what is gone already is passed over.
"""

from __future__ import annotations

import os
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import transitions
from cathodeflow.campaign.definition import CampaignDefinition, RetentionDefinition
from cathodeflow.campaign.launch_folders import (
    files_below,
    is_inside,
    launches_of,
    missing_specs,
    named_below,
    store_facts,
)
from cathodeflow.campaign.retention import Fate, Hold, Launch, StoreFacts, fate_of, patterns_of, why_held
from cathodeflow.errors import StoreError

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

EVENT = "files_cleared"
BLOCK = 1 << 20
LEVEL = 6  # of gzip: its own default
LOOK_AGAIN_S = 1.0
LOOKS_SHARE = 0.2
"""Of the time that may be spent on asking the store again, where it has much to tell."""


@dataclass(frozen=True)
class Clearance:
    """What is asked for.

    Attributes
    ----------
    youngest_s : float
        Launches that ended less than so many seconds ago are left.
    failed_too : bool
        Jobs that were given up are cleared too.
    also_keep : tuple of str
        Names or patterns that stay beside those of the definition.
    """

    youngest_s: float = 0.0
    failed_too: bool = False
    also_keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileStep:
    """What happens to one file: bytes before, and what is in its place afterwards."""

    path: Path
    fate: Fate
    size: int
    inode: tuple[int, int]
    links: int
    after: int


@dataclass(frozen=True)
class FolderPlan:
    """What happens in one launch folder.

    Attributes
    ----------
    launch : Launch
        Whose folder.
    hold : Hold or None
        Why nothing happens.
    steps : tuple of FileStep
        Every file.
    new_specs : mapping of Path to str
        Files with POTCAR symbols that are written, and their content.
    unreadable : tuple of Path
        POTCARs whose symbols cannot be read; they stay.
    """

    launch: Launch
    hold: Hold | None
    steps: tuple[FileStep, ...] = ()
    new_specs: dict[Path, str] = field(default_factory=dict)
    unreadable: tuple[Path, ...] = ()


@dataclass(frozen=True)
class KindTotal:
    """Files and bytes of one kind of job."""

    kind: str
    folders: int
    files: int
    files_after: int
    bytes_now: int
    bytes_after: int


@dataclass(frozen=True)
class ClearingPlan:
    """All folders of a campaign."""

    folders: tuple[FolderPlan, ...]

    def totals(self) -> list[KindTotal]:
        """Add up by kind of job, hard links once."""
        kinds = sorted({folder.launch.kind for folder in self.folders})
        return [_total(kind, [folder for folder in self.folders if folder.launch.kind == kind]) for kind in kinds]

    def held(self) -> dict[Hold, int]:
        """Count the folders that are left as they are, by reason."""
        found: dict[Hold, int] = {}
        for folder in self.folders:
            if folder.hold is not None and (folder.steps or folder.hold == Hold.OUTSIDE):
                found[folder.hold] = found.get(folder.hold, 0) + 1
        return found

    @property
    def freed(self) -> int:
        """Bytes that are freed."""
        return sum(total.bytes_now - total.bytes_after for total in self.totals())


def _total(kind: str, folders: list[FolderPlan]) -> KindTotal:
    steps = [step for folder in folders for step in folder.steps]
    remaining: dict[tuple[int, int], int] = {}
    sizes: dict[tuple[int, int], int] = {}
    added = files_after = 0
    for step in steps:
        sizes[step.inode] = step.size
        remaining.setdefault(step.inode, step.links)
        if step.fate == Fate.KEEP:
            files_after += 1
            continue
        remaining[step.inode] -= 1
        if step.fate == Fate.ZIP:
            added += step.after
            files_after += 1
    specs = [text for folder in folders for text in folder.new_specs.values()]
    kept = sum(sizes[inode] for inode, links in remaining.items() if links > 0)
    return KindTotal(
        kind,
        len({folder.launch.folder for folder in folders}),
        len(steps),
        files_after + len(specs),
        sum(sizes.values()),
        kept + added + sum(len(text.encode()) for text in specs),
    )


def plan_clearing(
    project: Project,
    campaign: str,
    asked: Clearance = Clearance(),
    on_file: Callable[[Path, int], None] = lambda path, size: None,
) -> ClearingPlan:
    """Find what would go, to the byte: what is to be compressed is compressed to learn its size.

    Parameters
    ----------
    project : Project
        The open project.
    campaign : str
        Its name.
    asked : Clearance
        What is asked for.
    on_file : callable
        Told each file and its bytes, for showing progress.

    Returns
    -------
    ClearingPlan
        Nothing is changed.

    Raises
    ------
    StoreError
        A folder or a file cannot be read.
    """
    record = transitions.read_campaign(project, campaign)
    definition = CampaignDefinition.model_validate(record.definition)
    facts = store_facts(project, campaign, definition, record.provenance)
    seen: set[Path] = set()
    folders: list[FolderPlan] = []
    for launch in launches_of(project, campaign):
        if launch.folder in seen or not launch.folder.is_dir():
            continue
        seen.add(launch.folder)
        hold = why_held(launch, facts, youngest_s=asked.youngest_s, failed_too=asked.failed_too)
        if not is_inside(launch.folder, project.folder):
            folders.append(FolderPlan(launch, Hold.OUTSIDE))
            continue
        named = named_below(launch.folder, facts)
        folders.append(_plan_folder(launch, hold, definition.retention, asked, named, on_file))
    return ClearingPlan(tuple(folders))


def _plan_folder(
    launch: Launch,
    hold: Hold | None,
    retention: RetentionDefinition,
    asked: Clearance,
    named: frozenset[str],
    on_file: Callable[[Path, int], None],
) -> FolderPlan:
    steps: list[FileStep] = []
    patterns = (*patterns_of(launch.kind, retention), *asked.also_keep)
    files = list(files_below(launch.folder))
    specs, unreadable = ({}, ()) if hold is not None else missing_specs(files)
    for path, found in files:
        on_file(path, found.st_size)
        inside = PurePosixPath(path.relative_to(launch.folder).as_posix())
        fate = Fate.KEEP
        if hold is None and path not in unreadable:
            fate = fate_of(inside, found.st_size, patterns, zip_kept=retention.zip, named=named)
        after = 0 if fate == Fate.DELETE else found.st_size
        if fate == Fate.ZIP:
            # A link elsewhere would keep the bytes, and one compressed file each would add to them.
            after = found.st_size if found.st_nlink > 1 else _write_zipped(path, None)
            fate = Fate.ZIP if after < found.st_size else Fate.KEEP
        steps.append(FileStep(path, fate, found.st_size, (found.st_dev, found.st_ino), found.st_nlink, after))
    return FolderPlan(launch, hold, tuple(_without_replaced(steps)), specs, unreadable)


def _without_replaced(steps: list[FileStep]) -> Iterator[FileStep]:
    """Let go of compressed files whose originals are compressed anew: an earlier run was killed between two steps."""
    renewed = {step.path.with_name(f"{step.path.name}.gz") for step in steps if step.fate == Fate.ZIP}
    for step in steps:
        if step.path in renewed:
            yield FileStep(step.path, Fate.DELETE, step.size, step.inode, step.links, 0)
        else:
            yield step


def _write_zipped(path: Path, target: Path | None) -> int:
    """Compress a file, to nowhere if there is no target, and return the bytes: always the same for the same file."""
    written = 0
    squeeze = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    try:
        with path.open("rb") as source, (target or Path(os.devnull)).open("wb") as sink:
            while block := source.read(BLOCK):
                written += sink.write(squeeze.compress(block))
            written += sink.write(squeeze.flush())
            if target is not None:
                sink.flush()
                os.fsync(sink.fileno())
    except OSError as error:
        if target is not None:
            target.unlink(missing_ok=True)
        raise StoreError(
            f"cannot compress {path}: {error.strerror}; free some space, or set retention.zip: false"
        ) from error
    return written


@dataclass
class Cleared:
    """What was done."""

    files_deleted: int = 0
    files_zipped: int = 0
    bytes_freed: int = 0


def clear(
    project: Project,
    campaign: str,
    plan: ClearingPlan,
    asked: Clearance = Clearance(),
    on_file: Callable[[Path, int], None] = lambda path, size: None,
) -> Cleared:
    """Do what was planned, as far as the store still allows it, and write it into the campaign's log.

    Parameters
    ----------
    project, campaign, asked
        As `plan_clearing`.
    plan : ClearingPlan
        What it found.
    on_file : callable
        Told each file that is worked on, and its bytes.

    Returns
    -------
    Cleared
        What was done; files that changed or went since the plan are left alone.

    Raises
    ------
    StoreError
        A file cannot be written or deleted; what was done until then is in the log.
    """
    record = transitions.read_campaign(project, campaign)
    definition = CampaignDefinition.model_validate(record.definition)
    told = _Told(project, campaign, definition, record.provenance)
    done = Cleared()
    try:
        for folder in plan.folders:
            facts, present = told.lately()
            launch = present.get(folder.launch.folder)
            if folder.hold is not None or launch is None or not is_inside(launch.folder, project.folder):
                continue
            if why_held(launch, facts, youngest_s=asked.youngest_s, failed_too=asked.failed_too) is None:
                _clear_folder(folder, done, on_file)
    finally:
        if done.files_deleted or done.files_zipped:
            details: dict[str, Any] = {"failed_too": asked.failed_too, **vars(done)}
            message = f"cleared {done.files_deleted} files and compressed {done.files_zipped}: {done.bytes_freed} bytes"
            transitions.append_event(project, campaign, EVENT, message, details)
    return done


class _Told:
    """What the store says, asked again and again: while much is deleted, a person may have a job run again."""

    def __init__(self, project: Project, campaign: str, definition: CampaignDefinition, provenance: str) -> None:
        self._of = (project, campaign, definition, provenance)
        self._until = 0.0

    def lately(self) -> tuple[StoreFacts, dict[Path, Launch]]:
        """Return the facts, and the launches by their folders, as they were a moment ago."""
        began = time.monotonic()
        if began >= self._until:
            self._facts = store_facts(*self._of)
            self._present = {launch.folder: launch for launch in launches_of(*self._of[:2])}
            self._until = time.monotonic() + max(LOOK_AGAIN_S, (time.monotonic() - began) / LOOKS_SHARE)
        return self._facts, self._present


def _clear_folder(folder: FolderPlan, done: Cleared, on_file: Callable[[Path, int], None]) -> None:
    for path, text in folder.new_specs.items():
        _write_whole(path, text)
        done.bytes_freed -= len(text.encode())
    # What an interrupted run has compressed already goes before it is made anew.
    for step in sorted(folder.steps, key=lambda step: step.fate == Fate.ZIP):
        if step.fate == Fate.KEEP:
            continue
        on_file(step.path, step.size)
        if not _unchanged(step):
            continue
        try:
            if step.fate == Fate.ZIP:
                done.bytes_freed -= _zip_in_place(step.path)
            last = step.path.lstat().st_nlink == 1
            step.path.unlink()
        except FileNotFoundError:
            continue  # another run of this command took it
        except OSError as error:
            raise StoreError(f"cannot clear {step.path}: {error.strerror}; look at the folder's permissions") from error
        done.bytes_freed += step.size if last else 0
        done.files_zipped += step.fate == Fate.ZIP
        done.files_deleted += step.fate == Fate.DELETE


def _unchanged(step: FileStep) -> bool:
    try:
        found = step.path.lstat()
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == step.inode and found.st_size == step.size


def _zip_in_place(path: Path) -> int:
    """Put a compressed file beside one, whole or not at all, with its times and rights."""
    draft, target = path.with_name(f".{path.name}.gz.{os.getpid()}"), path.with_name(f"{path.name}.gz")
    before = path.stat()
    written = _write_zipped(path, draft)
    os.utime(draft, ns=(before.st_atime_ns, before.st_mtime_ns))
    draft.chmod(stat.S_IMODE(before.st_mode))
    draft.replace(target)
    return written


def _write_whole(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text)
        draft.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; free some space") from error
