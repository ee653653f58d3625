"""Where a campaign stands, read without the query engine: asking must stay cheap while others work on the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from cathodeflow.campaign.pace import seconds_left
from cathodeflow.dispatch.jobs import FIREWORKS, count_states
from cathodeflow.records.document import in_utc
from cathodeflow.records.outcomes import JobKind, Stage, Target
from cathodeflow.storage.collections import FOLLOW_UPS

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

Result = TypeVar("Result")

ENDING = frozenset({Stage.FOLLOW_UP, Stage.DONE})
BEST_SHOWN = 5
ASKED_AT_ONCE = 250
MOST_PARTS = 8


@dataclass(frozen=True)
class SurrogateQuality:
    """Errors on the held-out labels, each the mean over the members of an ensemble; MAE in eV/atom.

    `pretrained_…` are those of the un-retrained network on the same labels. R² is None where it is not defined.
    """

    target: str
    round: int
    members: int
    held_out: int
    r2: float | None
    mae: float
    pretrained_r2: float | None
    pretrained_mae: float


@dataclass(frozen=True)
class StatusReport:
    """Where a campaign stands.

    Attributes
    ----------
    campaign, state, stage, message, provenance : str
        As in its document.
    round, rounds : int
        The present round, from 0, and how many there are.
    candidates : int
        Arrangements in the store.
    labels : dict of str to int
        ``done`` and ``quarantined`` documents, ``failed`` (jobs whose last attempt failed and whose fate is not
        decided yet) and ``wanted`` so far, training and validation together.
    jobs : dict of str to int
        Per state of FireWorks.
    stage_done, stage_wanted : int
        Members of the present stage.
    best_candidates : list of dict
        Validated ones that hold, else the best ranked of the last screening.
    best_from : str
        Which of the two.
    started, finished, stage_entered : datetime
        UTC.
    elapsed_s : float
        Since the launch; until the end where it has ended.
    eta_s : float or None
        Seconds to the end at the present pace; None where no pace is known, or nobody may work on it.
    lease_holder : str or None
        The driver at work; None when none was heard from lately.
    surrogates : list of SurrogateQuality
        Of the last round that was trained, one per target.
    """

    campaign: str
    state: str
    stage: str
    round: int
    rounds: int
    message: str
    provenance: str
    candidates: int
    labels: dict[str, int]
    jobs: dict[str, int]
    stage_done: int
    stage_wanted: int
    best_candidates: list[dict[str, Any]]
    best_from: str
    started: datetime
    finished: datetime | None
    stage_entered: datetime | None
    elapsed_s: float
    eta_s: float | None
    lease_holder: str | None
    attempts: int = 0
    shortlist: list[str] = field(default_factory=list)
    surrogates: list[SurrogateQuality] = field(default_factory=list)

    @property
    def progress(self) -> tuple[int, int]:
        """Members of the present stage: settled, wanted."""
        return self.stage_done, self.stage_wanted

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `status --json` prints them."""
        return asdict(self)


def read_status(project: Project, name: str, *, beside: bool = False) -> StatusReport:
    """Read where a campaign stands.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        The campaign.
    beside : bool
        Have a server count the jobs while it answers the rest: for a command, which has nothing else to do.

    Raises
    ------
    CampaignError
        There is none of that name.
    """
    document = project.get("campaigns", name)
    if document is None:
        from cathodeflow.campaign.transitions import unknown_campaign  # with all records: 0.03 s

        raise unknown_campaign(project, name)
    begin = _at_once if beside and project.file is None else _when_asked
    job_states = begin(lambda: count_states(project, name))
    failed_labels = begin(lambda: _failed_labels(project, name))
    now = datetime.now(UTC)
    started = in_utc(document["started_at"])
    finished = in_utc(document["finished_at"]) if document.get("finished_at") is not None else None
    times = [{**entry, "entered_at": in_utc(entry["entered_at"])} for entry in document["stage_times"]]
    levels = _levels(project, document)
    done, wanted = _stage_progress(project, document, levels)
    lease = document.get("lease")
    holder = lease["holder"] if lease is not None and in_utc(lease["expires_at"]) > now else None
    best, best_from = _best_candidates(project, document)
    entered = times[-1]["entered_at"] if times else started
    attempts, surrogates = project.count("attempts", {"campaign": name}), _surrogates(project, name)
    labels, jobs = _count_labels(project, document, done, wanted), job_states()
    if jobs.get("FIZZLED"):
        labels["failed"] = _count_undecided(project, name, failed_labels())
    return StatusReport(
        campaign=name,
        state=document["state"],
        stage=document["stage"],
        round=document["round"],
        rounds=document["definition"]["labels"]["rounds"],
        message=document["message"],
        provenance=document["provenance"],
        candidates=sum(levels.values()),
        labels=labels,
        jobs=jobs,
        stage_done=done,
        stage_wanted=wanted,
        best_candidates=best,
        best_from=best_from,
        started=started,
        finished=finished,
        stage_entered=entered,
        elapsed_s=((finished or now) - started).total_seconds(),
        eta_s=seconds_left(document, times, (now - entered).total_seconds(), (done, wanted), levels),
        lease_holder=holder,
        attempts=attempts,
        shortlist=list(document["shortlist"]),
        surrogates=surrogates,
    )


