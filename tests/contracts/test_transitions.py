"""One writer: outside `campaign/transitions.py` nothing changes the project's documents."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cathodeflow

PACKAGE = Path(cathodeflow.__file__).parent

WRITES = {
    *("insert_one", "insert_many", "insert_missing", "insert_absent", "update_one", "update_many", "replace_one"),
    *("delete_one", "delete_many", "bulk_write", "find_one_and_update", "find_one_and_replace"),
    *("find_one_and_delete", "drop", "drop_collection"),
}

OWN_WRITER = "campaign/transitions.py"

_ON_A_SERVER = ("insert_one", "insert_many", "update_one", "update_many", "replace_one", "delete_one")
_TO_COPY = ("insert_missing", "insert_many", "replace_one", "delete_many")
_ITS_MARK = ("insert_missing", "replace_one", "update_one", "delete_one")
_IN_A_LOCK = ("insert_one", "insert_many", "update_one", "update_many", "replace_one", "find_one_and_update")

ALLOWED = {
    # The store itself: what the writer calls, and what jobflow, FireWorks and GridFS call through it.
    ("storage/connection.py", "bulk_write"): "Project.insert_missing on a MongoDB server",
    ("storage/connection.py", "insert_absent"): "Project.insert_missing on the embedded store",
    **{("storage/migrate.py", method): "copies documents as they are" for method in _TO_COPY},
    ("storage/identity.py", "insert_missing"): "the name of the project, once",
    ("storage/upgrade.py", "replace_one"): "brings documents to the present layout",
    ("storage/outputs.py", "replace_one"): "outputs of jobs, which jobflow writes",
    # The transitions' other half: the log, whose lines are written with the change they tell of.
    ("campaign/event_log.py", "update_one"): "campaigns: by compare-and-set",
    ("campaign/event_log.py", "insert_missing"): "events",
    # And what a person's command does to many jobs: its note in the campaign, and what it sets aside.
    ("campaign/intent.py", "update_one"): "campaigns: while the note is its own",
    ("campaign/withdrawn.py", "delete_many"): "what was written into withdrawn before",
    ("campaign/withdrawn.py", "insert_missing"): "what comes back from withdrawn",
    **{("campaign/moving.py", method): "the mark of who moves the project" for method in _ITS_MARK},
    ("campaign/strays.py", "delete_many"): "files of FireWorks' that no document refers to",
    # FireWorks' own collections, whose states are not the campaign's.
    ("dispatch/launchpad.py", "update_one"): "launches: where a job runs is known after it was claimed",
    ("dispatch/generations.py", "update_one"): "workflows: which jobs they have, within their lock",
    ("dispatch/generations.py", "update_many"): "fireworks: superseded ones",
    ("dispatch/rerun.py", "update_one"): "fireworks: what a person has asked for, or takes back",
    ("dispatch/kept_results.py", "update_one"): "fireworks: launches of those that a rerun need not run",
    ("dispatch/reconcile.py", "find_one_and_replace"): "launches: of a process that is gone",
    **{("dispatch/server_launchpad.py", method): "without transactions" for method in _ON_A_SERVER},
    **{("dispatch/workflow_lock.py", method): "locks and what is pending under them" for method in _IN_A_LOCK},
    ("dispatch/slurm/submissions.py", "insert_one"): "submissions, of which it is the only writer",
    ("dispatch/slurm/submissions.py", "update_one"): "submissions",
    ("dispatch/repair.py", "update_one"): "fireworks: claims of processes that are gone",
    ("dispatch/repair.py", "delete_many"): "launches: written for such a claim, never begun",
}


@dataclass(frozen=True)
class Call:
    """A call of a method that writes."""

    file: str
    method: str
    line: int
    target: str


def writing_calls(package: Path) -> Iterator[Call]:
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        if file.startswith("storage/embedded/"):
            continue  # the collections themselves
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES:
                yield Call(file, node.func.attr, node.lineno, ast.unparse(node.func.value))


def test_only_the_transitions_write_the_projects_documents():
    elsewhere = [
        call for call in writing_calls(PACKAGE) if call.file != OWN_WRITER and (call.file, call.method) not in ALLOWED
    ]
    assert elsewhere == []


def test_every_exception_is_still_needed():
    used = {(call.file, call.method) for call in writing_calls(PACKAGE)}
    assert set(ALLOWED) <= used


def test_dispatch_writes_only_fireworks_collections():
    targets = {call.target for call in writing_calls(PACKAGE) if call.file.startswith("dispatch/")}
    targets -= {"project.database[SUBMISSIONS]"}
    assert {target.rsplit(".", 1)[-1] for target in targets} <= {"launches", "fireworks", "workflows", "fw_id_assigner"}


def test_the_transitions_do_write():
    """Else the scan above would look for the wrong thing."""
    methods = {call.method for call in writing_calls(PACKAGE) if call.file == OWN_WRITER}
    assert {"update_one", "insert_missing"} <= methods


def test_a_write_elsewhere_is_found(tmp_path: Path):
    (tmp_path / "campaign").mkdir()
    (tmp_path / "campaign" / "status.py").write_text("def f(project):\n    project.database['labels'].drop()\n")
    (call,) = writing_calls(tmp_path)
    assert (call.file, call.method, call.line) == ("campaign/status.py", "drop", 2)
