"""The dashboard as people have it: `cflow dashboard` in a process of its own, and a real headless Chromium."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.services.web.browser import Browser, find_chromium
from tests.unit.web.conftest import HIDDEN, SEEN, stopped, world

from cathodeflow.campaign import transitions
from cathodeflow.storage.connection import Project, open_project

pytestmark = [pytest.mark.service, pytest.mark.slow]

__all__ = ["stopped", "world"]
CHROMIUM = find_chromium()
SIZES = [(1400, False), (700, False), (1400, True), (700, True)]


@dataclass
class Served:
    """A dashboard that runs."""

    project: Project
    address: str
    token: str


@pytest.fixture(scope="module")
def served(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served") / "project"
    shutil.copytree(world, folder)
    log = (folder.parent / "server.log").open("w")
    command = [sys.executable, "-m", "cathodeflow.cli.app", "dashboard", "-p", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    address, _, token = line.split()[-1].partition("/login?token=")
    yield Served(open_project(folder), address, token)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    log.close()
    assert "Traceback" not in (folder.parent / "server.log").read_text()


@pytest.fixture(scope="module")
def browser(served: Served) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: make services installs it")
    opened = Browser(CHROMIUM)
    try:
        opened.look(1400)
        opened.open(f"{served.address}/login?token={served.token}")
        yield opened
    finally:
        opened.close()


def pages(served: Served) -> dict[str, str]:
    campaign = f"/campaigns/{SEEN}"
    labels = served.project.select("labels", {"campaign": SEEN})
    relaxed = next(label["key"] for label in labels if label["relaxation"])
    failed = served.project.select("attempts", {"campaign": SEEN}, limit=1)[0]["fw_id"]
    return {
        "campaigns": "/",
        "campaign": campaign,
        "jobs": f"{campaign}/jobs",
        "compositions": f"{campaign}/compositions",
        "candidates": f"{campaign}/candidates",
        "candidate": f"{campaign}/candidates/{relaxed}",
        "log": f"{campaign}/log",
        "job": f"/jobs/{failed}",
        "fireworks": "/fireworks/",
        "fireworks-job": f"/fireworks/fw/{failed}",
        "fireworks-workflow": f"/fireworks/wf/{failed}",
    }


PAGES = ["campaigns", "campaign", "jobs", "compositions", "candidates", "candidate", "log", "job"]
FIREWORKS_PAGES = ["fireworks", "fireworks-job", "fireworks-workflow"]


def settled(browser: Browser, name: str) -> None:
    if name == "candidate":
        browser.wait_for("document.getElementById('crystal').dataset.shown === 'relaxed'", 60)
    if name == "fireworks-workflow":
        browser.wait_for("typeof window.cy.nodes === 'function' && window.cy.nodes().length > 0")
    if name == "fireworks-job":
        browser.wait_for("document.querySelectorAll('#json .jsonview').length > 0")


@pytest.mark.parametrize("name", PAGES + FIREWORKS_PAGES)
def test_a_page_loads_without_complaint_and_asks_nobody_else(served: Served, browser: Browser, name: str):
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(served.address + pages(served)[name])
    settled(browser, name)
    assert browser.complaints == []
    elsewhere = [url for url in browser.requests if not url.startswith((served.address, "data:"))]
    assert elsewhere == []


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_pages_fit_a_wide_and_a_narrow_window(served: Served, browser: Browser, width: int, dark: bool):
    """`SCREENSHOTS` names a folder to keep the pictures in, for people to look at."""
    kept = os.environ.get("SCREENSHOTS")
    for name in PAGES:
        browser.look(width, dark=dark)
        browser.open(served.address + pages(served)[name])
        settled(browser, name)
        too_wide = browser.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert too_wide <= 0, name
        paper, ink = browser.evaluate(
            "[document.body, document.querySelector('h1')].map((e, i) => "
            "getComputedStyle(e)[i ? 'color' : 'backgroundColor'].match(/\\d+/g)"
            ".slice(0, 3).reduce((s, n) => s + +n, 0))"
        )
        assert (paper < ink) == dark, name
        if kept:
            Path(kept).mkdir(parents=True, exist_ok=True)
            browser.screenshot(Path(kept) / f"{name}-{width}{'-dark' if dark else ''}.png")


def test_the_crystal_is_drawn_and_turns(served: Served, browser: Browser):
    browser.look(1400)
    browser.open(served.address + pages(served)["candidate"])
    settled(browser, "candidate")
    colours = """(() => { const c = document.querySelector('canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data, seen = new Set();
        let sum = 0;
        for (let i = 0; i < d.length; i += 16) {
            seen.add(d[i] + ',' + d[i + 1] + ',' + d[i + 2]);
            sum += d[i] * (i % 9973);
        }
        return [seen.size, sum]; })()"""
    browser.wait_for(f"{colours}[0] > 50")
    before = browser.evaluate(f"{colours}[1]")
    browser.evaluate("document.querySelector('[data-view=\"a\"]').click()")
    browser.wait_for(f"{colours}[1] !== {before}")
    browser.evaluate("document.querySelector('[data-which=\"unrelaxed\"]').click()")
    browser.wait_for("document.getElementById('crystal').dataset.shown === 'unrelaxed'", 60)


def test_a_page_follows_the_campaign_and_keeps_its_place(served: Served, browser: Browser):
    browser.look(1400, 500)
    browser.open(f"{served.address}/campaigns/{SEEN}/log")
    browser.evaluate("window.mark = 'same page'; window.scrollTo(0, 120)")
    transitions.append_event(served.project, SEEN, "stage", "something new <b>happened</b>")
    browser.wait_for("document.body.innerText.includes('something new <b>happened</b>')", 30)
    assert browser.evaluate("window.mark") == "same page"
    assert browser.evaluate("Math.round(window.scrollY)") == 120


def test_filters_are_in_the_address(served: Served, browser: Browser):
    browser.look(1400)
    browser.open(f"{served.address}/campaigns/{SEEN}/jobs")
    browser.evaluate(
        "(() => { const s = document.querySelector('select[name=state]'); s.value = 'FIZZLED';"
        " s.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    browser.wait_for("location.search === '?state=FIZZLED' && document.readyState === 'complete'")
    states = browser.evaluate("[...document.querySelectorAll('tbody .badge')].map((e) => e.textContent)")
    assert states
    assert set(states) == {"FIZZLED"}


def test_a_button_pauses_the_campaign(served: Served, browser: Browser):
    browser.open(f"{served.address}/campaigns/{HIDDEN}")
    browser.evaluate("window.confirm = () => true")
    browser.evaluate("[...document.querySelectorAll('button')].find((b) => b.textContent === 'Pause').click()")
    browser.wait_for("document.querySelector('.flash')?.textContent.includes('is paused')")
    assert transitions.read_campaign(served.project, HIDDEN).state == "paused"
    events = served.project.select("events", {"campaign": HIDDEN, "kind": "dashboard"})
    assert [event["details"]["action"] for event in events] == ["pause"]


def test_nobody_gets_in_without_the_address_that_was_printed(served: Served):
    for path in ("/metrics", "/fireworks/reports/fireworks/days/7/fig.png"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{served.address}{path}", timeout=10)
    request = urllib.request.Request(f"{served.address}/metrics", headers={"Authorization": f"Bearer {served.token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert b"cathodeflow_jobs{" in answer.read()


def test_two_dashboards_of_a_project_agree(served: Served, tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "cathodeflow.cli.app",
        "dashboard",
        "-p",
        str(served.project.folder),
        "--port",
        "0",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        other, _, token = process.stdout.readline().split()[-1].partition("/login?token=")
        answers = [_parts(address, key) for address, key in ((served.address, served.token), (other, token))]
        assert answers[0]["jobs"] == answers[1]["jobs"]
        assert answers[0]["shortlist"] == answers[1]["shortlist"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _parts(address: str, token: str) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {token}"}
    for _ in range(100):
        request = urllib.request.Request(f"{address}/campaigns/{SEEN}?parts=1", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)["parts"]
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError("no answer")