def _levels(project: Project, document: Mapping[str, Any]) -> dict[str, int]:
    """Return how many candidates each level has: what the enumeration found, else what it has written so far."""
    space = document.get("space")
    if space is not None:
        return dict(space["levels"])
    return project.count_by("candidates", "level", {"campaign": document["_id"]})


def _when_asked(count: Callable[[], Result]) -> Callable[[], Result]:
    """Return what counts when it is called."""
    return count


def _at_once(count: Callable[[], Result]) -> Callable[[], Result]:
    """Return what waits for a count that begins now, in a thread of its own."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)
    begun = pool.submit(count)
    pool.shutdown(wait=False)
    return begun.result


def _failed_labels(project: Project, name: str) -> dict[str, int]:
    """Return the keys of the labels whose job's last attempt failed, whatever became of them."""
    # The state first: few jobs have it, and a server without an index compares in this order.
    failed = {"state": "FIZZLED", "spec._kind": JobKind.LABEL.value, "spec._campaign": name}
    return project.count_by(FIREWORKS, "spec._key", failed)


def _count_undecided(project: Project, name: str, failed: Mapping[str, int]) -> int:
    """Count failed jobs whose label nobody has written yet, quarantined."""
    return sum(failed.values()) - _count_ids(project, "labels", [f"{name}/{key}" for key in failed])


def _count_labels(project: Project, document: dict[str, Any], done: int, wanted: int) -> dict[str, int]:
    """Count label documents and what was asked for so far, training and validation together."""
    name = document["_id"]
    counts = {"done": 0, "failed": 0, "quarantined": 0} | project.count_by("labels", "outcome", {"campaign": name})
    chosen = sum(len(keys) for keys in document["selections"].values())
    settled = counts["done"] + counts["quarantined"]
    if document["stage"] == Stage.VALIDATE:
        return counts | {"wanted": settled + wanted - done}
    return counts | {"wanted": settled if document["stage"] in ENDING else max(chosen, settled)}


