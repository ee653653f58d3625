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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.services.waiting import AMPLE_S
from tests.services.web.browser import Browser, find_chromium
from tests.unit.web.conftest import HIDDEN, PASSWORD, SEEN, stopped, world

from cathodeflow.campaign import transitions
from cathodeflow.storage.connection import Project, open_project
from cathodeflow.web.access import FILE_NAME, AccessFile, Role, new_password_account

pytestmark = [pytest.mark.service, pytest.mark.slow]

__all__ = ["stopped", "world"]
CHROMIUM = find_chromium()
SIZES = [(1400, False), (700, False), (1400, True), (700, True)]


@dataclass
class Served:
    """A dashboard that runs; without a token it has accounts."""

    project: Project
    address: str
    token: str


@contextmanager
def dashboard(folder: Path, log: Path) -> Iterator[Served]:
    """Serve a project's dashboard in a process of its own."""
    command = [sys.executable, "-m", "cathodeflow.cli.app", "dashboard", "-p", str(folder), "--port", "0"]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=out, text=True)
        assert process.stdout is not None
        address, _, token = process.stdout.readline().split()[-1].partition("/login?token=")
        try:
            yield Served(open_project(folder), address.rstrip("/"), token)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(AMPLE_S) == 0
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def served(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served") / "project"
    shutil.copytree(world, folder)
    with dashboard(folder, folder.parent / "server.log") as found:
        yield found


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
    validation = next(
        entry
        for entry in served.project.select("validations", {"campaign": SEEN})
        if entry["profile_holds"] and not entry["pristine"]
    )
    best = next(iter(validation["labels"].values()))
    unrelaxed = next(label["key"] for label in labels if not label["relaxation"])
    failed = served.project.select("attempts", {"campaign": SEEN}, limit=1)[0]["fw_id"]
    done = {"spec._campaign": SEEN, "spec._kind": "follow_up", "state": "COMPLETED"}
    return {
        "campaigns": "/",
        "campaign": campaign,
        "campaign-running": f"/campaigns/{HIDDEN}",
        "jobs": f"{campaign}/jobs",
        "jobs-failed": f"{campaign}/jobs?state=FIZZLED&kind=label",
        "jobs-none": f"{campaign}/jobs?state=RUNNING&category=gpu",
        "compositions": f"{campaign}/compositions",
        "compositions-passed": f"{campaign}/compositions?outcome=passed&element=Mo",
        "candidates": f"{campaign}/candidates",
        "candidate": f"{campaign}/candidates/{best}",
        "candidate-failed": f"{campaign}/candidates/{unrelaxed}",
        "log": f"{campaign}/log",
        "job": f"/jobs/{failed}",
        "job-done": f"/jobs/{served.project.select('fireworks', done, limit=1)[0]['fw_id']}",
        "nothing": "/campaigns/nothing",
        "fireworks": "/fireworks/",
        "fireworks-jobs": "/fireworks/fw/COMPLETED/",
        "fireworks-job": f"/fireworks/fw/{failed}",
        "fireworks-workflow": f"/fireworks/wf/{failed}",
        "fireworks-report": "/fireworks/report/",
    }


PAGES = [
    *("campaigns", "campaign", "campaign-running", "jobs", "jobs-failed", "jobs-none", "compositions"),
    *("compositions-passed", "candidates", "candidate", "candidate-failed", "log", "job", "job-done"),
]
FIREWORKS_PAGES = ["fireworks", "fireworks-jobs", "fireworks-job", "fireworks-workflow", "fireworks-report"]
SHOWN = {"candidate": "relaxed", "candidate-failed": "unrelaxed"}


def settled(browser: Browser, name: str) -> None:
    if name in SHOWN:
        browser.wait_for(f"document.getElementById('crystal').dataset.shown === '{SHOWN[name]}'")
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


def keep(browser: Browser, name: str, width: int, *, dark: bool = False) -> None:
    """`SCREENSHOTS` names a folder to keep pictures in, for people to look at."""
    if kept := os.environ.get("SCREENSHOTS"):
        Path(kept).mkdir(parents=True, exist_ok=True)
        browser.screenshot(Path(kept) / f"{name}-{width}{'-dark' if dark else ''}.png")


def too_wide(browser: Browser) -> int:
    return int(browser.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_pages_fit_a_wide_and_a_narrow_window(served: Served, browser: Browser, width: int, dark: bool):
    for name in [*PAGES, "nothing"]:
        browser.look(width, dark=dark)
        browser.open(served.address + pages(served)[name])
        settled(browser, name)
        assert too_wide(browser) <= 0, name
        paper, ink = browser.evaluate(
            "[document.body, document.querySelector('h1')].map((e, i) => "
            "getComputedStyle(e)[i ? 'color' : 'backgroundColor'].match(/\\d+/g)"
            ".slice(0, 3).reduce((s, n) => s + +n, 0))"
        )
        assert (paper < ink) == dark, name
        keep(browser, name, width, dark=dark)


def test_fireworks_pages_can_be_looked_at(served: Served, browser: Browser):
    for name in FIREWORKS_PAGES:
        browser.look(1400)
        browser.open(served.address + pages(served)[name])
        settled(browser, name)
        assert browser.evaluate("document.querySelector('a[href=\"/\"]')?.textContent") == "cathodeflow", name
        keep(browser, name, 1400)


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
    browser.wait_for("document.getElementById('crystal').dataset.shown === 'unrelaxed'")


def test_a_page_follows_the_campaign_and_keeps_its_place(served: Served, browser: Browser):
    browser.look(1400, 500)
    browser.open(f"{served.address}/campaigns/{SEEN}/log")
    browser.evaluate("window.mark = 'same page'; window.scrollTo(0, 120)")
    transitions.append_event(served.project, SEEN, "stage", "something new <b>happened</b>")
    browser.wait_for("document.body.innerText.includes('something new <b>happened</b>')")
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
    assert [(action, outcome) for _, action, outcome in audit(served, HIDDEN)] == [("pause", "done")]


def audit(served: Served, name: str) -> list[tuple[str, str, str]]:
    events = served.project.select("events", {"campaign": name, "kind": "dashboard"})
    return [(e["details"]["account"], e["details"]["action"], e["details"]["outcome"]) for e in events]


def click(browser: Browser, words: str) -> None:
    browser.evaluate(f"[...document.querySelectorAll('button')].find((b) => b.textContent === {words!r}).click()")


def flashed(browser: Browser, words: str) -> None:
    browser.wait_for(f"document.querySelector('.flash')?.textContent.includes({words!r})")


def posted(browser: Browser, path: str, **fields: str) -> int:
    """Send a form as a script on the page could, with its cookie; returns the status."""
    body = "&".join(f"{name}={value}" for name, value in fields.items())
    options = f"{{method: 'POST', body: {body!r}, headers: {{'Content-Type': 'application/x-www-form-urlencoded'}}}}"
    return int(browser.evaluate(f"fetch({path!r}, {options}).then((answer) => answer.status)"))


def test_a_failed_job_is_resubmitted_from_its_page_and_taken_back(stopped: Path, browser: Browser, tmp_path: Path):
    with dashboard(shutil.copytree(stopped, tmp_path / "project"), tmp_path / "server.log") as served:
        browser.look(1400)
        browser.open(f"{served.address}/login?token={served.token}")
        label = served.project.select("labels", {"campaign": SEEN, "outcome": "quarantined"})[0]
        job = label["origin"]["fw_id"]
        browser.open(f"{served.address}/jobs/{job}")
        browser.evaluate("document.querySelector('select[name=memory]').value = '2'")
        keep(browser, "job-resubmit", 1400)
        click(browser, "Resubmit")
        flashed(browser, "1 resubmitted")
        assert browser.evaluate("location.pathname") == f"/jobs/{job}"
        spec = served.project.select("fireworks", {"fw_id": job})[0]
        assert (spec["state"], spec["spec"]["_memory_factor"]) == ("READY", 2.0)
        browser.open(f"{served.address}/campaigns/{SEEN}")
        browser.evaluate("window.confirm = () => true")
        keep(browser, "campaign-after-resubmit", 1400)
        click(browser, "Take back the last resubmission")
        flashed(browser, "taken back")
        assert served.project.select("fireworks", {"fw_id": job})[0]["state"] == "FIZZLED"
        actions = [(action, outcome) for _, action, outcome in audit(served, SEEN)]
        assert actions == [("resubmit", "done"), ("take back a resubmission", "done")]


def test_a_form_without_its_token_is_refused_and_changes_nothing(served: Served, browser: Browser):
    browser.open(f"{served.address}/campaigns/{SEEN}")
    before = audit(served, SEEN)
    assert posted(browser, f"/campaigns/{SEEN}/resume") == 403
    assert posted(browser, f"/campaigns/{SEEN}/resume", csrf="0" * 64) == 403
    assert audit(served, SEEN) == before


def test_a_viewer_signs_in_sees_no_button_and_cannot_act(world: Path, tmp_path: Path):
    if CHROMIUM is None:
        pytest.skip("no Chromium here: make services installs it")
    folder = shutil.copytree(world, tmp_path / "project")
    access = AccessFile(folder / FILE_NAME)
    access.put(new_password_account("victor", Role.VIEWER, (HIDDEN,), PASSWORD))
    browser = Browser(CHROMIUM)
    try:
        with dashboard(folder, tmp_path / "server.log") as served:
            assert served.token == ""
            browser.look(1400)
            browser.open(f"{served.address}/campaigns/{HIDDEN}")
            assert browser.evaluate("location.pathname") == "/login"
            for width, dark in SIZES:
                browser.look(width, dark=dark)
                assert too_wide(browser) <= 0
                keep(browser, "login", width, dark=dark)
            browser.look(1400)
            for secret, answer in (("wrong", ".flash"), (PASSWORD, ".tiles")):
                browser.evaluate(
                    f"document.querySelector('[name=name]').value = 'victor';"
                    f"document.querySelector('[name=secret]').value = {secret!r}"
                )
                click(browser, "Sign in")
                browser.wait_for(f"document.querySelector({answer!r}) !== null && document.readyState === 'complete'")
                keep(browser, f"after-sign-in-{secret.split()[0]}", 1400)
            assert browser.evaluate("location.pathname") == f"/campaigns/{HIDDEN}"
            buttons = "[...document.querySelectorAll('main button')].map((b) => b.textContent)"
            assert browser.evaluate(buttons) == []
            job = served.project.select("fireworks", {"spec._campaign": HIDDEN}, limit=1)
            browser.open(f"{served.address}/jobs/{job[0]['fw_id']}")
            assert browser.evaluate(buttons) == []
            csrf = browser.evaluate("document.querySelector('[name=csrf]').value")
            for path in (f"/campaigns/{HIDDEN}/pause", f"/campaigns/{HIDDEN}/resubmit"):
                assert posted(browser, path, csrf=csrf) == 403
            assert audit(served, HIDDEN) == []
            assert transitions.read_campaign(served.project, HIDDEN).state == "running"
            assert "trial" not in browser.evaluate("fetch('/').then((a) => a.text())")
    finally:
        browser.close()


def test_nobody_gets_in_without_the_address_that_was_printed(served: Served):
    for path in ("/metrics", "/fireworks/reports/fireworks/days/7/fig.png"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{served.address}{path}", timeout=AMPLE_S)
    request = urllib.request.Request(f"{served.address}/metrics", headers={"Authorization": f"Bearer {served.token}"})
    with urllib.request.urlopen(request, timeout=AMPLE_S) as answer:
        assert b"cathodeflow_jobs{" in answer.read()


def test_two_dashboards_of_a_project_agree(served: Served, tmp_path: Path):
    with dashboard(served.project.folder, tmp_path / "server.log") as other:
        answers = [_parts(one.address, one.token) for one in (served, other)]
    assert answers[0]["jobs"] == answers[1]["jobs"]
    assert answers[0]["shortlist"] == answers[1]["shortlist"]


def _parts(address: str, token: str) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {token}"}
    for _ in range(100):
        request = urllib.request.Request(f"{address}/campaigns/{SEEN}?parts=1", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=AMPLE_S) as answer:
                return json.load(answer)["parts"]
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError("no answer")
