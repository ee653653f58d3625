"""Whether a soaked campaign says the truth: its documents against the ledgers of the jobs and of the faults."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.campaign_world import key_of, lawful_energy
from tests.services.soak.fates import QUARANTINED_FOR, Fate, fate_of

from cathodeflow.records.document import in_utc
from cathodeflow.science.hosts.candidates import parse_candidate_key

Document = dict[str, Any]
FORGOTTEN_S = 2.0
"""A server that is killed loses the writes that it has confirmed for so long: a claim among them is made again."""


@dataclass(frozen=True)
class Facts:
    """All that is compared; see `collect`.

    Attributes
    ----------
    labels, attempts, launches, fireworks : list of dict
        Documents of the store.
    ledger : list of dict
        What the jobs wrote.
    injured : list of dict
        What was done to them.
    slurm : dict of str to str
        How Slurm says that each of its jobs ended.
    wanted : tuple of str
        Keys of the labels that the campaign chose.
    """

    labels: list[Document]
    attempts: list[Document]
    launches: list[Document]
    fireworks: list[Document]
    ledger: list[Document]
    injured: list[Document]
    slurm: dict[str, str]
    wanted: tuple[str, ...]


@dataclass
class Audit:
    """The complaints, by what they are about; a sound campaign has none."""

    facts: Facts
    complaints: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        facts = self.facts
        self.launches = {d["launch_id"]: d for d in facts.launches}
        self.by_folder: dict[str, list[Document]] = defaultdict(list)
        for line in facts.ledger:
            self.by_folder[line["launch"]].append(line)
        self.killed = {d["pid"]: d["time"] for d in facts.injured if d["fault"] == "kill_worker"}
        self.server_kills = [d["time"] for d in facts.injured if d["fault"] == "stop_database" and d.get("killed")]
        self.begun = {(d["launch"], d["pid"]): d["time"] for d in facts.ledger if d["event"] == "begun"}
        self.cancelled = {d["slurm"] for d in facts.injured if d["fault"] == "scancel"}

    def run(self) -> dict[str, list[str]]:
        """Make every comparison."""
        self._labels()
        self._reasons()
        self._run_again()
        self._lost()
        return dict(self.complaints)

    def _say(self, about: str, message: str) -> None:
        self.complaints[about].append(message)

    # -- the outcome of each label -------------------------------------------------------------------------------

    def _labels(self) -> None:
        last: dict[str, Document] = {}
        for attempt in sorted(self.facts.attempts, key=lambda d: d["attempt"]):
            if attempt["kind"] == "label":
                last[attempt["key"]] = attempt
        found = {label["key"]: label for label in self.facts.labels}
        for key in self.facts.wanted:
            label = found.get(key)
            if label is None:
                self._say("lost labels", key)
            elif label["outcome"] == "done":
                self._done(key, label)
            else:
                self._quarantined(key, label, last.get(key))

    def _done(self, key: str, label: Document) -> None:
        if fate_of(key) in QUARANTINED_FOR:
            self._say("false outcomes", f"{key} is done, but its fate is {fate_of(key)}")
        candidate = parse_candidate_key(key)
        elements = list(candidate.composition.elements)
        sites = sum(candidate.composition.counts)
        relaxation = label["relaxation"]
        expected = lawful_energy(
            candidate.level, key_of(elements, candidate.mask, sites), candidate.mask, relaxation["n_atoms"]
        )
        if abs(relaxation["formation_energy"] - expected) > 1e-12:
            self._say("false outcomes", f"{key} has {relaxation['formation_energy']}, the law says {expected}")

    def _quarantined(self, key: str, label: Document, last: Document | None) -> None:
        if last is None or last["reason"] != label["reason"]:
            said = None if last is None else last["reason"]
            self._say(
                "false outcomes", f"{key} is quarantined for {label['reason']}, its last attempt failed for {said}"
            )
        expected = QUARANTINED_FOR.get(fate_of(key))
        # Another reason may stand there when the faults hit one job again and again; `_reasons` asks for each of them.
        if label["reason"] != expected and label["reason"] not in {"cancelled", "vanished"}:
            self._say("false outcomes", f"{key} ({fate_of(key)}) is quarantined for {label['reason']}")

    # -- the reason of each failed attempt -----------------------------------------------------------------------

    def _reasons(self) -> None:
        for attempt in self.facts.attempts:
            launch = self.launches.get(attempt["launch_id"])
            if launch is None:
                self._say("false reasons", f"{attempt['_id']} names launch {attempt['launch_id']}, which is not there")
            elif not self._is_true(attempt["reason"], launch):
                self._say("false reasons", self._what(attempt, launch))

    def _is_true(self, reason: str, launch: Document) -> bool:
        process = launch["fworker"]["env"]
        slurm = process.get("slurm_job_id")
        wrote = {line["event"] for line in self.by_folder[launch["launch_dir"]]}
        beside = {line["event"] for line in self.facts.ledger if line["slurm"] == slurm}
        truths = {
            "calculation_error": bool(wrote & {Fate.RAISES, Fate.RAISES_ONCE}),
            "exit_code": bool(wrote & {Fate.EXITS, Fate.EXITS_ONCE}),
            "timeout": self.facts.slurm.get(slurm) == "TIMEOUT",
            "out_of_memory": bool(beside & {Fate.HOG, Fate.HOG_ONCE}),
            "cancelled": slurm in self.cancelled,
            "vanished": process["pid"] in self.killed or Fate.DIES_ONCE in wrote,
        }
        return truths.get(reason, False)

    def _what(self, attempt: Document, launch: Document) -> str:
        process = launch["fworker"]["env"]
        slurm = process.get("slurm_job_id")
        wrote = [line["event"] for line in self.by_folder[launch["launch_dir"]]]
        return (
            f"{attempt['kind']} {attempt['key']} attempt {attempt['attempt']}: "
            f"{attempt['reason']} ({attempt['message']}), "
            f"but the job wrote {wrote}, pid {process.get('pid')}, Slurm job {slurm} {self.facts.slurm.get(slurm)}"
        )

    # -- nothing twice, nothing lost -----------------------------------------------------------------------------

    def _run_again(self) -> None:
        done: dict[int, datetime] = {}
        for launch in self.facts.launches:
            if launch["state"] == "COMPLETED":
                ended = _moment(launch["time_end"])
                done[launch["fw_id"]] = min(ended, done.get(launch["fw_id"], ended))
        for launch in self.facts.launches:
            ended = done.get(launch["fw_id"])
            if ended is not None and launch.get("time_start") and _moment(launch["time_start"]) > ended:
                self._say("run twice after success", f"launch {launch['launch_id']} of job {launch['fw_id']}")
        computed = Counter(
            (line["kind"], line["launch"])
            for line in self.facts.ledger
            if line["event"] == "computed" and not self._was_forgotten(line)
        )
        by_key: dict[tuple[str, str], list[Document]] = defaultdict(list)
        for line in self.facts.ledger:
            if line["event"] == "computed" and line["kind"] == "label":
                by_key[line["kind"], line["key"]].append(line)
        for (kind, key), lines in by_key.items():
            for line in lines[:-1]:
                if not self._was_hit(line) and not self._was_forgotten(line):
                    self._say("computed twice", f"{kind} {key}, first in {line['launch']} by pid {line['pid']}")
        for (kind, launch), count in computed.items():
            if count > 1:
                self._say("computed twice", f"{kind} in one launch, {launch}")

    def _was_hit(self, line: Document) -> bool:
        """Whether a job's process was taken after it had computed: its result may then have been on its way."""
        hit = line["pid"] in self.killed or line["slurm"] in self.cancelled
        return hit or self.facts.slurm.get(line["slurm"]) in {"TIMEOUT", "OUT_OF_MEMORY"}

    def _was_forgotten(self, line: Document) -> bool:
        """Whether the server was killed just after the claim: nobody but the job's process knows of it then."""
        begun = self.begun.get((line["launch"], line["pid"]))
        return begun is not None and any(0.0 <= kill - begun <= FORGOTTEN_S for kill in self.server_kills)

    def _lost(self) -> None:
        settled = {(d["kind"], d["key"]) for d in self.facts.attempts if d["action"] == "quarantine"}
        for firework in self.facts.fireworks:
            spec = firework["spec"]
            name = f"job {firework['fw_id']} ({spec.get('_kind')} {spec.get('_key')})"
            if firework["state"] == "FIZZLED" and (spec["_kind"], spec["_key"]) in settled:
                continue
            if firework["state"] != "COMPLETED" and spec["_kind"] != "follow_up":
                self._say("unfinished jobs", f"{name} is {firework['state']}")
        written = {d["launch_id"] for d in self.facts.attempts}
        for launch in self.facts.launches:
            if launch["state"] not in {"COMPLETED", "FIZZLED"}:
                self._say("open launches", f"launch {launch['launch_id']} is {launch['state']}")
            if launch["state"] == "FIZZLED" and launch["launch_id"] not in written:
                self._say("failures without an attempt", f"launch {launch['launch_id']} of job {launch['fw_id']}")


def _moment(value: datetime | str) -> datetime:
    return in_utc(datetime.fromisoformat(value) if isinstance(value, str) else value)


def of_kind(documents: Iterable[Document], kind: str) -> list[Document]:
    """Those of one kind of job."""
    return [document for document in documents if document["kind"] == kind]
