"""The docs hang together: links lead somewhere, every page is on the map, every dependency has its reason."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *REPOSITORY.glob("*.md"), *REPOSITORY.joinpath("workflows").rglob("*.md")])

FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\(([^)\s]+)\)")


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def links_of(page: Path) -> list[str]:
    return [target for target in LINK.findall(FENCED.sub("", page.read_text())) if "://" not in target]


def anchors_of(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_leads_somewhere(page: Path):
    for link in links_of(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{relative(page)} links to {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{relative(page)} links to {link}"


def test_the_map_names_every_page():
    index = DOCS / "index.md"
    linked = {(DOCS / link).resolve() for link in links_of(index)}
    assert [relative(page) for page in sorted(DOCS.rglob("*.md")) if page != index and page not in linked] == []


def distributions(group: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[ ]", requirement)[0] for requirement in group}


def test_every_dependency_has_its_reason_and_licence():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = distributions(project["dependencies"]) | distributions(project["optional-dependencies"]["dev"])
    page = (DOCS / "decisions" / "dependencies.md").read_text()
    rows = re.findall(r"^\| ([\w.-]+) \| (.+) \| (.+) \|$", page, re.MULTILINE)
    listed = {name: (why, licence) for name, why, licence in rows if name != "distribution"}
    assert set(listed) == wanted
    assert all(why.strip() and licence.strip() for why, licence in listed.values())
