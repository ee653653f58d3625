"""The launch folders of a campaign: which there are, what the store says of their jobs, and the files in them."""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cathodeflow.calculators.attempt import read_attempt
from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.campaign.retention import (
    POTCAR_SPEC,
    Launch,
    StoreFacts,
    is_potcar,
    is_prerequisite_missing,
    plain_name,
)
from cathodeflow.dispatch.jobs import FIREWORKS, LAUNCHES
from cathodeflow.errors import CalculationError, StoreError
from cathodeflow.records.document import in_utc, now
from cathodeflow.records.outcomes import Branch, JobKind, Outcome
from cathodeflow.storage.collections import FOLLOW_UPS, LABELS, REFERENCES

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

GONE_ON_FROM = frozenset({"CONTCAR", "WAVECAR"})
"""What an attempt reads that goes on from another."""


def store_facts(project: Project, campaign: str, definition: CampaignDefinition, provenance: str) -> StoreFacts:
    """Read what is settled, what is still read and what records point to."""
    from cathodeflow.dispatch.launchpad import CONTINUE_FROM

    # Crystals, forces and curves, most of these documents, are left where they are.
    mine = {"campaign": campaign}
    parts = ("key", "branch", "outcome", "reason", "density_difference.volumetric_file")
    labels = project.database[LABELS].find(mine, {"key": 1, "outcome": 1})
    follow_ups = list(project.database[FOLLOW_UPS].find(mine, dict.fromkeys(parts, 1)))
    references = project.database[REFERENCES].find({"origin.provenance": provenance}, {"element": 1})
    keys = {f"{entry['key']}/{entry['branch']}": entry for entry in follow_ups}
    waiting = project.database[FIREWORKS].find(
        {"spec._campaign": campaign, "state": {"$ne": "COMPLETED"}}, {f"spec.{CONTINUE_FROM}": 1}
    )
    named: dict[Path, set[str]] = {}
    for entry in follow_ups:
        file = (entry.get("density_difference") or {}).get("volumetric_file")
        if file:
            path = project.folder / file  # as it is where it is absolute
            named.setdefault(path.parent.resolve(), set()).add(path.name)
    return StoreFacts(
        settled={
            JobKind.REFERENCE: {entry["element"]: Outcome.DONE for entry in references},
            JobKind.LABEL: {entry["key"]: Outcome(entry["outcome"]) for entry in labels},
            JobKind.FOLLOW_UP: {key: Outcome(entry["outcome"]) for key, entry in keys.items()},
        },
        branches=(Branch.STATIC, *(Branch(name) for name in definition.followups.branches)),
        prerequisites_missing=frozenset(k for k, entry in keys.items() if is_prerequisite_missing(entry.get("reason"))),
        continued=_with_predecessors(
            Path(entry["spec"][CONTINUE_FROM]) for entry in waiting if entry.get("spec", {}).get(CONTINUE_FROM)
        ),
        named={folder: frozenset(names) for folder, names in named.items()},
    )


def _with_predecessors(folders: Iterable[Path]) -> frozenset[Path]:
    """Return folders and those that the attempts in them went on from: the first tells the energy of the start."""
    found: set[Path] = set()
    for folder in folders:
        present: Path | None = folder
        while present is not None and present not in found:
            found.add(present)
            try:
                present = read_attempt(present).continue_from
            except CalculationError:
                present = None  # the job that goes on from it will say so
    return frozenset(found)


def launches_of(project: Project, campaign: str) -> list[Launch]:
    """Return every folder that a job of a campaign ran in, in the order of the launches."""
    # A job holds its crystals: of a hundred thousand only what is needed here.
    parts = ("archived_launches", "launches", "spec._kind", "spec._key", "state", "updated_on")
    fireworks = project.database[FIREWORKS].find({"spec._campaign": campaign}, dict.fromkeys(parts, 1))
    owners = {
        number: document
        for document in fireworks
        for number in (*document.get("archived_launches", []), *document.get("launches", []))
    }
    found: list[Launch] = []
    fields = dict.fromkeys(("launch_id", "launch_dir", "state", "time_end"), 1)
    launches = project.database[LAUNCHES].find({"launch_id": {"$in": sorted(owners)}}, fields)
    for document in sorted(launches, key=lambda document: document["launch_id"]):
        firework = owners[document["launch_id"]]
        ended = document.get("time_end") or firework.get("updated_on")
        found.append(
            Launch(
                folder=Path(document.get("launch_dir") or "."),
                kind=firework["spec"].get("_kind", ""),
                key=firework["spec"].get("_key", ""),
                state=firework["state"],
                ended_s_ago=None if ended is None or document["state"] == "RUNNING" else _age(ended),
            )
        )
    return found


