from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cathodeflow.calculators.vasp.file_sizes import zipped
from cathodeflow.campaign.definition import RetentionDefinition
from cathodeflow.campaign.retention import (
    ALWAYS_KEPT,
    KINDS,
    Fate,
    Hold,
    Launch,
    StoreFacts,
    fate_of,
    kept_bytes,
    patterns_of,
    why_held,
)
from cathodeflow.records.outcomes import Branch, JobKind, Outcome

RETENTION = RetentionDefinition()
NAMES = [
    *("WAVECAR", "CHGCAR", "vasprun.xml", "OUTCAR", "POTCAR", "POTCAR.spec", "POTCAR.orig", "PROCAR", "job.log"),
    *("INCAR.orig", "custodian.json", "attempt.json", "ICOHPLIST.lobster", "density_difference.vasp", "error.1.tar"),
]


def fate(name: str, kind: JobKind = JobKind.LABEL, size: int = 10**6, named: frozenset[str] = frozenset()) -> Fate:
    return fate_of(PurePosixPath(name), size, patterns_of(kind, RETENTION), zip_kept=True, named=named)


@given(st.sampled_from(NAMES), st.sampled_from(["", ".gz"]), st.sampled_from(KINDS), st.text(max_size=3))
def test_potcars_always_go_and_their_symbols_always_stay(name: str, ending: str, kind: JobKind, pattern: str):
    everything = ["*", pattern] if pattern else ["*"]
    found = fate_of(PurePosixPath(f"static/{name}{ending}"), 9, everything, zip_kept=True, named=frozenset())
    assert (found == Fate.DELETE) == (name in {"POTCAR", "POTCAR.orig"})
    nothing = fate_of(PurePosixPath(name + ending), 9, [], zip_kept=True, named=frozenset())
    assert (nothing == Fate.KEEP) == (name in {*ALWAYS_KEPT, "POTCAR.spec"})
    assert fate("POTCAR", kind, named=frozenset({"POTCAR"})) == Fate.DELETE


def test_what_stays_of_a_label_and_of_follow_ups():
    labels = {name: fate(name) for name in NAMES}
    assert {name for name, one in labels.items() if one == Fate.ZIP} == {
        *("vasprun.xml", "OUTCAR", "POTCAR.spec", "custodian.json"),
    }
    assert fate("CHGCAR", JobKind.FOLLOW_UP) == fate("ICOHPLIST.lobster", JobKind.FOLLOW_UP) == Fate.ZIP
    assert fate("WAVECAR", JobKind.FOLLOW_UP) == fate("WAVECAR.gz", JobKind.FOLLOW_UP) == Fate.DELETE


def test_compressed_small_and_named_files_stay_as_they_are():
    assert fate("vasprun.xml.gz") == Fate.KEEP
    assert fate("vasprun.xml", size=4096) == Fate.KEEP
    name = "density_difference.vasp"
    assert fate(name, JobKind.FOLLOW_UP) == Fate.ZIP
    assert fate(name, JobKind.FOLLOW_UP, named=frozenset({name})) == Fate.KEEP
    assert fate(f"elsewhere/{name}", JobKind.FOLLOW_UP, named=frozenset({name})) == Fate.ZIP


@pytest.mark.parametrize("pattern", ["POTCAR", "POTCAR*", "static/CHGCAR", ""])
def test_a_definition_cannot_ask_for_potcars_or_folders(pattern: str):
    with pytest.raises(ValidationError):
        RetentionDefinition(labels=[pattern])


def facts(outcome: Outcome | None = Outcome.DONE, **more: object) -> StoreFacts:
    labels = {} if outcome is None else {"k": outcome}
    return StoreFacts({JobKind.LABEL: labels, JobKind.FOLLOW_UP: {}}, **more)  # type: ignore[arg-type]


def launch(state: str = "COMPLETED", kind: str = "label", key: str = "k", ended: float | None = 100.0) -> Launch:
    return Launch(Path("/p/launches/label/k/1-1"), kind, key, state, ended)


