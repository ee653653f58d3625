from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from cathodeflow.errors import StoreError
from cathodeflow.web import kept_counts
from cathodeflow.web.kept_counts import KeptCounts

JOBS = ("fireworks", "state", {"spec._campaign": "c"})
PATIENCE_S = 60.0


class Store:
    """A project that counts as slowly as told; while its gate is shut, who counts waits with what it has counted."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.jobs = 1
        self.counted = 0
        self.broken = False
        self.other = "anything else"
        self.gate = threading.Event()
        self.gate.set()
        self.waits = threading.Event()

    def count_by(self, *_: Any) -> dict[str, int]:
        time.sleep(self.seconds)
        self.counted += 1
        found = {"READY": self.jobs}
        if not self.gate.is_set():
            self.waits.set()
            assert self.gate.wait(PATIENCE_S)
        if self.broken:
            raise StoreError("the store is away")
        return found

    def count(self, *_: Any) -> int:
        return self.count_by()["READY"]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_counts, "AT_ONCE_S", 0.01)
    monkeypatch.setattr(kept_counts, "SHARE", 0.5)


def wait_until(condition: Any) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_what_is_counted_quickly_is_counted_anew_for_each_page(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept_counts, "AT_ONCE_S", PATIENCE_S)
    store = Store(0.0)
    counts = KeptCounts(store)  # type: ignore[arg-type]
    assert counts.count_by(*JOBS) == {"READY": 1}
    store.jobs = 2
    assert counts.count_by(*JOBS) == {"READY": 2}
    assert counts.count("fireworks", {}) == 2


def test_what_is_counted_slowly_is_waited_for_once_and_follows_in_the_background():
    store = Store(0.02)
    counts = KeptCounts(store)  # type: ignore[arg-type]
    store.gate.clear()
    asked = threading.Thread(target=counts.count_by, args=JOBS)
    asked.start()
    assert store.waits.wait(PATIENCE_S)
    store.gate.set()
    asked.join()
    store.gate.clear()
    store.jobs = 2
    assert counts.count_by(*JOBS) == {"READY": 1}  # at once: whoever counts now waits at the gate
    store.gate.set()
    wait_until(lambda: counts.count_by(*JOBS) == {"READY": 2})


def test_the_page_is_told_how_old_its_oldest_count_is():
    store = Store(0.02)
    counts = KeptCounts(store)  # type: ignore[arg-type]
    counts.count_by(*JOBS)
    store.gate.clear()
    assert store.waits.wait(PATIENCE_S)  # the next count has begun and does not end
    counted = time.monotonic()
    time.sleep(0.05)
    counts.begin_page()
    began = time.monotonic()
    assert counts.age_s <= time.monotonic() - began + 0.001  # nothing old is on it yet
    counts.count_by(*JOBS)
    assert counts.age_s >= time.monotonic() - counted - 0.001
    store.gate.set()


def test_somebody_who_changed_something_sees_it_at_once_and_a_count_from_before_is_not_kept():
    store = Store(0.02)
    counts = KeptCounts(store)  # type: ignore[arg-type]
    store.gate.clear()
    asked = threading.Thread(target=counts.count_by, args=JOBS)
    asked.start()
    assert store.waits.wait(PATIENCE_S)  # it has counted one
    store.jobs = 3
    counts.forget()
    store.gate.set()
    asked.join()
    assert counts.count_by(*JOBS) == {"READY": 3}


def test_counting_in_the_background_takes_a_share_of_the_time_and_ends_when_nobody_asks(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(kept_counts, "FORGOTTEN_AFTER_S", 1.0)
    store = Store(0.05)
    counts = KeptCounts(store)  # type: ignore[arg-type]
    counts.count_by(*JOBS)
    wait_until(lambda: not any(thread.name == "counts" for thread in threading.enumerate()))
    assert 2 <= store.counted <= 1 + 1.0 / 0.05 * 0.5 + 2


def test_a_store_that_is_away_is_said_by_the_page_and_not_hidden_by_an_old_count():
    store = Store(0.05)
    counts = KeptCounts(store)  # type: ignore[arg-type]
    counts.count_by(*JOBS)
    store.broken = True
    wait_until(lambda: not counts._entries)
    with pytest.raises(StoreError, match="away"):
        counts.count_by(*JOBS)


def test_a_count_given_out_can_be_changed_without_harm():
    counts = KeptCounts(Store(0.05))  # type: ignore[arg-type]
    counts.count_by(*JOBS).clear()
    assert counts.count_by(*JOBS) == {"READY": 1}


def test_what_is_kept_does_not_grow_with_what_people_ask_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept_counts, "MOST_KEPT", 3)
    store = Store(0.02)
    counts = KeptCounts(store)  # type: ignore[arg-type]
    for number in range(8):
        counts.count("fireworks", {"name": number})
    assert len(counts._entries) <= 3
    store.seconds = 0.0
    for number in range(8, 16):
        counts.count("fireworks", {"name": number})
    assert len(counts._entries) <= 3


def test_all_else_is_the_projects_own():
    assert KeptCounts(Store(0.0)).other == "anything else"  # type: ignore[arg-type]