def _age(moment: datetime | str) -> float:
    """FireWorks keeps some of its times as text."""
    return (now() - in_utc(datetime.fromisoformat(moment) if isinstance(moment, str) else moment)).total_seconds()


def start_anew(project: Project, jobs: Mapping[str, int]) -> list[str]:
    """Find jobs whose last attempt has left nothing to go on from, or whose folder was freed.

    Parameters
    ----------
    project : Project
        The open project.
    jobs : mapping of str to int
        Number of the Firework that is run again, by the key of the job.

    Returns
    -------
    list of str
        Keys, in the order given. Told to go on, these begin from nothing.
    """
    from cathodeflow.dispatch.workflows import failures_of

    said = failures_of(project, sorted(set(jobs.values())))
    folders = {key: said[fw_id].folder if fw_id in said else None for key, fw_id in jobs.items()}
    return [key for key, folder in folders.items() if folder is None or not _holds(folder, GONE_ON_FROM)]


def _holds(folder: Path, names: Collection[str]) -> bool:
    """Whether a file of one of these names, compressed or not, lies anywhere below a folder."""
    return folder.is_dir() and any(
        found.st_size and plain_name(path.name) in names for path, found in files_below(folder)
    )


def is_inside(folder: Path, project: Path) -> bool:
    """Whether a folder lies in the project's launches folder, and no link on the way leads out of it."""
    from cathodeflow.dispatch.worker import LAUNCHES_FOLDER

    root = (project / LAUNCHES_FOLDER).resolve()
    real = folder.resolve()
    if root not in real.parents or folder.is_symlink():
        return False
    given = Path(os.path.abspath(folder))  # noqa: PTH100 - without following links
    parts = len(real.relative_to(root).parts)
    return given.parts[-parts:] == real.parts[-parts:]


def named_below(folder: Path, facts: StoreFacts) -> frozenset[str]:
    """Return the files below a folder that records point to, relative to it."""
    real = folder.resolve()
    return frozenset(
        (place / name).relative_to(real).as_posix()
        for place, names in facts.named.items()
        if place == real or real in place.parents
        for name in names
    )


def files_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Go through the plain files below a folder; links are neither followed nor counted."""

    def refuse(error: OSError) -> None:
        raise StoreError(f"cannot read {error.filename}: {error.strerror}; look at its permissions") from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        for name in sorted(names):
            path = Path(place) / name
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue  # gone meanwhile
            if stat.S_ISREG(found.st_mode):
                yield path, found


def missing_specs(files: Iterable[tuple[Path, os.stat_result]]) -> tuple[dict[Path, str], tuple[Path, ...]]:
    """Find the POTCARs whose symbols stand nowhere else, and those whose symbols cannot be read."""
    paths = [path for path, _ in files]
    with_spec = {path.parent for path in paths if plain_name(path.name) == POTCAR_SPEC}
    specs: dict[Path, str] = {}
    unreadable: list[Path] = []
    for path in paths:
        if not is_potcar(path.name) or path.parent in with_spec or path.parent / POTCAR_SPEC in specs:
            continue
        symbols = _symbols(path)
        if symbols:
            specs[path.parent / POTCAR_SPEC] = "\n".join(symbols)
        else:
            unreadable.append(path)
    return specs, tuple(path for path in unreadable if path.parent / POTCAR_SPEC not in specs)


def _symbols(potcar: Path) -> list[str]:
    try:
        raw = potcar.read_bytes()
        text = (gzip.decompress(raw) if potcar.suffix == ".gz" else raw).decode("ascii", "replace")
    except (OSError, EOFError, zlib.error):
        return []
    return re.findall(r"TITEL\s*=\s*\S+\s+(\S+)", text)