def test_a_settled_label_may_be_cleared():
    assert why_held(launch(), facts()) is None


@pytest.mark.parametrize("state", ["READY", "RUNNING", "RESERVED", "WAITING", "PAUSED", "DEFUSED", "FIZZLED"])
@pytest.mark.parametrize("failed_too", [False, True])
def test_what_runs_waits_or_fizzled_is_never_cleared(state: str, failed_too: bool):
    assert why_held(launch(state), facts(), failed_too=failed_too) == Hold.NOT_SETTLED
    assert why_held(launch(state), facts(None), failed_too=failed_too) == Hold.NOT_SETTLED


def test_a_job_without_a_record_is_never_cleared():
    assert why_held(launch(), facts(None), failed_too=True) == Hold.NOT_SETTLED
    assert why_held(launch(kind="reference", key="Na"), facts(), failed_too=True) == Hold.NOT_SETTLED


def test_a_job_given_up_is_cleared_only_when_asked():
    for state in ("FIZZLED", "COMPLETED"):
        assert why_held(launch(state), facts(Outcome.QUARANTINED)) == Hold.FAILED
        assert why_held(launch(state), facts(Outcome.QUARANTINED), failed_too=True) is None


def test_a_folder_that_another_attempt_goes_on_from_stays():
    continued = facts(continued=frozenset({launch().folder}))
    assert why_held(launch(), continued, failed_too=True) == Hold.CONTINUED


def test_young_launches_stay_and_so_do_those_that_have_not_ended():
    assert why_held(launch(ended=50.0), facts(), youngest_s=60.0) == Hold.TOO_YOUNG
    assert why_held(launch(ended=70.0), facts(), youngest_s=60.0) is None
    assert why_held(launch(ended=None), facts()) == Hold.NOT_SETTLED


def test_jobs_without_programs_are_left_alone():
    assert why_held(launch(kind="train"), facts()) == Hold.NO_FILES


STATIC = launch(kind="follow_up", key="k/static")
BRANCHES = (Branch.STATIC, Branch.GAP, Branch.BONDING)


def followed(**outcomes: Outcome) -> StoreFacts:
    settled = {JobKind.FOLLOW_UP: {f"k/{branch}": outcome for branch, outcome in outcomes.items()}}
    return StoreFacts(settled, BRANCHES)


def test_the_static_run_stays_until_every_branch_that_reads_it_is_settled():
    done, lost = Outcome.DONE, Outcome.QUARANTINED
    assert why_held(STATIC, followed(static=done)) == Hold.BRANCHES_OPEN
    assert why_held(STATIC, followed(static=done, gap=done), failed_too=True) == Hold.BRANCHES_OPEN
    assert why_held(STATIC, followed(static=done, gap=done, bonding=lost)) == Hold.BRANCHES_FAILED
    assert why_held(STATIC, followed(static=done, gap=done, bonding=lost), failed_too=True) is None
    assert why_held(STATIC, followed(static=done, gap=done, bonding=done)) is None


def test_branches_that_could_not_run_hold_nothing():
    settled = {JobKind.FOLLOW_UP: {"k/static": Outcome.DONE, "k/gap": Outcome.DONE, "k/bonding": Outcome.QUARANTINED}}
    missing = StoreFacts(settled, BRANCHES, prerequisites_missing=frozenset({"k/bonding"}))
    assert why_held(STATIC, missing) is None


@given(st.dictionaries(st.sampled_from(NAMES), st.floats(1, 1e9)))
def test_no_more_is_kept_than_was_written(sizes: dict[str, float]):
    written = sum(zipped(name, size) for name, size in sizes.items())
    kept = kept_bytes(sizes, RETENTION.labels)
    assert 0 <= kept_bytes(sizes, []) <= kept <= kept_bytes(sizes, ["*"]) <= written
    assert (kept_bytes(sizes, ["*"]) == written) == (not {"POTCAR", "POTCAR.orig"} & set(sizes))
