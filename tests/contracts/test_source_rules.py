"""Rules of the source that no linter here knows."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "flows" / "cathodeflow"
SOURCES = sorted(PACKAGE.rglob("*.py"))

NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "core", "tools"}
MOST_LINES = 450
LONGER: dict[str, str] = {}  # file: why it is one thing all the same

# Catching everything is right where nothing may get through, and only there.
CATCHES_ALL = {
    "cli/app.py": "the last resort of the command line",
}

# Written in two halves, so that this file does not break its own rule.
FORBIDDEN_TEXTS = {
    "path of somebody's machine": re.compile("(?<![\\w.])/" + "(?:home|Users|root|work|data(?!/db)|scratch)/[a-z]"),
    "temporary path": re.compile("(?<![\\w.])/" + "tmp/"),
    "registry host": re.compile("(?:pypi" + r"\.(?:org|io)|pythonhosted\.org|registry\.npmjs|conda\.anaconda)"),
    "private address": re.compile(r"\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2,3}\b"),
}


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def tracked_texts() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout: nothing says which files are tracked")
    found = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    return [path for path in found if path.is_file() and b"\0" not in path.read_bytes()]


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text()))


def test_no_room_or_module_has_a_name_that_says_nothing():
    named = {part.removesuffix(".py") for path in SOURCES for part in path.relative_to(PACKAGE).parts}
    assert named & NAMES_THAT_SAY_NOTHING == set()


def test_no_file_is_too_long():
    lengths = {relative(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {file: lines for file, lines in lengths.items() if lines > MOST_LINES and file not in LONGER} == {}
    assert all(lengths[file] > MOST_LINES for file in LONGER)


def catches_everything(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"}) for kind in kinds
    )


def raises_again(handler: ast.ExceptHandler) -> bool:
    """Whether the handler ends by raising, whatever happens in it."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise)


def test_no_error_is_swallowed_unseen():
    swallowing = [
        f"{relative(path)}:{node.lineno}"
        for path in SOURCES
        if relative(path) not in CATCHES_ALL
        for node in nodes(path)
        if isinstance(node, ast.ExceptHandler) and catches_everything(node) and not raises_again(node)
    ]
    assert swallowing == []


def test_every_exception_to_the_rule_of_errors_is_still_needed():
    catching = {
        relative(path)
        for path in SOURCES
        for node in nodes(path)
        if isinstance(node, ast.ExceptHandler) and catches_everything(node)
    }
    assert set(CATCHES_ALL) <= catching


@pytest.mark.parametrize("kind", FORBIDDEN_TEXTS)
def test_no_tracked_file_names_a_machine(kind: str):
    pattern = FORBIDDEN_TEXTS[kind]
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {match[0]}"
        for path in tracked_texts()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if (match := pattern.search(line))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("path of somebody's machine", "see /" + "home/ada/run"),
        ("temporary path", "in '/" + "tmp/x'"),
        ("registry host", "https://pypi" + ".org/simple"),
        ("private address", "http://192" + ".168.0.7:80"),
    ],
)
def test_the_forbidden_texts_are_recognised(kind: str, text: str):
    assert FORBIDDEN_TEXTS[kind].search(text)
    assert not FORBIDDEN_TEXTS[kind].search("relative/tmp/x, ~/work, 1.10.2 and $HOME/data/set")


def public_functions(path: Path) -> Iterator[ast.FunctionDef]:
    """Functions of a module and methods of its public classes, without those whose name begins with an underscore."""
    tree = ast.parse(path.read_text())
    rooms = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))]
    for room in rooms:
        for node in room.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield node


@pytest.mark.parametrize("room", ["science", "records", "calculators", "campaign"])
def test_every_public_function_says_what_it_does(room: str):
    silent = [
        f"{relative(path)}:{function.lineno} {function.name}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for function in public_functions(path)
        if not ast.get_docstring(function)
    ]
    assert silent == []


def test_every_module_says_what_it_is():
    assert [relative(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))] == []
