from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from cathodeflow.errors import StoreError
from cathodeflow.web import kept_counts
from cathodeflow.web.kept_counts import AT_ONCE_S, SHARE, KeptCounts

JOBS = ("fireworks", "state", {"spec._campaign": "c"})
SLOW_S = 2 * AT_ONCE_S
PATIENCE_S = 120.0  # for other threads of a busy machine


class Clock:
    """The room's time: it passes only where a store counts or the background sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        time.sleep(0.001)


class Store:
    """A project whose counts take as long as told, and of which no more are done than it is let do."""

    def __init__(self, clock: Clock, seconds: float, counts: int = 10**6) -> None:
        self.clock = clock
        self.seconds = seconds
        self.jobs = 1
        self.counted = 0
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(counts)
        self.broken = False
        self.other = "anything else"

    def count_by(self, *_: Any) -> dict[str, int]:
        seen = self.jobs
        self.begun.release()
        assert self.may_end.acquire(timeout=PATIENCE_S)
        self.clock.now += self.seconds
        self.counted += 1
        if self.broken:
            raise StoreError("the store is away")
        return {"READY": seen}

    def count(self, *_: Any) -> int:
        return self.count_by()["READY"]


def background() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "counts"]


def wait_until(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


Make = Callable[..., SimpleNamespace]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make a store and its kept counts, with a clock of their own."""
    made = []

    def new(seconds: float, **options: Any) -> SimpleNamespace:
        clock = Clock()
        monkeypatch.setattr(kept_counts, "time", clock)
        monkeypatch.setattr(kept_counts, "AT_ONCE_S", AT_ONCE_S)
        store = Store(clock, seconds, **options)
        made.append(SimpleNamespace(clock=clock, store=store, counts=KeptCounts(store)))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for one in made:  # its thread ends when there is nothing left to count
        one.counts.forget()
        one.store.seconds = 0.0
        one.store.may_end.release(1000)
    wait_until(lambda: not background())


def test_what_is_counted_quickly_is_counted_anew_for_each_page(make: Make):
    one = make(0.0)
    assert one.counts.count_by(*JOBS) == {"READY": 1}
    one.store.jobs = 2
    assert one.counts.count_by(*JOBS) == {"READY": 2}
    assert one.counts.count("fireworks", {}) == 2
    assert background() == []


def test_what_is_counted_slowly_is_waited_for_once_and_follows_in_the_background(make: Make):
    one = make(SLOW_S, counts=1)
    one.counts.count_by(*JOBS)
    one.store.jobs = 2
    for _ in range(3):  # no further count can end: a page that waited for one would never come
        assert one.counts.count_by(*JOBS) == {"READY": 1}
    assert one.store.counted == 1
    one.store.may_end.release(1000)
    wait_until(lambda: one.counts.count_by(*JOBS) == {"READY": 2})


def test_the_page_is_told_how_old_its_oldest_count_is(make: Make):
    one = make(SLOW_S, counts=1)
    one.counts.begin_page()
    one.counts.count_by(*JOBS)
    assert one.counts.age_s == pytest.approx(SLOW_S), "a count is as old as its beginning"
    assert one.store.begun.acquire(timeout=PATIENCE_S)
    assert one.store.begun.acquire(timeout=PATIENCE_S), "the background has begun to count"
    began = one.clock.now
    one.clock.now += 7.0
    one.counts.begin_page()
    assert one.counts.age_s == 0.0
    one.counts.count_by(*JOBS)
    assert one.counts.age_s >= 7.0
    assert one.counts.age_s == pytest.approx(7.0 + began - 1000.0)


def test_somebody_who_changed_something_sees_it_at_once_and_a_count_from_before_is_not_kept(make: Make):
    one = make(SLOW_S, counts=0)
    asked = threading.Thread(target=one.counts.count_by, args=JOBS)
    asked.start()
    assert one.store.begun.acquire(timeout=PATIENCE_S)
    one.store.jobs = 2  # after the count has looked
    one.counts.forget()
    one.store.may_end.release()
    asked.join(PATIENCE_S)
    assert not asked.is_alive()
    assert one.counts._entries == {}, "it says what was before the change"
    one.store.may_end.release(1000)
    assert one.counts.count_by(*JOBS) == {"READY": 2}


def test_counting_in_the_background_takes_a_share_of_the_time_and_ends_when_nobody_asks(
    make: Make, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kept_counts, "FORGOTTEN_AFTER_S", 100.0)
    one = make(SLOW_S)
    one.counts.count_by(*JOBS)
    wait_until(lambda: not background())
    assert one.store.counted == pytest.approx(100.0 * SHARE / SLOW_S, abs=2)


def test_a_store_that_is_away_is_said_by_the_page_and_not_hidden_by_an_old_count(make: Make):
    one = make(SLOW_S)
    one.counts.count_by(*JOBS)
    one.store.broken = True

    def said() -> bool:
        try:
            one.counts.count_by(*JOBS)
        except StoreError:
            return True
        return False

    wait_until(said)
    assert said()


def test_a_count_given_out_can_be_changed_without_harm(make: Make):
    one = make(SLOW_S, counts=1)
    one.counts.count_by(*JOBS).clear()
    assert one.counts.count_by(*JOBS) == {"READY": 1}


def test_what_is_kept_does_not_grow_with_what_people_ask_for(make: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept_counts, "MOST_KEPT", 3)
    one = make(SLOW_S)
    for number in range(8):
        one.counts.count("fireworks", {"name": number})
    assert 1 <= len(one.counts._entries) <= 3
    one.store.seconds = 0.0
    for number in range(8, 16):
        one.counts.count("fireworks", {"name": number})
    assert len(one.counts._entries) <= 3


def test_all_else_is_the_projects_own(make: Make):
    assert make(0.0).counts.other == "anything else"
