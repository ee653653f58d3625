"""What people are told of a campaign, once each, and what happens when they cannot be told."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.campaign_world import LAWFUL, definition, launch

from cathodeflow.campaign import notice_post, transitions
from cathodeflow.campaign.driver import drive
from cathodeflow.campaign.notice_post import CommandChannel, Notice, WebhookChannel, channels
from cathodeflow.campaign.notifications import (
    BURST,
    END,
    NOT_NOTIFIED,
    NOTIFIED,
    STAGE,
    BurstRule,
    Notifier,
    Sighting,
    notices,
)
from cathodeflow.errors import DefinitionError
from cathodeflow.records.campaign import AttemptRecord
from cathodeflow.records.outcomes import JobKind, Outcome, Reason, Stage
from cathodeflow.storage.connection import Project

START = datetime(2026, 1, 1, tzinfo=UTC)
RULE = BurstRule(5, timedelta(minutes=10))


def sighting(minutes: float = 0.0, failed: int = 0, state: str = "running", entered: int = 1) -> Sighting:
    at = START + timedelta(minutes=minutes)
    return Sighting(at, "label", state, "why", 0, entered, 7, {"timeout": failed} if failed else {})


def kinds(found: list[Notice]) -> list[str]:
    return [notice.kind for notice in found]


def test_a_stage_is_told_of_once_however_often_it_is_seen():
    first = notices("c", [sighting()], frozenset(), RULE)
    assert kinds(first) == [STAGE]
    assert "label (round 1)" in first[0].message
    assert notices("c", [sighting(), sighting(1)], frozenset({first[0].key}), RULE) == []
    assert kinds(notices("c", [sighting(entered=2)], frozenset({first[0].key}), RULE)) == [STAGE]


def test_an_end_is_told_of_and_no_stage_beside_it():
    (told,) = notices("c", [sighting(state="stopped")], frozenset(), RULE)
    assert told.kind == END
    assert told.message == "c is stopped: why"


def test_failures_in_a_short_time_are_a_burst_with_their_reasons():
    known = frozenset({"stage/1"})
    (burst,) = notices("c", [sighting(0, 2), sighting(3, 8)], known, RULE)
    assert burst.kind == BURST
    assert burst.details == {"failures": {"timeout": 6}}


def test_the_same_failures_spread_over_hours_are_none():
    seen = [sighting(0, 2), sighting(300, 8)]
    assert notices("c", seen, frozenset({"stage/1"}), RULE) == []


def test_failures_from_before_the_driver_started_are_no_burst():
    assert notices("c", [sighting(0, 500)], frozenset({"stage/1"}), RULE) == []


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_no_failure_is_told_of_in_two_bursts(new: list[int]):
    told = {"stage/1"}
    total, announced = 0, 0
    history = [sighting(0, 0)]
    for minute, count in enumerate(new, start=1):
        total += count
        history = [seen for seen in history if history[-1].at - seen.at < RULE.window] + [sighting(minute, total)]
        for notice in notices("c", history, frozenset(told), RULE):
            assert total - announced >= RULE.failures
            announced = total
            told.add(notice.key)


AT_ONCE = (0.0, 0.0)
PATIENCE_S = 120.0  # for other threads and processes of a busy machine


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a busy machine does not reach; a test that is about one sets its own."""
    monkeypatch.setattr("cathodeflow.campaign.notifications.LAST_WORDS_S", PATIENCE_S)
    monkeypatch.setattr(notice_post, "TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(notice_post, "LONGEST_S", PATIENCE_S)


class Recorder:
    """A channel that keeps what it gets; fails at first, or hangs until it is let go."""

    def __init__(self, failing: int = 0, hanging: bool = False) -> None:
        self.failing = failing
        self.tries = 0
        self.got: list[Notice] = []
        self.go_on = threading.Event()
        if not hanging:
            self.go_on.set()

    def send(self, notice: Notice) -> None:
        self.tries += 1
        assert self.go_on.wait(PATIENCE_S)
        if self.tries <= self.failing:
            raise ConnectionRefusedError(111, "Connection refused")
        self.got.append(notice)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = launch(tmp_path, definition())
    transitions.enter_stage(project, transitions.read_campaign(project, "trial"), Stage.LABEL, 0)
    return project


def events(project: Project, kind: str) -> list[dict]:
    return project.select("events", {"campaign": "trial", "kind": kind})


def fail(project: Project, number: int) -> None:
    for attempt in range(number):
        transitions.record_attempt(
            project,
            AttemptRecord(
                id=f"trial/label/k/{attempt}",
                campaign="trial",
                kind=JobKind.LABEL,
                key="k",
                attempt=attempt,
                fw_id=1,
                outcome=Outcome.FAILED,
                reason=Reason.OUT_OF_MEMORY,
                action="rerun",
            ),
        )


def test_a_driver_started_again_does_not_repeat_what_was_told(project: Project):
    campaign = transitions.read_campaign(project, "trial")
    channels_of = [Recorder(), Recorder()]
    for channel in channels_of:
        notifier = Notifier([channel])
        notifier.after_tick(project, campaign)
        notifier.finish(project)
    assert [kinds(channel.got) for channel in channels_of] == [[STAGE], []]
    assert len(events(project, NOTIFIED)) == 1


def test_a_burst_is_told_of_once_from_the_attempts_in_the_store(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CATHODEFLOW_NOTIFY_BURST", "4")
    recorder = Recorder(hanging=True)
    notifier = Notifier([recorder])
    notifier.after_tick(project, transitions.read_campaign(project, "trial"))
    fail(project, 6)
    for _ in range(3):  # while it is still on its way
        notifier.after_tick(project, transitions.read_campaign(project, "trial"))
    recorder.go_on.set()
    notifier.finish(project)
    assert kinds(recorder.got) == [STAGE, BURST]
    assert recorder.got[1].details == {"failures": {"out_of_memory": 6}}


def test_a_channel_that_fails_is_tried_again_and_then_given_up_on(project: Project):
    broken = Recorder(failing=99)
    notifier = Notifier([broken], delays=AT_ONCE)
    campaign = transitions.read_campaign(project, "trial")
    notifier.after_tick(project, campaign)
    notifier.finish(project)
    assert notifier.after_tick(project, campaign) == []
    notifier.finish(project)
    assert broken.tries == 1 + len(AT_ONCE)
    (event,) = events(project, NOT_NOTIFIED)
    assert "Connection refused" in event["message"]


def test_a_channel_that_worked_is_not_asked_again_for_the_sake_of_one_that_failed(project: Project):
    good, late = Recorder(), Recorder(failing=2)
    notifier = Notifier([good, late], delays=AT_ONCE)
    notifier.after_tick(project, transitions.read_campaign(project, "trial"))
    notifier.finish(project)
    assert (good.tries, late.tries) == (1, 3)
    assert len(events(project, NOTIFIED)) == 1
    assert events(project, NOT_NOTIFIED) == []


def test_a_channel_that_hangs_delays_no_tick_and_what_it_was_to_tell_is_left_to_the_next_driver(project: Project):
    hanging = Recorder(hanging=True)
    notifier = Notifier([hanging])
    campaign = transitions.read_campaign(project, "trial")
    assert kinds(notifier.after_tick(project, campaign)) == [STAGE]
    for _ in range(5):
        assert notifier.after_tick(project, campaign) == []
    notifier.finish(project, seconds=0.1)
    assert hanging.got == [], "nobody waited for it: it is let go at the end of this test"
    assert events(project, NOTIFIED) == []
    assert events(project, NOT_NOTIFIED) == []
    after = Recorder()
    other = Notifier([after])
    other.after_tick(project, campaign)
    other.finish(project)
    assert kinds(after.got) == [STAGE]
    assert hanging.got == []
    hanging.go_on.set()


def test_what_the_log_does_not_take_is_written_at_a_later_tick(project: Project, monkeypatch: pytest.MonkeyPatch):
    recorder = Recorder()
    notifier = Notifier([recorder])
    campaign = transitions.read_campaign(project, "trial")
    with monkeypatch.context() as patched:

        def away(*_: object) -> None:
            raise ConnectionError("away")

        patched.setattr(transitions, "append_event", away)
        notifier.after_tick(project, campaign)
        with pytest.raises(ConnectionError):
            notifier.finish(project)
    notifier.after_tick(project, campaign)
    assert len(events(project, NOTIFIED)) == 1
    assert recorder.tries == 1


def test_a_driver_ends_in_time_beside_a_web_hook_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The real driver, and a real socket that takes the request and says nothing."""
    monkeypatch.setattr("cathodeflow.campaign.notifications.LAST_WORDS_S", 0.2)
    monkeypatch.setattr(notice_post, "TIMEOUT_S", 10 * PATIENCE_S)
    monkeypatch.setattr(notice_post, "LONGEST_S", 10 * PATIENCE_S)
    monkeypatch.setenv("CATHODEFLOW_TICK_S", "0.1")
    project = launch(tmp_path, definition())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("CATHODEFLOW_NOTIFY_WEBHOOK", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        ticks = 0

        def stop_after_three(_: object) -> None:
            nonlocal ticks
            ticks += 1
            if ticks == 3:
                transitions.stop(project, "trial", "enough")

        began = time.monotonic()
        campaign = drive(project, "trial", workers=0, on_tick=stop_after_three, recipes=LAWFUL)
        assert time.monotonic() - began < PATIENCE_S, "it waited for an answer"
    assert campaign.state == "stopped"


def test_without_channels_nothing_is_asked_of_the_store(project: Project, monkeypatch: pytest.MonkeyPatch):
    for name in ("COMMAND", "WEBHOOK"):
        monkeypatch.delenv(f"CATHODEFLOW_NOTIFY_{name}", raising=False)
    campaign = transitions.read_campaign(project, "trial")
    monkeypatch.setattr(Project, "select", lambda *_: pytest.fail("asked"))
    assert Notifier().after_tick(project, campaign) == []


def test_a_command_gets_the_notice_as_json(tmp_path: Path):
    target = tmp_path / "notice.json"
    program = f"import sys, os; open({str(target)!r}, 'w').write(sys.stdin.read() + os.environ['CATHODEFLOW_NOTICE'])"
    CommandChannel((sys.executable, "-c", program)).send(Notice("c", END, "end/1", "c is done"))
    assert json.loads(target.read_text().removesuffix(END))["message"] == "c is done"


class _Hook(BaseHTTPRequestHandler):
    got: list[dict] = []
    redirect = False

    def do_POST(self) -> None:
        self.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(302 if self.redirect else 204)
        if self.redirect:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def do_GET(self) -> None:
        self.got.append({"followed": self.path})
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Hook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    _Hook.got, _Hook.redirect = [], False
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    server.server_close()


def test_a_web_hook_gets_the_notice_by_post(hook: str):
    WebhookChannel(hook).send(Notice("c", END, "end/1", "c is done"))
    assert _Hook.got[0]["text"] == "c is done"


def test_a_web_hook_is_not_followed_elsewhere(hook: str, project: Project):
    _Hook.redirect = True
    notifier = Notifier([WebhookChannel(hook)], delays=AT_ONCE)
    notifier.after_tick(project, transitions.read_campaign(project, "trial"))
    notifier.finish(project)
    assert all("followed" not in got for got in _Hook.got)
    (event,) = events(project, NOT_NOTIFIED)
    assert "answered 302" in event["message"]
    assert hook not in event["message"]


def test_a_web_hook_that_answers_a_byte_now_and_then_is_given_up(project: Project, monkeypatch: pytest.MonkeyPatch):
    """Each byte comes within urllib's time limit; the whole never comes."""
    monkeypatch.setattr(notice_post, "LONGEST_S", 0.5)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                while not over.wait(0.1):
                    connection.send(b"H")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        notifier = Notifier([WebhookChannel(f"http://127.0.0.1:{server.getsockname()[1]}/")], delays=())
        notifier.after_tick(project, transitions.read_campaign(project, "trial"))
        notifier.finish(project)
        over.set()
        thread.join(PATIENCE_S)
    (event,) = events(project, NOT_NOTIFIED)
    assert "no answer within" in event["message"]


@pytest.mark.parametrize(("name", "value"), [("WEBHOOK", "ftp://x/y"), ("WEBHOOK", "nowhere"), ("COMMAND", "say 'hi")])
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(f"CATHODEFLOW_NOTIFY_{name}", value)
    with pytest.raises(DefinitionError, match=f"CATHODEFLOW_NOTIFY_{name}"):
        channels()
