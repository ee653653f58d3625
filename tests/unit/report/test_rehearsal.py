"""A rehearsal's report says so everywhere; no other report does."""

from __future__ import annotations

import json
import re

import pytest
from tests.unit.report import followup_factories
from tests.unit.report.test_page import Page

from cathodeflow.report.page import render_report
from cathodeflow.report.rehearsal import WORD


@pytest.fixture(scope="module")
def html() -> str:
    return render_report(followup_factories.followed_contents(provenance=followup_factories.REHEARSAL))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_title_the_banner_and_every_section_say_so(html: str) -> None:
    assert f"<title>{WORD}: " in html
    assert re.search(rf'class="rehearsal-banner"[^>]*><b>{WORD}</b>', html)
    assert f'@bottom-center {{ content: "{WORD}' in html  # every printed page
    headings = re.findall(r"<h[12]>(.*?)</h[12]>", html, re.S)
    assert len(headings) > 10
    assert [heading for heading in headings if WORD not in heading] == []


def test_every_figure_carries_the_word(page: Page) -> None:
    def marked(figure: dict) -> bool:
        return any(note["text"] == WORD for note in figure["layout"].get("annotations", []))

    assert [name for name in page.figures() if not marked(page.data(name))] == []
    galleries = [name for attributes, _ in page.scripts if (name := attributes.get("id") or "").startswith("figures-")]
    assert len(galleries) == 4
    for name in galleries:
        for levels in page.data(name).values():
            assert [figure for figure in levels.values() if "absent" not in figure and not marked(figure)] == []


def test_every_caption_begins_with_the_word(html: str) -> None:
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html) + re.findall(r'class="quiet caption">(.*?)<', html)
    assert len(captions) > 10
    assert [caption for caption in captions if not caption.startswith(WORD)] == []


def test_published_numbers_do_not_stand_beside_those_of_stand_ins(html: str, page: Page) -> None:
    assert "R² in S0" not in html
    assert "5.69" not in page.text
    assert "2.12 to 3.24" not in page.text
    assert "published, S0" not in html
    volumes = page.data("figure-volumes")
    assert volumes["layout"].get("shapes", []) == []


def test_a_real_campaign_is_never_marked() -> None:
    html = render_report(followup_factories.followed_contents())
    assert WORD not in html
    page = Page(html)
    assert "5.69" in page.text
    assert "published, S0 (HSE06)" in json.dumps(page.data("figure-gaps"), ensure_ascii=False)