def _stage_progress(project: Project, document: dict[str, Any], levels: dict[str, int]) -> tuple[int, int]:
    """Return how many members of the present stage are settled, and how many there are (0: not known)."""
    name, stage, number = document["_id"], document["stage"], document["round"]
    definition = document["definition"]
    if stage == Stage.ENUMERATE:
        return sum(levels.values()), 0
    if stage == Stage.REFERENCE:
        # Other campaigns share the references of an engine.
        elements = project.count_by(FIREWORKS, "spec._key", {"spec._kind": "reference", "spec._campaign": name})
        made = _count_ids(project, "references", [f"{document['provenance']}/{element}" for element in elements])
        return made, len(elements)
    if stage == Stage.LABEL:
        chosen = document["selections"].get(str(number), [])
        return _count_ids(project, "labels", [f"{name}/{key}" for key in chosen]), len(chosen)
    if stage == Stage.TRAIN:
        trained = project.count("models", {"campaign": name, "round": number})
        return trained, definition["surrogate"]["seeds"] * len(Target)
    if stage == Stage.PREDICT:
        shard = definition["prediction"]["shard_size"]
        written = [entry for entry in document["harvested"] if entry.startswith(f"{JobKind.PREDICT.value}:r{number}-")]
        return len(written), sum(-(-size // shard) for size in levels.values())
    if stage == Stage.SCREEN:
        return int(_is_screened(document, number)), 1
    return _closing_progress(project, document, len(levels))


def _closing_progress(project: Project, document: dict[str, Any], n_levels: int) -> tuple[int, int]:
    """Return the same of the stages after the screening."""
    name, stage = document["_id"], document["stage"]
    if stage == Stage.VALIDATE:
        return _validation_progress(project, document, n_levels)
    if stage == Stage.FOLLOW_UP:
        jobs = sum(count_states(project, name, JobKind.FOLLOW_UP).values())
        return project.count(FOLLOW_UPS, {"campaign": name}), jobs
    return 0, 0


def _count_ids(project: Project, collection: str, ids: list[str]) -> int:
    """Count those of many documents that are there.

    A server is asked for their `_id`, not to count: MongoDB has either from the index of `_id`, mongo-java-server
    counts by comparing each document with each of them, and what it finds with all that were asked for together.
    """
    if project.file is not None:
        return project.count(collection, {"_id": {"$in": ids}}) if ids else 0
    found = project.database[collection]
    return sum(len(list(found.find({"_id": {"$in": part}}, {"_id": 1}))) for part in in_parts(ids))


def in_parts(ids: list[str]) -> list[list[str]]:
    """Return many ids in parts to ask for, never more parts than `MOST_PARTS`."""
    size = max(ASKED_AT_ONCE, -(-len(ids) // MOST_PARTS))
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def _is_screened(document: Mapping[str, Any], number: int) -> bool:
    return f"{JobKind.SCREEN.value}:r{number}" in document["harvested"]


def _validation_progress(project: Project, document: dict[str, Any], n_levels: int) -> tuple[int, int]:
    """Count labels of the shortlist's representatives. Its first is the pristine host, which has one per level."""
    name, shortlist = document["_id"], document["shortlist"]
    if not shortlist:
        return 0, 0
    ids = [f"{name}/r{document['round']}/{composition}" for composition in shortlist[1:]]
    verdicts = project.select("verdicts", {"_id": {"$in": ids}}) if ids else []
    keys = {key for verdict in verdicts for key in verdict["representatives"].values()}
    pristine = project.count("labels", {"campaign": name, "composition": shortlist[0]})
    return pristine + _count_ids(project, "labels", [f"{name}/{key}" for key in keys]), len(shortlist) * n_levels


def _best_candidates(project: Project, document: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """Return the validated compositions whose profile holds, else the best ranked of the last screening."""
    name = document["_id"]
    held = [entry for entry in project.select("validations", {"campaign": name}) if entry["profile_holds"]]
    held = [entry for entry in held if not entry["pristine"]]
    if held:
        held.sort(key=lambda entry: (entry["rank"] or 0, entry["noble"]))
        return [_best_entry(entry, validated=True) for entry in held[:BEST_SHOWN]], "validated by the engine"
    for number in range(document["round"], -1, -1):
        if _is_screened(document, number):
            condition = {"campaign": name, "round": number, "passed": True}
            ranked = project.select("verdicts", condition, sort=[("rank", 1)], limit=BEST_SHOWN)
            return [_best_entry(entry, validated=False) for entry in ranked], f"predicted in round {number + 1}"
    return [], ""


def _surrogates(project: Project, name: str) -> list[SurrogateQuality]:
    models = project.select("models", {"campaign": name})
    last = max((model["round"] for model in models), default=0)
    found = []
    for target in Target:
        members = [model for model in models if (model["round"], model["target"]) == (last, target.value)]
        if members:
            found.append(
                SurrogateQuality(
                    target=target.value,
                    round=last,
                    members=len(members),
                    held_out=members[0]["n_held_out"],
                    r2=_mean([model["metrics"]["r2"] for model in members]),
                    mae=sum(model["metrics"]["mae"] for model in members) / len(members),
                    pretrained_r2=members[0]["pretrained_metrics"]["r2"],
                    pretrained_mae=members[0]["pretrained_metrics"]["mae"],
                )
            )
    return found


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _best_entry(entry: Mapping[str, Any], *, validated: bool) -> dict[str, Any]:
    return {
        "composition": entry["composition"],
        "noble": entry["noble"],
        "rank": entry["rank"],
        "voltages": dict(entry["voltages"]),
        "score": entry.get("score"),
        "validated": validated,
    }
